import assert from "node:assert/strict";
import { test } from "node:test";
import { oscore } from "./oscore.ts";

const rows = oscore();

for (const { step, settings, datagrams, most } of [
  { step: "register", settings: "published", datagrams: [127, 27, 135, 24], most: 320 },
  { step: "update", settings: "published", datagrams: [27, 16], most: 43 },
  { step: "register", settings: "defaults", datagrams: [29, 26, 135, 21], most: 225 },
  { step: "update", settings: "defaults", datagrams: [23, 15], most: 43 },
  { step: "register", settings: "kept", datagrams: [115, 20], most: 145 },
] as const) {
  test(`oscore, ${step}, settings ${settings}: ${datagrams.join(" + ")} bytes`, () => {
    const row = rows.find((one) => one.step === step && one.settings === settings);
    assert.ok(row);
    assert.deepEqual(
      row.datagrams.map(({ bytes }) => bytes),
      datagrams,
    );
    assert.ok(row.bytes <= most, `${row.bytes}`);
    assert.ok(row.published !== null && row.bytes < row.published);
  });
}
