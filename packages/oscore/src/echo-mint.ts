import { Writer, concat, equalSecret, type Instant, type Rng, type SessionId } from "@godwit/base";
import { hmac } from "./crypto.ts";

/**
 * Echo values that show a request to be fresh after the replay window was lost (RFC 8613 B.1.2, RFC 9175 appendix A item
 * 2): 3 bytes of time and 5 of an HMAC over time, session and the carrier that it is sent by. Nothing is kept per challenge; a
 * value serves once, for the window it opens refuses the message that carried it.
 */
export class EchoMint {
  readonly #key: Uint8Array;
  readonly #lifetime: number;

  constructor(rng: Rng, lifetime: number) {
    this.#key = rng.bytes(32);
    this.#lifetime = lifetime;
  }

  make(session: SessionId, carrier: SessionId, now: Instant): Uint8Array {
    return this.#sealed(session, carrier, tick(now));
  }

  /** Whether `value` was made for this session and sent by this carrier, not longer ago than the lifetime. */
  verify(session: SessionId, carrier: SessionId, value: Uint8Array, now: Instant): boolean {
    if (value.length !== ECHO_LENGTH) return false;
    const made = (value[0]! << 16) | (value[1]! << 8) | value[2]!; // 8 bytes
    if (!equalSecret(this.#sealed(session, carrier, made), value)) return false;
    return ((tick(now) - made + TICKS) % TICKS) * TICK <= this.#lifetime;
  }

  #sealed(session: SessionId, carrier: SessionId, made: number): Uint8Array {
    const subject = new Writer(17).u24(made).u56(session).u56(carrier).bytes();
    const proof = hmac("sha256", this.#key, subject).subarray(0, ECHO_LENGTH - 3);
    return concat(subject.subarray(0, 3), proof);
  }
}

function tick(now: Instant): number {
  return Math.floor(now / TICK) % TICKS;
}

const ECHO_LENGTH = 8;
const TICK = 1_000;
const TICKS = 0x100_0000;
