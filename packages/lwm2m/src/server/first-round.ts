import type { Instant } from "@godwit/base";
import type { Registration } from "./registration.ts";
import type { ServerTuning } from "./tuning.ts";

/**
 * After a start: devices of which an earlier run has something to ask are asked without waiting for their next word, which may be
 * a lifetime away. A few at a time, for a fleet has many.
 */
export class FirstRound {
  readonly #tuning: Pick<ServerTuning, "startAsks" | "startPause">;
  #waiting: Registration[] = [];
  #wakeAt: Instant | undefined;

  constructor(tuning: Pick<ServerTuning, "startAsks" | "startPause">) {
    this.#tuning = tuning;
  }

  get wakeAt(): Instant | undefined {
    return this.#wakeAt;
  }

  begin(registrations: Registration[], now: Instant): void {
    this.#waiting = registrations;
    if (this.#waiting.length > 0) this.#wakeAt = now + this.#tuning.startPause;
  }

  /** Those whose turn it is. */
  due(now: Instant): readonly Registration[] {
    if (this.#wakeAt === undefined || now < this.#wakeAt) return NOBODY;
    const next = this.#waiting.splice(-this.#tuning.startAsks);
    this.#wakeAt = this.#waiting.length > 0 ? now + this.#tuning.startPause : undefined;
    return next;
  }
}

const NOBODY: readonly Registration[] = [];
