import { FormatError, UsageError } from "@godwit/base";
import type { Option } from "./message.ts";
import { readUint, uintBytes } from "./options.ts";

/** The value of Block1, Block2, Q-Block1 and Q-Block2 (RFC 7959 2.2). */
export type Block = {
  /** Index of the block in blocks of this size, 0 to 2^20 - 1. */
  readonly num: number;
  readonly more: boolean;
  /** Size exponent 0 to 6: the block has 2^(szx + 4) bytes. */
  readonly szx: number;
};

/**
 * Reads the value of a Block option.
 *
 * @throws FormatError for more than 3 bytes, and for size exponent 7, which a datagram cannot carry
 */
export function decodeBlock(value: Uint8Array): Block {
  if (value.length > 3) throw new FormatError(`block option of ${value.length} bytes`);
  const bits = readUint(value);
  const szx = bits & 0x07;
  if (szx > MAX_SZX) throw new FormatError("block size exponent 7 is reserved");
  return { num: bits >>> 4, more: (bits & 0x08) !== 0, szx };
}

/** Whether {@link decodeBlock} reads it. */
export function isBlock(value: Uint8Array): boolean {
  return value.length <= 3 && ((value.at(-1) ?? 0) & 0x07) <= MAX_SZX;
}

/** The shortest value of a Block option. Throws UsageError for a field out of range. */
export function encodeBlock({ num, more, szx }: Block): Uint8Array {
  if (!(num >= 0 && num <= MAX_BLOCK_NUM) || !Number.isInteger(num))
    throw new UsageError(`no block number: ${num}`);
  return uintBytes((num << 4) | (more ? 0x08 : 0) | checked(szx));
}

/** A Block option: `blockOption(OptionNumber.Block2, { num: 0, more: false, szx: 6 })`. */
export function blockOption(number: number, block: Block): Option {
  return { number, value: encodeBlock(block) };
}

/** Bytes of a block: 16 for exponent 0, 1024 for 6. Throws UsageError for another exponent. */
export function blockSize(szx: number): number {
  return SMALLEST_BLOCK << checked(szx);
}

/** The exponent of the largest block that is no longer than `size` bytes. Throws UsageError below 16. */
export function szxFor(size: number): number {
  if (!(size >= SMALLEST_BLOCK)) throw new UsageError(`no block has ${size} bytes or fewer`);
  return Math.min(27 - Math.clz32(Math.min(size, LARGEST_BLOCK)), MAX_SZX);
}

/** Offset of the block's first byte in the body. */
export function blockOffset({ num, szx }: Block): number {
  return num * blockSize(szx);
}

function checked(szx: number): number {
  if (!(szx >= 0 && szx <= MAX_SZX) || !Number.isInteger(szx))
    throw new UsageError(`no block size exponent: ${szx}`);
  return szx;
}

/** The 20 bits left beside M and SZX in 3 bytes. */
export const MAX_BLOCK_NUM = 0xf_ffff;
const MAX_SZX = 6;
/** Bytes of the smallest and of the largest block. */
export const SMALLEST_BLOCK = 16;
export const LARGEST_BLOCK = 1_024;
