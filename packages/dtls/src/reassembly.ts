import { equal } from "@godwit/base";
import { type Fragment, wholeMessage } from "./handshake/header.ts";

/** A handshake message, complete and in its turn. */
export type Message = {
  readonly type: number;
  readonly messageSeq: number;
  readonly epoch: number;
  readonly body: Uint8Array;
  /** With its header as the transcript wants it. */
  readonly raw: Uint8Array;
};

export type ReassemblyTuning = {
  /** The longest message taken, in bytes. */
  readonly maxMessage: number;
  /** How many messages beyond the next are kept. */
  readonly maxAhead: number;
  /** Bytes kept in all, for messages that are not complete or not in turn. */
  readonly maxBytes: number;
  /** Gaps in one message: each separate run of bytes is one piece. */
  readonly maxPieces: number;
};

/**
 * Puts handshake messages together, in order. Holds only bytes that were received, never what a header claims, and
 * drops what contradicts an earlier fragment: none of it is authenticated yet.
 */
export class Reassembly {
  readonly #tuning: ReassemblyTuning;
  readonly #partial = new Map<number, Partial>();
  #next: number;
  #bytes = 0;

  /** `next`: the message_seq to begin with. */
  constructor(next: number, tuning: ReassemblyTuning) {
    this.#next = next;
    this.#tuning = tuning;
  }

  /** message_seq of the message that `take` waits for. */
  get next(): number {
    return this.#next;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes one fragment in. `repeated`: of a message that was already taken. The other words name why it was dropped. */
  add(
    fragment: Fragment,
    epoch: number,
  ): "kept" | "repeated" | "tooFar" | "tooLong" | "contradicts" | "full" {
    const { messageSeq, length, type, offset, body } = fragment;
    if (messageSeq < this.#next) return "repeated";
    if (messageSeq > this.#next + this.#tuning.maxAhead) return "tooFar";
    if (length > this.#tuning.maxMessage) return "tooLong";
    const known = this.#partial.get(messageSeq);
    if (known !== undefined) {
      if (known.type !== type || known.length !== length || known.epoch !== epoch) {
        return "contradicts";
      }
    }
    if (this.#bytes + body.length > this.#tuning.maxBytes) return "full";
    const partial = known ?? { type, length, epoch, pieces: [] };
    const outcome = merge(partial, offset, body, this.#tuning.maxPieces);
    if (typeof outcome === "string") return outcome;
    if (known === undefined) this.#partial.set(messageSeq, partial);
    this.#bytes += outcome;
    return "kept";
  }

  /** The next message, once all of it is here. */
  take(): Message | undefined {
    const partial = this.#partial.get(this.#next);
    const [piece] = partial?.pieces ?? [];
    if (partial === undefined || piece === undefined) return undefined;
    if (piece.bytes.length < partial.length) return undefined;
    this.#partial.delete(this.#next);
    this.#bytes -= partial.length;
    const messageSeq = this.#next++;
    const { type, epoch } = partial;
    const raw = wholeMessage(type, messageSeq, piece.bytes);
    return { type, messageSeq, epoch, body: piece.bytes, raw };
  }
}

type Partial = {
  readonly type: number;
  readonly length: number;
  readonly epoch: number;
  /** Runs of bytes that do not touch, by rising offset. */
  readonly pieces: Piece[];
};
type Piece = { readonly offset: number; readonly bytes: Uint8Array };

/** Lays a fragment into the pieces; returns how many bytes were new. */
function merge(
  partial: Partial,
  offset: number,
  body: Uint8Array,
  maxPieces: number,
): number | "contradicts" | "full" {
  const end = offset + body.length;
  const { pieces } = partial;
  let first = 0; // of those that it touches, which lie side by side
  while (first < pieces.length && endOf(pieces[first]!) < offset) first += 1; // within
  let behind = first;
  while (behind < pieces.length && pieces[behind]!.offset <= end) behind += 1; // within
  if (pieces.length - (behind - first) + 1 > maxPieces) return "full";
  const there = pieces[first];
  if (there !== undefined && there.offset <= offset && endOf(there) >= end) {
    const known = there.bytes.subarray(offset - there.offset, end - there.offset);
    return equal(known, body) ? 0 : "contradicts"; // what comes again costs no memory
  }
  const touching = pieces.slice(first, behind);
  const from = Math.min(offset, touching[0]?.offset ?? offset);
  const to = Math.max(end, touching.length === 0 ? end : endOf(touching.at(-1)!)); // there is one
  const bytes = new Uint8Array(to - from);
  bytes.set(body, offset - from); // a copy: the datagram's memory is not ours to keep
  let before = 0;
  for (const piece of touching) {
    bytes.set(piece.bytes, piece.offset - from);
    before += piece.bytes.length;
  }
  if (!equal(bytes.subarray(offset - from, end - from), body)) return "contradicts";
  pieces.splice(first, behind - first, { offset: from, bytes });
  return bytes.length - before;
}

function endOf({ offset, bytes }: Piece): number {
  return offset + bytes.length;
}
