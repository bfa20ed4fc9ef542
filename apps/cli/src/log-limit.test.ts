import assert from "node:assert/strict";
import { test } from "node:test";
import { LINES, LINES_PER_SECOND, LogLimit, MOST, PERIOD } from "./log-limit.ts";

test("some lines about a thing pass in a period; the first of the next says how many were left out", () => {
  let now = 0;
  const limit = new LogLimit(() => now);
  const passed = Array.from({ length: 100 }, () => limit.pass("4.03 NoSec is switched off"));
  assert.deepEqual(passed.slice(0, LINES), Array<number>(LINES).fill(0));
  assert.ok(passed.slice(LINES).every((n) => n === undefined));
  assert.equal(limit.pass("4.00 ep is missing"), 0, "another thing is not held back by it");
  now = PERIOD;
  assert.equal(limit.pass("4.03 NoSec is switched off"), 100 - LINES);
  assert.equal(limit.pass("4.03 NoSec is switched off"), 0);
});

test("who words it anew each time gets no more lines a second than all, and leaves nothing behind", () => {
  let now = 0;
  const limit = new LogLimit(() => now);
  let lines = 0;
  for (let n = 0; n < 10 * MOST; n++)
    if (limit.pass(`unknown parameter "x${n}"`) !== undefined) lines++;
  assert.equal(lines, LINES_PER_SECOND);
  now = 1_000;
  assert.equal(limit.pass("a device"), 0);
  assert.equal(limit.pass(`unknown parameter "x0"`), 0, "the oldest are forgotten");
});
