import { FormatError, UsageError } from "./faults.ts";
import { fits } from "./fits.ts";
import { Reader } from "./reader.ts";
import { SERIALS_PER_SLOT, type SlotId, type SlottedId } from "./slot.ts";
import type { StoreChange } from "./store.ts";
import { Writer } from "./writer.ts";

export type ReservedCounterOptions = {
  /** What is counted: "operation" for one. With the slot the key of its row. */
  readonly kind: string;
  readonly slot?: SlotId;
  /** The serials that are given out, 1 to 2^45 - 1 unless given. */
  readonly first?: number;
  readonly last?: number;
  /** Serials reserved at once. */
  readonly stride?: number;
};

/**
 * Hands out serials below a durable bound, like sequence numbers: after a crash it goes on at the bound. One per slot and kind.
 *
 *   next ──▶ number ──▶ first row with the number ──┐
 *            reservation ───────────────────────────┴──▶ one write ──▶ reserved
 *
 * A number becomes durable together with a bound above it: while `reservation` gives a change, that change goes into every
 * write. So nobody waits for a number, a number that leads to no row costs no write, and one whose row was written is never
 * given out again.
 */
export class ReservedCounter {
  readonly key: string;
  readonly #base: number;
  readonly #last: number;
  readonly #stride: number;
  #next: number;
  /** Where this run began. */
  #from: number;
  /** As stored: a restart goes on here. */
  #bound: number;
  /** Up to this number no reservation is due. */
  #quiet: number;
  /** Bounds in writes that were not answered yet, in their order. */
  readonly #promised: number[] = [];

  constructor({ kind, slot = 0, first = 1, last, stride = STRIDE }: ReservedCounterOptions) {
    const end = last ?? SERIALS_PER_SLOT - 1;
    if (!fits(slot, SLOTS)) throw new UsageError(`no slot: ${slot}`);
    if (!fits(first, SERIALS_PER_SLOT) || !fits(end, SERIALS_PER_SLOT) || first > end)
      throw new UsageError(`no range of serials: ${first} to ${end}`);
    this.key = `${slot}/${kind}`;
    this.#base = slot * SERIALS_PER_SLOT;
    this.#last = end;
    this.#stride = stride;
    this.#next = first;
    this.#from = first;
    this.#bound = first;
    this.#quiet = first;
  }

  /** Goes on at the bound that a row holds. @throws FormatError for a row that is none of this counter */
  restore(row: Uint8Array): void {
    const reader = new Reader(row);
    const bound = reader.u56() - this.#base;
    reader.end("the row of a counter");
    if (bound < this.#from || bound > this.#last + 1)
      throw new FormatError(`bound ${bound} is not within the counter's range`);
    this.#from = bound;
    this.#bound = bound;
    this.#next = Math.max(this.#next, bound);
    this.#calm();
  }

  /** A row has this number: those that follow are above it. Numbers of another slot or range say nothing. */
  passed(id: SlottedId): void {
    const serial = id - this.#base;
    if (serial >= this.#next && serial <= this.#last) this.#next = serial + 1;
  }

  /** Goes on so much further: what was given out is not known. */
  skip(serials: number): void {
    this.#next = Math.min(this.#next + serials, this.#last + 1);
  }

  /** The number that follows. */
  get ahead(): SlottedId {
    return this.#base + this.#next;
  }

  /** Undefined: all serials are used. */
  next(): SlottedId | undefined {
    return this.#next > this.#last ? undefined : this.#base + this.#next++;
  }

  /** The change that must go into the write that is being made: numbers were given out that no durable bound covers yet. */
  reservation(): StoreChange | undefined {
    if (this.#next <= this.#quiet) return undefined;
    const covered = this.#promised.at(-1) ?? this.#bound;
    const scarce = covered - this.#next < this.#stride / 2;
    const raised = Math.min(Math.max(covered, this.#next) + this.#stride, this.#last + 1);
    return this.#promise(scarce ? raised : covered);
  }

  /** The change for the first write of a run: with it numbers are covered before they are given out. */
  reserve(): StoreChange {
    return this.#promise(Math.min(this.#next + this.#stride, this.#last + 1));
  }

  /** The store's answer to a write with a reservation, in the order of the writes. */
  reserved(ok: boolean): void {
    const bound = this.#promised.shift();
    if (bound === undefined) throw new UsageError("nothing was reserved");
    if (ok) this.#bound = Math.max(this.#bound, bound);
    this.#calm();
  }

  /** Nothing need be written until half of the stride is used; while a write is under way, until all is. */
  #calm(): void {
    const isEnough = this.#promised.length > 0 || this.#bound > this.#last;
    this.#quiet = isEnough ? this.#bound : Math.max(this.#from, this.#bound - this.#stride / 2);
  }

  #promise(bound: number): StoreChange {
    this.#promised.push(bound);
    this.#calm();
    const value = new Writer(7).u56(this.#base + bound).bytes();
    return { table: COUNTER_TABLE, key: this.key, value };
  }
}

/** Where the bounds of all counters are. */
export const COUNTER_TABLE = "counter";
const STRIDE = 4_096;
const SLOTS = 256;
