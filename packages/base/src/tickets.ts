/**
 * What waits for an answer, each under a number of its own, from 1 up. Mostly answered in the order they were given: then
 * nothing is made anew for them, where a Map that is set and deleted each time makes its table anew for every few.
 */
export class Tickets<T> {
  /** The number of the first slot. */
  #first = 1;
  /** Slots before this one are empty. */
  #head = 0;
  #slots: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Returns the number. */
  give(waiting: T & {}): number {
    this.#size += 1;
    return this.#first + this.#slots.push(waiting) - 1;
  }

  /** Takes it out; undefined if nothing waits under this number. */
  take(number: number): T | undefined {
    const slots = this.#slots;
    const at = number - this.#first;
    const found = slots[at];
    if (found === undefined) return undefined;
    slots[at] = undefined;
    this.#size -= 1;
    while (this.#head < slots.length && slots[this.#head] === undefined) this.#head += 1;
    if (this.#head >= ENOUGH && this.#head * 2 >= slots.length) {
      this.#slots = slots.slice(this.#head);
      this.#first += this.#head;
      this.#head = 0;
    }
    return found;
  }
}

/** Empty slots that are worth a new array. */
const ENOUGH = 64;
