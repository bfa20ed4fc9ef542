// The clock of a data directory, over restarts. Three sources say how much time went by between two runs:
//
//   the same run of the machine ──> its uptime: exact, whatever was done to the wall clock
//   the machine was off ──────────> the wall clock, where it is plausible: not behind the last run, not years ahead of it
//   neither ──────────────────────> nothing is known: no time went by
//
// If the wall clock was ahead at one start and is right again at the next, time goes back to where it belongs.

import { readFileSync } from "node:fs";
import { uptime } from "node:os";
import { systemClock, type Clock } from "./clock.ts";
import type { Boot, Mark } from "./mark.ts";

export class KeptClock {
  readonly clock: Clock;
  /** What people should know of the wall clock at this start, if anything. */
  readonly notice: string | undefined;
  readonly #boot: (() => Boot | undefined) | undefined;
  readonly #sure: number | undefined;
  #base: number;
  /** The wall clock is as it was left; what is done to it from now on is taken for a correction. */
  readonly #trusted: boolean;
  #seenSkew: number;

  constructor(mark: Mark | undefined, boot: () => Boot | undefined = readBoot) {
    this.#boot = boot;
    const resumed = mark === undefined ? FIRST : resume(mark, boot());
    this.clock = systemClock(resumed.skew);
    this.#base = resumed.base;
    this.#trusted = resumed.trusted;
    this.#sure = resumed.sure;
    this.notice = resumed.notice;
    this.#seenSkew = this.clock.skew;
  }

  /** What is to be noted of it. */
  mark(): Pick<Mark, "instant" | "skew" | "base" | "sure" | "boot"> {
    const { skew } = this.clock;
    if (this.#trusted && Math.abs(skew - this.#base) > NOISE) this.#base = skew;
    const boot = this.#boot?.();
    return {
      instant: this.clock.now(),
      skew,
      base: this.#base,
      ...(this.#sure === undefined ? {} : { sure: this.#sure }),
      ...(boot === undefined ? {} : { boot }),
    };
  }

  /** What to tell people if the wall clock was set since the last look. */
  lookForJump(): string | undefined {
    const jump = this.clock.skew - this.#seenSkew;
    if (Math.abs(jump) <= JUMP) return undefined;
    this.#seenSkew = this.clock.skew;
    return words(jump, "while the server ran");
  }
}

type Resumed = {
  readonly skew: number;
  readonly base: number;
  readonly trusted: boolean;
  readonly sure: number | undefined;
  readonly notice: string | undefined;
};

function resume(mark: Mark, boot: Boot | undefined): Resumed {
  const base = mark.base ?? mark.skew;
  const wall = Date.now();
  const { sure } = mark;
  const since =
    boot !== undefined && boot.id === mark.boot?.id ? boot.uptime - mark.boot.uptime : -1;
  if (since >= 0) {
    const skew = wall - Math.floor(mark.instant + since);
    const jump = skew - mark.skew;
    const notice = Math.abs(jump) > JUMP ? words(jump, "since the last run") : undefined;
    const trusted = mark.skew === base || Math.abs(mark.skew - base) <= NOISE;
    return { skew: settled(skew), base, trusted, sure, notice };
  }
  const off = wall - base - mark.instant;
  const stopped = (why: string): Resumed => ({
    skew: settled(wall - mark.instant),
    base,
    trusted: false,
    sure,
    notice: why,
  });
  if (off > LONGEST_OFF) return stopped(words(off, "since the last run"));
  if (off >= -NOISE) {
    // Either the machine was off for so long, or the clock is ahead: the next start may know better.
    const notice = off > PLAUSIBLE_OFF ? longOff(off) : undefined;
    const known = off > JUMP ? mark.instant : sure;
    return { skew: settled(base), base, trusted: true, sure: known, notice };
  }
  if (sure !== undefined && wall - base >= sure) {
    const notice = `${words(off, "since the last run")}; times are as before that run again`;
    return { skew: settled(base), base, trusted: true, sure: undefined, notice };
  }
  return stopped(words(off, "since the last run"));
}

/** Wall clocks are slewed by less than the noise between two looks. */
function settled(skew: number): number {
  return Math.abs(skew) > NOISE ? skew : 0;
}

function words(jump: number, when: string): string {
  const way = jump > 0 ? "forward" : "back";
  return `the wall clock was set ${way} by ${span(Math.abs(jump))} ${when}: no deadline is moved by it`;
}

function longOff(off: number): string {
  return `by the wall clock ${span(off)} went by since the last run: if that is wrong, set the clock and start again`;
}

function span(ms: number): string {
  if (ms < 2 * HOUR) return `${Math.round(ms / 1_000)} s`;
  if (ms < 2 * DAY) return `${Math.round(ms / HOUR)} hours`;
  return `${Math.round(ms / DAY)} days`;
}

/** Linux names each run of the machine; elsewhere none is known. */
function readBoot(): Boot | undefined {
  try {
    const id = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return { id, uptime: Math.floor(uptime() * 1_000) };
  } catch {
    return undefined;
  }
}

const FIRST: Resumed = { skew: 0, base: 0, trusted: true, sure: undefined, notice: undefined };
const NOISE = 1_000;
/** What people are told of. */
const JUMP = 5_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** A machine that was off for longer is asked about. */
const PLAUSIBLE_OFF = DAY;
/** No machine is off for longer. */
const LONGEST_OFF = 400 * DAY;
