// What an earlier run left in the store goes back into the parts of the stack, table by table. No row ends the start: what
// cannot go on is set aside, counted and named.
//
//   counters ─▶ credentials ─▶ associations ─▶ paths ─▶ protected sessions ─▶ registrations, operations, observations

import { type Instant, type ReservedCounter, type SessionId, type StoreChange } from "@godwit/base";
import { TABLES as DTLS_TABLES, cutNumber } from "@godwit/dtls";
import type { ServerTransports } from "../server-transports.ts";
import { CHANGED_TABLE, decodeChanged, type ChangedCredential } from "./credential-commands.ts";
import { CREDENTIAL_TABLE, SECURED_TABLE, type CredentialBook } from "./credential-book.ts";
import { credentialId, credentialIdOf, type Credential } from "./credential.ts";
import type { StoredRecord } from "./events.ts";
import type { FleetGuide } from "./fleet-restore.ts";
import { COUNTER_TABLE, FIRST_PROTECTED_SESSION, type Numbers } from "./numbers.ts";
import { SESSION_TABLE, decodePath } from "./path-records.ts";
import {
  PROTECTED_TABLE,
  decodeProtected,
  type OscoreCredential,
  type ProtectedRecord,
  type ProtectedSessions,
} from "./protected-sessions.ts";
import { QUARANTINE_TABLE, type Quarantine } from "./quarantine.ts";
import { decodeObservation, numberOf } from "./observation-record.ts";
import { TABLES, decodeRegistration } from "./records.ts";
import type { Registration } from "./registration.ts";
import { StoredRows } from "./stored-rows.ts";
import { USED_TABLE, type UsedContexts } from "./used-contexts.ts";

export type RestorerOptions = {
  readonly load: (table: string) => Iterable<StoredRecord>;
  readonly quarantine: Quarantine;
  readonly numbers: Numbers;
  readonly credentials: CredentialBook;
  readonly used: UsedContexts;
  /** Whether sequence numbers in the store have not been used: it is as it was left. */
  readonly trusted: boolean;
  readonly now: Instant;
};

export class Restorer {
  readonly #rows: StoredRows;
  readonly #options: RestorerOptions;
  /** In groups that are written as one. */
  readonly #groups: (readonly StoreChange[])[] = [];
  /** Paths that were restored. */
  readonly #paths = new Set<SessionId>();
  #renumbered: ReadonlyMap<SessionId, SessionId> = new Map();
  /** Tables of which a row was set aside. */
  readonly #torn = new Set<string>();

  constructor(options: RestorerOptions) {
    this.#options = options;
    this.#rows = new StoredRows(options.load, (table, row, reason) => {
      this.#refuse(table, row, reason);
    });
    options.quarantine.restore(this.#rows.of(QUARANTINE_TABLE));
    options.numbers.restore(
      this.#rows.of(COUNTER_TABLE),
      options.trusted,
      usedNumbers(this.#rows),
      (key, reason) => {
        this.#refuse(COUNTER_TABLE, { key, value: new Uint8Array(0) }, reason);
      },
    );
    this.#credentials();
    this.#rows.each(USED_TABLE, (row) => options.used.restore(row));
  }

  /** Changes of credentials that an earlier run did not finish. */
  get changedCredentials(): readonly ChangedCredential[] {
    const changed: ChangedCredential[] = [];
    this.#rows.each(CHANGED_TABLE, (row) => void changed.push(decodeChanged(row)));
    return changed;
  }

  /** What must be written of it, each group as one. */
  get writes(): readonly (readonly StoreChange[])[] {
    const groups: (readonly StoreChange[])[] = [];
    const { renewed } = this.#rows;
    for (let i = 0; i < renewed.length; i += ROWS_PER_WRITE)
      groups.push(renewed.slice(i, i + ROWS_PER_WRITE));
    return [...groups, ...this.#groups]; // a row that was renewed and then found to be of no use goes
  }

  /** Associations, sessions and ticket keys of DTLS; the paths of sessions that prove nothing. */
  transports(transports: ServerTransports): void {
    const { load, trusted, now } = this.#options;
    const restored = transports.restore(load, trusted, now);
    this.#renumbered = restored?.renumbered ?? this.#renumbered;
    for (const table of Object.values(DTLS_TABLES)) {
      const refused = new Map(
        restored?.refused
          .filter((one) => one.table === table && !one.gone)
          .map((one) => [one.key, one]),
      );
      if (refused.size === 0) continue;
      for (const row of load(table)) {
        const one = refused.get(row.key);
        if (one === undefined) continue;
        this.#refuse(table, row, one.reason, one.identity && credentialIdOf(one.identity));
      }
    }
    this.#rows.each(SESSION_TABLE, ({ key, value }) => {
      const session = Number(key);
      if (!(session > 0 && session < FIRST_PROTECTED_SESSION) || String(session) !== key)
        throw new Error(`no session of a path: ${key}`);
      transports.handle({ type: "restore", session, path: decodePath(value) }, now);
      this.#paths.add(session);
    });
  }

  /**
   * Sessions of OSCORE. `table`: where the layer keeps what it needs. Returns those credentials that have no session: used
   * ones if anything of any session is lost, for then nobody can tell.
   */
  protectedSessions(
    sessions: ProtectedSessions<unknown>,
    table: string,
    opened: (session: SessionId, credential: Credential) => void,
  ): { readonly missing: readonly OscoreCredential[]; readonly mayBeUsed: boolean } {
    const { credentials, trusted, now } = this.#options;
    const contexts = new Map(this.#rows.of(table).map(({ key, value }) => [key, value]));
    const records: [StoredRecord, ProtectedRecord][] = [];
    this.#rows.each(PROTECTED_TABLE, (row) => void records.push([row, decodeProtected(row)]));
    // The newest first: numbers only grow, and a credential has one session.
    for (const [row, record] of records.toSorted(([, a], [, b]) => b.session - a.session)) {
      const context = contexts.get(row.key);
      contexts.delete(row.key);
      const { credential: id, generation, session } = record;
      const credential = credentials.get(id);
      if (credential?.kind !== "oscore" || !credentials.isOf(id, generation)) {
        this.#withdraw(row, context, table, id);
        continue;
      }
      if (sessions.sessionOf(id) !== undefined) {
        this.#refuse(PROTECTED_TABLE, row, "an older session of one credential", id);
        continue;
      }
      try {
        const carrier = this.#carrierOf(record);
        sessions.restore({ session, generation, credential, carrier }, context, trusted, now);
        opened(session, credential);
      } catch (fault) {
        this.#refuse(
          PROTECTED_TABLE,
          row,
          fault instanceof Error ? fault.message : String(fault),
          id,
        );
      }
    }
    for (const [key, value] of contexts)
      this.#refuse(table, { key, value }, "a context without its session");
    const all = [...credentials.all()];
    const missing = all.filter(
      (one): one is OscoreCredential =>
        one.kind === "oscore" && sessions.sessionOf(credentialId(one)) === undefined,
    );
    return {
      missing,
      mayBeUsed: !trusted || this.#torn.has(PROTECTED_TABLE) || this.#torn.has(table),
    };
  }

  /** How the rows of the fleet find their place. */
  guide(sessions: {
    readonly secured: (registration: Registration) => SessionId | undefined;
    readonly isOpenToAll: boolean;
  }): FleetGuide {
    const { credentials, numbers, trusted } = this.#options;
    return {
      trusted,
      each: (table, take) => this.#rows.each(table, take),
      sessionOf: (registration) =>
        registration.identity.kind === "none"
          ? this.#pathOf(registration.session)
          : sessions.secured(registration),
      nowhere: () => {
        const session = numbers.secured.next();
        if (session === undefined) throw new Error("no number is left for a session");
        return session;
      },
      refusal: ({ identity, endpoint }) => {
        if (identity.kind === "none")
          return sessions.isOpenToAll && !credentials.isSecured(endpoint) ? undefined : "refused";
        const id = credentialIdOf(identity);
        if (id !== undefined && credentials.isUnreadable(id)) return undefined; // locked, not gone
        return credentials.endpointOf(identity) === endpoint ? undefined : "revoked";
      },
    };
  }

  /** Closes paths that nobody refers to any more. Returns what must be written. */
  abandonPaths(
    transports: ServerTransports,
    isUsed: (session: SessionId) => boolean,
  ): readonly (readonly StoreChange[])[] {
    const changes: StoreChange[] = [];
    for (const session of this.#paths) {
      if (isUsed(session)) continue;
      transports.handle({ type: "close", session }, this.#options.now);
      changes.push({ table: SESSION_TABLE, key: String(session), value: undefined });
    }
    return changes.length === 0 ? [] : [changes];
  }

  #pathOf(session: SessionId): SessionId | undefined {
    return this.#paths.has(session) ? session : undefined;
  }

  #carrierOf({ carrier }: ProtectedRecord): SessionId | undefined {
    if (carrier === undefined) return undefined;
    if (carrier < FIRST_PROTECTED_SESSION) return this.#pathOf(carrier);
    return this.#renumbered.get(cutNumber(carrier)) ?? carrier;
  }

  /** Credentials, and which endpoints have one. */
  #credentials(): void {
    const { credentials } = this.#options;
    const unreadable: string[] = [];
    for (const row of this.#rows.raw(CREDENTIAL_TABLE)) {
      try {
        credentials.restore(row);
      } catch (fault) {
        unreadable.push(row.key);
        const reason = fault instanceof Error ? fault.message : String(fault);
        this.#refuse(CREDENTIAL_TABLE, row, reason, row.key);
      }
    }
    const named = new Set<string>();
    this.#rows.each(SECURED_TABLE, (row) => {
      credentials.restoreOwner(row);
      named.add(row.key);
    });
    const owners = [...credentials.owners(named)];
    for (const id of unreadable.filter((one) => !named.has(one)))
      owners.push(...credentials.lock(id, this.#ownerOf(id)));
    if (owners.length > 0) this.#groups.push(owners);
    for (const id of named) {
      if (!credentials.isUnreadable(id) || unreadable.includes(id)) continue;
      this.#options.quarantine.note("the credential is missing", id, this.#options.now);
    }
  }

  /** Whose a credential is that cannot be read and is named nowhere: who was registered with it. */
  #ownerOf(id: string): string | undefined {
    for (const row of this.#rows.raw(TABLES.registration)) {
      try {
        const { identity, endpoint } = decodeRegistration(
          this.#rows.body(TABLES.registration, row),
        );
        if (credentialIdOf(identity) === id) return endpoint;
      } catch {
        // Set aside in its turn.
      }
    }
    return undefined;
  }

  /** The session of a credential that is gone goes with it; of one that cannot be read it is set aside. */
  #withdraw(row: StoredRecord, context: Uint8Array | undefined, table: string, id: string): void {
    const { key } = row;
    if (!this.#options.credentials.isUnreadable(id)) {
      this.#groups.push([
        { table: PROTECTED_TABLE, key, value: undefined },
        { table, key, value: undefined },
      ]);
      return;
    }
    const reason = "its credential cannot be read";
    this.#refuse(PROTECTED_TABLE, row, reason, id);
    if (context !== undefined) this.#refuse(table, { key, value: context }, reason, id);
  }

  #refuse(table: string, row: StoredRecord, reason: string, credential?: string): void {
    const { quarantine, now } = this.#options;
    this.#torn.add(table);
    const where = { table, key: row.key, value: row.value };
    const changes = quarantine.setAside(where, { reason, credential, at: now });
    if (changes.length > 0) this.#groups.push(changes);
  }
}

/** Numbers that rows of the store have, by the counter that gave them out. */
function usedNumbers(rows: StoredRows): (counter: ReservedCounter) => Iterable<number> {
  return function* used({ key: counter }) {
    switch (counter.slice(counter.indexOf("/") + 1)) {
      case "raw session":
        for (const { key } of rows.raw(SESSION_TABLE)) yield Number(key);
        return;
      case "protected session":
        for (const { key } of rows.raw(PROTECTED_TABLE)) yield Number(key);
        return;
      case "secured session":
        for (const { key } of rows.raw(DTLS_TABLES.association)) yield Number(key);
        return;
      case "operation":
        for (const { key } of rows.raw(TABLES.operation)) yield Number.parseInt(key, 16);
        for (const { id } of observationsIn(rows)) yield id;
        return;
      case "generation":
        for (const _row of rows.raw(CREDENTIAL_TABLE)) yield 0;
    }
  };
}

function* observationsIn(rows: StoredRows): Iterable<{ readonly id: number }> {
  for (const row of rows.raw(TABLES.observation)) {
    try {
      const id = numberOf(decodeObservation(rows.body(TABLES.observation, row)));
      if (id !== undefined) yield { id };
    } catch {
      // Set aside in its turn.
    }
  }
}

const ROWS_PER_WRITE = 1_000;
