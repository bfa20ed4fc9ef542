import { performance } from "node:perf_hooks";
import type { Instant } from "@godwit/base";

/**
 * The time machines are told: milliseconds since the epoch when it was started, and from then on only forward, at
 * the rate of the system's monotonic clock. A wall clock that is set (by NTP, by hand, after waking up) moves no
 * deadline. Whole milliseconds.
 */
export interface Clock {
  now(): Instant;
  /** What the wall clock says; for certificates and for people. */
  wall(): number;
  /** How far the wall clock has been moved against this one: `wall - now`. */
  readonly skew: number;
  /** The wall time of an instant, for people: corrected by what the wall clock has been moved since. */
  toWall(instant: Instant): number;
}

/**
 * @param skew  The skew of an earlier run, kept with its data: instants then go on from where they were, however
 *   wrong the wall clock had been at the first start.
 */
export function systemClock(skew = 0): Clock {
  const anchor = Date.now() - skew - performance.now();
  const now = (): Instant => Math.floor(anchor + performance.now());
  const skewNow = (): number => Date.now() - now();
  return {
    now,
    wall: () => Date.now(),
    get skew() {
      return skewNow();
    },
    toWall: (instant) => instant + skewNow(),
  };
}
