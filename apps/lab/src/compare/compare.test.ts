import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { compare, strategyNames } from "./compare.ts";
import { comparisonTable } from "./table.ts";
import type { Row, Settings, Step } from "./row.ts";

const rows = compare(["udp"]);

function find(step: Step, settings: Settings): Row {
  const found = rows.find((row) => row.step === step && row.settings === settings);
  assert.ok(found, `${step} ${settings}`);
  return found;
}

function sizes(row: Row): readonly string[] {
  return row.datagrams.map(({ from, name, bytes }) => `${from} ${name} ${bytes}`);
}

for (const { step, settings, datagrams, published } of [
  {
    step: "register",
    settings: "published",
    datagrams: ["client CON POST 102", "server ACK 2.01 Created 13"],
    published: 115,
  },
  {
    step: "update",
    settings: "published",
    datagrams: ["client CON POST 13", "server ACK 2.04 Changed 5"],
    published: 18,
  },
  {
    // No b=U and no version that goes without saying; an id of 8 characters that nobody guesses.
    step: "register",
    settings: "defaults",
    datagrams: ["client CON POST 84", "server ACK 2.01 Created 17"],
    published: 115,
  },
  {
    step: "update",
    settings: "defaults",
    datagrams: ["client CON POST 17", "server ACK 2.04 Changed 5"],
    published: 18,
  },
  {
    step: "register",
    settings: "kept",
    datagrams: ["client CON POST 17", "server ACK 2.04 Changed 5"],
    published: 115,
  },
] as const) {
  test(`udp, ${step}, settings ${settings}: ${datagrams.join(", ")}`, () => {
    const row = find(step, settings);
    assert.deepEqual(sizes(row), datagrams);
    assert.equal(
      row.bytes,
      row.datagrams.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    assert.equal(row.published, published);
  });
}

test("an exchange every 120 s is 30 packets per hour, 720 per day, 21 600 in 30 days", () => {
  for (const settings of ["published", "defaults"] as const) {
    const { perHour, perDay, perMonth, bytes } = find("update", settings);
    for (const [upkeep, packets] of [
      [perHour, 30],
      [perDay, 720],
      [perMonth, 21_600],
    ] as const) {
      assert.deepEqual(upkeep, { packets, datagrams: 2 * packets, bytes: packets * bytes });
    }
  }
});

test("figures are the same each time", () => {
  assert.deepEqual(compare(["udp"]), rows);
});

test("a strategy that does not exist is named, with those that do", () => {
  assert.throws(
    () => compare(["udp", "pigeon"]),
    (error) => error instanceof UsageError && /pigeon.*udp/.test(error.message),
  );
});

test("each strategy is announced before it is played", () => {
  const announced: string[] = [];
  compare(undefined, (name) => announced.push(name));
  assert.deepEqual(announced, strategyNames());
});

test("the table lines up, with published figures and differences", () => {
  const lines = comparisonTable(rows).split("\n");
  assert.equal(lines[0], "strategy  step      settings   bytes  published  difference");
  assert.ok(lines.includes("udp       update    published     18         18           0"));
  assert.ok(lines.includes("udp       update    defaults      22         18          +4"));
  assert.ok(lines.includes("udp       register  kept          22        115         -93"));
  assert.ok(lines.includes("  > CON POST                      13"));
  assert.ok(lines.some((line) => /per 30 days {2}21 600 packets {3}43 200 datagrams/.test(line)));
});
