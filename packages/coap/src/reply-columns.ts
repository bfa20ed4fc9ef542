/** The facts of remembered exchanges, one typed array for each, and their answers in chunks. See ReplyCache. */
export class Columns {
  readonly capacity: number;
  readonly owner: Int32Array;
  readonly mid: Uint16Array;
  readonly hash: Uint32Array;
  readonly state: Uint8Array;
  readonly unsafe: Uint8Array;
  readonly exchange: Float64Array;
  readonly until: Float64Array;
  /** The next one in the hash chain, or in the list of free places. */
  readonly chain: Int32Array;
  readonly older: Int32Array;
  readonly newer: Int32Array;
  /** The neighbours within the session. */
  readonly before: Int32Array;
  readonly behind: Int32Array;
  readonly chunk: Int32Array;
  readonly length: Uint16Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.owner = new Int32Array(capacity).fill(NONE);
    this.mid = new Uint16Array(capacity);
    this.hash = new Uint32Array(capacity);
    this.state = new Uint8Array(capacity);
    this.unsafe = new Uint8Array(capacity);
    this.exchange = new Float64Array(capacity);
    this.until = new Float64Array(capacity);
    this.chain = new Int32Array(capacity);
    this.older = new Int32Array(capacity);
    this.newer = new Int32Array(capacity);
    this.before = new Int32Array(capacity);
    this.behind = new Int32Array(capacity);
    this.chunk = new Int32Array(capacity);
    this.length = new Uint16Array(capacity);
  }

  get byteLength(): number {
    return this.capacity * COLUMN_BYTES;
  }

  resized(capacity: number): Columns {
    const bigger = new Columns(capacity);
    bigger.owner.set(this.owner);
    bigger.mid.set(this.mid);
    bigger.hash.set(this.hash);
    bigger.state.set(this.state);
    bigger.unsafe.set(this.unsafe);
    bigger.exchange.set(this.exchange);
    bigger.until.set(this.until);
    bigger.chain.set(this.chain);
    bigger.older.set(this.older);
    bigger.newer.set(this.newer);
    bigger.before.set(this.before);
    bigger.behind.set(this.behind);
    bigger.chunk.set(this.chunk);
    bigger.length.set(this.length);
    return bigger;
  }
}

/** Byte strings of any length in equal pieces: what one gives back fits every other. */
export class Chunks {
  #data: Uint8Array;
  #next: Int32Array;
  #free = NONE;
  #fresh = 0;

  constructor(capacity: number) {
    this.#data = new Uint8Array(capacity * CHUNK);
    this.#next = new Int32Array(capacity);
  }

  get byteLength(): number {
    return this.#data.length + this.#next.byteLength;
  }

  write(bytes: Uint8Array): number {
    let first = NONE;
    for (let end = chunked(bytes.length); end > 0; end -= CHUNK) {
      const chunk = this.#take();
      const data = this.#data;
      const from = end - CHUNK;
      const stop = Math.min(end, bytes.length);
      for (let i = from, at = chunk * CHUNK; i < stop; i++, at++) data[at] = bytes[i]!; // i < length
      this.#next[chunk] = first;
      first = chunk;
    }
    return first;
  }

  read(first: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0, chunk = first; at < length; at += CHUNK) {
      const from = chunk * CHUNK;
      bytes.set(this.#data.subarray(from, from + Math.min(CHUNK, length - at)), at);
      chunk = this.#next[chunk]!; // a chain is as long as its bytes
    }
    return bytes;
  }

  free(first: number): void {
    let last = first;
    while (this.#next[last] !== NONE) last = this.#next[last]!; // chains end with NONE
    this.#next[last] = this.#free;
    this.#free = first;
  }

  #take(): number {
    if (this.#free !== NONE) {
      const chunk = this.#free;
      this.#free = this.#next[chunk]!; // a free chunk is within
      return chunk;
    }
    if (this.#fresh === this.#next.length) {
      const data = new Uint8Array(this.#data.length * 2);
      data.set(this.#data);
      this.#data = data;
      const next = new Int32Array(this.#next.length * 2);
      next.set(this.#next);
      this.#next = next;
    }
    return this.#fresh++;
  }
}

/** What an answer of this length takes up. */
export function chunked(length: number): number {
  return Math.ceil(length / CHUNK) * CHUNK;
}

/** No column, no chunk. */
export const NONE = -1;
/** Most answers to devices are a few bytes: an ACK with a token is 5, with a location 13. */
const CHUNK = 32;
/** Bytes per entry over all columns. */
const COLUMN_BYTES = 4 + 2 + 4 + 1 + 1 + 8 + 8 + 4 * 6 + 2;
