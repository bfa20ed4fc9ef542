import type { Instant, SessionId } from "@godwit/base";
import type { CoapTuning } from "./tuning.ts";

/** Answers to unsafe methods, past EXCHANGE_LIFETIME: few, found by message id and hash. */
export class KeptReplies {
  readonly #limit: number;
  readonly #lifetime: number;
  /** Oldest first, as maps keep the order of insertion. */
  readonly #replies = new Map<number, { session: SessionId; reply: Uint8Array; until: Instant }>();

  constructor(tuning: CoapTuning) {
    this.#limit = tuning.maxUnsafeKept;
    this.#lifetime = tuning.unsafeLifetime;
  }

  add(session: SessionId, mid: number, hash: number, reply: Uint8Array, since: Instant): void {
    const key = hash * 0x1_0000 + mid;
    this.#replies.delete(key);
    this.#replies.set(key, { session, reply, until: since + this.#lifetime });
    if (this.#replies.size <= this.#limit) return;
    for (const oldest of this.#replies.keys()) {
      this.#replies.delete(oldest);
      return;
    }
  }

  find(session: SessionId, mid: number, hash: number, now: Instant): Uint8Array | undefined {
    const kept = this.#replies.get(hash * 0x1_0000 + mid);
    return kept?.session === session && kept.until > now ? kept.reply : undefined;
  }

  closed(session: SessionId): void {
    for (const [key, kept] of this.#replies)
      if (kept.session === session) this.#replies.delete(key);
  }
}
