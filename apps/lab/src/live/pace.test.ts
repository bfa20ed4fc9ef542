import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "@godwit/io";
import { World } from "@godwit/netsim";
import { Pace } from "./pace.ts";

/** A clock that shows what it is told. */
class HandClock implements Clock {
  readonly skew = 0;
  #now = 1_000_000;

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#now;
  }

  toWall(instant: number): number {
    return instant;
  }

  pass(ms: number): void {
    this.#now += ms;
  }
}

for (const { speed, passes, shows, why } of [
  { speed: 1, passes: [50, 50, 7], shows: 107, why: "as fast as the clock" },
  { speed: 20, passes: [50, 5], shows: 1_100, why: "20 times as fast" },
  { speed: 1, passes: [3_600_000, 50], shows: 2_050, why: "after an hour of sleep, 2 s further" },
  { speed: 1, passes: [50, -20, 10], shows: 60, why: "never back" },
]) {
  test(`a world runs by the clock: ${why}`, () => {
    const world = new World({ seed: 1, start: 0 });
    const clock = new HandClock();
    const pace = new Pace(world, clock, { speed, step: 1_000_000 });
    for (const ms of passes) {
      clock.pass(ms);
      pace.advance();
    }
    pace.stop();
    assert.equal(world.now, shows);
  });
}
