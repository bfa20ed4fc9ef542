import {
  Deadlines,
  FormatError,
  type Identity,
  type Instant,
  Ledger,
  type Machine,
  Outbox,
  type Path,
  SelfKeyed,
  type SessionId,
  type StoreChange,
  toHex,
  unreachable,
} from "@godwit/base";
import { BY_CID, BY_IDENTITY, BY_PATH, BY_SESSION } from "./association-keys.ts";
import { Association, type AssociationState } from "./association.ts";
import { Alert, ContentType } from "./codes.ts";
import { DatagramEffort } from "./datagram-effort.ts";
import { drawCid } from "./draw-cid.ts";
import { Established, type Host, associationChange } from "./established.ts";
import { type DtlsOutput, type FailureReason, TABLES } from "./events.ts";
import { type StoredAssociation, revive } from "./export.ts";
import { Guests } from "./guests.ts";
import type { HelloStart } from "./handshake/client-hello.ts";
import { firstHello } from "./handshake/first-hello.ts";
import type { Fragment } from "./handshake/header.ts";
import { HelloGate } from "./hello-gate.ts";
import { KeySlab } from "./keys.ts";
import { latin1 } from "./latin1.ts";
import { samePath } from "./path-claim.ts";
import { PendingWrites } from "./pending-writes.ts";
import { type DtlsRecord, recordAt } from "./record/header.ts";
import { RefusalLimiter } from "./refusal-limiter.ts";
import { Resumption } from "./resumption.ts";
import { RunningHandshakes } from "./running-handshakes.ts";
import { identityKey } from "./saved-session.ts";
import { DOUBTS, ServerHandshake, type ServerSetup } from "./server-handshake.ts";
import { type DtlsServerInput, type DtlsServerOptions, checkTuning } from "./server-options.ts";
import {
  type DtlsRestored,
  type DtlsStoredRow,
  type Vouch,
  restoreRows,
} from "./server-restore.ts";
import { StrayRecords } from "./stray-records.ts";
import { SUITES } from "./suites.ts";
import { DEFAULT_TUNING, type DtlsTuning } from "./tuning.ts";

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
  readonly #gate: HelloGate;
  readonly #resumption: Resumption;
  readonly #slab: KeySlab;
  readonly #established: Established;
  readonly #host: Host;
  readonly #setup: ServerSetup;
  readonly #bySession = new SelfKeyed(BY_SESSION);
  readonly #byCid = new SelfKeyed(BY_CID);
  /** Connection ids that are held for handshakes. */
  readonly #cidsHeld = new Map<string, ServerHandshake>();
  readonly #byPath = new SelfKeyed(BY_PATH);
  readonly #byIdentity = new SelfKeyed(BY_IDENTITY);
  readonly #guests = new Guests();
  /** Settled guests whose row the store has refused. */
  readonly #unkept = new Set<Association>();
  readonly #handshakes: RunningHandshakes;
  readonly #refusals: RefusalLimiter;
  readonly #lookups = new Map<number, ServerHandshake>();
  readonly #writes: PendingWrites = new PendingWrites(this.#outbox);
  /**
   * Retransmission of handshakes, path challenges of associations; `sweep` looks for idle associations, `keep` stores what was
   * refused.
   */
  readonly #deadlines = new Deadlines<Association | ServerHandshake | "sweep" | "keep">();
  readonly #vouches: Vouch;
  readonly #takeSession: () => SessionId | undefined;
  /** Came from the store, and nobody was told yet. */
  readonly #restored: Association[] = [];
  /** Where nobody else counts: the highest number. */
  #taken: SessionId = 0;
  #nextLookup = 1;
  #now: Instant = 0;
  /** Who spoke last: most of what is sent is the answer. */
  #heard: Association | undefined;
  readonly #effort = new DatagramEffort();
  readonly #strays = new StrayRecords(this.ledger, (path) => this.#byPath.get(path) !== undefined);

  constructor(options: DtlsServerOptions) {
    const tuning = { ...DEFAULT_TUNING, ...options.tuning };
    checkTuning(tuning);
    const { rng } = options;
    this.#options = options;
    this.#vouches = options.vouches ?? (() => "good");
    this.#takeSession = options.takeSession ?? (() => ++this.#taken);
    this.#tuning = tuning;
    this.#slab = new KeySlab();
    this.#handshakes = new RunningHandshakes(tuning);
    this.#gate = new HelloGate(tuning, rng, this.#handshakes);
    this.#refusals = new RefusalLimiter(tuning, this.ledger);
    this.#host = {
      tuning,
      rng,
      durable: options.sealer !== undefined,
      isKept: (association) => !this.#guests.has(association),
      follows: true,
      output: (output) => this.#outbox.push(output),
      seal: (plain) => options.sealer?.seal(plain) ?? plain,
      store: (changes, then) => this.#writes.write(changes, then),
      end: (association, why) => this.#end(association, why),
      rebind: (association, path, proven) => this.#rebind(association, path, proven),
      deadline: (association, at) => this.#schedule(association, at),
      forgetSession: (association) => this.#resumption.forgetOf(association),
    };
    const tickets = options.tickets === true;
    const [host, writes] = [this.#host, this.#writes];
    this.#resumption = new Resumption({ tuning, rng, tickets, host, writes });
    this.#established = new Established(this.#host);
    this.#setup = {
      tuning,
      rng,
      credentials: options.credentials,
      suites: options.suites ?? SUITES,
      tickets,
      findSession: (hello, now) => this.#resumption.find(hello, now),
      sealTicket: (session) => this.#resumption.sealTicket(session),
      takeCid: (handshake) => this.#takeCid(handshake),
      mayAlert: (path, alert, now) => this.#refusals.mayAlert(path, alert, now),
      takeSession: () => {
        const session = this.#takeSession();
        if (session === undefined) throw new FormatError("no number left for a session"); // ends this one handshake
        return session;
      },
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

  /** Hosts and networks whose handshakes are counted. */
  get handshakeSources(): number {
    return this.#handshakes.counted;
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
      case "close":
      case "dismiss":
      case "validated":
      case "fresh": {
        const association = this.#bySession.get(input.session);
        return association && this.#established[input.type](association);
      }
      case "psk": {
        const handshake = this.#answered(input.id);
        if (handshake !== undefined) handshake.generation = input.generation ?? 0;
        handshake?.key(input.key, now);
        return this.#drain(handshake);
      }
      case "verdict": {
        const handshake = this.#answered(input.id);
        handshake?.verdict(input.verdict, now);
        return this.#drain(handshake);
      }
      case "restore":
        return void this.restore([input], now);
      case "stored":
        return this.#writes.stored(input.ticket, input.ok);
      case "revoke":
        return this.#revoke(input.identity);
      case "settle":
        return this.#settle(this.#bySession.get(input.session));
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
      else if (due === "keep") this.#keepAgain();
      else if (due instanceof Association) this.#established.expire(due, now);
      else {
        due.wake(now);
        this.#drain(due);
      }
    }
  }

  #datagram(bytes: Uint8Array, path: Path, now: Instant): void {
    this.#effort.begin();
    let counted: Ledger | undefined;
    const isRunning = this.#handshakes.at(path) !== undefined;
    let at = isRunning ? 0 : this.#strays.passOver(bytes, path);
    for (let records = 0; at < bytes.length && !this.#effort.isOver; records++) {
      const record =
        records < this.#tuning.maxRecords
          ? recordAt(bytes, at, this.#tuning.cidLength)
          : "tooManyRecords";
      if (record === undefined || typeof record === "string") {
        (counted ?? this.ledger).drop(record ?? "badRecord");
        break;
      }
      at += record.size;
      const ledger = this.#record(record, path, now);
      if (counted === undefined) {
        counted = ledger;
        ledger.datagram("in");
      }
    }
    if (counted === undefined) this.ledger.datagram("in");
  }

  /** One record to where it belongs; returns the ledger that it is counted in. */
  #record(record: DtlsRecord, path: Path, now: Instant): Ledger {
    if (record.version >>> 8 !== 0xfe) return this.#nobodys("version");
    if (record.type === ContentType.tls12Cid) return this.#cidRecord(record, path, now);
    const handshake = this.#handshakes.at(path);
    if (record.epoch === 0) return this.#plain(record, path, handshake, now);
    const association = this.#byPath.get(path);
    if (association === undefined) {
      if (handshake === undefined) return this.#nobodys("noAssociation");
      return this.#toHandshake(handshake, record, now);
    }
    if (handshake === undefined) return this.#toAssociation(association, record, path, now);
    // A new handshake beside a live association: the record is whose keys open it, and failing costs neither anything.
    const before = association.forgeries;
    const received = association.open(record);
    if (received.ok) {
      this.#effort.record(true);
      this.#established.process(association, received, record, path, now);
      return association.ledger;
    }
    association.forgeries = before;
    return this.#toHandshake(handshake, record, now);
  }

  #cidRecord(record: DtlsRecord, path: Path, now: Instant): Ledger {
    const association = record.epoch === 0 ? undefined : this.#byCid.get(record.cid);
    if (association !== undefined) return this.#toAssociation(association, record, path, now);
    const handshake =
      record.epoch === 0 || this.#cidsHeld.size === 0
        ? undefined
        : this.#cidsHeld.get(latin1(record.cid));
    if (handshake === undefined) return this.#nobodys("unknownCid");
    if (samePath(handshake.path, path)) return this.#toHandshake(handshake, record, now);
    handshake.ledger.drop("handshakeElsewhere");
    return handshake.ledger;
  }

  #toAssociation(association: Association, record: DtlsRecord, path: Path, now: Instant): Ledger {
    this.#heard = association;
    this.#effort.record(this.#established.receive(association, record, path, now));
    return association.ledger;
  }

  /** Counts what names nothing known; there is no more of worth behind it. */
  #nobodys(why: string): Ledger {
    this.#effort.record(false);
    this.ledger.drop(why);
    return this.ledger;
  }

  #plain(
    record: DtlsRecord,
    path: Path,
    handshake: ServerHandshake | undefined,
    now: Instant,
  ): Ledger {
    const hello = record.type === ContentType.handshake ? firstHello(record) : undefined;
    if (hello === "bad") return this.#nobodys("badHello");
    if (hello === undefined) {
      if (handshake !== undefined) return this.#toHandshake(handshake, record, now);
      this.ledger.drop("strayPlain");
      return this.ledger;
    }
    if (!this.#effort.greets()) return this.#nobodys("secondHello");
    return this.#hello(record, hello.fragment, hello.start, path, handshake, now);
  }

  /** RFC 6347 4.2.1: a hello without a valid cookie is answered and forgotten. */
  #hello(
    record: DtlsRecord,
    fragment: Fragment,
    start: HelloStart,
    path: Path,
    running: ServerHandshake | undefined,
    now: Instant,
  ): Ledger {
    const { sequence } = record;
    const known = this.#byPath.get(path);
    const state = { running, known, associations: this.#bySession.size };
    const verdict = this.#gate.judge({ fragment, start, sequence }, path, now, state);
    switch (verdict.kind) {
      case "ask": {
        this.#effort.asked();
        const { bytes } = verdict;
        this.ledger.add("in", "handshake", record.size);
        this.ledger.add("out", "handshake", bytes.length);
        this.ledger.datagram("out");
        this.#outbox.push({ type: "datagram", path, bytes });
        return this.ledger;
      }
      case "drop":
        this.ledger.drop(verdict.why);
        return this.ledger;
      case "again":
        return running === undefined ? this.ledger : this.#toHandshake(running, record, now);
      case "begin": {
        const { mark, gone } = verdict;
        if (gone !== undefined && gone !== running) this.ledger.drop("halfOpenGaveWay");
        if (gone !== undefined && gone === running) this.#begunAnew(gone);
        else if (gone !== undefined) this.#giveWay(gone, CROWDED);
        this.#resumption.rotate(now);
        const first = { start, fragment, mark, sequence };
        const handshake = new ServerHandshake(this.#setup, path, first, new Ledger(), now);
        if (running !== undefined) handshake.attempt = running.attempt + 1;
        this.#handshakes.set(handshake);
        return this.#toHandshake(handshake, record, now);
      }
      default:
        return unreachable(verdict);
    }
  }

  #toHandshake(handshake: ServerHandshake, record: DtlsRecord, now: Instant): Ledger {
    handshake.ledger.add("in", "handshake", record.size);
    const before = handshake.transport.fragments;
    if (!handshake.receive(record, now)) this.#effort.record(false);
    this.#effort.parts(handshake.transport.fragments - before);
    this.#drain(handshake);
    return handshake.ledger;
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

  /** A client may change its hello once, and come in. Who goes on so has a reason, and our side hears of it. */
  #begunAnew(handshake: ServerHandshake): void {
    if (handshake.attempt === 0) this.#drop(handshake);
    else this.#giveWay(handshake, BEGUN_ANEW);
  }

  /** What waits for its peer has come to nothing, and our side hears of it. */
  #giveWay(handshake: ServerHandshake, why: string): void {
    if (handshake.waits) {
      handshake.giveWay(why);
      this.#drain(handshake);
    }
    this.#drop(handshake);
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
    if (this.#vouches(association.identity, association.generation) !== "good") {
      handshake.abort(Alert.accessDenied, "the credential was revoked meanwhile");
      this.#drain(handshake);
      return;
    }
    const changes: StoreChange[] = [];
    if (session !== undefined && !handshake.resumed && session.id.length > 0) {
      changes.push(...this.#resumption.keep(session, association.sessionId));
    }
    // In one write with what it replaces: no start finds two associations of one identity, or none.
    const replaced = this.#sameIdentity(association);
    if (this.#isGuest(association, replaced)) {
      if (this.#host.durable && changes.length > 0) this.#writes.write(changes);
      return this.#open(handshake, association);
    }
    if (replaced !== undefined) changes.push(deletionOf(replaced));
    this.#established.save(
      association,
      (ok) => {
        if (this.#isRunning(handshake)) {
          if (ok) return this.#open(handshake, association);
          handshake.abort(Alert.internalError, "the store refused the association");
          return this.#drain(handshake);
        }
        if (!ok) return undefined;
        this.#storeDeletion(association);
        if (replaced !== undefined && this.#bySession.get(replaced.session) === replaced)
          this.#established.save(replaced);
        return undefined;
      },
      this.#host.durable ? changes : [],
    );
  }

  /** The association that a new one of this identity ends. */
  #sameIdentity({ identity }: Association): Association | undefined {
    if (this.#options.onePerIdentity === false || identity.kind === "none") return undefined;
    return this.#byIdentity.get(identityKey(identity));
  }

  #isGuest(association: Association, incumbent: Association | undefined): boolean {
    return this.#options.guests === true && this.#guests.isGuest(association, incumbent);
  }

  /** A guest takes the place of the association that its identity had. */
  #settle(association: Association | undefined): void {
    if (association === undefined || !this.#guests.has(association)) return;
    this.#guests.forget(association);
    const before = this.#sameIdentity(association);
    this.#keep(association, before === undefined ? [] : [deletionOf(before)]);
    if (before !== undefined) {
      association.ledger.absorb(before.ledger); // the peer's account goes on
      this.#forget(before);
      this.#outbox.push({ type: "closed", session: before.session, why: "replaced" });
    }
    this.#byIdentity.set(association);
  }

  /**
   * Stores an association that was spoken in before it was stored. What it sends waits: once there is a row of it, no number above
   * that row's bound may have been used.
   */
  #keep(association: Association, also: readonly StoreChange[] = []): void {
    if (this.#host.durable) association.reserved = association.writeSequence;
    this.#established.save(
      association,
      (ok) => {
        if (this.#bySession.get(association.session) !== association) return;
        if (!ok) {
          association.reserved = undefined; // it has no row
          this.#unkept.add(association);
          if (this.#deadlines.at("keep") === undefined)
            this.#deadlines.set("keep", this.#now + KEEP_AGAIN);
        }
        this.#established.flush(association);
      },
      also,
    );
  }

  /** What the store refused is tried again. */
  #keepAgain(): void {
    const all = [...this.#unkept];
    this.#unkept.clear();
    for (const association of all)
      if (this.#bySession.get(association.session) === association) this.#keep(association);
  }

  /** The handshake becomes an association; what it replaces ends now and not earlier. */
  #open(handshake: ServerHandshake, association: Association): void {
    const before = this.#byPath.get(handshake.path);
    const isGuest = this.#isGuest(association, this.#sameIdentity(association));
    if (before !== undefined) {
      const same = identityKey(before.identity) === identityKey(association.identity);
      if (same) association.ledger.absorb(before.ledger);
      if (same || before.ownCid === "") this.#end(before, "replaced");
      else this.#rebind(before, undefined); // another device has this address now; by its id the old one is still found
    }
    if (isGuest) {
      const earlier = this.#guests.add(association);
      if (earlier !== undefined) this.#end(earlier, "replaced");
    } else if (this.#options.onePerIdentity !== false && association.identity.kind !== "none") {
      const other = this.#sameIdentity(association);
      if (other !== undefined) {
        association.ledger.absorb(other.ledger); // the peer's account goes on
        this.#end(other, "replaced");
      }
      this.#byIdentity.set(association);
    }
    handshake.confirm(this.#now);
    handshake.sendAll(this.#outbox);
    this.#handshakes.delete(handshake);
    this.#deadlines.stop(handshake);
    association.helloHigh = handshake.mark.high;
    association.helloLow = handshake.mark.low;
    this.#bySession.set(association);
    this.#byPath.set(association);
    if (association.ownCid !== "") {
      this.#cidsHeld.delete(association.ownCid);
      this.#byCid.set(association);
    }
    handshake.announce(association, this.#established, this.#outbox, isGuest);
    this.#startSweep();
  }

  /** Takes a handshake out of every table and wipes its keys. */
  #drop(handshake: ServerHandshake): void {
    this.#handshakes.delete(handshake);
    this.#deadlines.stop(handshake);
    const cid = latin1(handshake.ownCid);
    if (this.#cidsHeld.get(cid) === handshake) this.#cidsHeld.delete(cid);
    for (const [id, waiting] of this.#lookups) {
      if (waiting === handshake) this.#lookups.delete(id);
    }
    handshake.association?.destroy();
  }

  #isRunning(handshake: ServerHandshake): boolean {
    return this.#handshakes.at(handshake.path) === handshake;
  }

  #answered(id: number): ServerHandshake | undefined {
    const handshake = this.#lookups.get(id);
    this.#lookups.delete(id); // a second answer, or a late one, finds nobody
    return handshake;
  }

  #end(association: Association, why: string): void {
    this.#forget(association);
    this.#storeDeletion(association);
    this.#outbox.push({ type: "closed", session: association.session, why });
  }

  /** Takes an association out of every table and wipes its keys. */
  #forget(association: Association): void {
    if (this.#heard === association) this.#heard = undefined;
    this.#bySession.delete(association);
    this.#byCid.delete(association);
    this.#rebind(association, undefined);
    this.#guests.forget(association);
    this.#byIdentity.delete(association);
    this.#deadlines.stop(association);
    association.destroy();
    const at = this.#restored.indexOf(association);
    if (at >= 0) this.#restored.splice(at, 1);
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

  #revoke(identity: Identity): void {
    const key = identityKey(identity);
    for (const association of this.#bySession.values()) {
      if (identityKey(association.identity) === key) this.#end(association, "revoked");
    }
    for (const handshake of this.#handshakes.values()) {
      const known = handshake.association?.identity;
      if (known !== undefined && identityKey(known) === key) {
        if (handshake.association !== undefined) this.#storeDeletion(handshake.association);
        handshake.abort(Alert.accessDenied, "revoked");
        this.#drain(handshake);
      }
    }
    this.#resumption.forget({ identity: key });
  }

  #storeDeletion(association: Association): void {
    if (!this.#host.durable) return;
    this.#writes.write([deletionOf(association)]);
  }

  /**
   * Takes back what an earlier run left, before the first datagram. Returns the rows that do not go on; what is of a
   * credential that is gone is deleted here, the rest is the caller's to set aside.
   */
  restore(rows: Iterable<DtlsStoredRow>, now: Instant): DtlsRestored {
    this.#now = now;
    const { sealer, onePerIdentity = true } = this.#options;
    const { cidLength, sequenceLimit } = this.#tuning;
    const rules = { sealer, vouches: this.#vouches, cidLength, onePerIdentity, sequenceLimit };
    const restored = restoreRows(rows, rules, {
      keepSession: (id, packed) => this.#resumption.restoreSession(id, packed),
      keepTicketKeys: (packed) => this.#resumption.restoreTicketKeys(packed),
      goOn: (state) => this.#goOn(state),
      associationOf: (identity) => this.#byIdentity.get(identityKey(identity)),
      withdraw: (association) => this.#forget(association),
      takeSession: this.#takeSession,
      changeOf: (association, bound) => associationChange(association, bound, this.#host),
      write: (changes) => this.#writes.write(changes),
    });
    for (const _row of restored.refused) this.ledger.drop("badStoredRow");
    for (const { session, identity } of this.#restored.splice(0))
      this.#outbox.push({ type: "opened", session, identity, how: "restored" });
    return restored;
  }

  /** The session that an identity has now. */
  sessionOf(identity: Identity): SessionId | undefined {
    return this.#byIdentity.get(identityKey(identity))?.session;
  }

  #associate(state: AssociationState, ledger?: Ledger): Association {
    return new Association(state, this.#slab, this.#tuning.replayWindow, this.#now, ledger);
  }

  #goOn(state: StoredAssociation): Association {
    const association = revive(state, (kept) => this.#associate(kept));
    this.#bySession.set(association);
    if (association.ownCid !== "") this.#byCid.set(association);
    if (association.path !== undefined) this.#byPath.set(association);
    if (association.identity.kind !== "none" && this.#options.onePerIdentity !== false) {
      this.#byIdentity.set(association);
    }
    this.#taken = Math.max(this.#taken, association.session);
    this.#restored.push(association);
    this.#startSweep();
    return association;
  }

  #takeCid(handshake: ServerHandshake): Uint8Array {
    const { rng, nodeId } = this.#options;
    const cid = drawCid(rng, this.#tuning.cidLength, nodeId, (one) => {
      return this.#byCid.get(one) !== undefined || this.#cidsHeld.has(latin1(one));
    });
    if (cid.length > 0) this.#cidsHeld.set(latin1(cid), handshake);
    return cid;
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
    this.#resumption.forget({ expiredAt: now });
    this.#refusals.forget(now);
    if (this.#bySession.size > 0) this.#startSweep();
  }

  #schedule(key: Association | ServerHandshake, at: Instant | undefined): void {
    if (at === undefined) this.#deadlines.stop(key);
    else this.#deadlines.set(key, at);
  }
}

function deletionOf({ session }: Association): StoreChange {
  return { table: TABLES.association, key: String(session), value: undefined };
}

/** Why a handshake came to nothing before its time. */
const CROWDED = "no answer by the time that others needed its place";
const BEGUN_ANEW = "it began anew before it was through";
/** ms until what the store refused is tried again. */
const KEEP_AGAIN = 5_000;
/** Sweeps in one idle limit. */
const SWEEPS = 8;
