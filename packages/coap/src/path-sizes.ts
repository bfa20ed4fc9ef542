import type { Instant, SessionId } from "@godwit/base";
import { blockSize } from "./block-option.ts";
import type { CoapTuning } from "./tuning.ts";

/**
 * Which paths carry only small messages: datagrams above some size vanish there without a word, and only a smaller block
 * that is answered shows it (RFC 7252 4.6, RFC 7959 1). Nothing is kept of paths that carry everything.
 */
export class PathSizes {
  readonly #tuning: CoapTuning;
  readonly #sizes = new Map<SessionId, Size>();

  constructor(tuning: CoapTuning) {
    this.#tuning = tuning;
  }

  /** The exponent of the largest blocks to send to this session, and to ask for. */
  szx(session: SessionId, now: Instant): number {
    const { preferredSzx } = this.#tuning;
    if (this.#sizes.size === 0) return preferredSzx;
    const known = this.#sizes.get(session);
    if (known === undefined) return preferredSzx;
    if (known.until <= now) this.#sizes.delete(session);
    else if (known.sure) return Math.min(known.szx, preferredSzx);
    return preferredSzx;
  }

  /** The same in bytes. */
  size(session: SessionId, now: Instant): number {
    return blockSize(this.szx(session, now));
  }

  /**
   * Blocks above this got no answer. Once may be chance; twice, without a large one that passed in between, is the path.
   * Paths change, so larger blocks are tried again after a while (RFC 8899 5.1.1).
   */
  learn(session: SessionId, szx: number, now: Instant, sure = false): void {
    if (szx >= this.szx(session, now)) return;
    const until = now + this.#tuning.pathSizeLifetime;
    const again = (this.#sizes.get(session)?.until ?? now) > now;
    this.#sizes.set(session, { szx, until, sure: sure || again });
  }

  /** So many bytes of payload got an answer. */
  passed(session: SessionId, bytes: number): void {
    if (this.#sizes.size === 0) return;
    const known = this.#sizes.get(session);
    if (known !== undefined && bytes > blockSize(known.szx)) this.#sizes.delete(session);
  }

  /** The path is another one, or the session over. */
  forget(session: SessionId): void {
    this.#sizes.delete(session);
  }
}

type Size = { readonly szx: number; readonly until: Instant; readonly sure: boolean };

/** No path is taken for narrower: IPv6 links and all but the narrowest others carry such blocks (RFC 7252 4.6). */
export const SMALLEST_SHRUNK = 64;
