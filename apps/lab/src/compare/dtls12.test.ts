import assert from "node:assert/strict";
import { test } from "node:test";
import { dtls12Cid, dtls12Resume } from "./dtls12.ts";

const rows = [...dtls12Cid(), ...dtls12Resume()];

const FULL = [
  "> ClientHello",
  "< HelloVerifyRequest",
  "> ClientHello",
  "< ServerHello + ServerHelloDone",
  "> ClientKeyExchange + ChangeCipherSpec + Finished",
  "< ChangeCipherSpec + Finished",
];
const RESUMED = [
  "> ClientHello",
  "< HelloVerifyRequest",
  "> ClientHello",
  "< ServerHello + ChangeCipherSpec + Finished",
  "> ChangeCipherSpec + Finished",
];
const UPDATE = ["> CON POST", "< ACK 2.04 Changed"];

for (const { step, names, most } of [
  { step: "establish", names: FULL, most: { published: 500, defaults: 470 } },
  {
    step: "register",
    names: ["> CON POST", "< ACK 2.01 Created"],
    most: { published: 190, defaults: 185 },
  },
  { step: "update", names: UPDATE, most: { published: 86, defaults: 81 } },
  { step: "resume", names: [...RESUMED, ...UPDATE], most: { published: 500, defaults: 495 } },
] as const) {
  for (const settings of ["published", "defaults"] as const) {
    test(`${step}, settings ${settings}: at most ${most[settings]} bytes`, () => {
      const row = rows.find((one) => one.step === step && one.settings === settings);
      assert.ok(row);
      assert.deepEqual(
        row.datagrams.map(({ from, name }) => `${from === "client" ? ">" : "<"} ${name}`),
        names,
      );
      assert.ok(row.bytes <= most[settings], `${row.bytes}`);
      assert.ok(row.published !== null && row.bytes < row.published);
    });
  }
}
