// The whole server below the sockets: raw UDP and DTLS sessions, the CoAP endpoint, the LwM2M server. One machine with
// datagrams and orders going in, datagrams, changes for the store and events coming out. It runs alike under the
// real driver and in the simulator.

import {
  FormatError,
  Ledger,
  Outbox,
  Reader,
  Tickets,
  UsageError,
  Writer,
  earlier,
  fromUtf8,
  unreachable,
  utf8,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
  type Rng,
  type SessionId,
  type StoreChange,
  type StoredInput,
  type StoreOutput,
} from "@godwit/base";
import {
  Endpoint,
  coapTuning,
  type CoapTuning,
  type EndpointOutput,
  type ExchangeId,
} from "@godwit/coap";
import type { Sealer } from "@godwit/dtls";
import {
  CREDENTIAL_TABLE,
  CredentialBook,
  type CredentialSealer,
} from "./server/credential-book.ts";
import {
  credentialId,
  credentialIdOf,
  identityOf,
  sameCredential,
  type Credential,
  type CredentialView,
} from "./server/credential.ts";
import type { ServerEvent, ServerInput, ServerOutput, StoredRecord } from "./server/events.ts";
import { FIRST_PROTECTED_SESSION, type ProtectionOutput } from "./protection-layer.ts";
import {
  PROTECTED_TABLE,
  ProtectedSessions,
  type ServerProtection,
} from "./server/protected-sessions.ts";
import { Doubt } from "./server/doubt.ts";
import type { ServerDtlsOptions } from "./server/peers.ts";
import { TABLES } from "./server/records.ts";
import { Lwm2mServer } from "./server/server.ts";
import type { ServerTuning } from "./server/tuning.ts";
import {
  ServerTransports,
  isRaw,
  isSecured,
  type ServerTransportsOutput,
} from "./server-transports.ts";

export type ServerStackInput =
  | DatagramEvent
  | StoredInput
  | Extract<ServerInput, { type: "operate" | "cancelOperation" | "remove" }>
  /** Adds or replaces a credential; throws UsageError for one that cannot be. Answered by `credential` once it is durable. */
  | { readonly type: "addCredential"; readonly ref: number; readonly credential: Credential }
  /** Revokes one: whoever uses it is cut off at once. */
  | { readonly type: "removeCredential"; readonly ref: number; readonly id: string }
  /** A clean stop follows: protected sessions go on after it without being asked for proof. */
  | { readonly type: "park" };

export type ServerStackOutput =
  | DatagramEvent
  | StoreOutput
  | ServerEvent
  /** The order `ref` is durable; or it is not, and nothing has changed for good. */
  | {
      readonly type: "credential";
      readonly ref: number;
      readonly ok: boolean;
      /** Why not, in words. */
      readonly why?: string;
    }
  /** A DTLS handshake that came to nothing. `why` is our own text. */
  | { readonly type: "handshakeFailed"; readonly path: Path; readonly why: string }
  /** One line for SSLKEYLOGFILE; only where the debug switch is on. */
  | { readonly type: "keyLog"; readonly line: string }
  /** Bytes of a peer were thrown away; the session's ledger has counted it. */
  | { readonly type: "dropped"; readonly session: SessionId; readonly reason: string };

export type ServerStackOptions = {
  readonly rng: Rng;
  readonly coap?: Partial<CoapTuning>;
  readonly server?: Partial<ServerTuning>;
  /** Reads a table of the store, for `TABLES_READ` and at the start only. */
  readonly load?: (table: string) => Iterable<StoredRecord>;
  readonly now: Instant;
  /** Encrypts stored credentials and associations; without it none can be added or outlive a restart. */
  readonly sealer?: CredentialSealer;
  /** Speaks DTLS on one of our ports. */
  readonly dtls?: ServerDtlsOptions;
  /** What OSCORE credentials are used with; without it they are kept, but open no session. */
  readonly protection?: ServerProtection;
  /**
   * The store is older than it was: sequence numbers in it have been used. The change goes into the write that drops
   * whatever relies on them.
   */
  readonly rolledBack?: { readonly settled: StoreChange };
};

export class ServerStack implements Machine<ServerStackInput, ServerStackOutput> {
  readonly server: Lwm2mServer;
  /** Records of the store that could not be read at the start. */
  readonly unreadable: number;
  readonly #transports: ServerTransports;
  readonly #endpoint: Endpoint;
  readonly #out = new Outbox<ServerStackOutput>();
  /** Changes of pinned sessions, to be written with the registration that pinned them. */
  #sessionChanges: StoreChange[] = [];
  readonly #pinned = new Set<SessionId>();
  readonly #credentials: CredentialBook;
  readonly #doubt = new Doubt();
  /** What waits for a write of the stack's own, by its ticket. */
  readonly #writing = new Tickets<Written>();
  readonly #protected: ProtectedSessions<unknown> | undefined;
  /** Of protected messages that are nobody's. */
  readonly #strays = new Ledger();

  constructor(options: ServerStackOptions) {
    const { rng, coap = {}, server = {}, load = () => [], now, sealer } = options;
    const { protection, dtls, rolledBack } = options;
    this.#protected = protection && new ProtectedSessions(protection);
    this.#credentials = new CredentialBook(sealer ?? NO_SEALER);
    // A binding probe keeps its request open for as long as it asks to.
    const tuning = coapTuning({ answerLifetime: PROBE_ROOM, ...coap });
    let torn = this.#credentials.restore(load(CREDENTIAL_TABLE));
    this.#transports = new ServerTransports({
      rng,
      coap: tuning,
      now,
      credentials: this.#credentials,
      dtls,
      sealer: sealer && dtlsSealer(sealer),
      trusted: rolledBack === undefined,
      load,
    });
    const ledgerOf = (session: SessionId): Ledger => this.ledgerOf(session);
    this.#endpoint = new Endpoint({
      tuning,
      rng,
      ledgerOf,
      fragments: true,
      ...(protection === undefined ? {} : { protection: protection.layer }),
    });
    this.server = new Lwm2mServer(
      {
        rng,
        allocate: (session, at, lasting) => this.#endpoint.allocate(session, at, lasting),
        sameHost: (a, b) => this.#sameHost(a, b),
        endpointOf: (identity) => this.#credentials.endpointOf(identity),
        credentialRevision: () => this.#credentials.revision,
        isSecured: (endpoint) => this.#credentials.isSecured(endpoint),
      },
      server,
    );
    torn += this.#restoreSessions(load(SESSION_TABLE), now);
    if (protection !== undefined && this.#protected !== undefined)
      torn += this.#protected.restore(
        load(PROTECTED_TABLE),
        load(protection.table),
        (id) => this.#credentials.get(id),
        (session, identity) => this.server.handle({ type: "opened", session, identity }, now),
        rolledBack === undefined,
        now,
      );
    // A death between the writes of a credential and of its session. Not where records are missing or old: numbers may
    // have been used.
    if (torn === 0 && rolledBack === undefined)
      for (const credential of this.#credentials.all())
        if (!this.#isOpen(credential)) this.#open(credential, now);
    const restored = this.server.restore(
      {
        registrations: load(TABLES.registration),
        touches: load(TABLES.touch),
        operations: load(TABLES.operation),
        observations: load(TABLES.observation),
      },
      now,
    );
    this.unreadable = torn + restored.unreadable;
    this.#settle(now);
    this.#sessionChanges = []; // what was just read needs no writing
    if (rolledBack !== undefined)
      this.#write([
        ...(this.#protected?.forgetting() ?? []),
        ...this.#transports.forgetting(load),
        rolledBack.settled,
      ]);
  }

  get wakeAt(): Instant | undefined {
    const above = earlier(this.server.wakeAt, this.#protected?.layer.wakeAt);
    return earlier(this.#transports.wakeAt, earlier(this.#endpoint.wakeAt, above));
  }

  ledgerOf(session: SessionId): Ledger {
    return this.#protected?.ledgerOf(session) ?? this.#transports.ledgerOf(session);
  }

  /** All that the session has cost: also what carries it, unless that carries others, too. */
  accountOf(session: SessionId): Ledger {
    const own = this.ledgerOf(session);
    const carrier = this.#protected?.carrierAloneOf(session);
    if (carrier === undefined || !isSecured(carrier)) return own;
    const all = new Ledger();
    all.absorb(this.#transports.ledgerOf(carrier));
    all.absorbInner(own);
    return all;
  }

  /** How much was thrown away that belongs to no session, by reason. */
  get strays(): Readonly<Record<string, number>> {
    const { strays } = this.#transports;
    strays.absorb(this.#strays);
    return strays.snapshot().drops;
  }

  /** Where the session's peer is now, for people to see. */
  pathOf(session: SessionId): Path | undefined {
    const carrier = this.#protected?.has(session)
      ? this.#protected.layer.carrierOf(session)
      : session;
    return carrier === undefined ? undefined : this.#transports.pathOf(carrier);
  }

  handle(input: ServerStackInput, now: Instant): void {
    switch (input.type) {
      case "datagram":
        this.#transports.handle(input, now);
        break;
      case "addCredential":
        this.#addCredential(input.credential, input.ref, now);
        break;
      case "removeCredential":
        this.#revoke(input.id, input.ref, now);
        break;
      case "stored":
        this.#stored(input, now);
        break;
      case "park":
        this.#protected?.layer.handle(input, now);
        break;
      case "operate":
      case "cancelOperation":
      case "remove":
        this.server.handle(input, now);
        break;
      default:
        unreachable(input);
    }
    this.#settle(now);
  }

  wake(now: Instant): void {
    this.#transports.wake(now);
    this.#endpoint.wake(now);
    this.#protected?.layer.wake(now);
    this.server.wake(now);
    this.#settle(now);
  }

  poll(): ServerStackOutput | undefined {
    return this.#out.take();
  }

  /** What may be shown of the credentials there are. */
  credentials(endpoint?: string): readonly CredentialView[] {
    return this.#credentials.views(endpoint);
  }

  #addCredential(credential: Credential, ref: number, now: Instant): void {
    const id = credentialId(credential);
    const before = this.#credentials.get(id);
    const change = this.#credentials.add(credential);
    const undo = (): void => {
      if (before === undefined) this.#credentials.remove(id);
      else this.#credentials.add(before);
    };
    const known = before !== undefined && sameCredential(before, credential);
    this.#order([change], ref, undo, credential, known);
    if (before !== undefined && !known) this.#cutOff(before, now);
  }

  #revoke(id: string, ref: number, now: Instant): void {
    const credential = this.#credentials.get(id);
    const change = this.#credentials.remove(id);
    if (change === undefined || credential === undefined) {
      this.#out.push({ type: "credential", ref, ok: true }); // it is gone, as was asked
      return;
    }
    const undo = (): void => void this.#credentials.add(credential);
    const changes = [change, ...this.#close(id, now)];
    this.#order(changes, ref, undo, undefined);
    this.#cutOff(credential, now);
    const { endpoint } = credential;
    const registration = this.server.registration(endpoint, now);
    const used = registration && credentialIdOf(registration.identity);
    if (used === id) this.server.handle({ type: "remove", endpoint }, now);
  }

  /** The session of a credential ends at once. Returns what must be stored. */
  #close(credential: string, now: Instant): readonly StoreChange[] {
    const session = this.#protected?.remove(credential, now);
    if (session === undefined || this.#protected === undefined) return [];
    this.#endpoint.handle({ type: "closed", session }, now);
    this.server.handle({ type: "closed", session }, now);
    return [this.#protected.change(session)];
  }

  /** A credential is durable: what it stands for has a session from now on, in place of what it replaces. */
  #open(credential: Credential, now: Instant): void {
    if (credential.kind !== "oscore" || this.#protected === undefined) return;
    const changes = this.#close(credentialId(credential), now);
    const session = this.#protected.add(credential, now);
    this.server.handle({ type: "opened", session, identity: identityOf(credential) }, now);
    this.#write([...changes, this.#protected.change(session)]);
  }

  /** Whoever came in over DTLS by this credential must come in anew. */
  #cutOff(credential: Credential, now: Instant): void {
    this.#transports.handle({ type: "revoke", identity: identityOf(credential) }, now);
  }

  #order(
    changes: readonly StoreChange[],
    ref: number,
    undo: () => void,
    added: Credential | undefined,
    known = false,
  ): void {
    this.#write(changes, (ok, now, why) => {
      if (!ok) undo();
      else if (added !== undefined && !(known && this.#isOpen(added))) this.#open(added, now);
      this.#out.push({ type: "credential", ref, ok, ...(why === undefined ? {} : { why }) });
    });
  }

  /** Added once more as it is, it keeps its session: a fixed context begun anew would use its numbers twice. */
  #isOpen(credential: Credential): boolean {
    return this.#protected?.sessionOf(credentialId(credential)) !== undefined;
  }

  /** A write of the stack's own; its tickets count down, the server's up. */
  #write(changes: readonly StoreChange[], then: Written = ignore): void {
    this.#out.push({ type: "store", ticket: -this.#writing.give(then), changes });
  }

  #stored(input: StoredInput, now: Instant): void {
    const { ticket, ok, why } = input;
    if (ticket > 0) return this.server.handle(input, now);
    this.#writing.take(-ticket)?.(ok, now, why);
  }

  /** Carries outputs of one layer into the next until all are still. */
  #settle(now: Instant): void {
    for (;;) {
      const up = this.#transports.poll();
      if (up !== undefined) {
        this.#fromTransports(up, now);
        continue;
      }
      const beside = this.#protected?.layer.poll(); // who moved is known before what it says
      if (beside !== undefined) {
        this.#fromProtection(beside, now);
        continue;
      }
      const middle = this.#endpoint.poll();
      if (middle !== undefined) {
        this.#fromEndpoint(middle, now);
        continue;
      }
      const down = this.server.poll();
      if (down === undefined) return;
      this.#fromServer(down, now);
    }
  }

  #fromTransports(output: ServerTransportsOutput, now: Instant): void {
    switch (output.type) {
      case "datagram":
      case "handshakeFailed":
      case "keyLog":
        this.#out.push(output);
        return;
      case "received":
        this.#doubt.note(output.session, output.fresh);
        this.#endpoint.handle(output, now);
        return;
      case "moved":
        this.#endpoint.handle(output, now);
        if (!isSecured(output.session)) return;
        this.#doubt.moved(output.session, output.validated);
        this.server.handle(output, now);
        return;
      case "validated":
        this.#endpoint.handle(output, now);
        return;
      case "opened":
        return this.#opened(output, now);
      case "closed":
        this.#doubt.forget(output.session);
        this.#endpoint.handle({ type: "closed", session: output.session }, now);
        this.server.handle({ type: "closed", session: output.session }, now);
        return;
      case "store":
        this.#write(output.changes, (ok, at) => {
          this.#transports.handle({ type: "stored", ticket: output.ticket, ok }, at);
        });
        return;
      default:
        unreachable(output);
    }
  }

  #opened(output: Extract<ServerTransportsOutput, { type: "opened" }>, now: Instant): void {
    const { session, identity, how } = output;
    if (how === "raw") return;
    // A handshake proves the path; after a restart the peer has yet to show that it speaks now.
    if (how !== "restored") this.#endpoint.handle({ type: "validated", session }, now);
    this.server.handle({ type: "opened", session, identity }, now);
  }

  #fromProtection(output: ProtectionOutput, now: Instant): void {
    switch (output.type) {
      case "store":
        this.#write(output.changes, (ok, at) => {
          this.#protected?.layer.handle({ type: "stored", ticket: output.ticket, ok }, at);
        });
        return;
      case "released":
        this.#endpoint.handle(
          { type: "released", exchange: output.ref, result: output.result },
          now,
        );
        return;
      case "ready":
        this.#endpoint.handle(output, now);
        return;
      case "moved":
        this.#follow(output.session, output.carrier, now);
        this.#endpoint.handle(output, now);
        this.server.handle({ type: "moved", session: output.session }, now);
        return;
      case "dropped":
        (output.session === undefined ? this.#strays : this.ledgerOf(output.session)).drop(
          output.reason,
        );
        this.#out.push({ ...output, session: output.session ?? NOBODY });
        return;
      case "established":
      case "rekey":
      case "dead":
        return;
      default:
        unreachable(output);
    }
  }

  /** The device of a protected session is at another path: that one is kept, and over a restart, too. */
  #follow(session: SessionId, carrier: SessionId, now: Instant): void {
    if (this.#protected === undefined) return;
    const left = this.#protected.moved(session, carrier);
    this.#transports.handle({ type: "pin", session: carrier }, now);
    this.#keepSession(carrier);
    if (left !== undefined && !this.#pinned.has(left)) this.#unpin(left, now);
    this.#sessionChanges.push(this.#protected.change(session));
    this.#write(this.#sessionChanges.splice(0));
  }

  #unpin(session: SessionId, now: Instant): void {
    this.#transports.handle({ type: "unpin", session }, now);
    this.#unkeep(session);
  }

  #unkeep(session: SessionId): void {
    if (!isRaw(session) || this.#protected?.isCarrier(session) === true) return;
    this.#sessionChanges.push({ table: SESSION_TABLE, key: String(session), value: undefined });
  }

  #fromEndpoint(output: EndpointOutput, now: Instant): void {
    if (output.type === "send") this.#transports.handle(output, now);
    else if (output.type === "dropped") this.#out.push(output);
    else if (output.type === "proven") this.#proven(output.session, now);
    else if (output.type !== "request" || this.#mayObey(output, now)) {
      this.server.handle(output, now);
    }
  }

  /** The peer is where its session says. */
  #proven(session: SessionId, now: Instant): void {
    if (isSecured(session)) this.#transports.handle({ type: "validated", session }, now);
  }

  /** What may be a replay of what was received before a restart is not obeyed. */
  #mayObey(asked: Extract<EndpointOutput, { type: "request" }>, now: Instant): boolean {
    const { session, exchange, request, validated } = asked;
    if (validated) this.#proven(session, now);
    const judgement = this.#doubt.judge(session, request, validated);
    switch (judgement) {
      case "obey":
        return true;
      case "fresh":
        this.#transports.handle({ type: "fresh", session }, now);
        return true;
      case "ask":
        this.#endpoint.handle({ type: "challenge", exchange }, now);
        return false;
      case "close":
        this.#transports.handle({ type: "close", session }, now);
        return false;
      default:
        return unreachable(judgement);
    }
  }

  #fromServer(output: ServerOutput, now: Instant): void {
    switch (output.type) {
      case "coap":
        this.#endpoint.handle(output.input, now);
        return;
      case "rebind": {
        const { exchange, from, into } = output;
        this.#transports.handle({ type: "rebind", from, into }, now);
        this.#keepSession(into);
        return this.#adopt(exchange, into, now);
      }
      case "displace": {
        const path = this.#transports.pathOf(output.session);
        this.#transports.handle(output, now);
        const into = path && this.#transports.sessionAt(path);
        if (into === undefined) throw new UsageError(`session ${output.session} has no path`);
        return this.#adopt(output.exchange, into, now);
      }
      case "pin":
        if (this.#protected?.has(output.session)) return;
        // Of a credential that was replaced, or unreadable: its registration waits for the device to come back.
        if (output.session >= FIRST_PROTECTED_SESSION) return;
        this.#pinned.add(output.session);
        this.#transports.handle(output, now);
        this.#keepSession(output.session);
        return;
      case "unkeep":
        this.#unkeep(output.session);
        return;
      case "unpin":
        if (!this.#pinned.delete(output.session)) return;
        if (this.#protected?.isCarrier(output.session) !== true) this.#unpin(output.session, now);
        return;
      case "store":
        this.#out.push(this.#withSessions(output));
        return;
      case "registered":
      case "updated":
      case "deregistered":
      case "refused":
      case "operation":
      case "notification":
      case "observation":
        this.#out.push(output);
        return;
      default:
        unreachable(output);
    }
  }

  /** The endpoint must know of the new path before it answers on it. */
  #adopt(exchange: ExchangeId, into: SessionId, now: Instant): void {
    for (let up = this.#transports.poll(); up !== undefined; up = this.#transports.poll()) {
      this.#fromTransports(up, now);
    }
    this.#endpoint.handle({ type: "adopt", exchange, into }, now);
  }

  #keepSession(session: SessionId): void {
    if (!isRaw(session)) return; // DTLS keeps its own
    const path = this.#transports.pathOf(session);
    if (path === undefined) throw new UsageError(`session ${session} is not open`);
    const value = encodePath(path);
    this.#sessionChanges.push({ table: SESSION_TABLE, key: String(session), value });
  }

  #withSessions(output: StoreOutput): StoreOutput {
    if (this.#sessionChanges.length === 0) return output;
    const changes = [...output.changes, ...this.#sessionChanges];
    this.#sessionChanges = [];
    return { ...output, changes };
  }

  #restoreSessions(records: Iterable<StoredRecord>, now: Instant): number {
    let unreadable = 0;
    for (const { key, value } of records) {
      try {
        this.#transports.handle(
          { type: "restore", session: Number(key), path: decodePath(value) },
          now,
        );
      } catch (fault) {
        if (!(fault instanceof FormatError)) throw fault;
        unreadable += 1;
      }
    }
    return unreadable;
  }

  #sameHost(a: SessionId, b: SessionId): boolean {
    const [one, other] = [this.pathOf(a), this.pathOf(b)];
    return one !== undefined && one.remote.host === other?.remote.host;
  }
}

function dtlsSealer(sealer: CredentialSealer): Sealer {
  return {
    seal: (plain) => sealer.seal(plain, DTLS_CONTEXT),
    open: (sealed) => {
      try {
        return sealer.open(sealed, DTLS_CONTEXT);
      } catch (fault) {
        if (!(fault instanceof FormatError)) throw fault;
        return undefined;
      }
    },
  };
}

function encodePath({ local, remote }: Path): Uint8Array {
  const w = new Writer(48);
  for (const { host, port } of [local, remote]) {
    w.prefixed(1, (inner) => inner.append(utf8(host))).u16(port);
  }
  return w.bytes();
}

function decodePath(bytes: Uint8Array): Path {
  const r = new Reader(bytes);
  const [local, remote] = [0, 1].map(() => ({ host: fromUtf8(r.take(r.u8())), port: r.u16() }));
  r.end("the session record");
  return { local: local!, remote: remote! }; // two were read
}

/** What follows on a write. */
type Written = (ok: boolean, now: Instant, why?: string) => void;

function ignore(): void {}

/** No session has this number. */
const NOBODY: SessionId = 0;
const NO_SEALER: CredentialSealer = {
  seal: () => {
    throw new UsageError("there is no master key to keep credentials under");
  },
  open: () => {
    throw new FormatError("there is no master key to open it with");
  },
};
const SESSION_TABLE = "session";
const DTLS_CONTEXT = "dtls";
/** ms; longer than any binding probe runs (`maxProbeSeconds`). */
const PROBE_ROOM = 660_000;
