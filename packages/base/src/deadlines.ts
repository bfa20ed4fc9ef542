import type { Instant } from "./machine.ts";

/**
 * Millions of keyed deadlines in one heap: `set` and `stop` cost O(log n), nothing is allocated per timer but
 * its place, and any distance is exact (no 2^31 ms limit). Ties leave in the order they were set.
 */
export class Deadlines<Key> {
  readonly #heap: Entry<Key>[] = [];
  readonly #entries = new Map<Key, Entry<Key>>();
  #order = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** The earliest deadline. */
  get next(): Instant | undefined {
    return this.#heap[0]?.at;
  }

  at(key: Key): Instant | undefined {
    return this.#entries.get(key)?.at;
  }

  /** Sets or moves the deadline of `key`. */
  set(key: Key, at: Instant): void {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      const later = at >= known.at;
      known.at = at;
      known.order = this.#order++;
      if (later) this.#sink(known);
      else this.#rise(known);
      return;
    }
    const entry = { key, at, order: this.#order++, place: this.#heap.length };
    this.#entries.set(key, entry);
    this.#heap.push(entry);
    this.#rise(entry);
  }

  stop(key: Key): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  /** Takes out one key whose deadline is at or before `now`, the earliest first. */
  expired(now: Instant): Key | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.at > now) return undefined;
    this.#remove(first);
    return first.key;
  }

  #remove(entry: Entry<Key>): void {
    this.#entries.delete(entry.key);
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    last.place = entry.place;
    this.#heap[last.place] = last;
    this.#rise(last);
    this.#sink(last);
  }

  #rise(entry: Entry<Key>): void {
    while (entry.place > 0) {
      const parent = this.#heap[(entry.place - 1) >> 1]!; // a place above 0 has a parent
      if (!before(entry, parent)) return;
      this.#swap(entry, parent);
    }
  }

  #sink(entry: Entry<Key>): void {
    for (;;) {
      const left = this.#heap[entry.place * 2 + 1];
      const right = this.#heap[entry.place * 2 + 2];
      const child = right !== undefined && before(right, left!) ? right : left; // a right child has a left twin
      if (child === undefined || !before(child, entry)) return;
      this.#swap(entry, child);
    }
  }

  #swap(a: Entry<Key>, b: Entry<Key>): void {
    [a.place, b.place] = [b.place, a.place];
    this.#heap[a.place] = a;
    this.#heap[b.place] = b;
  }
}

type Entry<Key> = { readonly key: Key; at: Instant; order: number; place: number };

function before<Key>(a: Entry<Key>, b: Entry<Key>): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
