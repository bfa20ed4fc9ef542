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
 * Puts handshake messages together, in order. Holds only bytes that were received, never what a header claims. Nothing in
 * the clear is authenticated yet, so what was received first has no right over what comes later: of two fragments that
 * contradict each other the newer one stays, and a forged message costs no more than a lost one.
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

  /**
   * Takes one fragment in. `repeated`: of a message that was already taken. `contradicts`: it stays, and what it contradicts was
   * dropped; or that was sealed, and stays. The other words name why it was dropped.
   */
  add(
    fragment: Fragment,
    epoch: number,
  ): "kept" | "repeated" | "tooFar" | "tooLong" | "contradicts" | "full" {
    const { messageSeq, length, type, offset, body } = fragment;
    if (messageSeq < this.#next) return "repeated";
    if (messageSeq > this.#next + this.#tuning.maxAhead) return "tooFar";
    if (length > this.#tuning.maxMessage) return "tooLong";
    let partial = this.#partial.get(messageSeq);
    if (partial !== undefined && partial.epoch > epoch) return "contradicts"; // that one was sealed, this is not
    let contradicts = false;
    if (
      partial !== undefined &&
      (partial.type !== type ||
        partial.length !== length ||
        partial.epoch !== epoch ||
        !agrees(partial.pieces, offset, body))
    ) {
      this.#forget(messageSeq, partial);
      partial = undefined;
      contradicts = true;
    }
    if (!this.#makeRoom(messageSeq, body.length)) return "full";
    partial ??= { type, length, epoch, pieces: [] };
    const added = merge(partial, offset, body, this.#tuning.maxPieces);
    if (added === undefined) return "full";
    this.#partial.set(messageSeq, partial);
    this.#bytes += added;
    return contradicts ? "contradicts" : "kept";
  }

  /** Drops what is kept for messages to come. */
  forget(): void {
    this.#partial.clear();
    this.#bytes = 0;
  }

  /** The message that `take` gave last was not the peer's: another may come in its place. */
  putBack(): void {
    this.#next -= 1;
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

  /** The epoch of the message that `take` would give. */
  get nextEpoch(): number | undefined {
    return this.#partial.get(this.#next)?.epoch;
  }

  /** What is furthest ahead of its turn goes first; false where that is the newcomer. */
  #makeRoom(messageSeq: number, bytes: number): boolean {
    while (this.#bytes + bytes > this.#tuning.maxBytes) {
      const last = Math.max(...this.#partial.keys());
      const partial = this.#partial.get(last);
      if (partial === undefined || last <= messageSeq) return false;
      this.#forget(last, partial);
    }
    return true;
  }

  #forget(messageSeq: number, partial: Partial): void {
    this.#partial.delete(messageSeq);
    for (const { bytes } of partial.pieces) this.#bytes -= bytes.length;
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

/** Whether a fragment says the same as what it overlaps. */
function agrees(pieces: readonly Piece[], offset: number, body: Uint8Array): boolean {
  const end = offset + body.length;
  return pieces.every((piece) => {
    const from = Math.max(offset, piece.offset);
    const to = Math.min(end, piece.offset + piece.bytes.length);
    if (from >= to) return true;
    const known = piece.bytes.subarray(from - piece.offset, to - piece.offset);
    return equal(known, body.subarray(from - offset, to - offset));
  });
}

/** Lays a fragment into the pieces; returns how many bytes were new, undefined where there would be too many pieces. */
function merge(
  partial: Partial,
  offset: number,
  body: Uint8Array,
  maxPieces: number,
): number | undefined {
  const end = offset + body.length;
  const { pieces } = partial;
  let first = 0; // of those that it touches, which lie side by side
  while (first < pieces.length && endOf(pieces[first]!) < offset) first += 1; // within
  let behind = first;
  while (behind < pieces.length && pieces[behind]!.offset <= end) behind += 1; // within
  if (pieces.length - (behind - first) + 1 > maxPieces) return undefined;
  const there = pieces[first];
  // What comes again costs no memory; that it says the same was seen before.
  if (there !== undefined && there.offset <= offset && endOf(there) >= end) return 0;
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
  pieces.splice(first, behind - first, { offset: from, bytes });
  return bytes.length - before;
}

function endOf({ offset, bytes }: Piece): number {
  return offset + bytes.length;
}
