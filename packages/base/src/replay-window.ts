/**
 * Anti-replay over sequence numbers up to 2^53 (RFC 6347 4.1.2.6, RFC 8613 7.4). Ask with `fresh`, and call `accept`
 * only after the record has verified: unauthenticated bytes never move the window.
 */
export class ReplayWindow {
  readonly #size: number;
  /** Bit i of word i / 32 stands for `top - i`. Plain numbers: a typed array would cost each session 100 bytes more. */
  readonly #seen: number[];
  #top = -1;

  /** `size`: how far back a late number is still told apart, in numbers; a multiple of 32. */
  constructor(size = 64) {
    this.#size = size;
    this.#seen = new Array<number>(size / 32).fill(0);
  }

  /** The highest number accepted, -1 before the first. */
  get top(): number {
    return this.#top;
  }

  /** Whether `n` was neither accepted before nor is too old to tell. Changes nothing. */
  fresh(n: number): boolean {
    if (n > this.#top) return true;
    const back = this.#top - n;
    return back < this.#size && !this.#bit(back);
  }

  /** Marks a verified number; returns whether it is the newest so far. */
  accept(n: number): boolean {
    if (n <= this.#top) {
      const back = this.#top - n;
      if (back < this.#size) this.#seen[back >>> 5]! |= 1 << (back & 31); // back < size
      return false;
    }
    this.#shift(n - this.#top);
    this.#top = n;
    this.#seen[0]! |= 1; // the window has at least one word
    return true;
  }

  /** Forgets everything at or below `n`: for state restored from a store. */
  raise(n: number): void {
    this.#top = Math.max(this.#top, n);
    this.#seen.fill(~0);
  }

  #bit(back: number): boolean {
    return ((this.#seen[back >>> 5]! >>> (back & 31)) & 1) === 1; // callers keep back < size
  }

  #shift(by: number): void {
    if (by >= this.#size) {
      this.#seen.fill(0);
      return;
    }
    const words = by >>> 5;
    const bits = by & 31;
    for (let i = this.#seen.length - 1; i >= 0; i--) {
      const high = i >= words ? this.#seen[i - words]! : 0; // i - words is within
      const low = bits > 0 && i > words ? this.#seen[i - words - 1]! >>> (32 - bits) : 0; // likewise
      this.#seen[i] = (high << bits) | low;
    }
  }
}
