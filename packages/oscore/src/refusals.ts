import { utf8, type Instant } from "@godwit/base";
import { Code, response, type Response } from "@godwit/coap";
import type { OscoreTuning } from "./tuning.ts";

/** Why a request is not processed (RFC 8613 8.2, and B.2.1 for `unavailable`). */
export type Refusal = "badOption" | "unknownContext" | "replayed" | "forged" | "unavailable";

/**
 * The unprotected answers of RFC 8613 8.2. All of them are MAY: they are few per second, short, and say nothing that
 * helps an attacker, unless asked to.
 */
export class Refusals {
  readonly #tuning: OscoreTuning;
  #allowance: number;
  #since: Instant | undefined;

  constructor(tuning: OscoreTuning) {
    this.#tuning = tuning;
    this.#allowance = tuning.errorBurst;
  }

  /** The answer, undefined while too many were given. */
  answer(refusal: Refusal, now: Instant): Response | undefined {
    if (!this.spend(now)) return undefined;
    const [code, words] = ANSWERS[refusal];
    return response(code, this.#tuning.diagnostics ? { maxAge: 0, payload: utf8(words) } : {});
  }

  /** Whether one more may be given now; counts it. */
  spend(now: Instant): boolean {
    if (!this.may(now)) return false;
    this.#allowance -= 1;
    return true;
  }

  /** Whether one more may be given now. */
  may(now: Instant): boolean {
    const { errorsPerSecond, errorBurst } = this.#tuning;
    const gained = (Math.max(0, now - (this.#since ?? now)) * errorsPerSecond) / 1_000;
    this.#allowance = Math.min(errorBurst, this.#allowance + gained);
    this.#since = now;
    return this.#allowance >= 1;
  }
}

const ANSWERS: Readonly<Record<Refusal, readonly [number, string]>> = {
  badOption: [Code.BadOption, "Failed to decode COSE"],
  unknownContext: [Code.Unauthorized, "Security context not found"],
  replayed: [Code.Unauthorized, "Replay detected"],
  forged: [Code.BadRequest, "Decryption failed"],
  unavailable: [Code.ServiceUnavailable, ""],
};
