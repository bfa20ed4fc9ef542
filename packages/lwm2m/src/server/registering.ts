// The registration interface: who may register, where they are, and when they are gone (OMA TS Core 6.2).

import {
  Deadlines,
  earlier,
  unreachable,
  type Identity,
  type Instant,
  type SessionId,
  type StoreChange,
} from "@godwit/base";
import {
  Code,
  response as buildResponse,
  uriPath,
  uriQuery,
  type ExchangeId,
  type Request,
  type Response,
} from "@godwit/coap";
import {
  claimedEndpoint,
  parseRegister,
  parseUpdate,
  type Registration as RegisterParameters,
  type RegistrationUpdate,
} from "../registration.ts";
import { RETRY_AFTER, refused, shown, standing, type Refusal } from "../refusal.ts";
import {
  type AgreedParameters,
  type PendingEnrolment,
  type PendingRegistration,
  type ServerCore,
} from "./core.ts";
import { credentialIdOf } from "./credential.ts";
import { Enrolling } from "./enrolling.ts";
import type { RemovedBecause, ServerOutput } from "./events.ts";
import type { ObjectLists } from "./object-lists.ts";
import type { Observing } from "./observing.ts";
import type { Orders } from "./orders.ts";
import { TABLES, encodeRegistration } from "./records.ts";
import type { Registration, RegistrationView } from "./registration.ts";

/** A newcomer that waits for the incumbent of its endpoint name to answer, or not. */
type Takeover = {
  readonly exchange: ExchangeId;
  readonly session: SessionId;
  readonly parameters: RegisterParameters;
  readonly endpoint: string;
  readonly incumbent: Registration;
};

export class Registering {
  readonly #core: ServerCore;
  readonly #orders: Orders;
  readonly #observing: Observing;
  readonly #enrolling: Enrolling;
  /** Delayed answers to binding probes: the request's exchange and when it is due. */
  readonly #probes = new Deadlines<ExchangeId>();
  /** By ping id. */
  readonly #takeovers = new Map<number, Takeover>();
  readonly #takeoverDue = new Deadlines<number>();
  /** Those whose device has just come by another path or a new association; its Update is on its way. */
  readonly #rebound = new WeakSet<Registration>();

  constructor(core: ServerCore, orders: Orders, observing: Observing) {
    this.#core = core;
    this.#orders = orders;
    this.#observing = observing;
    this.#enrolling = new Enrolling(core, orders, observing, {
      drop: (registration, why, now) => this.drop(registration, why, now),
      admit: (session, endpoint) => this.#admit(core.identity(session), endpoint),
    });
  }

  get wakeAt(): Instant | undefined {
    return earlier(
      this.#core.registry.nextExpiry,
      earlier(this.#probes.next, this.#takeoverDue.next),
    );
  }

  wake(now: Instant): void {
    const { registry, tuning } = this.#core;
    const expired = (): Registration | undefined => registry.expired(now, tuning.lifetimeGrace);
    for (let r = expired(); r !== undefined; r = expired()) {
      this.drop(r, "expired", now);
      this.#core.record(this.#core.forgetting(r));
    }
    for (let e = this.#probes.expired(now); e !== undefined; e = this.#probes.expired(now)) {
      this.#core.respond(e, buildResponse(Code.Content));
    }
    const due = this.#takeoverDue;
    for (let id = due.expired(now); id !== undefined; id = due.expired(now)) {
      this.incumbentSilent(id, now);
    }
  }

  request(exchange: ExchangeId, session: SessionId, request: Request, now: Instant): void {
    const path = uriPath(request.options);
    if (path[0] === "rd" && path.length === 2) {
      return this.#located(exchange, session, path[1]!, request, now); // the length was checked
    }
    if (path[0] === "rd" && path.length === 1) {
      if (request.code === Code.POST) return this.#register(exchange, session, request, now);
      return this.#core.respond(exchange, buildResponse(Code.MethodNotAllowed));
    }
    if (path.length === 1 && path[0] === "nat") {
      return this.#probe(exchange, request, now);
    }
    if (path.length === 2 && path[0] === ".well-known" && path[1] === "core") {
      return this.#core.respond(
        exchange,
        request.code === Code.GET
          ? buildResponse(Code.Content, { contentFormat: 40, payload: RESOURCES })
          : buildResponse(Code.MethodNotAllowed),
      );
    }
    this.#core.respond(exchange, buildResponse(Code.NotFound));
  }

  /** A block of an Update that began on another path: its session can take it up. */
  fragment(exchange: ExchangeId, session: SessionId, request: Request, now: Instant): void {
    const [first, id, ...more] = uriPath(request.options);
    const located = first === "rd" && id !== undefined && more.length === 0;
    const registration = located ? this.#locate(session, id) : undefined;
    if (registration !== undefined && this.#followed(exchange, session, registration, now)) return;
    this.#core.respond(exchange, buildResponse(Code.RequestEntityIncomplete)); // RFC 7959 2.9.2: begin again
  }

  #register(exchange: ExchangeId, session: SessionId, request: Request, now: Instant): void {
    const identity = this.#core.identity(session);
    if (this.#core.isStranger(session))
      // What a stranger wants is not read any further: reading costs more than all that was done to bring it here.
      return this.#refuseStranger(exchange, session, claimedEndpoint(request));
    const parsed = parseRegister(request);
    if (parsed.type === "refused") return this.#core.refuse(exchange, session, parsed);
    const parameters = parsed.registration;
    const named = parameters.endpoint;
    if (parameters.objects === undefined)
      return this.#core.refuse(exchange, session, UNKNOWN_PROFILE, named);
    const admitted = this.#admit(identity, parameters.endpoint);
    if (typeof admitted !== "string") return this.#core.refuse(exchange, session, admitted, named);
    const endpoint = admitted;
    const there = this.#ownerOf(session);
    if (there !== undefined && there.endpoint !== endpoint && identity.kind === "none") {
      // A NAT gave this address away. Who had it before is silent there, not gone.
      there.reach.silent = true;
      return this.#core.emit({ type: "displace", exchange, session });
    }
    const incumbent = this.#core.registry.byEndpoint(endpoint);
    const taken = this.#core.registry.size + this.#enrolling.size;
    if (incumbent === undefined && taken >= this.#core.tuning.maxRegistrations) {
      return this.#core.refuse(exchange, session, NO_ROOM, endpoint);
    }
    const mayReplace =
      incumbent === undefined ||
      identity.kind !== "none" ||
      incumbent.session === session ||
      this.#core.around.sameHost(incumbent.session, session);
    const newcomer = { exchange, session, endpoint, parameters };
    if (mayReplace) return this.#enrolling.begin(newcomer, now);
    this.#askIncumbent({ exchange, session, parameters, endpoint, incumbent }, now);
  }

  /** The endpoint name this identity may use, or why it may not. */
  #admit(identity: Identity, claimed: string | undefined): string | Refusal {
    if (identity.kind === "none") {
      if (claimed === undefined) return refused(Code.BadRequest, "ep is missing");
      return this.#core.around.isSecured?.(claimed) === true ? HAS_CREDENTIALS : claimed;
    }
    const own = this.#core.around.endpointOf?.(identity);
    if (own === undefined)
      return refused(Code.Forbidden, "credential of no endpoint", "noEndpoint");
    if (claimed === undefined || claimed === own) return own;
    return refused(
      Code.BadRequest,
      `the credential is that of ep=${shown(own)}`,
      "endpointMismatch",
    );
  }

  /** Somebody who proves nothing may not register where NoSec is off. */
  #refuseStranger(exchange: ExchangeId, session: SessionId, claimed: string | undefined): void {
    const isSecured = claimed !== undefined && this.#core.around.isSecured?.(claimed) === true;
    const why = isSecured ? HAS_CREDENTIALS : NOSEC_IS_OFF;
    this.#core.refuse(exchange, session, why, claimed);
  }

  /** Nobody has proven anything on raw UDP: whoever answers at the old address keeps the name. */
  #askIncumbent(takeover: Takeover, now: Instant): void {
    const asked = [...this.#takeovers.values()].some((t) => t.endpoint === takeover.endpoint);
    if (asked || this.#takeovers.size >= this.#core.tuning.maxTakeovers) {
      const { exchange, session, endpoint } = takeover;
      return this.#core.refuse(exchange, session, BEING_CHECKED, endpoint);
    }
    const id = this.#core.operationId();
    this.#takeovers.set(id, takeover);
    this.#takeoverDue.set(id, now + this.#core.tuning.takeoverProbe);
    this.#core.out.push({
      type: "coap",
      input: { type: "ping", id, session: takeover.incumbent.session },
    });
  }

  /** It is decided. */
  #takeTakeover(id: number): Takeover | undefined {
    const takeover = this.#takeovers.get(id);
    if (takeover === undefined) return undefined; // most ids are of something else
    this.#takeovers.delete(id);
    this.#takeoverDue.stop(id);
    return takeover;
  }

  incumbentAnswered(id: number, now: Instant): void {
    const takeover = this.#takeTakeover(id);
    if (takeover === undefined) return;
    this.#orders.seen(takeover.incumbent.session, now);
    const { exchange, session, endpoint } = takeover;
    this.#core.refuse(exchange, session, INCUMBENT_ANSWERS, endpoint);
  }

  /** If `id` is the ping that asked an incumbent, the newcomer has its name. */
  incumbentSilent(id: number, now: Instant): void {
    const takeover = this.#takeTakeover(id);
    if (takeover === undefined) return;
    this.#core.out.push({ type: "coap", input: { type: "cancel", id, how: "forget" } });
    this.#enrolling.begin(takeover, now);
  }

  #located(
    exchange: ExchangeId,
    session: SessionId,
    id: string,
    request: Request,
    now: Instant,
  ): void {
    if (request.code !== Code.POST && request.code !== Code.DELETE) {
      return this.#core.respond(exchange, buildResponse(Code.MethodNotAllowed));
    }
    const registration = this.#locate(session, id);
    if (registration === undefined || this.#core.leaving.has(registration)) {
      return this.#core.refuse(exchange, session, NOT_REGISTERED);
    }
    if (this.#followed(exchange, session, registration, now)) return;
    if (request.code === Code.DELETE) return this.#deregister(exchange, registration);
    this.#update(exchange, session, registration, request, now);
  }

  /** Whether the device's path changed: then the endpoint gives the request back under the right session, once only. */
  #followed(
    exchange: ExchangeId,
    session: SessionId,
    registration: Registration,
    now: Instant,
  ): boolean {
    if (registration.session === session || registration.identity.kind !== "none") return false;
    const before = this.#ownerOf(session);
    if (before !== undefined) before.reach.silent = true; // its address is this device's now
    if (this.#core.lost.has(registration.session)) {
      if (before === undefined) {
        this.changeSession(registration, session, now);
        return false;
      }
      // It has no session to take the path: the path gets one of its own first.
      this.#core.emit({ type: "displace", exchange, session });
      return true;
    }
    const into = registration.session;
    this.#forgo(session, into);
    this.#rebound.add(registration);
    this.#core.emit({ type: "rebind", exchange, from: session, into });
    return true;
  }

  /** Who is registered in a session, or about to be. */
  #ownerOf(session: SessionId): Registration | undefined {
    return this.#core.registry.bySession(session) ?? this.#enrolling.bySession(session);
  }

  /** Whoever waits in `from` for a name is at the address of `into`: a device that has one already. */
  #forgo(from: SessionId, into: SessionId): void {
    for (const [id, { session, exchange, endpoint }] of this.#takeovers) {
      if (session !== from) continue;
      this.#takeTakeover(id);
      this.#core.out.push({ type: "coap", input: { type: "cancel", id, how: "forget" } });
      this.#core.refuse(exchange, into, BEING_CHECKED, endpoint);
    }
  }

  /** The next Update says so. */
  moved(session: SessionId): void {
    const registration = this.#core.registry.bySession(session);
    if (registration !== undefined) this.#rebound.add(registration);
  }

  /** Where the session is authenticated, the id is only looked up inside it. */
  #locate(session: SessionId, id: string): Registration | undefined {
    const found = this.#core.registry.byId(id);
    if (found === undefined) return undefined;
    if (found.identity.kind === "none") {
      return this.#core.identity(session).kind === "none" ? found : undefined;
    }
    const { identityRevision } = this.#core;
    if (found.vouchedIn === session && found.vouchedAt === identityRevision) return found;
    const endpoint = this.#core.around.endpointOf?.(this.#core.identity(session));
    if (endpoint !== found.endpoint) return undefined;
    found.vouchedIn = session;
    found.vouchedAt = identityRevision;
    return found;
  }

  #update(
    exchange: ExchangeId,
    session: SessionId,
    registration: Registration,
    request: Request,
    now: Instant,
  ): void {
    const parsed = parseUpdate(request, registration.version);
    if (parsed.type === "refused")
      return this.#core.refuse(exchange, session, parsed, registration.endpoint);
    const moved = this.#rebound.delete(registration) || registration.session !== session;
    if (registration.session !== session) this.changeSession(registration, session, now);
    const before = agreed(registration, parsed.update);
    const changed = applyUpdate(registration, parsed.update, this.#core.objectLists);
    this.#core.registry.prove(registration); // it knows its Location: our answer reached it
    this.#core.touch(registration, now);
    const changes: StoreChange[] = [this.#core.touchChange(registration)];
    if (changed.length > 0) {
      changes.push({
        table: TABLES.registration,
        key: registration.id,
        value: encodeRegistration(registration),
      });
    }
    this.#core.store(changes, { kind: "update", exchange, registration, moved, changed, before });
  }

  /** The device came back with a new association for the same credential. */
  changeSession(registration: Registration, session: SessionId, now: Instant): void {
    this.#core.lost.delete(registration.session);
    this.#core.out.push({ type: "unpin", session: registration.session });
    this.#core.registry.move(registration, session);
    this.#core.out.push({ type: "pin", session });
    this.#observing.moved(registration, now);
  }

  /** A new association of a registered device; what it said before goes on in it, and it will say more. */
  opened(session: SessionId, identity: Identity, now: Instant): void {
    if (identity.kind === "oscore") return; // the same context wherever it is
    const id = credentialIdOf(identity);
    const endpoint = this.#core.around.endpointOf?.(identity);
    const registration =
      endpoint === undefined ? undefined : this.#core.registry.byEndpoint(endpoint);
    if (registration === undefined || registration.session === session) return;
    if (credentialIdOf(registration.identity) !== id) return;
    this.#rebound.add(registration);
    this.changeSession(registration, session, now);
    registration.reach.silent = true; // a device that forgot all begins by registering
  }

  /** Whoever is registered there cannot be spoken to until there is a new association. */
  closed(session: SessionId): void {
    const registration = this.#core.registry.bySession(session);
    if (registration !== undefined) registration.reach.silent = true;
    this.#enrolling.closed(session);
  }

  #deregister(exchange: ExchangeId, registration: Registration): void {
    this.#core.leaving.add(registration);
    this.#core.emit({ type: "unkeep", session: registration.session });
    this.#core.store(this.#core.forgetting(registration), {
      kind: "deregister",
      exchange,
      registration,
    });
  }

  /** `GET /nat?s=N`: an answer N seconds later shows the device that its NAT held the mapping that long. */
  #probe(exchange: ExchangeId, request: Request, now: Instant): void {
    const [, seconds] = /^s=(\d{1,4})$/.exec(uriQuery(request.options)[0] ?? "") ?? [];
    const wait = Number(seconds);
    if (request.code !== Code.GET) {
      return this.#core.respond(exchange, buildResponse(Code.MethodNotAllowed));
    }
    if (seconds === undefined || wait > this.#core.tuning.maxProbeSeconds) {
      const payload = `s=0..${this.#core.tuning.maxProbeSeconds}`;
      return this.#core.respond(exchange, buildResponse(Code.BadRequest, { payload }));
    }
    if (this.#probes.size >= this.#core.tuning.maxProbes) {
      return this.#core.respond(
        exchange,
        buildResponse(Code.ServiceUnavailable, { maxAge: RETRY_AFTER }),
      );
    }
    this.#probes.set(exchange, now + wait * 1_000);
  }

  /** Ends the registration of an endpoint, if there is one. */
  remove(endpoint: string, why: RemovedBecause, now: Instant): void {
    const registration = this.#core.registry.byEndpoint(endpoint);
    if (registration === undefined) return;
    this.drop(registration, why, now);
    this.#core.record(this.#core.forgetting(registration));
  }

  /** Takes a registration out of memory. Its operations stay: they wait for the endpoint, not for the registration. */
  drop(
    registration: Registration,
    why: Extract<ServerOutput, { type: "deregistered" }>["why"],
    now: Instant,
  ): void {
    this.#core.registry.remove(registration);
    this.#core.lost.delete(registration.session);
    this.#orders.release(registration, now);
    const { session } = registration;
    const isUsed =
      this.#core.registry.bySession(session) !== undefined ||
      this.#enrolling.bySession(session) !== undefined;
    if (!isUsed) this.#core.out.push({ type: "unpin", session });
    this.#core.out.push({
      type: "deregistered",
      registration: this.#core.view(registration, now),
      why,
    });
  }

  /** A Register is durable; or `refusal` says why not. */
  enrolled(pending: PendingEnrolment, refusal: string | undefined, now: Instant): void {
    this.#enrolling.stored(pending, refusal, now);
  }

  /** The change is durable: answer. Or it is not: then nothing is promised, and the device tries again later. */
  stored(pending: PendingRegistration, refusal: string | undefined, now: Instant): void {
    const { exchange, registration } = pending;
    if (refusal !== undefined) {
      this.#takeBack(pending);
      const { session, endpoint } = registration;
      return this.#core.refuseForNow(exchange, session, refusal, endpoint);
    }
    switch (pending.kind) {
      case "update": {
        const { moved, changed } = pending;
        this.#core.respond(exchange, CHANGED);
        this.#core.emit(new Updated(this.#core, registration, moved, changed, now));
        if (changed.includes("objects")) this.#observing.listed(registration, now);
        return this.#orders.flush(registration, now);
      }
      case "deregister":
        if (this.#core.registry.byId(registration.id) === registration)
          this.drop(registration, "device", now);
        return this.#core.respond(exchange, buildResponse(Code.Deleted));
      default:
        return unreachable(pending);
    }
  }

  /** What the device was promised before holds on. That it was heard is no promise: its lifetime began anew. */
  #takeBack(pending: PendingRegistration): void {
    const { registration } = pending;
    if (pending.kind === "deregister") return void this.#core.leaving.delete(registration);
    if (pending.before === undefined) return;
    Object.assign(registration, pending.before);
    if (this.#core.registry.byId(registration.id) !== registration) return;
    const at = this.#core.expiryOf(registration, registration.updatedAt);
    this.#core.registry.expireAt(registration, at, this.#core.tuning.lifetimeGrace);
  }
}

/** The `updated` event. Most Updates nobody looks at, so what they show is made when somebody does. */
class Updated {
  readonly type = "updated";
  readonly moved: boolean;
  readonly changed: readonly string[];
  readonly #core: ServerCore;
  readonly #registration: Registration;
  readonly #at: Instant;

  constructor(
    core: ServerCore,
    registration: Registration,
    moved: boolean,
    changed: readonly string[],
    at: Instant,
  ) {
    this.moved = moved;
    this.changed = changed;
    this.#core = core;
    this.#registration = registration;
    this.#at = at;
  }

  get registration(): RegistrationView {
    return this.#core.view(this.#registration, this.#at);
  }
}

/** What holds before an Update; undefined where that changes none of it. */
function agreed(
  { lifetime, binding, queueMode, sms, objects }: Registration,
  update: RegistrationUpdate,
): AgreedParameters | undefined {
  for (const _name in update) return { lifetime, binding, queueMode, sms, objects };
  return undefined;
}

/** Takes over what an Update says; returns the names of what it changed. */
function applyUpdate(
  registration: Registration,
  update: RegistrationUpdate,
  lists: ObjectLists,
): readonly string[] {
  if (update.lifetime !== undefined) registration.lifetime = update.lifetime;
  if (update.binding !== undefined) registration.binding = update.binding;
  if (update.queue !== undefined) registration.queueMode = update.queue;
  if (update.sms !== undefined) registration.sms = update.sms;
  if (update.objects !== undefined) registration.objects = lists.shared(update.objects);
  return Object.keys(update);
}

const CHANGED: Response = buildResponse(Code.Changed);
const NOT_REGISTERED = standing(refused(Code.NotFound, "", "notRegistered"));
const UNKNOWN_PROFILE = standing(
  refused(Code.Conflict, "pid is unknown: send the object list", "unknownProfile"),
);
const HAS_CREDENTIALS = standing(
  refused(Code.Forbidden, "this endpoint has credentials", "endpointHasCredentials"),
);
const NOSEC_IS_OFF = standing(refused(Code.Forbidden, "NoSec is switched off", "noSec"));
const NO_ROOM = standing(refused(Code.ServiceUnavailable, "no room for registrations", "full"));
const BEING_CHECKED = standing(
  refused(Code.ServiceUnavailable, "this endpoint name is being checked", "busy"),
);
const INCUMBENT_ANSWERS = standing(
  refused(
    Code.Forbidden,
    "the endpoint is registered elsewhere and answers there",
    "endpointTaken",
  ),
);
const RESOURCES = '</rd>;rt="core.rd",</nat>';
