import { concat } from "@godwit/base";
import { ContentType } from "./codes.ts";
import { HANDSHAKE_HEADER, writeFragment } from "./handshake/header.ts";

/** One message of a flight: a handshake message with its whole header, or the one byte of ChangeCipherSpec. */
export type FlightItem = {
  readonly epoch: 0 | 1;
  readonly type: number;
  readonly bytes: Uint8Array;
};

/** Makes records, numbering them in the order they are asked for. */
export type RecordMaker = {
  seal(epoch: 0 | 1, type: number, content: Uint8Array): Uint8Array;
  /** The most that a record adds to its content. */
  overhead(epoch: 0 | 1): number;
  /** Largest plaintext the peer takes. */
  readonly limit: number;
};

/**
 * Packs a flight into datagrams: records into one datagram as far as `mtu` allows, and with `coalesce` messages of one
 * epoch into one record (RFC 6347 4.2.3), else each message into a record of its own. Long messages are cut where a datagram ends.
 */
export function packFlight(
  items: readonly FlightItem[],
  maker: RecordMaker,
  mtu: number,
  coalesce: boolean,
): Uint8Array[] {
  const datagrams: Uint8Array[] = [];
  let records: Uint8Array[] = [];
  let used = 0;
  let open: { readonly epoch: 0 | 1; readonly parts: Uint8Array[]; size: number } | undefined;

  const closeRecord = (): void => {
    if (open === undefined) return;
    const record = maker.seal(open.epoch, ContentType.handshake, concat(...open.parts));
    open = undefined;
    records.push(record);
    used += record.length;
  };
  const closeDatagram = (): void => {
    closeRecord();
    if (records.length > 0) datagrams.push(concat(...records));
    records = [];
    used = 0;
  };
  /** Bytes of content that still fit: into the open record where it takes more, else into a new one. */
  const room = (epoch: 0 | 1): number =>
    open?.epoch === epoch
      ? Math.min(mtu - used - maker.overhead(epoch), maker.limit) - open.size
      : Math.min(mtu - used - maker.overhead(epoch), maker.limit);

  for (const item of items) {
    if (item.type !== ContentType.handshake) {
      closeRecord();
      if (room(item.epoch) < item.bytes.length) closeDatagram();
      const record = maker.seal(item.epoch, item.type, item.bytes);
      records.push(record);
      used += record.length;
      continue;
    }
    if (!coalesce || (open !== undefined && open.epoch !== item.epoch)) closeRecord();
    const { type, messageSeq, body } = parts(item.bytes);
    let offset = 0;
    do {
      const wanted = HANDSHAKE_HEADER + Math.min(body.length - offset, SMALLEST_PIECE);
      if (room(item.epoch) < wanted) closeRecord();
      if (room(item.epoch) < wanted && used > 0) closeDatagram();
      const fits = Math.max(room(item.epoch) - HANDSHAKE_HEADER, 1);
      const piece = body.subarray(offset, offset + fits);
      open ??= { epoch: item.epoch, parts: [], size: 0 };
      const fragment = { type, length: body.length, messageSeq, offset, body: piece };
      open.parts.push(writeFragment(fragment));
      open.size += HANDSHAKE_HEADER + piece.length;
      offset += piece.length;
    } while (offset < body.length);
  }
  closeDatagram();
  return datagrams;
}

function parts(message: Uint8Array): {
  readonly type: number;
  readonly messageSeq: number;
  readonly body: Uint8Array;
} {
  return {
    type: message[0]!, // a whole message has its header
    messageSeq: (message[4]! << 8) | message[5]!,
    body: message.subarray(HANDSHAKE_HEADER),
  };
}

/** Less than this at a datagram's end is not worth another fragment header. */
const SMALLEST_PIECE = 32;
