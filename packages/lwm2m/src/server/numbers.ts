// The numbers of sessions, operations and credentials: none is given out twice, restarts or not. The kind of a session is
// told by its range.

import {
  COUNTER_TABLE,
  ReservedCounter,
  SERIALS_PER_SLOT,
  UsageError,
  type Rng,
  type SessionId,
  type StoreChange,
} from "@godwit/base";
import type { Generation } from "@godwit/dtls";

/** From here on sessions of a protection layer; below, paths that prove nothing. */
export const FIRST_PROTECTED_SESSION: SessionId = 2 ** 41;
/** From here on sessions of DTLS. */
export const FIRST_SECURED_SESSION: SessionId = 2 ** 42;

export class Numbers {
  /** Of paths; they take a number before anybody knows whether a row will have it. */
  readonly raw: ReservedCounter = counter("raw session", 1, FIRST_PROTECTED_SESSION - 1);
  readonly protected: ReservedCounter = counter(
    "protected session",
    FIRST_PROTECTED_SESSION,
    FIRST_SECURED_SESSION - 1,
  );
  readonly secured: ReservedCounter = counter(
    "secured session",
    FIRST_SECURED_SESSION,
    SERIALS_PER_SLOT - 1,
  );
  /** An observation has the number of the operation that set it up. */
  readonly operations: ReservedCounter = counter("operation", 1, SERIALS_PER_SLOT - 1);
  /** Of credentials: see `Generation` of DTLS. */
  readonly generations: ReservedCounter = counter("generation", 1, SERIALS_PER_SLOT - 1);
  readonly #rng: Rng;
  readonly #all = [this.raw, this.protected, this.secured, this.operations, this.generations];
  /** Whose bounds are in a write that was not answered yet, by its ticket. */
  readonly #writing = new Map<number, readonly ReservedCounter[]>();

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /**
   * Goes on at the stored bounds. A counter whose row is not there or cannot be read goes on far above all numbers that
   * `used` has seen, unless it has seen none; so do all where the rows are not `trusted`: numbers were given out after them.
   */
  restore(
    rows: Iterable<{ readonly key: string; readonly value: Uint8Array }>,
    trusted: boolean,
    used: (counter: ReservedCounter) => Iterable<number>,
    refuse: (key: string, reason: string) => void,
  ): void {
    const missing = new Set(this.#all);
    for (const { key, value } of rows) {
      const found = this.#all.find((one) => one.key === key);
      try {
        found?.restore(value);
        if (found === undefined) refuse(key, "no such counter");
        else missing.delete(found);
        if (!trusted && found !== undefined) this.#skip(found);
      } catch (fault) {
        refuse(key, fault instanceof Error ? fault.message : String(fault));
      }
    }
    for (const one of missing) {
      let any = false;
      for (const number of used(one)) {
        one.passed(number);
        any = true;
      }
      if (any) this.#skip(one);
    }
  }

  /** One copy may be put back several times: each goes on elsewhere. */
  #skip(counter: ReservedCounter): void {
    counter.skip(UNKNOWN + Math.floor(this.#rng.float() * UNKNOWN));
  }

  /** Tells a new credential from all before it. */
  nextGeneration(): Generation {
    const generation = this.generations.next();
    if (generation === undefined) throw new UsageError("no number is left for a credential");
    return generation;
  }

  /** What the first write of a run holds, under this ticket. */
  reserve(ticket: number): readonly StoreChange[] {
    this.#writing.set(ticket, this.#all);
    return this.#all.map((one) => one.reserve());
  }

  /** What must go into the write that is made under this ticket. */
  reservations(ticket: number): readonly StoreChange[] {
    let changes: StoreChange[] | undefined;
    let counters: ReservedCounter[] | undefined;
    for (const one of this.#all) {
      const change = one.reservation();
      if (change === undefined) continue;
      (changes ??= []).push(change);
      (counters ??= []).push(one);
    }
    if (counters !== undefined) this.#writing.set(ticket, counters);
    return changes ?? NONE;
  }

  /** The store's answer to it. */
  stored(ticket: number, ok: boolean): void {
    if (this.#writing.size === 0) return;
    const counters = this.#writing.get(ticket);
    if (counters === undefined) return;
    this.#writing.delete(ticket);
    for (const one of counters) one.reserved(ok);
  }
}

function counter(kind: string, first: number, last: number): ReservedCounter {
  return new ReservedCounter({ kind, first, last });
}

const NONE: readonly StoreChange[] = [];
/** More numbers than were ever given out without a row that says so. */
const UNKNOWN = 2 ** 32;
export { COUNTER_TABLE };
