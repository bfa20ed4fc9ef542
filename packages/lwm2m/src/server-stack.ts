// The whole server below the sockets: raw UDP and DTLS sessions, the CoAP endpoint, the LwM2M server. One machine with
// datagrams and orders going in, datagrams, changes for the store and events coming out. It runs alike under the
// real driver and in the simulator.

import {
  Ledger,
  Outbox,
  UsageError,
  earlier,
  unreachable,
  type DatagramEvent,
  type Identity,
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
  isResponse,
  type CoapTuning,
  type EndpointOutput,
  type Stranger,
} from "@godwit/coap";
import { CredentialBook, type CredentialSealer } from "./server/credential-book.ts";
import { CredentialCommands } from "./server/credential-commands.ts";
import {
  credentialId,
  credentialIdOf,
  identityOf,
  type Credential,
  type CredentialView,
} from "./server/credential.ts";
import type { ServerEvent, ServerInput, ServerOutput, StoredRecord } from "./server/events.ts";
import type { ProtectionOutput } from "./protection-layer.ts";
import {
  ProtectedSessions,
  type OscoreCredential,
  type ServerProtection,
} from "./server/protected-sessions.ts";
import { HeldPaths } from "./server/held-paths.ts";
import { Numbers } from "./server/numbers.ts";
import {
  PROOF,
  RestartReplayGuard,
  isProofToken,
  proofId,
  proofToken,
} from "./server/restart-replay-guard.ts";
import type { ServerDtlsOptions } from "./server/peers.ts";
import { Quarantine, type Quarantined, type QuarantineView } from "./server/quarantine.ts";
import { Restorer } from "./server/restorer.ts";
import { Lwm2mServer } from "./server/server.ts";
import { NO_SEALER, dtlsSealer } from "./server/sealers.ts";
import { StoreWrites } from "./server/store-writes.ts";
import { serverTuning, type ServerTuning } from "./server/tuning.ts";
import { UsedContexts } from "./server/used-contexts.ts";
import {
  ServerTransports,
  isSecured,
  type HandshakeFailed,
  type ServerTransportsOutput,
} from "./server-transports.ts";

export type ServerStackInput =
  | DatagramEvent
  | StoredInput
  | Extract<ServerInput, { type: "operate" | "cancelOperation" | "remove" }>
  /** Adds or replaces a credential; throws UsageError for one that cannot be. Answered by `credential` once it is durable. */
  | { readonly type: "addCredential"; readonly ref: number; readonly credential: Credential }
  /** Revokes one: once that is durable, whoever uses it is cut off. */
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
      /** Why the store did not take it. */
      readonly why?: string;
    }
  | HandshakeFailed
  /** One line for SSLKEYLOGFILE; only where the debug switch is on. */
  | { readonly type: "keyLog"; readonly line: string }
  /** Bytes of a peer were thrown away; the session's ledger has counted it. */
  | {
      readonly type: "dropped";
      readonly session: SessionId;
      readonly reason: string;
      /** Who sent it, where OSCORE does not let somebody in. */
      readonly from?: DroppedFrom;
    };

/** From where, and the sender id that it gave, a view of the message. Neither is proven. */
export type DroppedFrom = {
  readonly path: Path | undefined;
  readonly kid: Uint8Array;
  readonly answered: boolean;
};

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
  readonly #quarantine: Quarantine;
  readonly #transports: ServerTransports;
  readonly #endpoint: Endpoint;
  readonly #out = new Outbox<ServerStackOutput>();
  readonly #held: HeldPaths;
  /** Sessions whose identity has another one, until they are used for something that is accepted. */
  readonly #guests = new Map<SessionId, Identity>();
  readonly #credentials: CredentialBook;
  readonly #replays = new RestartReplayGuard();
  readonly #rng: Rng;
  readonly #writes: StoreWrites;
  readonly #commands: CredentialCommands;
  readonly #protected: ProtectedSessions<unknown> | undefined;
  /** Of protected messages that are nobody's. */
  readonly #strays = new Ledger();

  constructor(options: ServerStackOptions) {
    const { rng, coap = {}, server = {}, load = () => [], now, sealer } = options;
    const { protection, dtls, rolledBack } = options;
    const numbers = new Numbers(rng);
    this.#rng = rng;
    this.#writes = new StoreWrites(numbers, (output) => this.#out.push(output));
    this.#protected =
      protection && new ProtectedSessions(protection, () => numbers.protected.next());
    this.#credentials = new CredentialBook(sealer ?? NO_SEALER, () => numbers.nextGeneration());
    // A binding probe keeps its request open for as long as it asks to.
    const tuning = coapTuning({ answerLifetime: PROBE_ROOM, ...coap });
    const limits = { ...serverTuning, ...server };
    this.#quarantine = new Quarantine(limits.maxQuarantined);
    const credentials = this.#credentials;
    const quarantine = this.#quarantine;
    const trusted = rolledBack === undefined;
    const used = new UsedContexts(sealer ?? NO_SEALER, limits.maxUsedContexts);
    const restorer = new Restorer({ load, quarantine, numbers, credentials, used, trusted, now });
    this.#transports = new ServerTransports({
      rng,
      coap: tuning,
      now,
      credentials,
      numbers,
      dtls,
      sealer: sealer && dtlsSealer(sealer),
      strange:
        protection &&
        ((datagram, path) => this.#stranger(protection.layer.strange(datagram), path)),
    });
    this.#endpoint = new Endpoint({
      tuning,
      rng,
      ledgerOf: (session) => this.ledgerOf(session),
      fragments: true,
      mayUpload: (session) => this.server.isWelcome(session),
      ...(protection === undefined ? {} : { protection: protection.layer }),
    });
    this.#held = new HeldPaths({
      transports: this.#transports,
      endpoint: this.#endpoint,
      sessions: this.#protected,
      passed: (session) => numbers.raw.passed(session),
      write: (changes) => this.#writes.write(changes),
      hear: (at) => this.#hearTransports(at),
    });
    this.server = new Lwm2mServer(
      {
        rng,
        allocate: (session, at, lasting) => this.#endpoint.allocate(session, at, lasting),
        sameHost: (a, b) => this.#sameHost(a, b),
        endpointOf: (identity) => credentials.endpointOf(identity),
        credentialRevision: () => credentials.revision,
        isSecured: (endpoint) => credentials.isSecured(endpoint),
        takeNumber: () => numbers.operations.next(),
      },
      server,
    );
    this.#commands = new CredentialCommands({
      credentials,
      used,
      quarantine,
      transports: this.#transports,
      sessions: this.#protected,
      server: this.server,
      write: (changes, then) => this.#writes.write(changes, then),
      insistently: (at, act, then) => this.#insistently(at, act, then),
      closed: (session, at) => this.#closed(session, at),
      release: (carrier, at) => this.#held.release(carrier, at),
    });
    this.#restore(restorer, options);
  }

  /** What an earlier run left goes on. */
  #restore(restorer: Restorer, options: ServerStackOptions): void {
    const { now, load = () => [], protection, rolledBack, server = {} } = options;
    if (options.load !== undefined) this.#writes.reserve();
    restorer.transports(this.#transports);
    this.#restoreProtected(restorer, protection, now);
    const guide = restorer.guide({
      isOpenToAll: server.nosec ?? serverTuning.nosec,
      secured: ({ identity }) => {
        const id = credentialIdOf(identity);
        if (identity.kind !== "oscore") return this.#transports.sessionOf(identity);
        return id === undefined ? undefined : this.#protected?.sessionOf(id);
      },
    });
    this.server.restore(guide, now);
    for (const changes of restorer.writes) this.#writes.write(changes);
    this.#settle(now);
    void this.#held.takeChanges(); // what was just read needs no writing
    for (const changes of restorer.abandonPaths(this.#transports, (session) =>
      this.#held.isHeld(session),
    ))
      this.#writes.write(changes);
    this.#settle(now);
    for (const changed of restorer.changedCredentials) this.#commands.resume(changed, now);
    if (rolledBack !== undefined)
      this.#writes.insist([
        ...(this.#protected?.forgetting() ?? []),
        ...this.#transports.forgetting(load),
        rolledBack.settled,
      ]);
  }

  #restoreProtected(
    restorer: Restorer,
    protection: ServerProtection | undefined,
    now: Instant,
  ): void {
    const sessions = this.#protected;
    if (protection === undefined || sessions === undefined) return;
    const { missing, mayBeUsed } = restorer.protectedSessions(
      sessions,
      protection.table,
      (session, credential) => {
        this.server.handle({ type: "opened", session, identity: identityOf(credential) }, now);
      },
    );
    // A death between the writes of a credential and of its session; or the session's records are lost.
    if (missing.length === 0) return;
    this.#insistently(now, () => {
      for (const credential of missing) this.#openMissing(credential, mayBeUsed, now);
    });
  }

  /** A credential that cannot be used stays, locks its endpoint, and is named. */
  #openMissing(credential: OscoreCredential, mayBeUsed: boolean, now: Instant): void {
    try {
      this.#commands.open(credential, mayBeUsed, now);
    } catch (fault) {
      if (!(fault instanceof UsageError)) throw fault;
      this.#quarantine.note(fault.message, credentialId(credential), now);
    }
  }

  /** Records that could not go on at a start, and were set aside. */
  get quarantine(): QuarantineView {
    return this.#quarantine.view;
  }

  /** Those of this start; also what should have been there and is missing. */
  get setAside(): readonly Quarantined[] {
    return this.#quarantine.found;
  }

  get wakeAt(): Instant | undefined {
    const beside = earlier(this.#protected?.layer.wakeAt, this.#writes.wakeAt);
    const above = earlier(this.server.wakeAt, beside);
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

  /** The endpoint that a credential belongs to. */
  endpointOf(identity: Identity): string | undefined {
    return this.#credentials.endpointOf(identity);
  }

  /** Where the session's peer is now; nothing where nobody knows. */
  pathOf(session: SessionId): Path | undefined {
    const carrier = this.#carrierOf(session);
    return carrier === undefined ? undefined : this.#transports.pathOf(carrier);
  }

  /** Where the session's peer was heard last, for people to see. */
  lastPathOf(session: SessionId): Path | undefined {
    const carrier = this.#carrierOf(session);
    return carrier === undefined ? undefined : this.#transports.lastPathOf(carrier);
  }

  /** What the session travels in. */
  #carrierOf(session: SessionId): SessionId | undefined {
    return this.#protected?.has(session) ? this.#protected.layer.carrierOf(session) : session;
  }

  handle(input: ServerStackInput, now: Instant): void {
    switch (input.type) {
      case "datagram":
        this.#transports.handle(input, now);
        break;
      case "addCredential":
        this.#commands.add(input.credential, this.#done(input.ref));
        break;
      case "removeCredential":
        this.#commands.revoke(input.id, this.#done(input.ref));
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
    this.#writes.wake(now);
    this.#settle(now);
  }

  poll(): ServerStackOutput | undefined {
    return this.#out.take();
  }

  /** What may be shown of the credentials there are. */
  credentials(endpoint?: string): readonly CredentialView[] {
    return this.#credentials.views(endpoint);
  }

  #done(ref: number): (ok: boolean, why?: string) => void {
    return (ok, why) =>
      this.#out.push({ type: "credential", ref, ok, ...(why === undefined ? {} : { why }) });
  }

  /** All that `act` leads to becomes one write, which is written until the store takes it. */
  #insistently(now: Instant, act: () => void, then?: () => void): void {
    this.#settle(now); // what is under way is no part of it
    this.#writes.atomically(() => {
      act();
      this.#settle(now);
    }, then);
  }

  #stored(input: StoredInput, now: Instant): void {
    if (this.#writes.stored(input, now)) this.server.handle(input, now);
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
        this.#replays.note(output.session, output.fresh);
        if (this.#guests.has(output.session)) this.#heardOfGuest(output, now);
        this.#endpoint.handle(output, now);
        return;
      case "moved":
        this.#endpoint.handle(output, now);
        if (!isSecured(output.session)) return;
        this.#replays.moved(output.session, output.validated);
        this.server.handle(output, now);
        return;
      case "validated":
        this.#endpoint.handle(output, now);
        return;
      case "opened":
        return this.#opened(output, now);
      case "closed":
        this.#replays.forget(output.session);
        this.#guests.delete(output.session);
        return this.#closed(output.session, now);
      case "store":
        this.#writes.write(output.changes, (ok, at) => {
          this.#transports.handle({ type: "stored", ticket: output.ticket, ok }, at);
        });
        return;
      default:
        unreachable(output);
    }
  }

  #closed(session: SessionId, now: Instant): void {
    this.#endpoint.handle({ type: "closed", session }, now);
    this.server.handle({ type: "closed", session }, now);
  }

  #opened(output: Extract<ServerTransportsOutput, { type: "opened" }>, now: Instant): void {
    const { session, identity, how, guest = false } = output;
    if (how === "raw") return;
    if (guest) this.#guests.set(session, identity);
    // A handshake proves the path; after a restart the peer has yet to show that it speaks now.
    if (how !== "restored") this.#endpoint.handle({ type: "validated", session }, now);
    this.server.handle({ type: "opened", session, identity, guest }, now);
  }

  /** It has what it came for. */
  #settleGuest(session: SessionId, now: Instant): void {
    this.#guests.delete(session);
    this.#transports.handle({ type: "settle", session }, now);
  }

  /** What answers us, or reports, is of the device that we speak with, whatever session it has now. */
  #heardOfGuest({ session, bytes }: { session: SessionId; bytes: Uint8Array }, now: Instant): void {
    const identity = this.#guests.get(session);
    if (identity === undefined || bytes.length < 2 || !isResponse(bytes[1]!)) return; // there are two
    this.#guests.delete(session);
    this.server.handle({ type: "opened", session, identity }, now);
    // What it reports is known in this session before it is looked at.
    for (let down = this.server.poll(); down !== undefined; down = this.server.poll())
      this.#fromServer(down, now);
  }

  #fromProtection(output: ProtectionOutput, now: Instant): void {
    switch (output.type) {
      case "store":
        this.#writes.write(output.changes, (ok, at) => {
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
        if (isSecured(output.carrier)) this.#settleGuest(output.carrier, now);
        this.#held.follow(output.session, output.carrier, now);
        this.#endpoint.handle(output, now);
        this.server.handle({ type: "moved", session: output.session }, now);
        return;
      case "dropped":
        (output.session === undefined ? this.#strays : this.ledgerOf(output.session)).drop(
          output.reason,
        );
        this.#dropped(output);
        return;
      case "established":
        this.server.handle({ type: "established", session: output.session }, now);
        return;
      case "rekey":
      case "dead":
        return;
      default:
        unreachable(output);
    }
  }

  #dropped({
    session = NOBODY,
    reason,
    from,
  }: Extract<ProtectionOutput, { type: "dropped" }>): void {
    if (from === undefined) return this.#out.push({ type: "dropped", session, reason });
    const { carrier, kid, answered } = from;
    const path = this.#transports.lastPathOf(carrier);
    this.#out.push({ type: "dropped", session, reason, from: { path, kid, answered } });
  }

  /** Somebody unknown to OSCORE, from a new path: opens no session of plain UDP. */
  #stranger(stranger: Stranger | undefined, path: Path): string | undefined {
    if (stranger === undefined) return undefined;
    const { reason, kid } = stranger;
    const from = { path, kid, answered: false };
    this.#out.push({ type: "dropped", session: NOBODY, reason, from });
    return reason;
  }

  #fromEndpoint(output: EndpointOutput, now: Instant): void {
    if (output.type === "send") this.#transports.handle(output, now);
    else if (output.type === "dropped") this.#out.push(output);
    else if (output.type === "proven") this.#proven(output.session, now);
    else if (output.type === "unnotified") return; // nobody observes the server
    else if ("id" in output && output.id < 0) this.#proved(output, now);
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
    const { session, exchange, request, validated, echoed = false } = asked;
    if (validated) this.#proven(session, now);
    const judgement = this.#replays.judge(session, request, echoed, now);
    switch (judgement) {
      case "obey":
        return true;
      case "fresh":
        this.#transports.handle({ type: "fresh", session }, now);
        return true;
      case "ask":
        this.#endpoint.handle({ type: "challenge", exchange }, now);
        return false;
      case "prove":
      case "ignore":
        this.#endpoint.handle({ type: "ignore", exchange }, now);
        if (judgement === "prove") this.#prove(session, now);
        return false;
      case "close":
      case "dismiss":
        this.#endpoint.handle({ type: "ignore", exchange }, now);
        this.#transports.handle({ type: judgement, session }, now);
        return false;
      default:
        return unreachable(judgement);
    }
  }

  /** Asks the peer something: its answer shows that it speaks now. */
  #prove(session: SessionId, now: Instant): void {
    const { mid } = this.#endpoint.allocate(session, now);
    const again = { mid, token: proofToken(this.#rng) };
    const id = proofId(session);
    this.#endpoint.handle({ type: "request", id, session, request: PROOF, again }, now);
  }

  #proved(output: Extract<EndpointOutput, { id: number }>, now: Instant): void {
    if (output.type !== "response" && output.type !== "failed") return;
    const { type, session } = output;
    const answered = type === "response" && isProofToken(output.token);
    if (this.#replays.proved(session, answered) && answered) {
      this.#transports.handle({ type: "fresh", session }, now);
    }
  }

  #fromServer(output: ServerOutput, now: Instant): void {
    switch (output.type) {
      case "coap":
        this.#endpoint.handle(output.input, now);
        return;
      case "rebind":
        return this.#held.rebind(output.exchange, output.from, output.into, now);
      case "displace":
        return this.#held.displace(output.exchange, output.session, now);
      case "pin":
        if (isSecured(output.session)) this.#settleGuest(output.session, now);
        return this.#held.pin(output.session, now);
      case "unkeep":
        return this.#held.unkeep(output.session);
      case "unpin":
        return this.#held.unpin(output.session, now);
      case "store":
        return this.#storeForServer(output);
      case "registered":
      case "updated":
      case "deregistered":
      case "refused":
      case "operation":
      case "notification":
      case "observation":
      case "observationSilent":
        this.#out.push(output);
        return;
      default:
        unreachable(output);
    }
  }

  /** What the transports have to say. */
  #hearTransports(now: Instant): void {
    for (let up = this.#transports.poll(); up !== undefined; up = this.#transports.poll())
      this.#fromTransports(up, now);
  }

  /** A write of the server's, with those of the sessions that it speaks of. */
  #storeForServer({ ticket, changes }: StoreOutput): void {
    const beside = this.#held.takeChanges();
    const all = beside.length === 0 ? changes : [...changes, ...beside];
    if (!this.#writes.isGathering) return this.#writes.writeAs(ticket, all);
    this.#writes.write(all, (ok, at, why) => {
      this.server.handle({ type: "stored", ticket, ok, ...(why === undefined ? {} : { why }) }, at);
    });
  }

  #sameHost(a: SessionId, b: SessionId): boolean {
    const [one, other] = [this.lastPathOf(a), this.lastPathOf(b)];
    return one !== undefined && one.remote.host === other?.remote.host;
  }
}

/** No session has this number. */
const NOBODY: SessionId = 0;
/** ms; longer than any binding probe runs (`maxProbeSeconds`). */
const PROBE_ROOM = 660_000;
