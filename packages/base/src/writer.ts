import { UsageError } from "./faults.ts";

/** Grows as bytes are appended. `bytes()` hands out a view of what was written so far. */
export class Writer {
  #buffer: Uint8Array;
  #length = 0;

  /** `size`: expected length in bytes; more is allowed. */
  constructor(size = 64) {
    this.#buffer = new Uint8Array(size);
  }

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#room(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    this.#room(2);
    this.#buffer[this.#length++] = value >>> 8;
    this.#buffer[this.#length++] = value;
    return this;
  }

  u24(value: number): this {
    return this.u8(value >>> 16).u16(value & 0xffff);
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff);
  }

  /** 48-bit unsigned, exact for every safe integer below 2^48. */
  u48(value: number): this {
    return this.u16(Math.floor(value / 0x1_0000_0000)).u32(value >>> 0);
  }

  u64(value: bigint): this {
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffff_ffffn));
  }

  append(part: Uint8Array): this {
    this.#room(part.length);
    this.#buffer.set(part, this.#length);
    this.#length += part.length;
    return this;
  }

  /** Writes an 8-, 16- or 24-bit length before what `body` writes. */
  prefixed(width: 1 | 2 | 3, body: (w: this) => void): this {
    const at = this.#length;
    for (let i = 0; i < width; i++) this.u8(0);
    body(this);
    const size = this.#length - at - width;
    if (size >= 2 ** (8 * width))
      throw new UsageError(`${size} bytes do not fit ${width}-byte length`);
    for (let i = 0; i < width; i++) this.#buffer[at + i] = size >>> (8 * (width - 1 - i));
    return this;
  }

  /** What was written, as a view that later writes may outgrow. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  #room(n: number): void {
    if (this.#length + n <= this.#buffer.length) return;
    const bigger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + n));
    bigger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = bigger;
  }
}
