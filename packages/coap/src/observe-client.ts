import type { Instant, Rng } from "@godwit/base";
import type { Response } from "./message.ts";
import { isNewer } from "./observe-option.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findUint } from "./options.ts";
import type { CoapTuning } from "./tuning.ts";

/** The order of one observation's notifications, whatever order they arrive in (RFC 7641 3.4). */
export class ObservationOrder {
  readonly #span: number;
  #freshest: number | undefined;
  #freshestAt: Instant = 0;

  constructor(tuning: CoapTuning) {
    this.#span = tuning.notificationReorderSpan;
  }

  /** Whether the notification with this Observe value was sent after all that were newer before; remembers it if so. */
  newer(value: number, now: Instant): boolean {
    if (
      this.#freshest !== undefined &&
      !isNewer(this.#freshest, this.#freshestAt, value, now, this.#span)
    )
      return false;
    this.#freshest = value;
    this.#freshestAt = now;
    return true;
  }
}

/**
 * When to register an observation anew because nothing came: 5 to 15 s, at random, after Max-Age of the freshest
 * notification (RFC 7641 3.3.1). Throws FormatError for a Max-Age that is no number.
 */
export function registerAgainAt(freshest: Response, now: Instant, rng: Rng): Instant {
  const maxAge = findUint(freshest.options, OptionNumber.MaxAge) ?? DEFAULT_MAX_AGE;
  return now + maxAge * 1_000 + GRACE + rng.float() * GRACE_SPREAD;
}

/** Seconds (RFC 7252 5.10.5). */
const DEFAULT_MAX_AGE = 60;
const GRACE = 5_000;
const GRACE_SPREAD = 10_000;
