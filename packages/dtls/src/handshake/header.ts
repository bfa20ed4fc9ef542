import { FormatError, Writer } from "@godwit/base";

/**
 *   type(1) length(3) message_seq(2) fragment_offset(3) fragment_length(3) body       RFC 6347 4.2.2
 */
export type Fragment = {
  readonly type: number;
  /** Of the whole message. */
  readonly length: number;
  readonly messageSeq: number;
  readonly offset: number;
  readonly body: Uint8Array;
};

/**
 * All fragments of one handshake record, or why it is none. Several are legal, nothing else may stand between them. The fault
 * is a result: anybody can send such a record, and an error made for each would cost more than all the reading.
 */
export function scanFragments(record: Uint8Array): Fragment[] | string {
  if (record.length === 0) return "empty handshake record";
  const fragments: Fragment[] = [];
  for (let at = 0; at < record.length;) {
    if (fragments.length === MAX_FRAGMENTS) return "too many fragments in one record";
    const fragment = scanFragment(record, at);
    if (typeof fragment === "string") return fragment;
    fragments.push(fragment);
    at += HANDSHAKE_HEADER + fragment.body.length;
  }
  return fragments;
}

/** {@link scanFragments} for who cannot go on without. @throws FormatError */
export function readFragments(record: Uint8Array): Fragment[] {
  const fragments = scanFragments(record);
  if (typeof fragments === "string") throw new FormatError(fragments);
  return fragments;
}

/** The fragment that begins at `at`, or why it is none. */
export function scanFragment(record: Uint8Array, at: number): Fragment | string {
  const start = at + HANDSHAKE_HEADER;
  if (start > record.length) return "fragment header cut short";
  const type = record[at]!; // the line above checked the end, for all of the header
  const length = u24(record, at + 1);
  const messageSeq = (record[at + 4]! << 8) | record[at + 5]!;
  const offset = u24(record, at + 6);
  const size = u24(record, at + 9);
  if (offset + size > length) return "fragment reaches beyond its message";
  if (size === 0 && length > 0) return "fragment without a byte";
  if (start + size > record.length) return "fragment longer than its record";
  return { type, length, messageSeq, offset, body: record.subarray(start, start + size) };
}

function u24(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!; // callers keep at + 3 within
}

/** Whether a fragment is all of its message. */
export function isWhole({ body, length }: Fragment): boolean {
  return body.length === length;
}

/** One fragment. A whole message is the fragment with offset 0 and all of the body. */
export function writeFragment(fragment: Fragment): Uint8Array {
  const { type, length, messageSeq, offset, body } = fragment;
  return new Writer(HANDSHAKE_HEADER + body.length)
    .u8(type)
    .u24(length)
    .u16(messageSeq)
    .u24(offset)
    .u24(body.length)
    .append(body)
    .bytes();
}

/** A message as the transcript hash takes it: as if it had not been fragmented (RFC 6347 4.2.6). */
export function wholeMessage(type: number, messageSeq: number, body: Uint8Array): Uint8Array {
  return writeFragment({ type, length: body.length, messageSeq, offset: 0, body });
}

export const HANDSHAKE_HEADER = 12;
/** A flight has six messages at most, and who cuts a message fills records with its parts. */
const MAX_FRAGMENTS = 16;
