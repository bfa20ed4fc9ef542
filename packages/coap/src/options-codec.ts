import { EMPTY, FormatError, UsageError, misfit } from "@godwit/base";
import type { Option } from "./message.ts";

/** What follows the token of a message, and the code in an OSCORE plaintext. */
export type Body = { readonly options: readonly Option[]; readonly payload: Uint8Array };

/**
 * Reads options and payload (RFC 7252 3.1) from `at` to the end of `bytes`. Unknown options are kept. Values and payload
 * are views: copy what must outlive the datagram.
 *
 * @throws FormatError
 */
export function decodeBody(bytes: Uint8Array, at = 0): Body {
  const body = scanBody(bytes, at);
  if (typeof body === "string") throw new FormatError(body);
  return body;
}

/** {@link decodeBody} with the fault as its result: an error made and caught on the way would cost more than the reading. */
export function scanBody(bytes: Uint8Array, at: number): Body | string {
  const end = bytes.length;
  if (at >= end) return NO_BODY;
  const options: Option[] = [];
  let number = 0;
  while (at < end) {
    const head = bytes[at++]!; // at < end
    if (head === PAYLOAD_MARKER) {
      if (at === end) return "payload marker without payload";
      return { options, payload: bytes.subarray(at) };
    }
    let delta = head >>> 4;
    if (delta >= 13) {
      if (delta === 15) return "option delta nibble 15 is reserved";
      const width = delta - 12;
      if (at + width > end) return "option delta ends early";
      delta = extension(bytes, at, width);
      at += width;
    }
    let length = head & 0x0f;
    if (length >= 13) {
      if (length === 15) return "option length nibble 15 is reserved";
      const width = length - 12;
      if (at + width > end) return "option length ends early";
      length = extension(bytes, at, width);
      at += width;
    }
    number += delta;
    if (number > MAX_OPTION_NUMBER) return "option number above 65535";
    const stop = at + length;
    if (stop > end) return `option ${number} is longer than the message`;
    options.push({ number, value: length === 0 ? EMPTY : bytes.subarray(at, stop) });
    at = stop;
  }
  return { options, payload: EMPTY };
}

/**
 * Where the value of the first option of this number is in a message: the offset of its first byte, times 2^16, and its length.
 * -1 without such an option, and for what is no message. Makes nothing: with this datagrams are told apart before any is read.
 */
export function optionAt(message: Uint8Array, number: number): number {
  const end = message.length;
  const token = message[0]! & 0x0f; // without a first byte 0, and nothing stands behind it
  if (token > LONGEST_PLAIN_TOKEN) return -1;
  let at = 4 + token;
  let current = 0;
  while (at < end) {
    const head = message[at++]!; // at < end
    let delta = head >>> 4;
    let length = head & 0x0f;
    if (delta === 15 || length === 15) return -1; // the payload begins, or nothing that is legal
    const from = at + (delta < 13 ? 0 : delta - 12) + (length < 13 ? 0 : length - 12);
    if (from > end) return -1;
    if (length >= 13) length = extension(message, from - (length - 12), length - 12);
    if (delta >= 13) delta = extension(message, at, delta - 12);
    at = from + length;
    current += delta;
    if (current > number || at > end) return -1;
    if (current === number) return from * 0x1_0000 + length;
  }
  return -1;
}

/** Bytes that {@link writeBody} will take. Throws UsageError for options out of order or out of range. */
export function bodyLength(options: readonly Option[], payload: Uint8Array): number {
  let total = payload.length === 0 ? 0 : 1 + payload.length;
  let previous = 0;
  for (let i = 0; i < options.length; i++) {
    const { number, value } = options[i]!; // i < length
    const length = value.length;
    if (number < previous) throw new UsageError("options must be sorted by number");
    if (number > MAX_OPTION_NUMBER || !Number.isInteger(number))
      throw new UsageError(`no option number: ${number}`);
    if (length > MAX_EXTENDED) throw new UsageError(`option ${number} is too long`);
    const delta = number - previous;
    total += 1 + (delta < 13 ? 0 : delta < 269 ? 1 : 2) + (length < 13 ? 0 : length < 269 ? 1 : 2);
    total += length;
    previous = number;
  }
  return total;
}

/** Writes sorted options and payload from `at` on; returns the offset behind them. */
export function writeBody(
  out: Uint8Array,
  at: number,
  options: readonly Option[],
  payload: Uint8Array,
): number {
  let previous = 0;
  for (let i = 0; i < options.length; i++) {
    const { number, value } = options[i]!; // i < length
    const delta = number - previous;
    const length = value.length;
    out[at++] = (nibble(delta) << 4) | nibble(length);
    if (delta >= 13) at = writeExtension(out, at, delta);
    if (length >= 13) at = writeExtension(out, at, length);
    at = put(out, at, value);
    previous = number;
  }
  if (payload.length > 0) {
    out[at++] = PAYLOAD_MARKER;
    at = put(out, at, payload);
  }
  return at;
}

/** Options and payload as bytes, as {@link decodeBody} reads them. Throws UsageError for options out of order or range. */
export function encodeBody(options: readonly Option[], payload: Uint8Array): Uint8Array {
  const out = new Uint8Array(bodyLength(options, payload));
  writeBody(out, 0, options, payload);
  return out;
}

/** The 4-bit form of a length or delta: itself, 13 for one extension byte, 14 for two. */
export function nibble(value: number): number {
  return value < 13 ? value : value < 269 ? 13 : 14;
}

/** Reads the extension of nibble 13 (width 1) or 14 (width 2); the caller has checked the end. */
export function extension(bytes: Uint8Array, at: number, width: number): number {
  return width === 1 ? bytes[at]! + 13 : ((bytes[at]! << 8) | bytes[at + 1]!) + 269;
}

/** Writes the extension of a value of 13 to MAX_EXTENDED; returns the offset behind it. */
export function writeExtension(out: Uint8Array, at: number, value: number): number {
  if (!(value >= 13 && value <= MAX_EXTENDED)) misfit("an extended length", value);
  if (value < 269) {
    out[at] = value - 13;
    return at + 1;
  }
  out[at] = (value - 269) >>> 8;
  out[at + 1] = value - 269;
  return at + 2;
}

/** Copies `part` to `at`; returns the offset behind it. A loop beats the call of `set` for a few bytes. */
export function put(out: Uint8Array, at: number, part: Uint8Array): number {
  const length = part.length;
  if (length > 24) out.set(part, at);
  else for (let i = 0; i < length; i++) out[at + i] = part[i]!; // i < length
  return at + length;
}

/** What two extension bytes can say: the longest token and option value. */
export const MAX_EXTENDED: number = 0xffff + 269;

/** RFC 7252 3. */
const LONGEST_PLAIN_TOKEN = 8;
const MAX_OPTION_NUMBER = 0xffff;
const PAYLOAD_MARKER = 0xff;
const NO_BODY: Body = { options: [], payload: EMPTY };
