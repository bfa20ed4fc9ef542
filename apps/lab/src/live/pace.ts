import type { Clock } from "@godwit/io";
import type { World } from "@godwit/netsim";

/**
 * Runs a world by the real clock, `speed` times as fast. Where this process stood still, the world stood still too:
 * its machines do not hurry to make up for it.
 */
export class Pace {
  readonly #world: World;
  readonly #clock: Clock;
  readonly #speed: number;
  readonly #timer: NodeJS.Timeout;
  #at: number;

  constructor(world: World, clock: Clock, { speed = 1, step = STEP }: PaceOptions = {}) {
    this.#world = world;
    this.#clock = clock;
    this.#speed = speed;
    this.#at = clock.now();
    this.#timer = setInterval(() => this.advance(), step);
  }

  /** Brings the world to this moment. */
  advance(): void {
    const now = this.#clock.now();
    const passed = Math.min(Math.max(0, now - this.#at), LONGEST_STEP);
    this.#at = now;
    this.#world.run(passed * this.#speed);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

export type PaceOptions = {
  readonly speed?: number;
  /** ms between two looks at the clock. */
  readonly step?: number;
};

const STEP = 50;
/** ms; a longer gap was no delay but a process that did not run. */
const LONGEST_STEP = 2_000;
