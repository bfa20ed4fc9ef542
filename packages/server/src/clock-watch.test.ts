import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "@godwit/io";
import { ClockWatch } from "./clock-watch.ts";

const DAY = 24 * 3_600_000;

test("a wall clock that is set is said once, with how far it went", () => {
  let skew = 0;
  const clock: Clock = {
    now: () => 0,
    wall: () => skew,
    get skew() {
      return skew;
    },
    toWall: (at) => at + skew,
  };
  const said: string[] = [];
  const watch = new ClockWatch(clock, (text) => said.push(text));
  try {
    skew = 1_500; // slewed
    watch.look();
    assert.deepEqual(said, []);
    skew = 2 * DAY;
    watch.look();
    watch.look();
    skew = DAY;
    watch.look();
    assert.equal(said.length, 2);
    assert.match(said[0] ?? "", /went forward by 172800 s/);
    assert.match(said[1] ?? "", /went back by 86400 s/);
  } finally {
    watch.stop();
  }
});
