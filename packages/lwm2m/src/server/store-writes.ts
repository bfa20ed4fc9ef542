import { TABLES as DTLS_TABLES } from "@godwit/dtls";
import {
  Tickets,
  type Instant,
  type StoreChange,
  type StoredInput,
  type StoreOutput,
} from "@godwit/base";
import type { Numbers } from "./numbers.ts";
import { SESSION_TABLE } from "./path-records.ts";
import { protectedChange } from "./stored-rows.ts";
import { Unwritten } from "./unwritten.ts";

/** What follows on a write. `why`: why it was refused, in words. */
export type Written = (ok: boolean, now: Instant, why?: string) => void;

type Batch = { readonly changes: StoreChange[]; readonly then: Written[] };

/**
 * Everything that a server writes passes here: rows get their checksum, the bounds of new numbers go along, and what must be
 * there as a whole or not at all becomes one write. Tickets of the stack's own writes count down, the server's up.
 */
export class StoreWrites {
  readonly #numbers: Numbers;
  readonly #output: (output: StoreOutput) => void;
  /** What waits for a write of the stack's own, by its ticket. */
  readonly #waiting = new Tickets<Written>();
  /** Rows of sessions that the store refused. */
  readonly #unwritten = new Unwritten();
  /** Those in writes of the server's that were not answered yet, by their ticket. */
  readonly #ofServer = new Map<number, readonly StoreChange[]>();
  /** What is to be written as one: everything that is asked to be written while it is there. */
  #batch: Batch | undefined;

  constructor(numbers: Numbers, output: (output: StoreOutput) => void) {
    this.#numbers = numbers;
    this.#output = output;
  }

  get wakeAt(): Instant | undefined {
    return this.#unwritten.wakeAt;
  }

  /** What the store refused of sessions that are gone, or are elsewhere, is tried again. */
  wake(now: Instant): void {
    const changes = this.#unwritten.due(now);
    if (changes.length > 0) this.insist(changes);
  }

  /** The first write of a run: bounds for the numbers to come. */
  reserve(): void {
    const ticket = -this.#waiting.give(ignore);
    this.#send(ticket, this.#numbers.reserve(ticket));
  }

  write(changes: readonly StoreChange[], then: Written = ignore): void {
    if (this.#batch !== undefined) {
      this.#batch.changes.push(...changes);
      if (then !== ignore) this.#batch.then.push(then);
    } else if (changes.length > 0 || then !== ignore) {
      const written: Written = (ok, now, why) => {
        if (!ok) this.#refused(changes, now);
        then(ok, now, why);
      };
      const ticket = -this.#waiting.give(written);
      this.#send(ticket, this.#covered(ticket, changes));
    }
  }

  /** Whether what is written now becomes part of one write with the rest. */
  get isGathering(): boolean {
    return this.#batch !== undefined;
  }

  /** Writes until the store takes it, as a whole; what is written of the same rows meanwhile counts instead. */
  insist(changes: readonly StoreChange[]): void {
    this.write(changes, (ok, now) => {
      if (!ok) this.#unwritten.add(changes, now);
    });
  }

  /** A write of the server's, under its own ticket. */
  writeAs(ticket: number, changes: readonly StoreChange[]): void {
    const ours = pathsIn(changes);
    if (ours !== undefined) this.#ofServer.set(ticket, ours);
    this.#send(ticket, this.#covered(ticket, changes));
  }

  /**
   * All that is written while `act` runs becomes one write, written until the store takes it: a death leaves all of it or
   * nothing. `then`: the store has answered for the first time.
   */
  atomically(act: () => void, then: () => void = ignore): void {
    const batch: Batch = { changes: [], then: [] };
    this.#batch = batch;
    try {
      act();
    } finally {
      this.#batch = undefined;
    }
    this.write(batch.changes, (ok, now, why) => {
      for (const one of batch.then) one(ok, now, why);
      if (!ok) this.#unwritten.add(batch.changes, now);
      then();
    });
  }

  /** The store's answer. Returns whether it was to a write of the server's. */
  stored({ ticket, ok, why }: StoredInput, now: Instant): boolean {
    this.#numbers.stored(ticket, ok);
    this.#unwritten.stored(ticket, ok, now);
    if (ticket > 0) {
      if (this.#ofServer.size > 0) this.#pathsStored(ticket, ok, now);
      return true;
    }
    this.#waiting.take(-ticket)?.(ok, now, why);
    return false;
  }

  #pathsStored(ticket: number, ok: boolean, now: Instant): void {
    const ours = this.#ofServer.get(ticket);
    this.#ofServer.delete(ticket);
    if (ours !== undefined && !ok) this.#refused(ours, now);
  }

  /** An association that ended must not be back after a restart, beside the one that replaced it. */
  #refused(changes: readonly StoreChange[], now: Instant): void {
    const ours = changes.filter(
      ({ table, value }) =>
        table === SESSION_TABLE || (value === undefined && TABLES_OF_DTLS.has(table)),
    );
    if (ours.length > 0) this.#unwritten.add(ours, now);
  }

  #covered(ticket: number, changes: readonly StoreChange[]): readonly StoreChange[] {
    const bounds = this.#numbers.reservations(ticket);
    return bounds.length === 0 ? changes : [...changes, ...bounds];
  }

  #send(ticket: number, changes: readonly StoreChange[]): void {
    this.#unwritten.supersede(changes, ticket);
    const rows: StoreChange[] = [];
    for (const change of changes) rows.push(protectedChange(change)); // faster than map for one or two
    this.#output({ type: "store", ticket, changes: rows });
  }
}

function ignore(): void {}

/** Most writes have none. */
function pathsIn(changes: readonly StoreChange[]): readonly StoreChange[] | undefined {
  let paths: StoreChange[] | undefined;
  for (const change of changes) if (change.table === SESSION_TABLE) (paths ??= []).push(change);
  return paths;
}

const TABLES_OF_DTLS: ReadonlySet<string> = new Set([DTLS_TABLES.association, DTLS_TABLES.session]);
