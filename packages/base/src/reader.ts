import { FormatError } from "./faults.ts";

/** Cursor over bytes that came from elsewhere. Every read checks the end and throws FormatError past it. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Offset of the next byte. */
  get at(): number {
    return this.#at;
  }

  u8(): number {
    if (this.#at >= this.#bytes.length) this.#short(1);
    return this.#bytes[this.#at++]!; // the line above checked the end
  }

  u16(): number {
    return (this.u8() << 8) | this.u8();
  }

  u24(): number {
    return (this.u16() << 8) | this.u8();
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16();
  }

  u48(): number {
    return this.u16() * 0x1_0000_0000 + this.u32();
  }

  /** @throws FormatError above 2^53 - 1: the number would not be exact */
  u56(): number {
    const high = this.u8();
    if (high >= 2 ** 5) throw new FormatError("a number above 2^53 - 1");
    return high * 2 ** 48 + this.u48();
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** The next `n` bytes, as a view: copy them if they must outlive the datagram. */
  take(n: number): Uint8Array {
    if (n > this.left) this.#short(n);
    const part = this.#bytes.subarray(this.#at, this.#at + n);
    this.#at += n;
    return part;
  }

  /** All that is left, as a view. */
  rest(): Uint8Array {
    return this.take(this.left);
  }

  /** A reader over the next `n` bytes alone, for nested lengths. */
  sub(n: number): Reader {
    return new Reader(this.take(n));
  }

  /** Refuses leftovers. */
  end(what: string): void {
    if (this.left > 0) throw new FormatError(`${this.left} bytes too many after ${what}`);
  }

  #short(n: number): never {
    throw new FormatError(`need ${n} bytes, have ${this.left}`);
  }
}
