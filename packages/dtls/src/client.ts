import {
  Deadlines,
  FormatError,
  type Identity,
  type Instant,
  Ledger,
  type Machine,
  Outbox,
  type Path,
  type Rng,
  type SessionId,
  UsageError,
  earlier,
  equal,
  toHex,
  unreachable,
} from "@godwit/base";
import { Association, type AssociationState } from "./association.ts";
import { type ClientAttempt, ClientHandshake, type ClientSetup } from "./client-handshake.ts";
import { Alert, ContentType } from "./codes.ts";
import type { ClientCredentials } from "./credentials.ts";
import { Established, type Host } from "./established.ts";
import { type DtlsInput, type DtlsOutput, type Sealer, TABLES } from "./events.ts";
import { decodeAssociation, revive } from "./export.ts";
import { KeySlab } from "./keys.ts";
import { fromLatin1 } from "./latin1.ts";
import { samePath } from "./path-claim.ts";
import { PendingWrites } from "./pending-writes.ts";
import { type DtlsRecord, recordAt } from "./record/header.ts";
import { type SavedSession, decodeSession, encodeSession } from "./saved-session.ts";
import { SUITES, type Suite } from "./suites.ts";
import { DEFAULT_TUNING, type DtlsTuning } from "./tuning.ts";

export type DtlsClientOptions = {
  readonly rng: Rng;
  readonly credentials: ClientCredentials;
  readonly tuning?: Partial<DtlsTuning>;
  /** Suites offered, best first. Unless given, the one with the smallest records: each more costs two bytes per hello. */
  readonly suites?: readonly Suite[];
  /**
   * The connection id we want to receive. Empty: the server shall name one, we need none (the usual device).
   * Undefined: no connection ids at all.
   */
  readonly connectionId?: Uint8Array;
  /** Offers the return routability check (RFC 9853); costs 4 bytes per hello. */
  readonly routability?: boolean;
  /** Asks for a ticket (RFC 5077) instead of a session id. */
  readonly tickets?: boolean;
  /** Sent by SNI. */
  readonly serverName?: string;
  /** Keeps association and session in the store, sealed by this. */
  readonly sealer?: Sealer;
  /** Puts out `keyLog` lines. For debugging only. */
  readonly keyLog?: boolean;
};

export type DtlsClientInput =
  | DtlsInput
  /**
   * Begins a handshake for `session`. `resume` tries the saved session first, if there is one. The association there
   * is goes on until the new one is through.
   */
  | {
      readonly type: "connect";
      readonly session: SessionId;
      readonly path: Path;
      readonly how: "full" | "resume";
    }
  /** Our end of the path is another one now. The association goes on over it. */
  | { readonly type: "rebind"; readonly path: Path };

/** A DTLS 1.2 client with one server, as a transport machine: datagrams on one side, its session on the other. */
export class DtlsClient implements Machine<DtlsClientInput, DtlsOutput> {
  /** Bytes and drops that belong to no association. */
  readonly ledger: Ledger = new Ledger();
  readonly #options: DtlsClientOptions;
  readonly #tuning: DtlsTuning;
  readonly #outbox = new Outbox<DtlsOutput>();
  readonly #slab = new KeySlab(2); // one association, and the one that replaces it
  readonly #established: Established;
  readonly #host: Host;
  readonly #setup: ClientSetup;
  readonly #writes: PendingWrites = new PendingWrites(this.#outbox);
  readonly #lookups = new Map<number, ClientHandshake>();
  /** Path challenges of the association. */
  readonly #deadlines = new Deadlines<Association>();
  #association: Association | undefined;
  #handshake: ClientHandshake | undefined;
  #attempt: ClientAttempt | undefined;
  /** The server wanted the signal of RFC 5746. */
  #signals = false;
  #session: SessionId = 0;
  #saved: SavedSession | undefined;
  #nextLookup = 1;
  #now: Instant = 0;

  constructor(options: DtlsClientOptions) {
    const tuning = { ...DEFAULT_TUNING, ...options.tuning };
    const { rng } = options;
    this.#options = options;
    this.#tuning = tuning;
    this.#host = {
      tuning,
      rng,
      durable: options.sealer !== undefined,
      isKept: () => true,
      follows: false,
      output: (output) => this.#outbox.push(output),
      seal: (plain) => options.sealer?.seal(plain) ?? plain,
      store: (changes, then) => this.#writes.write(changes, then),
      end: (association, why) => this.#end(association, why),
      rebind: (association, path) => void (association.path = path),
      deadline: (association, at) =>
        at === undefined ? this.#deadlines.stop(association) : this.#deadlines.set(association, at),
      forgetSession: () => this.#forgetSession(),
    };
    this.#established = new Established(this.#host);
    this.#setup = {
      tuning,
      rng,
      credentials: options.credentials,
      suites: options.suites ?? smallest(options.credentials),
      connectionId: options.connectionId,
      routability: options.routability === true && tuning.routabilityCheck !== "off",
      tickets: options.tickets === true,
      serverName: options.serverName ?? "",
      mayAlert: () => true, // we called the server, and it is the only one
      associate: (state, ledger) => this.#associate(state, ledger),
    };
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#handshake?.wakeAt, this.#deadlines.next);
  }

  /** A session is saved that the server may resume. */
  get resumable(): boolean {
    return this.#saved !== undefined;
  }

  /** The server knows us by a Connection ID (RFC 9146), wherever our records come from. */
  get isFollowed(): boolean {
    return this.#association !== undefined && this.#association.peerCid !== "";
  }

  get connected(): boolean {
    return this.#association !== undefined;
  }

  /** The session's account; an empty one that nobody reads if there is no such session. */
  ledgerOf(session: SessionId): Ledger {
    return this.#of(session)?.ledger ?? new Ledger();
  }

  /** Who the server has proven to be. */
  get identity(): Identity | undefined {
    return this.#association?.identity;
  }

  poll(): DtlsOutput | undefined {
    return this.#outbox.take();
  }

  handle(input: DtlsClientInput, now: Instant): void {
    this.#now = now;
    switch (input.type) {
      case "connect":
        return this.#connect(input.session, input.path, input.how, now);
      case "rebind":
        if (this.#association !== undefined) this.#association.path = input.path;
        return undefined;
      case "datagram":
        return this.#datagram(input.bytes, input.path, now);
      case "send": {
        const association = this.#of(input.session);
        if (association === undefined) return this.ledger.drop("noSession");
        return this.#established.send(association, input.bytes);
      }
      case "close": {
        const association = this.#of(input.session);
        if (this.#handshake !== undefined && input.session === this.#session) {
          this.#handshake.abort(Alert.userCanceled, "closed");
          this.#drain();
        }
        return association === undefined ? undefined : this.#established.close(association);
      }
      case "dismiss":
      case "validated":
      case "fresh": {
        const association = this.#of(input.session);
        return association && this.#established[input.type](association);
      }
      case "psk":
        return undefined; // a client knows its own key
      case "verdict": {
        const handshake = this.#lookups.get(input.id);
        this.#lookups.delete(input.id);
        if (handshake === undefined || handshake !== this.#handshake) return undefined;
        handshake.verdict(input.verdict, now);
        return this.#drain();
      }
      case "restore":
        return this.#restore(input.table, input.value);
      case "stored":
        return this.#writes.stored(input.ticket, input.ok);
      default:
        return unreachable(input);
    }
  }

  wake(now: Instant): void {
    this.#now = now;
    this.#handshake?.wake(now);
    this.#drain();
    for (let due = this.#deadlines.expired(now); due; due = this.#deadlines.expired(now)) {
      this.#established.expire(due, now);
    }
  }

  #connect(session: SessionId, path: Path, how: "full" | "resume", now: Instant): void {
    if (this.#association !== undefined && this.#association.session !== session) {
      throw new UsageError("one client has one session");
    }
    this.#handshake?.association?.destroy();
    this.#lookups.clear();
    this.#session = session;
    const saved = how === "resume" ? this.#saved : undefined;
    const usable =
      saved !== undefined && this.#setup.suites.includes(saved.suite) ? saved : undefined;
    this.#begin({ path, session, resume: usable, signals: this.#signals }, now);
  }

  #begin(attempt: ClientAttempt, now: Instant): void {
    this.#attempt = attempt;
    this.#handshake = new ClientHandshake(this.#setup, attempt, new Ledger(), now);
    this.#drain();
  }

  #datagram(bytes: Uint8Array, path: Path, now: Instant): void {
    let at = 0;
    let counted = false;
    while (at < bytes.length) {
      const record = recordAt(bytes, at, this.#options.connectionId?.length ?? 0);
      if (record === undefined) return this.ledger.drop("badRecord");
      at += record.size;
      const ledger = this.#record(record, path, now);
      if (!counted) ledger.datagram("in");
      counted = true;
    }
    return undefined;
  }

  #record(record: DtlsRecord, path: Path, now: Instant): Ledger {
    const association = this.#association;
    const handshake = this.#handshake;
    if (record.version >>> 8 !== 0xfe) {
      this.ledger.drop("version");
      return this.ledger;
    }
    // The server is where we called it; only our own end of the path may change.
    if (handshake !== undefined && sameRemote(handshake.path, path)) {
      const before = association?.forgeries ?? 0;
      const fits = record.epoch === 1 && association !== undefined && !this.#isNew(record);
      const received = fits ? association.open(record) : undefined;
      if (received?.ok === true && association !== undefined) {
        this.#established.process(association, received, record, this.#ours(path), now);
        return association.ledger;
      }
      if (association !== undefined) association.forgeries = before;
      handshake.ledger.add("in", "handshake", record.size);
      handshake.receive(record, now);
      this.#drain();
      return handshake.ledger;
    }
    if (association === undefined) {
      this.ledger.drop("noAssociation");
      return this.ledger;
    }
    if (!sameRemote(association.path, path)) association.ledger.drop("elsewhere");
    else if (record.epoch === 0) association.ledger.drop("strayPlain");
    else if (!sameCid(record, association)) association.ledger.drop("unknownCid");
    else this.#established.receive(association, record, this.#ours(path), now);
    return association.ledger;
  }

  /** A record for a new association cannot be told by its number alone; by another connection id it can. */
  #isNew(record: DtlsRecord): boolean {
    return this.#association !== undefined && !sameCid(record, this.#association);
  }

  /** The association's own path where only our end differs: which of our sockets it came in by says nothing. */
  #ours(path: Path): Path {
    const known = this.#association?.path;
    return known === undefined || samePath(known, path) ? path : known;
  }

  #drain(): void {
    const handshake = this.#handshake;
    if (handshake === undefined) return;
    handshake.sendAll(this.#outbox);
    for (let effect = handshake.effects.take(); effect; effect = handshake.effects.take()) {
      switch (effect.type) {
        case "lookup": {
          const id = this.#nextLookup++;
          this.#lookups.set(id, handshake);
          this.#outbox.push({ type: "lookup", id, lookup: effect.lookup });
          break;
        }
        case "verified":
          this.#verified(handshake);
          break;
        case "failed":
          handshake.sendAll(this.#outbox);
          handshake.association?.destroy();
          this.#handshake = undefined;
          // tinydtls refuses a hello without the signal of RFC 5746. A forged alert costs one more hello, once.
          if (handshake.wantsSignal && this.#attempt !== undefined) {
            return this.#begin({ ...this.#attempt, signals: true }, this.#now);
          }
          this.#outbox.push({
            type: "failed",
            path: handshake.path,
            why: effect.why,
            reason: effect.reason,
            claimed: handshake.claimed,
          });
          return;
        case "stalled":
          this.#outbox.push(effect);
          break;
        default:
          return unreachable(effect);
      }
    }
  }

  #verified(handshake: ClientHandshake): void {
    const { association, session } = handshake;
    if (association === undefined) return;
    if (this.#options.keyLog === true) {
      const line = `CLIENT_RANDOM ${toHex(handshake.clientRandom)} ${toHex(handshake.master)}`;
      this.#outbox.push({ type: "keyLog", line });
    }
    this.#saved = session;
    if (this.#host.durable && session !== undefined) {
      const value = this.#host.seal(encodeSession(session));
      this.#writes.write([{ table: TABLES.session, key: SAVED, value }]);
    }
    this.#established.save(association, (ok) => {
      if (this.#handshake !== handshake) return;
      if (!ok) {
        handshake.abort(Alert.internalError, "the store refused the association");
        this.#drain();
        return;
      }
      const before = this.#association;
      this.#association = association;
      this.#signals = handshake.signals;
      handshake.confirm(this.#now);
      handshake.sendAll(this.#outbox);
      this.#handshake = undefined;
      if (before !== undefined) {
        this.#deadlines.stop(before);
        before.destroy();
      }
      handshake.announce(association, this.#established, this.#outbox);
    });
  }

  #end(association: Association, why: string): void {
    if (this.#association !== association) return;
    this.#association = undefined;
    this.#deadlines.stop(association);
    if (this.#host.durable) {
      const key = String(association.session);
      this.#writes.write([{ table: TABLES.association, key, value: undefined }]);
    }
    association.destroy();
    this.#outbox.push({ type: "closed", session: association.session, why });
  }

  #forgetSession(): void {
    this.#saved = undefined;
    if (!this.#host.durable) return;
    this.#writes.write([{ table: TABLES.session, key: SAVED, value: undefined }]);
  }

  #restore(table: string, sealed: Uint8Array): void {
    const plain = this.#options.sealer?.open(sealed);
    try {
      if (plain === undefined) throw new FormatError("sealed by another key, or altered");
      if (table === TABLES.session) this.#saved = decodeSession(plain);
      else if (table === TABLES.association) this.#restoreAssociation(plain);
      else throw new UsageError(`no table ${table} here`);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      this.ledger.drop("badStoredRow");
    }
  }

  #associate(state: AssociationState, ledger?: Ledger): Association {
    return new Association(state, this.#slab, this.#tuning.replayWindow, this.#now, ledger);
  }

  #restoreAssociation(plain: Uint8Array): void {
    const state = decodeAssociation(plain);
    const association = revive(state, (kept) => this.#associate(kept));
    this.#association = association;
    this.#session = association.session;
    const { session, identity } = association;
    this.#outbox.push({ type: "opened", session, identity, how: "restored" });
  }

  #of(session: SessionId): Association | undefined {
    return this.#association?.session === session ? this.#association : undefined;
  }
}

function sameRemote(known: Path | undefined, path: Path): boolean {
  return known?.remote.port === path.remote.port && known.remote.host === path.remote.host;
}

function sameCid(record: DtlsRecord, association: Association): boolean {
  return record.type !== ContentType.tls12Cid || equal(record.cid, fromLatin1(association.ownCid));
}

function smallest(credentials: ClientCredentials): Suite[] {
  const exchange = credentials.kind === "psk" ? "psk" : "ecdheEcdsa";
  return SUITES.filter((suite) => suite.exchange === exchange).slice(0, 1);
}

/** A client saves one session: the last. */
const SAVED = "client";
