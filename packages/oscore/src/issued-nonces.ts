import { concat, equal, equalSecret, type Instant, type Rng } from "@godwit/base";
import { hmac } from "./crypto.ts";
import type { OscoreTuning } from "./tuning.ts";

/**
 * The R2 values of one client's runs (RFC 8613 B.2.1), until one run completes or all expire. The first few are
 * remembered and short; all others prove themselves: R2 = S2 || HMAC(K_HMAC, S2). However many first requests are
 * replayed, this does not grow, and none of them pushes out another.
 *
 * S2 is a function of request 1, so that its retransmission gets the same response. Other requests get other values.
 */
export class IssuedNonces {
  readonly #tuning: OscoreTuning;
  readonly #rng: Rng;
  readonly #issued: {
    readonly r2: Uint8Array;
    readonly of: Uint8Array;
    readonly until: Instant;
  }[] = [];
  /** K_HMAC; erased with all that it vouches for. */
  #key: Uint8Array | undefined;
  #keyUntil: Instant = 0;

  constructor(tuning: OscoreTuning, rng: Rng) {
    this.#tuning = tuning;
    this.#rng = rng;
  }

  /** When nothing of this is valid any more. */
  get until(): Instant {
    return this.#issued.reduce((latest, { until }) => Math.max(latest, until), this.#keyUntil);
  }

  /** The R2 for a request 1, told apart by its ID Context and Partial IV. */
  issue(idContext: Uint8Array, piv: Uint8Array, now: Instant): Uint8Array {
    this.#expire(now);
    const of = concat(Uint8Array.of(piv.length), piv, idContext);
    const known = this.#issued.find((one) => equal(one.of, of));
    if (known !== undefined) return known.r2;
    const { maxNonces, runLifetime, nonceLength } = this.#tuning;
    if (this.#issued.length < maxNonces) {
      const r2 = this.#rng.bytes(nonceLength);
      this.#issued.push({ r2, of, until: now + runLifetime });
      return r2;
    }
    if (this.#key === undefined) {
      this.#key = this.#rng.bytes(32);
      this.#keyUntil = now + runLifetime;
    }
    const s2 = hmac("sha256", this.#key, concat(SEED, of)).subarray(0, nonceLength);
    return concat(s2, this.#proof(this.#key, s2));
  }

  /** Whether `idContext` is R2 || R3 with an R2 issued here and some R3. */
  begins(idContext: Uint8Array, now: Instant): boolean {
    this.#expire(now);
    const { nonceLength } = this.#tuning;
    let found = false;
    for (const { r2 } of this.#issued)
      if (idContext.length > r2.length && equalSecret(idContext.subarray(0, r2.length), r2))
        found = true;
    const whole = nonceLength + PROOF_LENGTH;
    if (this.#key !== undefined && idContext.length > whole) {
      const proof = this.#proof(this.#key, idContext.subarray(0, nonceLength));
      if (equalSecret(proof, idContext.subarray(nonceLength, whole))) found = true;
    }
    return found;
  }

  #proof(key: Uint8Array, s2: Uint8Array): Uint8Array {
    return hmac("sha256", key, concat(PROOF, s2)).subarray(0, PROOF_LENGTH);
  }

  #expire(now: Instant): void {
    while (this.#issued.length > 0 && this.#issued[0]!.until <= now) this.#issued.shift(); // oldest first, few
    if (this.#key !== undefined && this.#keyUntil <= now) {
      this.#key = undefined;
      this.#keyUntil = 0;
    }
  }
}

/** The two uses of K_HMAC. */
const SEED = Uint8Array.of(1);
const PROOF = Uint8Array.of(2);
const PROOF_LENGTH = 8;
