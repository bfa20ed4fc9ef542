import type { Instant } from "@godwit/base";

/** Something that happens at an instant. `order` and `place` belong to the queue. */
export interface Timed {
  at: Instant;
  order: number;
  /** Where it stands in the heap; -1 when it waits for nothing. */
  place: number;
  fire(): void;
}

/**
 * What is going to happen, by (time, sequence): events of one instant fire in the order they were set. The
 * heap holds the events themselves, so a datagram in flight costs no timer object beside it.
 */
export class EventQueue {
  readonly #heap: Timed[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  get next(): Timed | undefined {
    return this.#heap[0];
  }

  /** Sets `event`, or moves it if it was set before. */
  set(event: Timed, at: Instant): void {
    const place = event.place;
    event.at = at;
    event.order = this.#order++;
    if (place === -1) {
      this.#heap.push(event);
      this.#rise(event, this.#heap.length - 1);
    } else {
      this.#rise(event, place);
      this.#sink(event, event.place);
    }
  }

  stop(event: Timed): void {
    if (event.place !== -1) this.#remove(event);
  }

  /** Takes out the first event, if it is due. */
  take(now: Instant): Timed | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.at > now) return undefined;
    this.#remove(first);
    return first;
  }

  #remove(event: Timed): void {
    const place = event.place;
    event.place = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === event) return;
    this.#rise(last, place);
    this.#sink(last, last.place);
  }

  #rise(event: Timed, from: number): void {
    const heap = this.#heap;
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above]!; // a place above 0 has a parent
      if (!before(event, parent)) break;
      heap[place] = parent;
      parent.place = place;
      place = above;
    }
    heap[place] = event;
    event.place = place;
  }

  #sink(event: Timed, from: number): void {
    const heap = this.#heap;
    const size = heap.length;
    let place = from;
    for (;;) {
      let below = place * 2 + 1;
      if (below >= size) break;
      let child = heap[below]!; // below size
      if (below + 1 < size && before(heap[below + 1]!, child)) child = heap[++below]!; // below size
      if (!before(child, event)) break;
      heap[place] = child;
      child.place = place;
      place = below;
    }
    heap[place] = event;
    event.place = place;
  }
}

function before(a: Timed, b: Timed): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
