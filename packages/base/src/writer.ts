import { fits, misfit } from "./fits.ts";
import { UsageError } from "./faults.ts";

/**
 * Grows as bytes are appended. `bytes()` hands out a view of what was written so far. A number that its field cannot hold
 * (negative, too large, no integer) throws UsageError: cut short it would come back as another number.
 */
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
    if (value >>> 0 !== value || value > 0xff) misfit("u8", value);
    this.#room(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  u16(value: number): this {
    if (value >>> 0 !== value || value > 0xffff) misfit("u16", value);
    this.#put16(value);
    return this;
  }

  u24(value: number): this {
    if (value >>> 0 !== value || value > 0xff_ffff) misfit("u24", value);
    this.u8(value >>> 16).#put16(value);
    return this;
  }

  u32(value: number): this {
    if (value >>> 0 !== value) misfit("u32", value);
    this.#put32(value);
    return this;
  }

  u48(value: number): this {
    if (!fits(value, 2 ** 48)) misfit("u48", value);
    this.#put16(Math.floor(value / 2 ** 32));
    this.#put32(value);
    return this;
  }

  /** As wide as the ids of sessions and operations; takes 0 to 2^53 - 1, for no more is exact. */
  u56(value: number): this {
    if (!fits(value, 2 ** 53)) misfit("u56", value);
    this.u8(Math.floor(value / 2 ** 48)).#put16(Math.floor(value / 2 ** 32));
    this.#put32(value);
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) misfit("u64", value);
    this.#put32(Number(value >> 32n));
    this.#put32(Number(value & 0xffff_ffffn));
    return this;
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

  /** The lower 16 bits. */
  #put16(value: number): void {
    this.#room(2);
    this.#buffer[this.#length++] = value >>> 8;
    this.#buffer[this.#length++] = value;
  }

  /** The lower 32 bits. */
  #put32(value: number): void {
    this.#room(4);
    this.#buffer[this.#length++] = value >>> 24;
    this.#buffer[this.#length++] = value >>> 16;
    this.#buffer[this.#length++] = value >>> 8;
    this.#buffer[this.#length++] = value;
  }

  #room(n: number): void {
    if (this.#length + n <= this.#buffer.length) return;
    const bigger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + n));
    bigger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = bigger;
  }
}
