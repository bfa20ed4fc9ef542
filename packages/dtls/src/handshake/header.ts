import { FormatError, Reader, Writer } from "@godwit/base";

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

/** All fragments of one handshake record. Several are legal, nothing else may stand between them. */
export function readFragments(record: Uint8Array): Fragment[] {
  const reader = new Reader(record);
  if (reader.left === 0) throw new FormatError("empty handshake record");
  const fragments: Fragment[] = [];
  while (reader.left > 0) fragments.push(readFragment(reader));
  return fragments;
}

export function readFragment(reader: Reader): Fragment {
  const type = reader.u8();
  const length = reader.u24();
  const messageSeq = reader.u16();
  const offset = reader.u24();
  const size = reader.u24();
  if (offset + size > length) throw new FormatError("fragment reaches beyond its message");
  if (size === 0 && length > 0) throw new FormatError("fragment without a byte");
  return { type, length, messageSeq, offset, body: reader.take(size) };
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
