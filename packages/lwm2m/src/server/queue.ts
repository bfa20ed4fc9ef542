/** First in, first out, and any one out at once: a Map would walk over the places of those that left to find its first. */
export class Queue<T> {
  readonly #places = new Map<T, Place<T>>();
  #first: Place<T> | undefined;
  #last: Place<T> | undefined;

  get size(): number {
    return this.#places.size;
  }

  get first(): T | undefined {
    return this.#first?.item;
  }

  has(item: T): boolean {
    return this.#places.has(item);
  }

  /** Puts `item` last; where it is in already it stays. */
  add(item: T): void {
    if (this.#places.has(item)) return;
    const place: Place<T> = { item, before: this.#last, behind: undefined };
    this.#places.set(item, place);
    if (this.#last === undefined) this.#first = place;
    else this.#last.behind = place;
    this.#last = place;
  }

  delete(item: T): void {
    const place = this.#places.get(item);
    if (place === undefined) return;
    this.#places.delete(item);
    if (place.before === undefined) this.#first = place.behind;
    else place.before.behind = place.behind;
    if (place.behind === undefined) this.#last = place.before;
    else place.behind.before = place.before;
  }
}

type Place<T> = { readonly item: T; before: Place<T> | undefined; behind: Place<T> | undefined };
