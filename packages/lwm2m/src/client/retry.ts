import type { Rng } from "@godwit/base";
import type { ServerObject } from "./server-object.ts";
import type { ClientTuning } from "./tuning.ts";

/** What to do after an attempt that failed. */
export type RetryStep =
  /** In ms; counted from the failure. */
  | { readonly type: "again"; readonly delay: number }
  /** All attempts of all sequences were in vain. */
  | { readonly type: "exhausted"; readonly delay: number | undefined };

/**
 * The retry rules of OMA TS Core 6.2.1.2: /1/x/17 attempts, the delay between them /1/x/18 doubled each time; /1/x/20 such sequences,
 * /1/x/19 apart. Delays grow by chance, so that devices that failed together do not return together.
 */
export class Retry {
  #attempt = 1;
  #sequence = 1;

  succeeded(): void {
    this.#attempt = 1;
    this.#sequence = 1;
  }

  failed(server: ServerObject, tuning: ClientTuning, rng: Rng): RetryStep {
    const grown = (ms: number): number => Math.round(ms * (1 + tuning.retryJitter * rng.float()));
    if (this.#attempt < Math.max(1, server.retryCount)) {
      const delay = server.retryTimer * 1_000 * 2 ** Math.min(this.#attempt - 1, MAX_DOUBLINGS);
      this.#attempt += 1;
      return { type: "again", delay: grown(Math.min(delay, LONGEST_DELAY)) };
    }
    this.#attempt = 1;
    if (this.#sequence < server.sequenceCount && server.sequenceDelay < NEVER) {
      this.#sequence += 1;
      return { type: "again", delay: grown(server.sequenceDelay * 1_000) };
    }
    this.#sequence = 1;
    const { exhaustedRetry } = tuning;
    return { type: "exhausted", delay: exhaustedRetry === 0 ? undefined : grown(exhaustedRetry) };
  }
}

const MAX_DOUBLINGS = 20;
const LONGEST_DELAY = 86_400_000;
/** /1/x/19 at its largest: no further sequence. */
const NEVER = 0xffff_ffff;
