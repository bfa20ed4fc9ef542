/**
 * A bounded stream from events to `for await`. When the reader is slow, the oldest items are dropped. A reader that waits can
 * leave at any time: `return` answers it.
 */
export class Feed<T> implements AsyncIterableIterator<T, void, void> {
  readonly #items: T[] = [];
  readonly #limit: number;
  readonly #readers: Reader<T>[] = [];
  #end: End | undefined;

  constructor(limit = 1_000) {
    this.#limit = limit;
  }

  push(item: T): void {
    if (this.#end !== undefined) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) return reader.resolve({ done: false, value: item });
    if (this.#items.length === this.#limit) this.#items.shift();
    this.#items.push(item);
  }

  /** No more items; what is here is still read. */
  end(): void {
    this.#finish({ fault: undefined });
  }

  /** As `end`, but who reads past what is here gets the fault, once. */
  fail(fault: unknown): void {
    this.#finish({ fault });
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#items.length > 0) {
      return Promise.resolve({ done: false, value: this.#items.shift()! }); // it has one
    }
    if (this.#end === undefined) {
      return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
    }
    const { fault } = this.#end;
    this.#end = { fault: undefined };
    return fault === undefined ? Promise.resolve(OVER) : Promise.reject(fault as Error);
  }

  /** Ends it and drops what is here. */
  return(): Promise<IteratorResult<T, void>> {
    this.#items.length = 0;
    this.#end = undefined;
    this.end();
    return Promise.resolve(OVER);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #finish(end: End): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    for (const reader of this.#readers.splice(0)) {
      if (this.#end.fault === undefined) reader.resolve(OVER);
      else {
        reader.reject(this.#end.fault);
        this.#end = { fault: undefined };
      }
    }
  }
}

type Reader<T> = {
  readonly resolve: (result: IteratorResult<T, void>) => void;
  readonly reject: (fault: unknown) => void;
};
type End = { readonly fault: unknown };
const OVER: IteratorReturnResult<void> = { done: true, value: undefined };
