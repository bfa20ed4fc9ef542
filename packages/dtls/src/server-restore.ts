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
  /** The association that goes on for an identity, where there is one at most. */
  readonly associationOf: (identity: Identity) => Association | undefined;
  /** It does not go on after all. */
  readonly withdraw: (association: Association) => void;
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
  const { refused, old } = new Sorting(rules, host).of(rows);
  const renumbered = new Map<SessionId, SessionId>();
  const changes: StoreChange[] = [];
  for (const { key, state } of old) {
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

/** Rows go on as they are read; those of the first layout wait, for each must be seen beside all others. */
class Sorting {
  readonly #rules: RestoreRules;
  readonly #host: RestoreHost;
  readonly #old = new Map<string, RestorableAssociation[]>();
  readonly #resumable = new Set<string>();
  readonly #refused: RefusedRow[] = [];

  constructor(rules: RestoreRules, host: RestoreHost) {
    this.#rules = rules;
    this.#host = host;
  }

  /** `old`: associations of the first layout that can be carried over. */
  of(rows: Iterable<DtlsStoredRow>): {
    readonly refused: readonly RefusedRow[];
    readonly old: readonly RestorableAssociation[];
  } {
    for (const row of rows) {
      try {
        this.#read(row);
      } catch (fault) {
        this.#refuse(row, fault instanceof Error ? fault.message : String(fault), undefined);
      }
    }
    return { old: this.#carriedOver(), refused: this.#refused };
  }

  #read(row: DtlsStoredRow): void {
    const { table, value } = row;
    const packed = this.#rules.sealer?.open(value);
    if (packed === undefined) throw new FormatError("sealed by another key, or damaged");
    switch (table) {
      case TABLES.association:
        return this.#association(row, decodeAssociation(packed));
      case TABLES.session:
        return this.#session(row, decodeSession(packed), packed);
      case TABLES.ticketKeys:
        return this.#host.keepTicketKeys(packed);
      default:
        throw new FormatError(`no table ${table} here`);
    }
  }

  #session(row: DtlsStoredRow, { identity, generation }: SavedSession, packed: Uint8Array): void {
    const id = sessionIdOf(row.key);
    if (!this.#isVouchedFor(row, identity, generation)) return;
    this.#host.keepSession(id, packed);
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
    if (version > 1) return this.#current(row, state);
    const name = this.#isAlone(identity) ? identityKey(identity) : `\0row ${row.key}`;
    const others = this.#old.get(name);
    if (others === undefined) this.#old.set(name, [{ key: row.key, state }]);
    else others.push({ key: row.key, state });
  }

  /** An identity has one association: the newest, for numbers only grow. */
  #current(row: DtlsStoredRow, state: StoredAssociation): void {
    const { identity, session } = state;
    const other = this.#isAlone(identity) ? this.#host.associationOf(identity) : undefined;
    const reason = "an older association of one identity";
    if (other !== undefined && other.session > session) return this.#refuse(row, reason, identity);
    if (other !== undefined) {
      this.#host.withdraw(other);
      const key = String(other.session);
      this.#refuse({ table: TABLES.association, key }, reason, identity);
    }
    this.#host.goOn(state);
  }

  #isAlone(identity: Identity): boolean {
    return this.#rules.onePerIdentity && identity.kind !== "none";
  }

  /**
   * Those of the first layout that are the only ones of their identity. Their numbers were cut: of two nobody knows which was
   * written last, and which sequence numbers were used. And such releases left the row of an association that had been
   * revoked under a cut number; what they did forget is the session by which it could be resumed.
   */
  #carriedOver(): readonly RestorableAssociation[] {
    const kept: RestorableAssociation[] = [];
    for (const claimants of this.#old.values()) {
      const [one] = claimants;
      if (one === undefined) continue;
      const { identity, sessionId } = one.state;
      const current = this.#isAlone(identity) ? this.#host.associationOf(identity) : undefined;
      if (claimants.length > 1 || current !== undefined) {
        const reason = "two associations of one identity: its device resumes, or makes a new one";
        for (const { key } of claimants)
          this.#refuse({ table: TABLES.association, key }, reason, identity);
      } else if (sessionId.length > 0 && !this.#resumable.has(latin1(sessionId))) {
        const reason = "the session it began with is gone: revoked, or out of date";
        this.#refuse({ table: TABLES.association, key: one.key }, reason, identity);
      } else kept.push(one);
    }
    return kept;
  }

  #isVouchedFor(row: DtlsStoredRow, identity: Identity, generation: Generation): boolean {
    const vouch = this.#rules.vouches(identity, generation);
    if (vouch === "good") return true;
    const gone = vouch === "gone";
    const reason = gone ? "its credential is gone" : "its credential cannot be read";
    this.#refuse(row, reason, identity, gone);
    return false;
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
