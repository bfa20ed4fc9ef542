// What an earlier run left in the store, row by row: what can go on, and what is set aside with the reason. Nothing here
// changes anything; the server carries out what is decided.

import { FormatError, type Identity, type SessionId, type StoreChange } from "@godwit/base";
import type { Association } from "./association.ts";
import type { Generation } from "./credentials.ts";
import { type Sealer, TABLES } from "./events.ts";
import { type StoredAssociation, decodeAssociation } from "./export.ts";
import { latin1 } from "./latin1.ts";
import { type SavedSession, decodeSession, identityKey } from "./saved-session.ts";
import { sessionIdOf } from "./sessions.ts";

export type DtlsStoredRow = {
  readonly table: string;
  readonly key: string;
  readonly value: Uint8Array;
};

/** A row that does not go on. */
export type RefusedRow = {
  readonly table: string;
  readonly key: string;
  readonly reason: string;
  /** Whose it is, where that could be read. */
  readonly identity: Identity | undefined;
  /** It is of a credential that is gone: nothing of it may stay. */
  readonly gone: boolean;
};

/**
 * Whether a credential of this generation stands for the identity. `gone`: it was revoked or replaced. `unreadable`: there is
 * one, but nobody can tell.
 */
export type Vouch = (identity: Identity, generation: Generation) => "good" | "gone" | "unreadable";

type RestorableAssociation = {
  readonly key: string;
  readonly state: StoredAssociation;
};

type Restorable = {
  readonly associations: readonly RestorableAssociation[];
  /** Packed, by id. */
  readonly sessions: readonly { readonly id: Uint8Array; readonly packed: Uint8Array }[];
  readonly ticketKeys: readonly { readonly key: string; readonly packed: Uint8Array }[];
  readonly refused: readonly RefusedRow[];
};

type RestoreRules = {
  readonly sealer: Sealer | undefined;
  readonly vouches: Vouch;
  readonly cidLength: number;
  readonly onePerIdentity: boolean;
};

/** What became of the rows of an earlier run. */
export type DtlsRestored = {
  readonly refused: readonly RefusedRow[];
  /** Sessions that have another number now, by the one in rows of the first layout. */
  readonly renumbered: ReadonlyMap<SessionId, SessionId>;
};

/** The machine into which they go. */
export type RestoreHost = {
  readonly keepSession: (id: Uint8Array, packed: Uint8Array) => void;
  readonly keepTicketKeys: (packed: Uint8Array) => void;
  readonly goOn: (state: StoredAssociation) => Association;
  readonly takeSession: () => SessionId | undefined;
  readonly changeOf: (association: Association, bound: number) => StoreChange;
  readonly write: (changes: readonly StoreChange[]) => void;
};

/** Restores what can go on. What is of a credential that is gone is deleted, the rest is the caller's to set aside. */
export function restoreRows(
  rows: Iterable<DtlsStoredRow>,
  rules: RestoreRules & { readonly sequenceLimit: number },
  host: RestoreHost,
): DtlsRestored {
  const sorted = new Sorting(rules).of(rows);
  const refused = [...sorted.refused];
  for (const { id, packed } of sorted.sessions) host.keepSession(id, packed);
  for (const { key, packed } of sorted.ticketKeys) {
    try {
      host.keepTicketKeys(packed);
    } catch (fault) {
      const reason = fault instanceof Error ? fault.message : String(fault);
      refused.push({ table: TABLES.ticketKeys, key, reason, identity: undefined, gone: false });
    }
  }
  const renumbered = new Map<SessionId, SessionId>();
  const changes: StoreChange[] = [];
  for (const { key, state } of sorted.associations) {
    if (state.version > 1) {
      host.goOn(state);
      continue;
    }
    const session = host.takeSession();
    if (session === undefined) continue;
    renumbered.set(state.session, session);
    // Its row may be older than what was sent under its cut number: it goes on far above the bound that it names.
    const writeFrom = Math.min(state.writeFrom + CARRIED_OVER, rules.sequenceLimit);
    const association = host.goOn({ ...state, session, writeFrom });
    changes.push({ table: TABLES.association, key, value: undefined });
    changes.push(host.changeOf(association, writeFrom));
  }
  for (const { table, key, gone } of refused)
    if (gone) changes.push({ table, key, value: undefined });
  for (let i = 0; i < changes.length; i += ROWS_PER_WRITE)
    host.write(changes.slice(i, i + ROWS_PER_WRITE));
  return { refused, renumbered };
}

class Sorting {
  readonly #rules: RestoreRules;
  readonly #associations: RestorableAssociation[] = [];
  readonly #sessions: { readonly id: Uint8Array; readonly packed: Uint8Array }[] = [];
  readonly #resumable = new Set<string>();
  readonly #ticketKeys: { readonly key: string; readonly packed: Uint8Array }[] = [];
  readonly #refused: RefusedRow[] = [];

  constructor(rules: RestoreRules) {
    this.#rules = rules;
  }

  of(rows: Iterable<DtlsStoredRow>): Restorable {
    for (const row of rows) {
      try {
        this.#read(row);
      } catch (fault) {
        this.#refuse(row, fault instanceof Error ? fault.message : String(fault), undefined);
      }
    }
    return {
      associations: this.#unique(),
      sessions: this.#sessions,
      ticketKeys: this.#ticketKeys,
      refused: this.#refused,
    };
  }

  #read(row: DtlsStoredRow): void {
    const { table, key, value } = row;
    const packed = this.#rules.sealer?.open(value);
    if (packed === undefined) throw new FormatError("sealed by another key, or damaged");
    switch (table) {
      case TABLES.association:
        return this.#association(row, decodeAssociation(packed));
      case TABLES.session:
        return this.#session(row, decodeSession(packed), packed);
      case TABLES.ticketKeys:
        this.#ticketKeys.push({ key, packed });
        return undefined;
      default:
        throw new FormatError(`no table ${table} here`);
    }
  }

  #session(row: DtlsStoredRow, { identity, generation }: SavedSession, packed: Uint8Array): void {
    const id = sessionIdOf(row.key);
    if (!this.#isVouchedFor(row, identity, generation)) return;
    this.#sessions.push({ id, packed });
    this.#resumable.add(latin1(id));
  }

  #association(row: DtlsStoredRow, state: StoredAssociation): void {
    const { cidLength } = this.#rules;
    const { session, version, ownCid, identity, generation } = state;
    const number = Number(row.key);
    if (version === 1 ? number % CUT !== session : number !== session)
      throw new FormatError(`association ${session} under the key of another`);
    if (ownCid.length !== cidLength && ownCid.length > 0)
      throw new FormatError(`connection id of ${ownCid.length} bytes, not ${cidLength}`);
    if (!this.#isVouchedFor(row, identity, generation)) return;
    this.#associations.push({ key: row.key, state });
  }

  /** One association for each identity and each connection id. */
  #unique(): readonly RestorableAssociation[] {
    const byIdentity = new Map<string, RestorableAssociation[]>();
    for (const one of this.#associations) {
      const { identity } = one.state;
      const isShared = identity.kind === "none" || !this.#rules.onePerIdentity;
      const name = isShared ? `row ${one.key}` : identityKey(identity);
      const others = byIdentity.get(name);
      if (others === undefined) byIdentity.set(name, [one]);
      else others.push(one);
    }
    const byCid = new Map<string, RestorableAssociation>();
    const kept: RestorableAssociation[] = [];
    for (const claimants of byIdentity.values()) {
      const one = this.#heir(claimants);
      if (one === undefined) continue;
      const cid = latin1(one.state.ownCid);
      if (cid !== "" && byCid.has(cid))
        this.#refuseAssociation(one, "its connection id is another's");
      else {
        byCid.set(cid, one);
        kept.push(one);
      }
    }
    return kept;
  }

  /**
   * Who goes on of several that claim one identity: the newest, for numbers only grow. Of the first layout none: their numbers
   * were cut, so nobody knows which row was written last, and which sequence numbers were used.
   */
  #heir(claimants: readonly RestorableAssociation[]): RestorableAssociation | undefined {
    const current = claimants
      .filter(({ state }) => state.version > 1)
      .toSorted((a, b) => b.state.session - a.state.session);
    const [newest, ...older] = current;
    for (const one of older) this.#refuseAssociation(one, "an older association of one identity");
    const old = claimants.filter(({ state }) => state.version === 1);
    if (newest === undefined && old.length === 1) return this.#carriedOver(old[0]!); // there is one
    const reason = "two associations of one identity: its device resumes, or makes a new one";
    for (const one of old) this.#refuseAssociation(one, reason);
    return newest;
  }

  /**
   * Releases with the first layout left the row of an association that had been revoked under a cut number. What they did
   * forget is the session by which it could be resumed.
   */
  #carriedOver(one: RestorableAssociation): RestorableAssociation | undefined {
    const { sessionId } = one.state;
    if (sessionId.length === 0 || this.#resumable.has(latin1(sessionId))) return one;
    this.#refuseAssociation(one, "the session it began with is gone: revoked, or out of date");
    return undefined;
  }

  #isVouchedFor(row: DtlsStoredRow, identity: Identity, generation: Generation): boolean {
    const vouch = this.#rules.vouches(identity, generation);
    if (vouch === "good") return true;
    const gone = vouch === "gone";
    const reason = gone ? "its credential is gone" : "its credential cannot be read";
    this.#refuse(row, reason, identity, gone);
    return false;
  }

  #refuseAssociation({ key, state }: RestorableAssociation, reason: string): void {
    this.#refuse({ table: TABLES.association, key }, reason, state.identity);
  }

  #refuse(
    { table, key }: Pick<DtlsStoredRow, "table" | "key">,
    reason: string,
    identity: Identity | undefined,
    gone = false,
  ): void {
    this.#refused.push({ table, key, reason, identity, gone });
  }
}

/** Rows that are written together at a start. Even: an association that is carried over is two. */
const ROWS_PER_WRITE = 1_000;
/** More records than any association of the first layout can have sent since its row was written. */
const CARRIED_OVER = 2 ** 32;
/** The first layout kept the lower 48 bits of a session's number. */
const CUT = 2 ** 48;

/** The number of a session as a row of the first layout has it. */
export function cutNumber(session: SessionId): SessionId {
  return session % CUT;
}
