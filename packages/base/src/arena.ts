import { EMPTY } from "./bytes.ts";

/**
 * Places for small byte strings that live briefly, many in one array: the engine gives every array that is looked into from
 * elsewhere memory outside the heap, and making that and sweeping it up again costs more than most of what is put there.
 * A place is given out once. One that is kept keeps the whole array, so what must live long is copied out of it.
 */
export class Arena {
  readonly #size: number;
  #room: Uint8Array = EMPTY;
  #used = 0;

  /** `size`: bytes of one array. */
  constructor(size: number) {
    this.#size = size;
  }

  /** `n` bytes of anything, to be written over. */
  take(n: number): Uint8Array {
    const end = this.#used + n;
    if (end <= this.#room.length) {
      const place = this.#room.subarray(this.#used, end);
      this.#used = end;
      return place;
    }
    if (n * 4 > this.#size) return new Uint8Array(n);
    this.#room = new Uint8Array(this.#size);
    this.#used = n;
    return this.#room.subarray(0, n);
  }

  /** The first `n` of `bytes`, copied. */
  copy(bytes: Uint8Array, n: number = bytes.length): Uint8Array {
    const place = this.take(n);
    for (let i = 0; i < n; i++) place[i] = bytes[i]!; // the caller's n
    return place;
  }
}
