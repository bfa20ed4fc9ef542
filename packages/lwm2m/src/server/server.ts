// The LwM2M server, without I/O: who is registered, what they are owed, and when they can be spoken to.
//
//   Register / Update / De-register ──> refuse, or change the registry ──> store ──> stored ──> answer
//   operate ──> queue ──> store ──> stored: accepted ──> (device can hear it) ──> request ──> response ──> store ──> done
//                          ▲                                                        │
//                          └──────────── no answer: wait for its next word ─────────┘
//
// Nothing is answered before it is durable. A device is only ever named by its session: no address is known here.

import {
  Deadlines,
  FormatError,
  Outbox,
  UsageError,
  earlier,
  unreachable,
  type Identity,
  type Instant,
  type Machine,
  type Rng,
  type SessionId,
  type StoreChange,
} from "@godwit/base";
import {
  Code,
  OptionNumber,
  findUint,
  request as buildRequest,
  response as buildResponse,
  uriPath,
  uriQuery,
  type ExchangeId,
  type Request,
  type Response,
} from "@godwit/coap";
import {
  parseRegister,
  parseUpdate,
  type Registration as RegisterParameters,
  type RegistrationUpdate,
} from "../registration.ts";
import { refused, type Refusal } from "../refusal.ts";
import type { ServerInput, ServerOutput, StoredTables } from "./events.ts";
import { Observations, type Observation } from "./observations.ts";
import { isFinal, isIdempotent, viewOperation, type Operation } from "./operation.ts";
import { Operations } from "./operations.ts";
import { canPush, noteUplink, notePushAnswered, notePushLost, reachability } from "./reach.ts";
import {
  TABLES,
  decodeObservation,
  decodeOperation,
  decodeRegistration,
  decodeTouch,
  encodeObservation,
  encodeOperation,
  encodeRegistration,
  encodeTouch,
  operationKey,
} from "./records.ts";
import { newRegistration, type Registration, type RegistrationView } from "./registration.ts";
import { Registry } from "./registry.ts";
import { serverTuning, type ServerTuning } from "./tuning.ts";

/** What the server must know about the world around it; all answers are immediate and without side effects. */
export type ServerSurroundings = {
  readonly rng: Rng;
  /** Message id and token the endpoint will use nowhere else, for a request to this session. */
  readonly allocate: (
    session: SessionId,
    now: Instant,
  ) => { readonly mid: number; readonly token: Uint8Array };
  /** Whether two raw sessions come from the same host. Proves nothing, but an incumbent rebooted more often than not. */
  readonly sameHost: (a: SessionId, b: SessionId) => boolean;
  /** The endpoint name an identity stands for; `undefined`: this identity is unknown. */
  readonly endpointOf?: (identity: Identity) => string | undefined;
  /** Whether this endpoint has credentials: then it is never spoken to without them. */
  readonly isSecured?: (endpoint: string) => boolean;
};

/** What waits for its changes to become durable, in order. */
type Pending =
  | {
      readonly kind: "register";
      readonly exchange: ExchangeId;
      readonly registration: Registration;
      readonly replaced: boolean;
    }
  | {
      readonly kind: "update";
      readonly exchange: ExchangeId;
      readonly registration: Registration;
      readonly moved: boolean;
      readonly changed: readonly string[];
    }
  | {
      readonly kind: "deregister";
      readonly exchange: ExchangeId;
      readonly registration: Registration;
    }
  | { readonly kind: "accept"; readonly operation: Operation }
  | { readonly kind: "dispatch"; readonly operation: Operation }
  | { readonly kind: "finish"; readonly operation: Operation }
  | { readonly kind: "quiet" };

type Takeover = {
  readonly exchange: ExchangeId;
  readonly session: SessionId;
  readonly parameters: RegisterParameters;
  readonly endpoint: string;
  readonly incumbent: Registration;
};

export class Lwm2mServer implements Machine<ServerInput, ServerOutput> {
  readonly #tuning: ServerTuning;
  readonly #around: ServerSurroundings;
  readonly #out = new Outbox<ServerOutput>();
  readonly #registry = new Registry();
  readonly #operations: Operations;
  readonly #observations: Observations;
  readonly #identities = new Map<SessionId, Identity>();
  readonly #pending: Map<number, Pending> = new Map();
  #ticket = 0;
  /** Delayed answers to binding probes: the request's exchange and when it is due. */
  readonly #probes = new Deadlines<ExchangeId>();
  /** Newcomers that wait for the incumbent of their endpoint name to answer, by ping id. */
  readonly #takeovers = new Map<number, Takeover>();
  readonly #takeoverDue = new Deadlines<number>();
  /** Raw sessions that have just followed their peer to another path; the Update that showed it is on its way. */
  readonly #rebound = new Set<SessionId>();
  #lastId = 0;

  constructor(around: ServerSurroundings, tuning: Partial<ServerTuning> = {}) {
    this.#around = around;
    this.#tuning = { ...serverTuning, ...tuning };
    this.#operations = new Operations(this.#tuning);
    this.#observations = new Observations(this.#tuning.maxObservationsPerEndpoint);
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get registrationCount(): number {
    return this.#registry.size;
  }

  registration(endpoint: string, now: Instant): RegistrationView | undefined {
    const found = this.#registry.byEndpoint(endpoint);
    return found && this.#view(found, now);
  }

  *registrations(now: Instant): IterableIterator<RegistrationView> {
    for (const registration of this.#registry.all()) yield this.#view(registration, now);
  }

  operation(id: number): ReturnType<typeof viewOperation> | undefined {
    const found = this.#operations.get(id);
    return found && viewOperation(found);
  }

  operationsOf(endpoint: string): readonly ReturnType<typeof viewOperation>[] {
    return this.#operations.of(endpoint).map(viewOperation);
  }

  observationsOf(endpoint: string): readonly string[] {
    return this.#observations.of(endpoint).map(({ path }) => path);
  }

  /** A number for a new operation, larger than all before it, also across restarts (ms since 1970 times 1024). */
  operationId(now: Instant): number {
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(now) * 1_024);
    return this.#lastId;
  }

  get wakeAt(): Instant | undefined {
    return earlier(
      earlier(this.#registry.nextExpiry, this.#operations.nextDeadline),
      earlier(this.#probes.next, this.#takeoverDue.next),
    );
  }

  poll(): ServerOutput | undefined {
    return this.#out.take();
  }

  // ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes back what an earlier run promised. Call once, before any input. Returns how many records could not be read;
   * they are left alone in the store.
   */
  restore(tables: StoredTables, now: Instant): { readonly unreadable: number } {
    let unreadable = 0;
    const each = <T>(
      records: Iterable<{ readonly key: string; readonly value: Uint8Array }>,
      decode: (bytes: Uint8Array) => T,
      take: (value: T, key: string) => void,
    ): void => {
      for (const { key, value } of records) {
        try {
          take(decode(value), key);
        } catch (fault) {
          if (!(fault instanceof FormatError)) throw fault;
          unreadable += 1;
        }
      }
    };
    each(tables.registrations, decodeRegistration, (registration) => {
      this.#registry.add(registration);
      this.#registry.prove(registration);
    });
    each(tables.touches, decodeTouch, (touch, id) => {
      const registration = this.#registry.byId(id);
      if (registration === undefined) return;
      registration.updatedAt = touch.updatedAt;
      registration.reach.seenAt = touch.updatedAt;
      this.#registry.move(registration, touch.session);
      const floor = now + Math.min(registration.lifetime * 1_000, this.#tuning.restartGrace);
      const at = touch.expiresAt === undefined ? undefined : Math.max(touch.expiresAt, floor);
      this.#registry.expireAt(registration, at, this.#tuning.lifetimeGrace);
    });
    each(tables.operations, decodeOperation, (operation) => {
      this.#operations.add(operation);
      this.#lastId = Math.max(this.#lastId, operation.id);
      if (!isFinal(operation.state)) {
        this.#registry.byEndpoint(operation.endpoint)?.queue.push(operation);
      }
    });
    each(tables.observations, decodeObservation, (observation) => {
      const registration = this.#registry.byEndpoint(observation.endpoint);
      this.#observations.add({ ...observation, active: registration !== undefined });
      this.#lastId = Math.max(this.#lastId, observation.id);
      if (registration !== undefined) this.#resume(observation, registration.session);
    });
    for (const registration of this.#registry.all()) {
      this.#out.push({ type: "pin", session: registration.session });
    }
    return { unreadable };
  }

  // ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

  handle(input: ServerInput, now: Instant): void {
    switch (input.type) {
      case "request":
        return this.#request(input.exchange, input.session, input.request, now);
      case "response":
        return this.#answered(input, now);
      case "failed":
        return this.#unanswered(input.id, input.reason, now);
      case "alive":
        return this.#seen(input.session, now);
      case "pong":
        return this.#incumbentAnswered(input.id, now);
      case "unobserved": // nothing of ours is observed
        return;
      case "opened":
        if (input.identity.kind !== "none") this.#identities.set(input.session, input.identity);
        return;
      case "closed":
        this.#identities.delete(input.session);
        return;
      case "stored":
        return this.#stored(input.ticket, input.ok, now);
      case "operate":
        return this.#accept(input, now);
      case "cancelOperation":
        return this.#cancel(input.id, now);
      case "remove":
        return this.#remove(input.endpoint, now);
      default:
        return unreachable(input);
    }
  }

  wake(now: Instant): void {
    for (let r = this.#registry.expired(now); r; r = this.#registry.expired(now)) {
      this.#drop(r, "expired", now);
      this.#store(this.#forgetting(r), { kind: "quiet" });
    }
    for (let o = this.#operations.due(now); o; o = this.#operations.due(now)) {
      if (isFinal(o.state)) this.#forget(o);
      else this.#end(o, { name: "expired", at: now }, now);
    }
    for (let exchange = this.#probes.expired(now); exchange !== undefined;) {
      this.#respond(exchange, buildResponse(Code.Content));
      exchange = this.#probes.expired(now);
    }
    for (let id = this.#takeoverDue.expired(now); id !== undefined;) {
      this.#incumbentSilent(id, now);
      id = this.#takeoverDue.expired(now);
    }
  }

  // ── requests of devices ──────────────────────────────────────────────────────────────────────────────────────────

  #request(exchange: ExchangeId, session: SessionId, request: Request, now: Instant): void {
    const path = uriPath(request.options);
    if (path[0] === "rd" && path.length === 2) {
      return this.#located(exchange, session, path[1]!, request, now); // the length was checked
    }
    if (path[0] === "rd" && path.length === 1) {
      if (request.code === Code.POST) return this.#register(exchange, session, request, now);
      return this.#respond(exchange, buildResponse(Code.MethodNotAllowed));
    }
    if (path.length === 1 && path[0] === "nat") {
      return this.#probe(exchange, request, now);
    }
    if (path.length === 2 && path[0] === ".well-known" && path[1] === "core") {
      return this.#respond(
        exchange,
        request.code === Code.GET
          ? buildResponse(Code.Content, { contentFormat: 40, payload: RESOURCES })
          : buildResponse(Code.MethodNotAllowed),
      );
    }
    this.#respond(exchange, buildResponse(Code.NotFound));
  }

  #register(exchange: ExchangeId, session: SessionId, request: Request, now: Instant): void {
    const parsed = parseRegister(request);
    if (parsed.type === "refused") return this.#refuse(exchange, session, parsed);
    const parameters = parsed.registration;
    if (parameters.objects === undefined) return this.#refuse(exchange, session, UNKNOWN_PROFILE);
    const identity = this.#identity(session);
    const admitted = this.#admit(identity, parameters.endpoint);
    if (typeof admitted !== "string") return this.#refuse(exchange, session, admitted);
    const endpoint = admitted;
    const there = this.#registry.bySession(session);
    if (there !== undefined && there.endpoint !== endpoint && identity.kind === "none") {
      // A NAT gave this address away. Who had it before is silent there, not gone.
      there.reach.silent = true;
      return this.#emit({ type: "displace", exchange, session });
    }
    const incumbent = this.#registry.byEndpoint(endpoint);
    if (incumbent === undefined && this.#registry.size >= this.#tuning.maxRegistrations) {
      return this.#refuse(exchange, session, NO_ROOM);
    }
    const mayReplace =
      incumbent === undefined ||
      identity.kind !== "none" ||
      incumbent.session === session ||
      this.#around.sameHost(incumbent.session, session);
    if (mayReplace) return this.#enrol(exchange, session, endpoint, parameters, now);
    this.#askIncumbent({ exchange, session, parameters, endpoint, incumbent }, now);
  }

  /** The endpoint name this identity may use, or why it may not. */
  #admit(identity: Identity, claimed: string | undefined): string | Refusal {
    if (identity.kind === "none") {
      if (claimed === undefined) return refused(Code.BadRequest, "ep is missing");
      if (this.#around.isSecured?.(claimed) === true) {
        return refused(Code.Forbidden, "this endpoint has credentials");
      }
      return this.#tuning.nosec ? claimed : refused(Code.Forbidden, "NoSec is switched off");
    }
    const own = this.#around.endpointOf?.(identity);
    if (own === undefined) return refused(Code.Forbidden, "credential of no endpoint");
    if (claimed === undefined || claimed === own) return own;
    return refused(Code.BadRequest, "ep is not the credential's");
  }

  /** Nobody has proven anything on raw UDP: whoever answers at the old address keeps the name. */
  #askIncumbent(takeover: Takeover, now: Instant): void {
    const asked = [...this.#takeovers.values()].some((t) => t.endpoint === takeover.endpoint);
    if (asked || this.#takeovers.size >= this.#tuning.maxTakeovers) {
      return this.#refuse(takeover.exchange, takeover.session, BEING_CHECKED);
    }
    const id = this.operationId(now);
    this.#takeovers.set(id, takeover);
    this.#takeoverDue.set(id, now + this.#tuning.takeoverProbe);
    this.#out.push({
      type: "coap",
      input: { type: "ping", id, session: takeover.incumbent.session },
    });
  }

  #incumbentAnswered(id: number, now: Instant): void {
    const takeover = this.#takeovers.get(id);
    if (takeover === undefined) return;
    this.#takeovers.delete(id);
    this.#takeoverDue.stop(id);
    this.#seen(takeover.incumbent.session, now);
    this.#refuse(takeover.exchange, takeover.session, INCUMBENT_ANSWERS);
  }

  #incumbentSilent(id: number, now: Instant): void {
    const takeover = this.#takeovers.get(id);
    if (takeover === undefined) return;
    this.#takeovers.delete(id);
    this.#takeoverDue.stop(id);
    this.#out.push({ type: "coap", input: { type: "cancel", id, how: "forget" } });
    const { exchange, session, endpoint, parameters } = takeover;
    this.#enrol(exchange, session, endpoint, parameters, now);
  }

  #enrol(
    exchange: ExchangeId,
    session: SessionId,
    endpoint: string,
    parameters: RegisterParameters,
    now: Instant,
  ): void {
    const changes: StoreChange[] = [];
    const incumbent = this.#registry.byEndpoint(endpoint);
    const squatter = this.#registry.bySession(session); // a session carries one registration
    for (const old of new Set([incumbent, squatter])) {
      if (old === undefined) continue;
      changes.push(...this.#forgetting(old));
      this.#drop(old, "replaced", now);
    }
    const identity = this.#identity(session);
    const proven = identity.kind !== "none";
    if (!proven) changes.push(...this.#makeRoom(now));
    const registration = newRegistration({
      id: this.#locationId(proven),
      endpoint,
      session,
      identity,
      lifetime: parameters.lifetime,
      version: parameters.lwm2m,
      binding: parameters.binding,
      queueMode: parameters.queue,
      sms: parameters.sms,
      objects: parameters.objects ?? NO_OBJECTS,
      registeredAt: now,
      now,
    });
    registration.proven = proven;
    this.#registry.add(registration);
    this.#takeQueue(registration, now);
    this.#touch(registration, now);
    changes.push(
      {
        table: TABLES.registration,
        key: registration.id,
        value: encodeRegistration(registration),
      },
      this.#touchChange(registration),
    );
    this.#out.push({ type: "pin", session });
    const replaced = incumbent !== undefined;
    this.#store(changes, { kind: "register", exchange, registration, replaced });
  }

  /**
   * What waits for the endpoint waits for its new registration. An order that must not be obeyed twice and was sent while
   * the device could well hear it is not sent again: the device may have obeyed it, and restarted because of it.
   */
  #takeQueue(registration: Registration, now: Instant): void {
    const waiting = this.#operations
      .of(registration.endpoint)
      .filter((operation) => !isFinal(operation.state));
    for (const operation of waiting) {
      const heard =
        operation.lastIdle !== undefined && operation.lastIdle < this.#tuning.trustedBinding;
      if (heard && !isIdempotent(operation.kind, operation.request)) {
        const reason = "the device registered anew before it answered; it may have obeyed";
        this.#end(operation, { name: "failed", at: now, reason }, now);
      } else registration.queue.push(operation);
    }
  }

  /** At the limit the oldest registration whose address nobody has proven makes room. */
  #makeRoom(now: Instant): readonly StoreChange[] {
    if (this.#registry.unproven < this.#tuning.maxUnproven) return [];
    const oldest = this.#registry.oldestUnproven();
    if (oldest === undefined) return [];
    const changes = this.#forgetting(oldest);
    this.#drop(oldest, "evicted", now);
    return changes;
  }

  #located(
    exchange: ExchangeId,
    session: SessionId,
    id: string,
    request: Request,
    now: Instant,
  ): void {
    if (request.code !== Code.POST && request.code !== Code.DELETE) {
      return this.#respond(exchange, buildResponse(Code.MethodNotAllowed));
    }
    const registration = this.#locate(session, id);
    if (registration === undefined) {
      return this.#refuse(exchange, session, refused(Code.NotFound, ""));
    }
    if (registration.session !== session && registration.identity.kind === "none") {
      // Its path changed. The endpoint gives the request back under the right session, once only.
      const into = registration.session;
      const before = this.#registry.bySession(session);
      if (before !== undefined) before.reach.silent = true; // its address is this device's now
      this.#rebound.add(into);
      return this.#emit({ type: "rebind", exchange, from: session, into });
    }
    if (request.code === Code.DELETE) return this.#deregister(exchange, registration, now);
    this.#update(exchange, session, registration, request, now);
  }

  /** Where the session is authenticated, the id is only looked up inside it. */
  #locate(session: SessionId, id: string): Registration | undefined {
    const found = this.#registry.byId(id);
    if (found === undefined) return undefined;
    if (found.identity.kind === "none") {
      return this.#identity(session).kind === "none" ? found : undefined;
    }
    const endpoint = this.#around.endpointOf?.(this.#identity(session));
    return endpoint === found.endpoint ? found : undefined;
  }

  #update(
    exchange: ExchangeId,
    session: SessionId,
    registration: Registration,
    request: Request,
    now: Instant,
  ): void {
    const parsed = parseUpdate(request, registration.version);
    if (parsed.type === "refused") return this.#refuse(exchange, session, parsed);
    const moved = this.#rebound.delete(session) || registration.session !== session;
    if (registration.session !== session) this.#changeSession(registration, session);
    const changed = applyUpdate(registration, parsed.update);
    this.#registry.prove(registration); // it knows its Location: our answer reached it
    this.#touch(registration, now);
    const changes: StoreChange[] = [this.#touchChange(registration)];
    if (changed.length > 0) {
      changes.push({
        table: TABLES.registration,
        key: registration.id,
        value: encodeRegistration(registration),
      });
    }
    this.#store(changes, { kind: "update", exchange, registration, moved, changed });
  }

  /** The device came back with a new association for the same credential. */
  #changeSession(registration: Registration, session: SessionId): void {
    this.#out.push({ type: "unpin", session: registration.session });
    this.#registry.move(registration, session);
    this.#out.push({ type: "pin", session });
    for (const observation of this.#observations.of(registration.endpoint)) {
      if (observation.active) this.#resume(observation, session);
    }
  }

  #deregister(exchange: ExchangeId, registration: Registration, now: Instant): void {
    this.#drop(registration, "device", now);
    this.#store(this.#forgetting(registration), { kind: "deregister", exchange, registration });
  }

  /** `GET /nat?s=N`: an answer N seconds later shows the device that its NAT held the mapping that long. */
  #probe(exchange: ExchangeId, request: Request, now: Instant): void {
    const [, seconds] = /^s=(\d{1,4})$/.exec(uriQuery(request.options)[0] ?? "") ?? [];
    const wait = Number(seconds);
    if (request.code !== Code.GET) {
      return this.#respond(exchange, buildResponse(Code.MethodNotAllowed));
    }
    if (seconds === undefined || wait > this.#tuning.maxProbeSeconds) {
      const payload = `s=0..${this.#tuning.maxProbeSeconds}`;
      return this.#respond(exchange, buildResponse(Code.BadRequest, { payload }));
    }
    if (this.#probes.size >= this.#tuning.maxProbes) {
      return this.#respond(
        exchange,
        buildResponse(Code.ServiceUnavailable, { maxAge: RETRY_AFTER }),
      );
    }
    this.#probes.set(exchange, now + wait * 1_000);
  }

  // ── operations ───────────────────────────────────────────────────────────────────────────────────────────────────

  #accept(input: Extract<ServerInput, { type: "operate" }>, now: Instant): void {
    if (this.#operations.get(input.id) !== undefined) {
      throw new UsageError(`operation ${input.id} exists already`);
    }
    const { id, endpoint, kind, path, request, expiresAt } = input;
    const operation: Operation = {
      id,
      endpoint,
      kind,
      path,
      request,
      createdAt: now,
      expiresAt,
      attempts: 0,
      lastIdle: undefined,
      again: undefined,
      state: { name: "waiting" },
    };
    const full = this.#operations.fullFor(endpoint);
    if (full !== undefined) {
      operation.state = { name: "failed", at: now, reason: full };
      return this.#emit({ type: "operation", operation: viewOperation(operation) });
    }
    this.#operations.add(operation);
    this.#store([this.#operationChange(operation)], { kind: "accept", operation });
  }

  #cancel(id: number, now: Instant): void {
    const operation = this.#operations.get(id);
    if (operation === undefined || isFinal(operation.state)) return;
    this.#end(operation, { name: "cancelled", at: now }, now);
  }

  /** Sends the next waiting operation if the device can hear it; one at a time (NSTART 1). */
  #flush(registration: Registration, now: Instant): void {
    const next = registration.queue[0];
    if (next === undefined || next.state.name !== "waiting") return;
    if (!canPush(registration, this.#tuning, now)) return;
    this.#dispatch(registration, next, now);
  }

  #dispatch(registration: Registration, operation: Operation, now: Instant): void {
    const idle = now - registration.reach.seenAt;
    operation.state = { name: "sent", at: now, idle };
    operation.lastIdle = idle;
    operation.attempts += 1;
    if (operation.kind === "cancelObserve")
      return this.#stopObserving(registration, operation, now);
    if (operation.again === undefined) {
      operation.again = this.#around.allocate(registration.session, now);
      if (!isIdempotent(operation.kind, operation.request)) {
        this.#store([this.#operationChange(operation)], { kind: "dispatch", operation });
        return;
      }
    }
    this.#send(registration, operation);
  }

  #send(registration: Registration, operation: Operation): void {
    this.#out.push({
      type: "coap",
      input: {
        type: "request",
        id: operation.id,
        session: registration.session,
        request: this.#rooted(registration, operation.request),
        ...(operation.again === undefined ? {} : { again: operation.again }),
      },
    });
  }

  /** Management paths go below the alternate path the client announced (LwM2M 1.2 6.4.1). */
  #rooted(registration: Registration, request: Request): Request {
    const { root } = registration.objects;
    if (root.length === 0) return request;
    const prefix = buildRequest(request.code, { path: root }).options;
    const rest = request.options;
    const at = rest.findIndex(({ number }) => number >= OptionNumber.UriPath);
    const cut = at < 0 ? rest.length : at;
    return { ...request, options: [...rest.slice(0, cut), ...prefix, ...rest.slice(cut)] };
  }

  #answered(input: Extract<ServerInput, { type: "response" }>, now: Instant): void {
    const operation = this.#operations.get(input.id);
    const registration = this.#registry.bySession(input.session);
    if (registration !== undefined) {
      noteUplink(registration.reach, now);
      this.#registry.prove(registration);
    }
    if (operation !== undefined && operation.state.name === "sent") {
      if (registration) notePushAnswered(registration.reach, operation.state.idle);
      if (operation.kind === "observe") this.#observed(operation, input);
      this.#end(operation, { name: "done", at: now, response: owned(input.response) }, now);
      return;
    }
    this.#notified(input);
    if (registration !== undefined) this.#flush(registration, now);
  }

  #unanswered(
    id: number,
    reason: Extract<ServerInput, { type: "failed" }>["reason"],
    now: Instant,
  ): void {
    if (this.#takeovers.has(id)) return this.#incumbentSilent(id, now);
    const observation = this.#observations.byId(id);
    if (observation !== undefined && reason === "closed") return;
    const operation = this.#operations.get(id);
    if (operation === undefined || operation.state.name !== "sent") return;
    const registration = this.#registry.byEndpoint(operation.endpoint);
    const { idle } = operation.state;
    switch (reason) {
      case "timeout":
        if (registration) notePushLost(registration.reach, idle, this.#tuning);
        operation.state = { name: "waiting" };
        return this.#emit({ type: "operation", operation: viewOperation(operation) });
      case "closed":
      case "full":
        operation.state = { name: "waiting" };
        return;
      case "reset":
      case "tooLarge":
      case "bodyChanged":
      case "badResponse":
        return this.#end(operation, { name: "failed", at: now, reason: REASONS[reason] }, now);
      default:
        return unreachable(reason);
    }
  }

  /** Gives the operation its final state; a user hears of it once it is durable. */
  #end(operation: Operation, state: Operation["state"], now: Instant): void {
    const running = operation.state.name === "sent";
    operation.state = state;
    if (running && state.name !== "done") {
      this.#out.push({ type: "coap", input: { type: "cancel", id: operation.id, how: "forget" } });
    }
    const registration = this.#registry.byEndpoint(operation.endpoint);
    const place = registration?.queue.indexOf(operation) ?? -1;
    if (place >= 0) registration?.queue.splice(place, 1);
    const forgotten = this.#operations.finished(operation);
    this.#store(
      [
        this.#operationChange(operation),
        ...forgotten.map((old) => ({
          table: TABLES.operation,
          key: operationKey(old.id),
          value: undefined,
        })),
      ],
      { kind: "finish", operation },
    );
    if (registration !== undefined) this.#flush(registration, now);
  }

  #forget(operation: Operation): void {
    this.#operations.remove(operation);
    this.#store([{ table: TABLES.operation, key: operationKey(operation.id), value: undefined }], {
      kind: "quiet",
    });
  }

  // ── observations ─────────────────────────────────────────────────────────────────────────────────────────────────

  #observed(operation: Operation, input: Extract<ServerInput, { type: "response" }>): void {
    const { id, endpoint, path, request } = operation;
    const old = this.#observations.find(endpoint, path);
    if (old !== undefined) this.#forgetObservation(old, "forget");
    if (input.final || findUint(input.response.options, OptionNumber.Observe) === undefined) return;
    const observation = { id, endpoint, path, token: input.token, request, active: true };
    if (!this.#observations.add(observation)) {
      this.#out.push({ type: "coap", input: { type: "cancel", id, how: "deregister" } });
      return;
    }
    this.#store(
      [
        {
          table: TABLES.observation,
          key: observationKey(observation),
          value: encodeObservation(observation),
        },
      ],
      { kind: "quiet" },
    );
    this.#out.push({ type: "observation", endpoint, path, state: "active" });
  }

  #notified(input: Extract<ServerInput, { type: "response" }>): void {
    const observation = this.#observations.byId(input.id);
    if (observation === undefined) return;
    const { endpoint, path } = observation;
    this.#out.push({ type: "notification", endpoint, path, response: input.response });
    if (input.final) this.#forgetObservation(observation, undefined);
  }

  #stopObserving(registration: Registration, operation: Operation, now: Instant): void {
    const observation = this.#observations.find(operation.endpoint, operation.path);
    if (observation === undefined) {
      const reason = "this path is not observed";
      return this.#end(operation, { name: "failed", at: now, reason }, now);
    }
    const reachable = canPush(registration, this.#tuning, now);
    this.#forgetObservation(observation, reachable ? "deregister" : "forget");
    const response = buildResponse(Code.Content);
    this.#end(operation, { name: "done", at: now, response }, now);
  }

  #forgetObservation(observation: Observation, how: "deregister" | "forget" | undefined): void {
    this.#observations.remove(observation);
    if (how !== undefined) {
      this.#out.push({ type: "coap", input: { type: "cancel", id: observation.id, how } });
    }
    this.#store(
      [{ table: TABLES.observation, key: observationKey(observation), value: undefined }],
      { kind: "quiet" },
    );
    const { endpoint, path, active } = observation;
    if (active) this.#out.push({ type: "observation", endpoint, path, state: "ended" });
  }

  #resume(
    observation: { id: number; token: Uint8Array; request: Request },
    session: SessionId,
  ): void {
    const { id, token, request } = observation;
    this.#out.push({
      type: "coap",
      input: { type: "resumeObservation", id, session, token, request },
    });
  }

  /** A new registration voids the device's observations; the ones users want are set up again (LwM2M 1.2 6.4.1). */
  #observeAgain(registration: Registration, now: Instant): void {
    for (const observation of this.#observations.of(registration.endpoint)) {
      const operation: Operation = {
        id: this.operationId(now),
        endpoint: registration.endpoint,
        kind: "observe",
        path: observation.path,
        request: observation.request,
        createdAt: now,
        expiresAt: now + this.#tuning.finishedFor,
        attempts: 0,
        lastIdle: undefined,
        again: undefined,
        state: { name: "waiting" },
      };
      this.#operations.add(operation);
      registration.queue.push(operation);
    }
  }

  // ── what all share ───────────────────────────────────────────────────────────────────────────────────────────────

  #stored(ticket: number, ok: boolean, now: Instant): void {
    const pending = this.#pending.get(ticket);
    if (pending === undefined) throw new UsageError(`ticket ${ticket} is not open`);
    this.#pending.delete(ticket);
    if (!ok) return this.#notStored(pending, now);
    switch (pending.kind) {
      case "register": {
        const { exchange, registration, replaced } = pending;
        const locationPath = ["rd", registration.id];
        this.#respond(exchange, buildResponse(Code.Created, { locationPath }));
        this.#out.push({
          type: "registered",
          registration: this.#view(registration, now),
          replaced,
        });
        this.#observeAgain(registration, now);
        return this.#flush(registration, now);
      }
      case "update": {
        const { exchange, registration, moved, changed } = pending;
        this.#respond(exchange, CHANGED);
        this.#out.push({
          type: "updated",
          registration: this.#view(registration, now),
          moved,
          changed,
        });
        return this.#flush(registration, now);
      }
      case "deregister":
        return this.#respond(pending.exchange, buildResponse(Code.Deleted));
      case "accept": {
        const { operation } = pending;
        if (isFinal(operation.state)) return; // cancelled meanwhile
        this.#out.push({ type: "operation", operation: viewOperation(operation) });
        const registration = this.#registry.byEndpoint(operation.endpoint);
        if (registration === undefined) return;
        // A Register that came between may have queued it already.
        if (!registration.queue.includes(operation)) registration.queue.push(operation);
        return this.#flush(registration, now);
      }
      case "dispatch": {
        const registration = this.#registry.byEndpoint(pending.operation.endpoint);
        if (registration === undefined || pending.operation.state.name !== "sent") return;
        return this.#send(registration, pending.operation);
      }
      case "finish":
        return this.#emit({
          type: "operation",
          operation: viewOperation(pending.operation),
        });
      case "quiet":
        return;
      default:
        return unreachable(pending);
    }
  }

  /** The store refused. Nothing is promised: the device tries again later, the user is told. */
  #notStored(pending: Pending, now: Instant): void {
    switch (pending.kind) {
      case "register":
        this.#drop(pending.registration, "removed", now);
        return this.#respond(
          pending.exchange,
          buildResponse(Code.ServiceUnavailable, { maxAge: RETRY_AFTER }),
        );
      case "update":
      case "deregister":
        return this.#respond(
          pending.exchange,
          buildResponse(Code.ServiceUnavailable, { maxAge: RETRY_AFTER }),
        );
      case "accept": {
        const { operation } = pending;
        this.#operations.remove(operation);
        operation.state = { name: "failed", at: now, reason: "the store refused to keep it" };
        return this.#emit({ type: "operation", operation: viewOperation(operation) });
      }
      case "dispatch": // not sent; the next word of the device tries again
        pending.operation.state = { name: "waiting" };
        return;
      case "finish": // it did happen; only its record is not durable
        return this.#emit({
          type: "operation",
          operation: viewOperation(pending.operation),
        });
      case "quiet":
        return;
      default:
        return unreachable(pending);
    }
  }

  #seen(session: SessionId, now: Instant): void {
    const registration = this.#registry.bySession(session);
    if (registration === undefined) return;
    this.#registry.prove(registration);
    noteUplink(registration.reach, now);
    this.#flush(registration, now);
  }

  #touch(registration: Registration, now: Instant): void {
    registration.updatedAt = now;
    noteUplink(registration.reach, now);
    const at = registration.lifetime === 0 ? undefined : now + registration.lifetime * 1_000;
    this.#registry.expireAt(registration, at, this.#tuning.lifetimeGrace);
  }

  #remove(endpoint: string, now: Instant): void {
    const registration = this.#registry.byEndpoint(endpoint);
    if (registration === undefined) return;
    this.#drop(registration, "removed", now);
    this.#store(this.#forgetting(registration), { kind: "quiet" });
  }

  /** Takes a registration out of memory. Its operations stay: they wait for the endpoint, not for the registration. */
  #drop(
    registration: Registration,
    why: "device" | "expired" | "replaced" | "removed" | "evicted",
    now: Instant,
  ): void {
    this.#registry.remove(registration);
    for (const operation of registration.queue) {
      if (operation.state.name !== "sent") continue;
      this.#out.push({ type: "coap", input: { type: "cancel", id: operation.id, how: "forget" } });
      operation.state = { name: "waiting" };
    }
    for (const observation of this.#observations.of(registration.endpoint)) {
      if (!observation.active) continue;
      observation.active = false;
      this.#out.push({
        type: "coap",
        input: { type: "cancel", id: observation.id, how: "forget" },
      });
    }
    this.#out.push({ type: "unpin", session: registration.session });
    this.#out.push({ type: "deregistered", registration: this.#view(registration, now), why });
  }

  #forgetting(registration: Registration): readonly StoreChange[] {
    return [
      { table: TABLES.registration, key: registration.id, value: undefined },
      { table: TABLES.touch, key: registration.id, value: undefined },
    ];
  }

  #touchChange(registration: Registration): StoreChange {
    return { table: TABLES.touch, key: registration.id, value: encodeTouch(registration) };
  }

  #operationChange(operation: Operation): StoreChange {
    return {
      table: TABLES.operation,
      key: operationKey(operation.id),
      value: encodeOperation(operation),
    };
  }

  #store(changes: readonly StoreChange[], pending: Pending): void {
    const ticket = ++this.#ticket;
    this.#pending.set(ticket, pending);
    this.#out.push({ type: "store", ticket, changes });
  }

  #emit(output: ServerOutput): void {
    this.#out.push(output);
  }

  #respond(exchange: ExchangeId, response: Response): void {
    this.#out.push({ type: "coap", input: { type: "respond", exchange, response } });
  }

  #refuse(exchange: ExchangeId, session: SessionId, { code, diagnostic }: Refusal): void {
    this.#out.push({ type: "refused", session, code, detail: diagnostic });
    const later = code === Code.ServiceUnavailable ? { maxAge: RETRY_AFTER } : {};
    this.#respond(exchange, buildResponse(code, { payload: diagnostic, ...later }));
  }

  #identity(session: SessionId): Identity {
    return this.#identities.get(session) ?? NOBODY;
  }

  #locationId(bound: boolean): string {
    const length = bound ? this.#tuning.boundLocationLength : this.#tuning.openLocationLength;
    for (;;) {
      const bytes = this.#around.rng.bytes(length);
      let id = "";
      for (const byte of bytes) id += ALPHABET[byte & 63];
      if (this.#registry.byId(id) === undefined) return id;
    }
  }

  #view(r: Registration, now: Instant): RegistrationView {
    return {
      id: r.id,
      endpoint: r.endpoint,
      session: r.session,
      identity: r.identity,
      lifetime: r.lifetime,
      version: r.version,
      binding: r.binding,
      queueMode: r.queueMode,
      objects: r.objects,
      registeredAt: r.registeredAt,
      updatedAt: r.updatedAt,
      seenAt: r.reach.seenAt,
      expiresAt: r.expiresAt,
      reachability: reachability(r, this.#tuning, now),
      waitingOperations: r.queue.length,
    };
  }
}

/** Takes over what an Update says; returns the names of what it changed. */
function applyUpdate(registration: Registration, update: RegistrationUpdate): readonly string[] {
  if (update.lifetime !== undefined) registration.lifetime = update.lifetime;
  if (update.binding !== undefined) registration.binding = update.binding;
  if (update.queue !== undefined) registration.queueMode = update.queue;
  if (update.sms !== undefined) registration.sms = update.sms;
  if (update.objects !== undefined) registration.objects = update.objects;
  return Object.keys(update);
}

/** A copy that does not keep the datagram's buffer alive. */
function owned({ code, options, payload }: Response): Response {
  return {
    code,
    options: options.map(({ number, value }) => ({ number, value: value.slice() })),
    payload: payload.slice(),
  };
}

function observationKey(observation: { endpoint: string; path: string }): string {
  return `${observation.endpoint} ${observation.path}`;
}

const NOBODY: Identity = { kind: "none" };
const CHANGED: Response = buildResponse(Code.Changed);
const NO_OBJECTS = { root: [], formats: [], objects: [] };
const UNKNOWN_PROFILE = refused(Code.Conflict, "pid is unknown: send the object list");
const NO_ROOM = refused(Code.ServiceUnavailable, "no room for registrations");
const BEING_CHECKED = refused(Code.ServiceUnavailable, "this endpoint name is being checked");
const INCUMBENT_ANSWERS = refused(
  Code.Forbidden,
  "the endpoint is registered elsewhere and answers there",
);
/** s, for a device that was refused for want of room. */
const RETRY_AFTER = 60;
const RESOURCES = '</rd>;rt="core.rd",</nat>';
const REASONS = {
  reset: "the device rejected the request (RST)",
  tooLarge: "the body is too large for one of the two ends",
  bodyChanged: "the device's answer kept changing while it was read",
  badResponse: "the device's answer breaks the protocol",
} as const;
/** 64 characters that need no escaping in a path. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
