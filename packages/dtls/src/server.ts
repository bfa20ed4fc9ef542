import {
  Deadlines,
  EMPTY,
  FormatError,
  type Identity,
  type Instant,
  type Keying,
  Ledger,
  type Machine,
  Outbox,
  type Path,
  Reader,
  type Rng,
  SelfKeyed,
  type SessionId,
  type StoreChange,
  UsageError,
  byNumber,
  equal,
  hashText,
  toHex,
  unreachable,
} from "@godwit/base";
import { Association, type AssociationState } from "./association.ts";
import { Alert, ContentType, ExtensionType, HandshakeType } from "./codes.ts";
import { CookieJar } from "./cookie.ts";
import type { ServerCredentials } from "./credentials.ts";
import { Established, type Host } from "./established.ts";
import {
  type DtlsInput,
  type DtlsOutput,
  type FailureReason,
  type Sealer,
  TABLES,
} from "./events.ts";
import { decodeAssociation, revive } from "./export.ts";
import { type HelloStart, readHelloStart } from "./handshake/client-hello.ts";
import { findExtension } from "./handshake/extensions.ts";
import { type Fragment, readFragments, wholeMessage } from "./handshake/header.ts";
import { encodeHelloVerifyRequest } from "./handshake/hello-verify-request.ts";
import { KeySlab } from "./keys.ts";
import { fromLatin1, hashLatin1, isLatin1, latin1 } from "./latin1.ts";
import { PathKeys, hashPath, samePath } from "./path-claim.ts";
import { PendingWrites } from "./pending-writes.ts";
import { type DtlsRecord, plainRecord, recordAt } from "./record/header.ts";
import { decodeSession, encodeSession, identityKey } from "./saved-session.ts";
import { DOUBTS, ServerHandshake, type ServerSetup } from "./server-handshake.ts";
import { SessionCache, sessionIdOf, sessionStoreKey } from "./sessions.ts";
import { SUITES, type Suite } from "./suites.ts";
import { TicketKeys } from "./tickets.ts";
import { DEFAULT_TUNING, type DtlsTuning } from "./tuning.ts";

export type DtlsServerOptions = {
  readonly rng: Rng;
  readonly credentials: ServerCredentials;
  readonly tuning?: Partial<DtlsTuning>;
  /** Suites in order of preference; all of ours, the smallest first, unless given. */
  readonly suites?: readonly Suite[];
  /** Byte 0 of every connection id, so that a cluster finds the node; random unless given. */
  readonly nodeId?: number;
  /** Gives tickets to clients that ask for them. */
  readonly tickets?: boolean;
  /** Keeps associations, sessions and ticket keys in the store, sealed by this. Without it nothing outlives a restart. */
  readonly sealer?: Sealer;
  /** Number of the first session, above all that were given out before a restart; 1 unless given. */
  readonly firstSession?: SessionId;
  /** An identity has one association: a new one ends the old. True unless false. */
  readonly onePerIdentity?: boolean;
  /** Puts out `keyLog` lines, with which anybody can read everything. For debugging only. */
  readonly keyLog?: boolean;
};

export type DtlsServerInput =
  | DtlsInput
  /** The credential is no longer good: its association ends, its sessions are forgotten. */
  | { readonly type: "revoke"; readonly identity: Identity };

/**
 * A DTLS 1.2 server for any number of peers, as a transport machine: datagrams on one side, sessions on the other.
 *
 *   datagram > record > tls12_cid?  > connection id known > association | handshake
 *                     > epoch 0?    > ClientHello > cookie? > handshake       no cookie: HelloVerifyRequest, nothing kept
 *                     > else        > path known > association | handshake
 *
 * Nothing is allocated for a peer before it showed a valid cookie, and nothing unauthenticated changes an association.
 */
export class DtlsServer implements Machine<DtlsServerInput, DtlsOutput> {
  /** Bytes and drops that belong to no session (yet). */
  readonly ledger: Ledger = new Ledger();
  readonly #options: DtlsServerOptions;
  readonly #tuning: DtlsTuning;
  readonly #outbox = new Outbox<DtlsOutput>();
  readonly #cookies: CookieJar;
  readonly #sessions: SessionCache;
  readonly #tickets: TicketKeys;
  readonly #slab: KeySlab;
  readonly #established: Established;
  readonly #host: Host;
  readonly #setup: ServerSetup;
  readonly #pathKeys = new PathKeys();
  readonly #bySession = new SelfKeyed(BY_SESSION);
  readonly #byCid = new SelfKeyed(BY_CID);
  /** Connection ids that are held for handshakes. */
  readonly #cidsHeld = new Map<string, ServerHandshake>();
  readonly #byPath = new SelfKeyed(BY_PATH);
  readonly #byIdentity = new SelfKeyed(BY_IDENTITY);
  readonly #handshakes = new Map<string, ServerHandshake>();
  readonly #lookups = new Map<number, ServerHandshake>();
  readonly #writes: PendingWrites = new PendingWrites(this.#outbox);
  /** Retransmission of handshakes, path challenges of associations; `sweep` looks for idle associations. */
  readonly #deadlines = new Deadlines<Association | ServerHandshake | "sweep">();
  #nextSession: SessionId;
  #nextLookup = 1;
  #now: Instant = 0;
  /** Who spoke last: most of what is sent is the answer. */
  #heard: Association | undefined;

  constructor(options: DtlsServerOptions) {
    const tuning = { ...DEFAULT_TUNING, ...options.tuning };
    checkTuning(tuning);
    const { rng } = options;
    this.#options = options;
    this.#nextSession = options.firstSession ?? 1;
    this.#tuning = tuning;
    this.#cookies = new CookieJar(rng, tuning.cookieLength, tuning.cookiePeriod);
    this.#slab = new KeySlab();
    this.#sessions = new SessionCache(tuning.maxSessions);
    this.#tickets = new TicketKeys(tuning.ticketKeyPeriod, tuning.sessionLifetime);
    this.#host = {
      tuning,
      rng,
      durable: options.sealer !== undefined,
      follows: true,
      output: (output) => this.#outbox.push(output),
      seal: (plain) => options.sealer?.seal(plain) ?? plain,
      store: (changes, then) => this.#writes.write(changes, then),
      end: (association, why) => this.#end(association, why),
      rebind: (association, path, proven) => this.#rebind(association, path, proven),
      deadline: (association, at) => this.#schedule(association, at),
      forgetSession: (association) => this.#forgetSession(association),
    };
    this.#established = new Established(this.#host);
    this.#setup = {
      tuning,
      rng,
      credentials: options.credentials,
      suites: options.suites ?? SUITES,
      tickets: options.tickets === true,
      findSession: (hello, now) => {
        const ticket = findExtension(hello.extensions, ExtensionType.sessionTicket) ?? EMPTY;
        if (ticket.length > 0 && options.tickets === true) return this.#tickets.open(ticket, now);
        if (hello.sessionId.length === 0) return undefined;
        return this.#sessions.find(hello.sessionId, now);
      },
      sealTicket: (session) => this.#tickets.seal(session, rng),
      takeCid: (handshake) => this.#takeCid(handshake),
      takeSession: () => this.#nextSession++,
      associate: (state, ledger) => this.#associate(state, ledger),
    };
  }

  get wakeAt(): Instant | undefined {
    return this.#deadlines.next;
  }

  /** Associations alive. */
  get size(): number {
    return this.#bySession.size;
  }

  /** Handshakes running. */
  get handshakes(): number {
    return this.#handshakes.size;
  }

  /** The number the next session will get: store it, with a stride, so that none is given out twice. */
  get nextSession(): SessionId {
    return this.#nextSession;
  }

  /** The session's account; an empty one that nobody reads if there is no such session. */
  ledgerOf(session: SessionId): Ledger {
    return this.#bySession.get(session)?.ledger ?? new Ledger();
  }

  /** Who a session has proven to be. */
  identityOf(session: SessionId): Identity | undefined {
    return this.#bySession.get(session)?.identity;
  }

  /** Where a session's peer is, for people to read. No decision may rest on it. */
  pathOf(session: SessionId): Path | undefined {
    return this.#bySession.get(session)?.path;
  }

  poll(): DtlsOutput | undefined {
    return this.#outbox.take();
  }

  handle(input: DtlsServerInput, now: Instant): void {
    this.#now = now;
    switch (input.type) {
      case "datagram":
        return this.#datagram(input.bytes, input.path, now);
      case "send": {
        const association =
          this.#heard?.session === input.session ? this.#heard : this.#bySession.get(input.session);
        if (association === undefined) return this.ledger.drop("noSession");
        return this.#established.send(association, input.bytes);
      }
      case "close": {
        const association = this.#bySession.get(input.session);
        return association === undefined ? undefined : this.#established.close(association);
      }
      case "psk": {
        const handshake = this.#answered(input.id);
        handshake?.key(input.key, now);
        return this.#drain(handshake);
      }
      case "verdict": {
        const handshake = this.#answered(input.id);
        handshake?.verdict(input.verdict, now);
        return this.#drain(handshake);
      }
      case "validated": {
        const association = this.#bySession.get(input.session);
        return association === undefined ? undefined : this.#established.validated(association);
      }
      case "fresh": {
        const association = this.#bySession.get(input.session);
        return association === undefined ? undefined : this.#established.fresh(association);
      }
      case "restore":
        return this.#restore(input.table, input.key, input.value);
      case "stored":
        return this.#writes.stored(input.ticket, input.ok);
      case "revoke":
        return this.#revoke(input.identity);
      default:
        return unreachable(input);
    }
  }

  wake(now: Instant): void {
    this.#now = now;
    for (;;) {
      const due = this.#deadlines.expired(now);
      if (due === undefined) return;
      if (due === "sweep") this.#sweep(now);
      else if (due instanceof Association) this.#established.expire(due, now);
      else {
        due.wake(now);
        this.#drain(due);
      }
    }
  }

  #datagram(bytes: Uint8Array, path: Path, now: Instant): void {
    let at = 0;
    let counted: Ledger | undefined;
    while (at < bytes.length) {
      const record = recordAt(bytes, at, this.#tuning.cidLength);
      if (record === undefined) return (counted ?? this.ledger).drop("badRecord");
      at += record.size;
      const ledger = this.#record(record, path, now);
      if (counted === undefined) {
        counted = ledger;
        ledger.datagram("in");
      }
    }
  }

  /** One record to where it belongs; returns the ledger that it is counted in. */
  #record(record: DtlsRecord, path: Path, now: Instant): Ledger {
    if (record.version >>> 8 !== 0xfe) {
      this.ledger.drop("version");
      return this.ledger;
    }
    if (record.type === ContentType.tls12Cid) return this.#cidRecord(record, path, now);
    const key = this.#pathKeys.of(path);
    const handshake = this.#handshakes.get(key);
    if (record.epoch === 0) return this.#plain(record, path, key, handshake, now);
    const association = this.#byPath.get(path);
    if (association === undefined) {
      if (handshake === undefined) {
        this.ledger.drop("noAssociation");
        return this.ledger;
      }
      this.#toHandshake(handshake, record, now);
      return handshake.ledger;
    }
    if (handshake === undefined) {
      this.#heard = association;
      this.#established.receive(association, record, path, now);
      return association.ledger;
    }
    // A new handshake beside a live association: the record is whose keys open it, and failing costs neither anything.
    const before = association.forgeries;
    const received = association.open(record);
    if (received.ok) {
      this.#established.process(association, received, record, path, now);
      return association.ledger;
    }
    association.forgeries = before;
    this.#toHandshake(handshake, record, now);
    return handshake.ledger;
  }

  #cidRecord(record: DtlsRecord, path: Path, now: Instant): Ledger {
    const association = record.epoch === 0 ? undefined : this.#byCid.get(record.cid);
    if (association !== undefined) {
      this.#heard = association;
      this.#established.receive(association, record, path, now);
      return association.ledger;
    }
    const handshake =
      record.epoch === 0 || this.#cidsHeld.size === 0
        ? undefined
        : this.#cidsHeld.get(latin1(record.cid));
    if (handshake === undefined) {
      this.ledger.drop("unknownCid");
      return this.ledger;
    }
    if (samePath(handshake.path, path)) this.#toHandshake(handshake, record, now);
    else handshake.ledger.drop("handshakeElsewhere");
    return handshake.ledger;
  }

  #plain(
    record: DtlsRecord,
    path: Path,
    key: string,
    handshake: ServerHandshake | undefined,
    now: Instant,
  ): Ledger {
    const hello = record.type === ContentType.handshake ? firstHello(record) : undefined;
    if (hello === "bad") {
      this.ledger.drop("badHello");
      return this.ledger;
    }
    if (hello === undefined) {
      if (handshake !== undefined) {
        this.#toHandshake(handshake, record, now);
        return handshake.ledger;
      }
      this.ledger.drop("strayPlain");
      return this.ledger;
    }
    return this.#hello(record, hello.fragment, hello.start, path, key, handshake, now);
  }

  /** RFC 6347 4.2.1: a hello without a valid cookie is answered and forgotten. */
  #hello(
    record: DtlsRecord,
    fragment: Fragment,
    start: HelloStart,
    path: Path,
    key: string,
    running: ServerHandshake | undefined,
    now: Instant,
  ): Ledger {
    if (!this.#cookies.check(path, start, now)) {
      const cookie = this.#cookies.make(path, start, now);
      const body = encodeHelloVerifyRequest(cookie);
      const message = wholeMessage(HandshakeType.helloVerifyRequest, fragment.messageSeq, body);
      // Its record takes the number of the hello's, which nobody has to remember then.
      const bytes = plainRecord(ContentType.handshake, record.sequence, message);
      this.ledger.add("in", "handshake", record.size);
      this.ledger.add("out", "handshake", bytes.length);
      this.ledger.datagram("out");
      this.#outbox.push({ type: "datagram", path, bytes });
      return this.ledger;
    }
    if (running !== undefined && equal(running.clientRandom, start.random)) {
      this.#toHandshake(running, record, now);
      return running.ledger;
    }
    if (running === undefined && this.#byPath.get(path)?.helloMark === helloMark(start.random)) {
      this.ledger.drop("helloRepeated"); // else a copy would make us repeat a flight to somebody who asked for none
      return this.ledger;
    }
    if (running === undefined && this.#handshakes.size >= this.#tuning.maxHandshakes) {
      this.ledger.drop("handshakesFull");
      return this.ledger;
    }
    if (this.#bySession.size >= this.#tuning.maxAssociations) {
      this.ledger.drop("associationsFull");
      return this.ledger;
    }
    if (running !== undefined) this.#drop(running);
    this.#rotateTicketKeys(now);
    const first = {
      clientRandom: start.random,
      messageSeq: fragment.messageSeq,
      sequence: record.sequence,
    };
    const handshake = new ServerHandshake(this.#setup, path, first, new Ledger(), now);
    this.#handshakes.set(key, handshake);
    this.#toHandshake(handshake, record, now);
    return handshake.ledger;
  }

  #toHandshake(handshake: ServerHandshake, record: DtlsRecord, now: Instant): void {
    handshake.ledger.add("in", "handshake", record.size);
    handshake.receive(record, now);
    this.#drain(handshake);
  }

  /** Carries out what a handshake wants done. */
  #drain(handshake: ServerHandshake | undefined): void {
    if (handshake === undefined) return;
    handshake.sendAll(this.#outbox);
    this.#reportKey(handshake);
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
          if (this.#isRunning(handshake)) {
            this.#drop(handshake);
            if (!handshake.reported) this.#failed(handshake, effect.why, effect.reason);
          }
          return;
        case "stalled":
          break; // a client's
        default:
          return unreachable(effect);
      }
    }
    if (this.#isRunning(handshake)) this.#schedule(handshake, handshake.wakeAt);
  }

  /** A peer with a wrong key is not told so, and goes on for a while. Our own side hears of it at once, and once. */
  #reportKey(handshake: ServerHandshake): void {
    const { doubtfulKey } = handshake;
    if (doubtfulKey === undefined || handshake.reported || !this.#isRunning(handshake)) return;
    handshake.reported = true;
    this.#failed(handshake, DOUBTS[doubtfulKey], doubtfulKey);
  }

  #failed({ path, claimed }: ServerHandshake, why: string, reason: FailureReason): void {
    this.#outbox.push({ type: "failed", path, why, reason, claimed });
  }

  /** The client has proven itself: what must outlive a restart goes to the store, then the client hears of it. */
  #verified(handshake: ServerHandshake): void {
    const { association, session } = handshake;
    if (association === undefined) return;
    if (this.#options.keyLog === true && session !== undefined) {
      const line = `CLIENT_RANDOM ${toHex(handshake.clientRandom)} ${toHex(session.master)}`;
      this.#outbox.push({ type: "keyLog", line });
    }
    const changes: StoreChange[] = [];
    if (session !== undefined && !handshake.resumed && session.id.length > 0) {
      const packed = encodeSession(session);
      for (const key of this.#sessions.keep(session, association.sessionId)) {
        changes.push({ table: TABLES.session, key, value: undefined });
      }
      const value = this.#host.seal(packed);
      changes.push({ table: TABLES.session, key: sessionStoreKey(session.id), value });
    }
    if (this.#host.durable && changes.length > 0) this.#writes.write(changes);
    this.#established.save(association, (ok) => {
      if (!this.#isRunning(handshake)) {
        if (ok) this.#storeDeletion(association);
        return;
      }
      if (ok) this.#open(handshake, association);
      else {
        handshake.abort(Alert.internalError, "the store refused the association");
        this.#drain(handshake);
      }
    });
  }

  /** The handshake becomes an association; what it replaces ends now and not earlier. */
  #open(handshake: ServerHandshake, association: Association): void {
    const key = this.#pathKeys.of(handshake.path);
    const before = this.#byPath.get(handshake.path);
    if (before !== undefined) {
      const same = identityKey(before.identity) === identityKey(association.identity);
      if (same) association.ledger.absorb(before.ledger);
      if (same || before.ownCid === "") this.#end(before, "replaced");
      else this.#rebind(before, undefined); // another device has this address now; by its id the old one is still found
    }
    const identity = identityKey(association.identity);
    if (this.#options.onePerIdentity !== false && association.identity.kind !== "none") {
      const other = this.#byIdentity.get(identity);
      if (other !== undefined) {
        association.ledger.absorb(other.ledger); // the peer's account goes on
        this.#end(other, "replaced");
      }
      this.#byIdentity.set(association);
    }
    handshake.confirm(this.#now);
    handshake.sendAll(this.#outbox);
    this.#handshakes.delete(key);
    this.#deadlines.stop(handshake);
    association.helloMark = helloMark(handshake.clientRandom);
    this.#bySession.set(association);
    this.#byPath.set(association);
    if (association.ownCid !== "") {
      this.#cidsHeld.delete(association.ownCid);
      this.#byCid.set(association);
    }
    handshake.announce(association, this.#established, this.#outbox);
    this.#startSweep();
  }

  /** Takes a handshake out of every table and wipes its keys. */
  #drop(handshake: ServerHandshake): void {
    this.#handshakes.delete(this.#pathKeys.of(handshake.path));
    this.#deadlines.stop(handshake);
    const cid = latin1(handshake.ownCid);
    if (this.#cidsHeld.get(cid) === handshake) this.#cidsHeld.delete(cid);
    for (const [id, waiting] of this.#lookups) {
      if (waiting === handshake) this.#lookups.delete(id);
    }
    handshake.association?.destroy();
  }

  #isRunning(handshake: ServerHandshake): boolean {
    return this.#handshakes.get(this.#pathKeys.of(handshake.path)) === handshake;
  }

  #answered(id: number): ServerHandshake | undefined {
    const handshake = this.#lookups.get(id);
    this.#lookups.delete(id); // a second answer, or a late one, finds nobody
    return handshake;
  }

  #end(association: Association, why: string): void {
    if (this.#heard === association) this.#heard = undefined;
    this.#bySession.delete(association);
    this.#byCid.delete(association);
    this.#rebind(association, undefined);
    this.#byIdentity.delete(association);
    this.#deadlines.stop(association);
    this.#storeDeletion(association);
    association.destroy();
    this.#outbox.push({ type: "closed", session: association.session, why });
  }

  #rebind(association: Association, path: Path | undefined, proven = true): void {
    if (association.path !== undefined) this.#byPath.delete(association);
    association.path = path;
    if (path === undefined) return;
    const other = this.#byPath.get(path);
    if (other !== undefined && other !== association) {
      // Whoever lives by this address keeps it; with an id it gives way, but not to a mere claim.
      if (!proven || other.ownCid === "") return;
      this.#byPath.delete(other);
      other.path = undefined;
    }
    this.#byPath.set(association);
  }

  #forgetSession(association: Association): void {
    if (association.sessionId === "") return;
    const id = fromLatin1(association.sessionId);
    this.#sessions.drop(id);
    if (!this.#host.durable) return;
    this.#writes.write([{ table: TABLES.session, key: sessionStoreKey(id), value: undefined }]);
  }

  #revoke(identity: Identity): void {
    const key = identityKey(identity);
    for (const association of this.#bySession.values()) {
      if (identityKey(association.identity) === key) this.#end(association, "revoked");
    }
    for (const handshake of [...this.#handshakes.values()]) {
      const known = handshake.association?.identity;
      if (known !== undefined && identityKey(known) === key) {
        handshake.abort(Alert.accessDenied, "revoked");
        this.#drain(handshake);
      }
    }
    const gone = this.#sessions.forget({ identity: key });
    this.#forgetStored(gone);
  }

  #forgetStored(keys: readonly string[]): void {
    if (!this.#host.durable || keys.length === 0) return;
    const changes = keys.map((key) => ({ table: TABLES.session, key, value: undefined }));
    this.#writes.write(changes);
  }

  #storeDeletion(association: Association): void {
    if (!this.#host.durable) return;
    const key = String(association.session);
    this.#writes.write([{ table: TABLES.association, key, value: undefined }]);
  }

  #rotateTicketKeys(now: Instant): void {
    if (this.#options.tickets !== true) return;
    const packed = this.#tickets.rotate(this.#options.rng, now);
    if (packed === undefined || !this.#host.durable) return;
    const value = this.#host.seal(packed);
    this.#writes.write([{ table: TABLES.ticketKeys, key: "keys", value }]);
  }

  #restore(table: string, key: string, sealed: Uint8Array): void {
    const plain = this.#options.sealer?.open(sealed);
    try {
      if (plain === undefined) throw new FormatError("sealed by another key, or altered");
      if (table === TABLES.association) this.#restoreAssociation(plain);
      else if (table === TABLES.session) {
        decodeSession(plain);
        this.#sessions.restore(sessionIdOf(key), plain);
      } else if (table === TABLES.ticketKeys) this.#tickets.restore(plain);
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
    if (state.ownCid.length !== this.#tuning.cidLength && state.ownCid.length > 0) {
      throw new FormatError("connection id of another length");
    }
    const association = revive(state, (kept) => this.#associate(kept));
    this.#bySession.set(association);
    this.#nextSession = Math.max(this.#nextSession, association.session + 1);
    if (association.ownCid !== "") this.#byCid.set(association);
    if (association.path !== undefined) this.#byPath.set(association);
    if (association.identity.kind !== "none" && this.#options.onePerIdentity !== false) {
      this.#byIdentity.set(association);
    }
    const { session, identity } = association;
    this.#outbox.push({ type: "opened", session, identity, how: "restored" });
    this.#startSweep();
  }

  #takeCid(handshake: ServerHandshake): Uint8Array {
    const { cidLength } = this.#tuning;
    if (cidLength === 0) return EMPTY;
    for (let tries = 0; tries < CID_TRIES; tries++) {
      const cid = this.#options.rng.bytes(cidLength);
      if (this.#options.nodeId !== undefined) cid[0] = this.#options.nodeId;
      const key = latin1(cid);
      if (this.#byCid.get(cid) !== undefined || this.#cidsHeld.has(key)) continue;
      this.#cidsHeld.set(key, handshake);
      return cid;
    }
    throw new FormatError("no connection id left"); // ends this one handshake; a longer id is a matter of tuning
  }

  #startSweep(): void {
    if (this.#deadlines.at("sweep") !== undefined) return;
    this.#deadlines.set("sweep", this.#now + this.#tuning.idleLimit / SWEEPS);
  }

  /** Forgets associations that said nothing for so long, and sessions that can no longer be resumed. */
  #sweep(now: Instant): void {
    for (const association of this.#bySession.values()) {
      if (now - association.lastReceived * 1_000 >= this.#tuning.idleLimit)
        this.#end(association, "idle");
    }
    this.#forgetStored(this.#sessions.forget({ expiredAt: now }));
    if (this.#bySession.size > 0) this.#startSweep();
  }

  #schedule(key: Association | ServerHandshake, at: Instant | undefined): void {
    if (at === undefined) this.#deadlines.stop(key);
    else this.#deadlines.set(key, at);
  }
}

/** The ClientHello that a record begins with, as far as a cookie needs it. Undefined for any other message. */
function firstHello(
  record: DtlsRecord,
): { readonly fragment: Fragment; readonly start: HelloStart } | "bad" | undefined {
  try {
    const [fragment] = readFragments(record.fragment);
    if (fragment?.type !== HandshakeType.clientHello || fragment.offset > 0) return undefined;
    return { fragment, start: readHelloStart(new Reader(fragment.body)) };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return "bad";
  }
}

/** 31 bits of a ClientHello's random: enough to know it again, small enough to be kept for each association. */
function helloMark(random: Uint8Array): number {
  return ((random[0]! << 24) | (random[1]! << 16) | (random[2]! << 8) | random[3]!) >> 1; // 32 bytes
}

function checkTuning(tuning: DtlsTuning): void {
  const { cookieLength, replayWindow, cidLength, sessionIdLength } = tuning;
  if (cookieLength < 8 || cookieLength > 32) throw new UsageError("cookies have 8 to 32 bytes");
  if (replayWindow < 64 || replayWindow % 32 !== 0) {
    throw new UsageError("the replay window is a multiple of 32, at least 64");
  }
  if (cidLength > 255 || sessionIdLength > 32) throw new UsageError("identifier too long");
}

const BY_SESSION = byNumber(({ session }: Association) => session);
// Only who has proven an identity is found by these two, so nobody can fill them with keys of his choice.
const BY_PATH: Keying<Path | undefined, Association> = {
  keyOf: ({ path }) => path,
  hash: (path) => (path === undefined ? 0 : hashPath(path)),
  same: (a, b) => b !== undefined && samePath(a, b),
};
/**
 * They are random, and ours, and all of one length. Looked for as they come, without making a string of each, and without a
 * look at the id where the hash has all of it.
 */
const BY_CID: Keying<string | Uint8Array, Association> = {
  keyOf: ({ ownCid }) => ownCid,
  hash: hashLatin1,
  same: (a, b) => b.length <= 4 || (typeof b === "string" ? a === b : isLatin1(a, b)),
};
const BY_IDENTITY: Keying<string, Association> = {
  keyOf: ({ identity }) => identityKey(identity),
  hash: (key) => hashText(key),
  same: (a, b) => a === b,
};
const CID_TRIES = 10;
/** Sweeps in one idle limit. */
const SWEEPS = 8;
