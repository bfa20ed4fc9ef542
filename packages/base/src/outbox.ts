/**
 * What a machine has to say, in order. `take` is O(1) however much waits, unlike `Array.shift`. Its room is kept while it
 * is small: a machine says something for every datagram, and room made and dropped each time would cost more than saying it.
 */
export class Outbox<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  #tail = 0;

  get size(): number {
    return this.#tail - this.#head;
  }

  push(item: T): void {
    this.#items[this.#tail++] = item;
  }

  take(): T | undefined {
    if (this.#head === this.#tail) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined; // lets the item be collected before the array is
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
      if (this.#items.length > KEPT) this.#items = [];
    } else if (this.#head === COMPACT_AT) {
      this.#items = this.#items.slice(this.#head, this.#tail);
      this.#tail -= this.#head;
      this.#head = 0;
    }
    return item;
  }
}

const COMPACT_AT = 4_096;
/** Items there is always room for, once there was. */
const KEPT = 64;
