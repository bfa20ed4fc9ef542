import type { Instant } from "@godwit/base";
import type { Clock } from "@godwit/io";

/** Says when the wall clock is set. Deadlines do not follow it; the times that people are shown do. */
export class ClockWatch {
  readonly #clock: Clock;
  readonly #say: (text: string) => void;
  readonly #timer: NodeJS.Timeout;
  #skew: number;
  #shown = 0;

  constructor(clock: Clock, say: (text: string) => void) {
    this.#clock = clock;
    this.#say = say;
    this.#skew = clock.skew;
    if (Math.abs(this.#skew) >= ODD)
      say(
        `the wall clock was off by ${Math.round(Math.abs(this.#skew) / 1_000)} s when this store was begun. Its deadlines go on from there; times are shown by the clock as it is now`,
      );
    this.#timer = setInterval(() => this.look(), EVERY).unref();
  }

  /** The wall time of an instant. It stays the same for one instant as long as nobody sets the wall clock. */
  toWall(at: Instant): number {
    const { skew } = this.#clock;
    if (Math.abs(skew - this.#shown) >= NOISE) this.#shown = skew;
    return at + this.#shown;
  }

  look(): void {
    const jump = this.#clock.skew - this.#skew;
    if (Math.abs(jump) < LEAST) return;
    this.#skew = this.#clock.skew;
    const way = jump > 0 ? "forward" : "back";
    this.#say(
      `the wall clock went ${way} by ${Math.round(Math.abs(jump) / 1_000)} s: it was set, or this machine slept. No deadline has moved; times are shown by the clock as it is now`,
    );
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** ms by which two readings of the clocks differ for nothing. */
const NOISE = 1_000;
/** ms by which a clock at the first start is not right any more. */
const ODD = 60_000;
/** ms between two looks. */
const EVERY = 10_000;
/** ms that a clock is moved without being worth a word: NTP slews less in that time. */
const LEAST = 2_000;
