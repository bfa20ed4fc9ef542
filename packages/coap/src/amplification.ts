import { concat, equalSecret, type Instant, type Rng } from "@godwit/base";
import { hmacSha256 } from "./crypto.ts";
import type { CoapTuning } from "./tuning.ts";

/**
 * What is known about the path of one session: whether somebody is there who asked for what we send. Until then at most
 * `amplificationFactor` bytes leave per byte that came (RFC 9175 2.4 item 3, RFC 7252 11.3), whatever they are for.
 */
export class PathProof {
  /** Ties Echo values to this path: another path, or the same one later, has another number. */
  nonce: number;
  proven: boolean;
  /** The peer was asked for an Echo on this path. If it comes back without one, it does not know the option. */
  challenged = false;
  #received = 0;
  #sent = 0;

  constructor(nonce: number, proven: boolean) {
    this.nonce = nonce;
    this.proven = proven;
  }

  received(bytes: number): void {
    if (!this.proven) this.#received += bytes;
  }

  /** How many bytes may leave now. */
  allowance(factor: number): number {
    return this.proven ? Number.POSITIVE_INFINITY : factor * this.#received - this.#sent;
  }

  sent(bytes: number): void {
    if (!this.proven) this.#sent += bytes;
  }

  /** The session moved to another path, of which nothing is known yet. */
  restart(nonce: number, proven: boolean): void {
    this.nonce = nonce;
    this.proven = proven;
    this.challenged = false;
    this.#received = 0;
    this.#sent = 0;
  }

  /** The path of `other` is this session's path from now on. */
  takeOver(other: PathProof): void {
    this.nonce = other.nonce;
    this.proven = other.proven;
    this.challenged = other.challenged;
    this.#received = other.#received;
    this.#sent = other.#sent;
  }
}

/**
 * Where something of ours was sent, as the path's nonce: its answer shows that the peer is there, unless it was sent elsewhere,
 * too. Who is on the path may hold an answer back, and send it from another address.
 */
export type SentTo = number | undefined;

/** `before`, and now to the path `nonce`. */
export function alsoTo(before: SentTo, nonce: number): SentTo {
  return before === undefined || before === nonce ? nonce : SEVERAL;
}

/** No path has this nonce. */
const SEVERAL = -1;

/**
 * Echo values (RFC 9175 2.3 and appendix A, item 2): a time and an HMAC over it and the path's nonce. Nothing is stored
 * for a challenge, so challenges cost no memory.
 */
export class EchoMint {
  readonly #key: Uint8Array;
  readonly #lifetime: number;

  constructor(tuning: CoapTuning, rng: Rng) {
    this.#key = rng.bytes(32);
    this.#lifetime = tuning.echoLifetime;
  }

  make(nonce: number, now: Instant): Uint8Array {
    return this.#sealed(nonce, tick(now));
  }

  /** Whether we made `value` for this path, not longer ago than `echoLifetime`. */
  verify(nonce: number, value: Uint8Array, now: Instant): boolean {
    if (value.length !== ECHO_LENGTH) return false;
    const made = (value[0]! << 16) | (value[1]! << 8) | value[2]!; // 8 bytes
    if (!equalSecret(this.#sealed(nonce, made), value)) return false;
    const age = (tick(now) - made + TICKS) % TICKS;
    return age * TICK <= this.#lifetime;
  }

  #sealed(nonce: number, made: number): Uint8Array {
    const time = Uint8Array.of(made >>> 16, made >>> 8, made);
    const subject = new Uint8Array(11);
    subject.set(time);
    new DataView(subject.buffer).setFloat64(3, nonce);
    return concat(time, hmacSha256(this.#key, subject).subarray(0, ECHO_LENGTH - time.length));
  }
}

function tick(now: Instant): number {
  return Math.floor(now / TICK) % TICKS;
}

/** 3 bytes of time, 5 of HMAC: an off-path attacker guesses one in 2^40. */
export const ECHO_LENGTH = 8;
const TICK = 1_000;
const TICKS = 0x100_0000;
