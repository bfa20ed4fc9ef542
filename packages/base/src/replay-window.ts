/**
 * Anti-replay over sequence numbers up to 2^53 (RFC 6347 4.1.2.6, RFC 8613 7.4). Ask with `fresh`, and call `accept`
 * only after the record has verified: unauthenticated bytes never move the window.
 */
export class ReplayWindow {
  readonly #size: number;
  #top = -1;
  /**
   * Bit i of word i / 32 stands for `top - i`. The first two words are fields, and all there is in most windows: an array
   * of its own would cost each session 50 bytes more.
   */
  #first = 0;
  #second = 0;
  readonly #rest: number[] | undefined;

  /** `size`: how far back a late number is still told apart, in numbers; a multiple of 32. */
  constructor(size = 64) {
    this.#size = size;
    this.#rest = size > 64 ? new Array<number>(size / 32 - 2).fill(0) : undefined;
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
      if (back < this.#size) this.#put(back >>> 5, this.#word(back >>> 5) | (1 << (back & 31)));
      return false;
    }
    this.#shift(n - this.#top);
    this.#top = n;
    this.#first |= 1;
    return true;
  }

  /** Forgets everything at or below `n`: for state restored from a store. */
  raise(n: number): void {
    this.#top = Math.max(this.#top, n);
    this.#fill(~0);
  }

  #bit(back: number): boolean {
    return ((this.#word(back >>> 5) >>> (back & 31)) & 1) === 1;
  }

  #shift(by: number): void {
    if (by >= this.#size) {
      this.#fill(0);
      return;
    }
    const words = by >>> 5;
    const bits = by & 31;
    for (let i = this.#size / 32 - 1; i >= 0; i--) {
      const high = i >= words ? this.#word(i - words) : 0;
      const low = bits > 0 && i > words ? this.#word(i - words - 1) >>> (32 - bits) : 0;
      this.#put(i, (high << bits) | low);
    }
  }

  /** Callers keep `i` within the window. */
  #word(i: number): number {
    if (i === 0) return this.#first;
    return i === 1 ? this.#second : this.#rest![i - 2]!; // there is a rest where there is a third word
  }

  #put(i: number, word: number): void {
    if (i === 0) this.#first = word;
    else if (i === 1) this.#second = word;
    else this.#rest![i - 2] = word; // likewise
  }

  #fill(word: number): void {
    this.#first = word;
    this.#second = word;
    this.#rest?.fill(word);
  }
}
