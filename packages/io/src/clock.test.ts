import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "./clock.ts";

test("F19: the clock starts at wall time and does not follow when that is set", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_700_000_000_000 });
  const clock = systemClock();
  const start = clock.now();
  assert.ok(Math.abs(start - 1_700_000_000_000) < 1_000);
  for (const year of [-1, 1]) {
    t.mock.timers.setTime(1_700_000_000_000 + year * 31_536_000_000);
    assert.ok(clock.now() >= start && clock.now() - start < 10_000);
    assert.ok(Math.abs(clock.skew - year * 31_536_000_000) < 10_000);
    assert.equal(clock.wall(), 1_700_000_000_000 + year * 31_536_000_000);
  }
});

test("F19: with the skew of the run before, instants go on where they were", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 0 }); // a board without a battery: 1970
  const first = systemClock();
  t.mock.timers.setTime(1_700_000_000_000); // and then NTP
  const second = systemClock(first.skew);
  assert.ok(Math.abs(second.now() - first.now()) <= 1);
  assert.equal(second.wall(), 1_700_000_000_000);
});

test("instants are whole milliseconds and never go back", () => {
  const clock = systemClock();
  let last = clock.now();
  for (let n = 0; n < 10_000; n++) {
    const now = clock.now();
    assert.ok(now >= last && Number.isInteger(now));
    last = now;
  }
});
