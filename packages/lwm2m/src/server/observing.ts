// Who wants to hear of what, whether the device knows, and what is done when it may not. Lower layers report a loss; only
// this sends Observe again, as an operation of its own in the device's queue.
//
//   observe ──> asking ──> active ──notification──> dueBy moves
//   Register, new keys, restart (OSCORE) ──> wanted ──the device can be asked──> asking
//   nothing by dueBy, though the device spoke ──> Observe with the same token; twice in vain: observationSilent
//   an error ──> refused ──Register, or the object list has it again──> wanted

import { FormatError, type Instant, type SessionId } from "@godwit/base";
import {
  OptionNumber,
  findUint,
  formatCode,
  isSuccess,
  type RequestId,
  type Response,
} from "@godwit/coap";
import { isWithin, parseNodePath } from "../node-path.ts";
import { listsPath } from "../object-list.ts";
import { AttachedPeriods } from "./attached-periods.ts";
import type { ServerCore } from "./core.ts";
import type { ServerInput } from "./events.ts";
import { ANYBODY, restoredState, type StoredObservation } from "./observation-record.ts";
import {
  type ActiveObservation,
  type ObservationState,
  type WantedObservation,
} from "./observations.ts";
import { ENDED, ObservationSteps } from "./observation-steps.ts";
import type { ObservationView } from "./observation-view.ts";
import { isFinal, type Operation } from "./operation.ts";
import type { Registration } from "./registration.ts";

/** What an answered Observe came to: `undefined` is success, else why it failed. */
export type Observed = { readonly fault: string | undefined };

export class Observing {
  readonly #core: ServerCore;
  readonly #steps: ObservationSteps;
  /** Endpoints with something overdue that was silent itself: its next word brings the question. */
  readonly #overdue = new Set<string>();
  /** Under which of the session's keys each order that asks for an observation went out. */
  readonly #askedUnder = new Map<number, number>();
  /** How often the keys of a session have changed. */
  readonly #keys = new Map<SessionId, number>();
  readonly #attached: AttachedPeriods;

  constructor(core: ServerCore) {
    this.#core = core;
    this.#steps = new ObservationSteps(core);
    this.#attached = new AttachedPeriods(core.tuning.maxAttributePathsPerEndpoint);
  }

  get wakeAt(): Instant | undefined {
    return this.#steps.due.next;
  }

  wake(now: Instant): void {
    for (let o = this.#steps.due.expired(now); o !== undefined; o = this.#steps.due.expired(now)) {
      const { state } = o;
      if (state.name !== "active") continue;
      if (now < state.dueBy) this.#steps.due.set(o, state.dueBy);
      else this.#late(o, state, now);
    }
  }

  /** undefined: nobody wants it any more. */
  view(observation: WantedObservation, now: Instant): ObservationView | undefined {
    const { path, state } = observation;
    if (state.name === "ending") return undefined;
    const at = state.name === "active" ? state : undefined;
    return {
      path,
      ...this.#steps.stateOf(observation.endpoint, state, now),
      heardAt: at?.heardAt,
      dueBy: at?.dueBy,
    };
  }

  // ── wanted and not ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Why this path cannot be observed as well, or by one more, if so. */
  refusal({ endpoint, path, owner = ANYBODY }: ObserveOrder): string | undefined {
    const { observations, tuning } = this.#core;
    const known = observations.find(endpoint, path);
    if (known === undefined) {
      if (observations.count(endpoint) < tuning.maxObservationsPerEndpoint) return undefined;
      return `${tuning.maxObservationsPerEndpoint} paths of this device are observed already`;
    }
    if (known.owners.includes(owner) || known.owners.length < tuning.maxOwnersPerObservation)
      return undefined;
    return `${tuning.maxOwnersPerObservation} others observe this path already`;
  }

  /** An order that asks for an observation is about to be stored: what is stored with it. */
  join(operation: Operation): WantedObservation | undefined {
    const { endpoint, path, request, id, owner = ANYBODY } = operation;
    const { observations } = this.#core;
    operation.joins = owner;
    const known = observations.find(endpoint, path);
    if (known === undefined) {
      const levels = this.#attached.levels(endpoint, path, request);
      const state = { name: "asking", operation: id, first: true } as const;
      const observation = { endpoint, path, request, owners: [owner], levels, state };
      observations.add(observation);
      return observation;
    }
    const { name } = known.state;
    if (known.state.name === "active") known.state.refresh ??= id;
    else if (name !== "asking")
      this.#steps.become(known, { name: "asking", operation: id, first: name === "ending" });
    if (name === "ending") known.owners.push(owner);
    return undefined;
  }

  /** The owner of the order does not want it any more; what it asked for after that stays. Returns why not, if so. */
  leave({ endpoint, path, id, owner = ANYBODY }: Operation): string | undefined {
    const observation = this.#core.observations.find(endpoint, path);
    if (observation === undefined) return "this path is not observed";
    const place = observation.owners.indexOf(owner);
    if (place < 0) return `this path is not observed for ${JSON.stringify(owner)}`;
    observation.owners.splice(place, 1);
    const { state, owners } = observation;
    if (owners.length > 0) this.#steps.store([observation]);
    else if (state.name === "active") this.#ending(observation, state);
    else {
      const own: readonly Operation[] = this.#askers(observation).filter(
        (one) => one.id < id && one.joins === owner,
      );
      for (const one of own) one.joins = undefined;
      this.#handOver(observation, undefined);
    }
    return undefined;
  }

  /** The device is told as soon as it can be; until then its notifications go nowhere. */
  #ending(observation: WantedObservation, state: ActiveObservation): void {
    const { endpoint, path } = observation;
    const { request, token, session } = state;
    this.#steps.become(observation, {
      name: "ending",
      request,
      token,
      session,
      operation: undefined,
    });
    this.#core.out.push({ type: "observation", endpoint, path, state: "ended", reason: ENDED });
    this.#steps.wantWord(endpoint);
  }

  /** The order that ends an observation was answered. False: by a notification that crossed it; it must go out again. */
  endAnswered({ endpoint, path, id }: Operation, { options }: Response): boolean {
    const observation = this.#core.observations.find(endpoint, path);
    if (observation?.state.name !== "ending" || observation.state.operation !== id) return true;
    if (findUint(options, OptionNumber.Observe) !== undefined) return false;
    this.#steps.end(observation);
    return true;
  }

  // ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Called whenever the device may be spoken to: what must be asked for joins its queue. */
  ask(registration: Registration, now: Instant): void {
    const { endpoint } = registration;
    if (registration.unasked) {
      registration.unasked = false;
      for (const observation of this.#core.observations.of(endpoint)) {
        const { state } = observation;
        if (state.name === "ending" && state.operation === undefined)
          state.operation = this.#steps.enqueue(observation, "cancelObserve", registration, now);
        if (state.name !== "wanted") continue;
        const operation = this.#steps.enqueue(observation, "observe", registration, now);
        this.#steps.become(observation, { name: "asking", operation, first: false });
      }
    }
    if (this.#overdue.size > 0 && this.#overdue.has(endpoint)) this.#askLate(registration, now);
  }

  /** An order that asks goes out. One for what is active already uses its token: to the device it is the same observation. */
  dispatched(operation: Operation, { session, endpoint }: Registration, now: Instant): void {
    if (operation.kind === "observe") this.#askedUnder.set(operation.id, this.#keysOf(session));
    const state = this.#core.observations.find(endpoint, operation.path)?.state;
    if (state?.name !== "active" && state?.name !== "ending") return;
    if (state.session !== session) return;
    const mid = operation.again?.mid ?? this.#core.around.allocate(session, now, false).mid;
    operation.again = { mid, token: state.token };
    this.#steps.abandon(state.request); // from here on its notifications are answers to the order
  }

  /**
   * The order got no answer and waits again: what it stood in for goes on by itself. True: it was asked for often enough, and
   * is left alone for a while.
   */
  undelivered(operation: Operation): boolean {
    this.#askedUnder.delete(operation.id);
    const observation = this.#core.observations.find(operation.endpoint, operation.path);
    if (observation === undefined) return false;
    const { state, endpoint, path } = observation;
    if (state.name === "ending") this.#steps.resume(observation, state);
    if (state.name !== "active") return false;
    this.#steps.resume(observation, state);
    if (state.refresh !== operation.id) return false;
    state.failures += 1;
    const { observationAttempts } = this.#core.tuning;
    if (state.failures === observationAttempts)
      this.#core.out.push({ type: "observationSilent", endpoint, path, heardAt: state.heardAt });
    return operation.internal === true && state.failures >= observationAttempts;
  }

  /** The answer to an order that asks. */
  answered(
    operation: Operation,
    input: Extract<ServerInput, { type: "response" }>,
    now: Instant,
  ): Observed {
    const { id, endpoint, path, joins } = operation;
    const { response } = input;
    const under = this.#askedUnder.get(id);
    this.#askedUnder.delete(id);
    const accepted = !input.final && findUint(response.options, OptionNumber.Observe) !== undefined;
    const observation = this.#core.observations.find(endpoint, path);
    if (observation === undefined) {
      // It is wanted no more.
      const how = accepted ? "deregister" : "forget";
      this.#core.out.push({ type: "coap", input: { type: "cancel", id, how } });
      return FINE;
    }
    if (!accepted) return this.#refused(observation, operation, response, now);
    if (joins !== undefined && !observation.owners.includes(joins)) observation.owners.push(joins);
    const { state } = observation;
    this.#answeredBy(state, id);
    observation.request = operation.request;
    const before = state.name;
    this.#steps.become(observation, this.#activeSince(observation, input, now));
    if (before !== "active") this.#steps.tell(observation, now);
    // Nobody waits for the answer to an order of ours: it is the state of now, as a notification would bring it.
    if (operation.internal === true)
      this.#core.out.push({ type: "notification", endpoint, path, response });
    if (observation.owners.length === 0) {
      if (observation.state.name === "active") this.#ending(observation, observation.state);
      return FINE;
    }
    // RFC 8613 B.2: what was asked for under keys that were replaced meanwhile is over with them.
    if (under !== undefined && under !== this.#keysOf(input.session))
      this.#rekeyed(observation, now);
    return FINE;
  }

  /** An order that asks ends without an answer: nobody waits for it any more. */
  ended(operation: Operation, now: Instant): void {
    const wasSent = this.#askedUnder.delete(operation.id);
    const observation = this.#core.observations.find(operation.endpoint, operation.path);
    const state = observation?.state;
    if (observation === undefined || state === undefined) return;
    if (state.name === "active") {
      if (wasSent) this.#steps.resume(observation, state);
      if (state.refresh !== operation.id) return;
      state.refresh = undefined;
      this.#later(observation, state, now);
    } else if (state.name === "ending" && state.operation === operation.id) {
      // It rejects it: later notifications of it are answered by RST, and then it is over (RFC 7641 3.6).
      if (operation.state.name === "failed") return this.#steps.end(observation);
      this.#steps.resume(observation, state);
      state.operation = undefined;
      const registration = this.#core.registry.byEndpoint(operation.endpoint);
      if (registration !== undefined) registration.unasked = true;
    } else if (state.name === "asking" && state.operation === operation.id) {
      if (state.first) return this.#handOver(observation, operation);
      // A device that rejects the question would do so again, at the speed of the network.
      if (operation.state.name !== "failed") return this.#steps.want(observation, "registered");
      this.#steps.become(observation, { name: "refused", code: NO_ANSWER, at: now });
      this.#steps.tell(observation, now);
    }
  }

  // ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

  notified(input: Extract<ServerInput, { type: "response" }>, now: Instant): void {
    const observation = this.#core.observations.byRequest(input.id);
    if (observation === undefined) return;
    const { endpoint, path, state } = observation;
    const { response, final } = input;
    if (state.name === "ending" && final) return this.#steps.end(observation);
    if (state.name !== "active") return;
    this.#core.out.push({ type: "notification", endpoint, path, response });
    if (final) {
      // RFC 7641 3.2: an error ends it, and so does a state without Observe; that one may be asked for again.
      if (isSuccess(response.code)) this.#steps.want(observation, "registered");
      else this.#steps.become(observation, { name: "refused", code: response.code, at: now });
      return this.#steps.tell(observation, now);
    }
    const wasSilent = now >= state.dueBy;
    state.heardAt = now;
    state.dueBy = now + this.#steps.span(observation);
    state.failures = 0;
    if (wasSilent) {
      this.#steps.due.set(observation, state.dueBy);
      this.#steps.tell(observation, now);
    }
  }

  /** Its request has ended in the layer below, whatever it was. */
  failed(id: RequestId, now: Instant): void {
    const observation = this.#core.observations.byRequest(id);
    if (observation?.state.name !== "active") return;
    this.#steps.want(observation, "registered");
    this.#steps.tell(observation, now);
  }

  /** Write-Attributes was obeyed. */
  attached({ endpoint, path, request }: Operation, now: Instant): void {
    const attributes = this.#attached.attach(endpoint, path, request);
    if (attributes === undefined) return;
    const at = parseNodePath(path);
    const changed = this.#core.observations
      .of(endpoint)
      .filter((o) => isWithin(parseNodePath(o.path), at));
    for (const observation of changed) {
      observation.levels[at.length] = attributes;
      const { state } = observation;
      if (state.name !== "active") continue;
      state.dueBy = now + this.#steps.span(observation);
      this.#steps.due.set(observation, state.dueBy);
    }
    this.#steps.store(changed);
  }

  // ── what happens to registrations and sessions ───────────────────────────────────────────────────────────────────

  /** The registration is gone, and with it all that the device observed for it (OMA TS Core 6.2.1). */
  released({ endpoint }: Registration, now: Instant): void {
    for (const observation of this.#core.observations.of(endpoint)) {
      if (observation.state.name === "ending") this.#steps.end(observation);
      if (observation.state.name !== "active") continue;
      this.#steps.abandon(observation.state.request);
      this.#steps.become(observation, { name: "wanted", why: "unregistered" });
      this.#steps.tell(observation, now);
    }
    this.#overdue.delete(endpoint);
    if (this.#core.observations.count(endpoint) === 0) this.#attached.forget(endpoint);
  }

  /** Nothing is asked of the endpoint any more. */
  forget(endpoint: string): void {
    for (const observation of this.#core.observations.of(endpoint)) this.#steps.end(observation);
    this.#attached.forget(endpoint);
  }

  /** A Register was answered: everything is asked for again, also what was refused before. */
  registered(registration: Registration, now: Instant): void {
    this.#reconsider(registration, () => true, now);
    for (const observation of this.#core.observations.of(registration.endpoint)) {
      if (observation.state.name === "wanted") this.#steps.want(observation, "registered");
    }
  }

  /** An Update brought an object list: what it has again is asked for again. */
  listed(registration: Registration, now: Instant): void {
    this.#reconsider(registration, (code) => code === NOT_FOUND, now);
  }

  /** The registration goes on in another session. What is bound to keys must be asked for again. */
  moved({ endpoint, identity, session }: Registration, now: Instant): void {
    for (const observation of this.#core.observations.of(endpoint)) {
      const { state } = observation;
      if (state.name !== "active" && state.name !== "ending") continue;
      state.session = session;
      if (state.name === "ending") this.#steps.resume(observation, state);
      else if (identity.kind === "oscore") this.#rekeyed(observation, now);
      else this.#steps.resume(observation, state);
    }
  }

  /** The session has new keys: what was observed under the old ones is over (RFC 8613 B.2). */
  established(session: SessionId, now: Instant): void {
    this.#keys.set(session, this.#keysOf(session) + 1);
    const registration = this.#core.registry.bySession(session);
    if (registration === undefined) return;
    for (const observation of this.#core.observations.of(registration.endpoint)) {
      if (observation.state.name === "active") this.#rekeyed(observation, now);
      else if (observation.state.name === "ending") this.#steps.end(observation);
    }
  }

  closed(session: SessionId): void {
    this.#keys.delete(session);
  }

  // ── restart ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** An observation of an earlier run; registrations and orders are there already. @throws FormatError for one too many */
  restore(stored: StoredObservation, trusted: boolean, now: Instant): void {
    const { endpoint } = stored;
    const { observations, tuning, lost } = this.#core;
    if (observations.count(endpoint) >= tuning.maxObservationsPerEndpoint)
      throw new FormatError("the device has as many observations as it may have");
    const number = "request" in stored.state ? stored.state.request : undefined;
    if (number !== undefined && observations.byRequest(number) !== undefined)
      throw new FormatError(`another observation has the number ${number}`);
    const registration = this.#core.registry.byEndpoint(endpoint);
    const owners = stored.owners.filter((owner) => !owner.startsWith(OF_ONE_RUN));
    const left = owners.length < stored.owners.length && owners.length === 0;
    const observation: WantedObservation = {
      ...stored,
      owners,
      state: { name: "wanted", why: "restart" },
    };
    const asking = stored.state.name === "asking" ? stored.state.operation : undefined;
    const operation = asking === undefined ? undefined : this.#core.operations.get(asking);
    const isAsked = operation !== undefined && !isFinal(operation.state);
    const dueBy = now + this.#steps.span(observation); // it may have reported while we were away
    const state = restoredState(stored.state, registration, { trusted, isAsked, dueBy });
    if (state !== undefined) observation.state = state;
    if (number !== undefined) this.#core.lastId = Math.max(this.#core.lastId, number);
    observations.add(observation);
    if (state === undefined) return this.#steps.end(observation);
    if (left && state.name === "active") return this.#ending(observation, state);
    if (left && state.name !== "asking") return this.#steps.end(observation);
    const asks = state.name === "wanted" || state.name === "ending";
    if (asks && registration !== undefined) registration.unasked = true;
    if (state.name === "active") this.#steps.due.set(observation, state.dueBy);
    // Where its session is lost it goes on in the next.
    const isOpen = (state.name === "active" || state.name === "ending") && !lost.has(state.session);
    if (isOpen) this.#steps.resume(observation, state);
  }

  /**
   * An order of an earlier run that asks waits on; one that is over by the clock waits for its end alone. Its observation may have
   * ended, or was stored before it had a record of its own.
   */
  restoreOrder(operation: Operation, now: Instant): void {
    const { endpoint, path, expiresAt, owner = ANYBODY } = operation;
    if (owner.startsWith(OF_ONE_RUN) || expiresAt <= now) return;
    if (this.#core.observations.find(endpoint, path) === undefined) this.join(operation);
    else operation.joins = owner;
  }

  // ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #refused(
    observation: WantedObservation,
    operation: Operation,
    { code }: Response,
    now: Instant,
  ): Observed {
    const { path, id } = operation;
    const { state } = observation;
    const fault = isSuccess(code)
      ? `the device answered ${formatCode(code)}, and does not observe ${path}: without Observe in the answer no notification will come (RFC 7641 2)`
      : undefined;
    if (state.name === "asking" && state.operation === id && state.first)
      this.#handOver(observation, operation);
    else {
      this.#answeredBy(state, id);
      this.#steps.become(observation, { name: "refused", code, at: now });
      this.#steps.tell(observation, now);
    }
    return { fault };
  }

  /** Whoever asked first does not get it, or leaves: it ends, unless another waits for the same path. */
  #handOver(observation: WantedObservation, without: Operation | undefined): void {
    const next = this.#askers(observation).find((one) => one !== without);
    if (next === undefined) return this.#steps.end(observation);
    const { id, request, joins } = next;
    observation.owners.splice(0, Infinity, joins);
    observation.request = request;
    this.#steps.become(observation, { name: "asking", operation: id, first: true });
  }

  /** Orders of users that ask for it and have no answer yet. */
  #askers({ endpoint, path }: WantedObservation): readonly Asker[] {
    return this.#core.operations
      .of(endpoint)
      .filter(
        (one): one is Asker => one.joins !== undefined && one.path === path && !isFinal(one.state),
      );
  }

  /** The order has its answer: what it asked for again is over, or goes on as this. */
  #answeredBy(state: ObservationState, id: number): void {
    if (state.name !== "active") return;
    if (state.request !== id) this.#steps.abandon(state.request);
    if (state.refresh === id) state.refresh = undefined;
  }

  #activeSince(
    observation: WantedObservation,
    { id, session, token }: Extract<ServerInput, { type: "response" }>,
    now: Instant,
  ): ActiveObservation {
    const dueBy = now + this.#steps.span(observation);
    const own = token.slice();
    return {
      name: "active",
      request: id,
      token: own,
      session,
      heardAt: now,
      dueBy,
      failures: 0,
      refresh: undefined,
    };
  }

  /** Nothing came by the time it was due. */
  #late(observation: WantedObservation, state: ActiveObservation, now: Instant): void {
    const { endpoint } = observation;
    if (state.failures === 0) this.#steps.tell(observation, now);
    this.#overdue.add(endpoint);
    const registration = this.#core.registry.byEndpoint(endpoint);
    if (registration !== undefined && registration.reach.seenAt > state.heardAt)
      this.#core.wanting.add(registration);
  }

  /** The device spoke, and not of what is overdue. */
  #askLate(registration: Registration, now: Instant): void {
    let left = false;
    for (const observation of this.#core.observations.of(registration.endpoint)) {
      const { state } = observation;
      if (state.name !== "active" || now < state.dueBy || state.refresh !== undefined) continue;
      if (registration.reach.seenAt <= state.heardAt) left = true;
      else state.refresh = this.#steps.enqueue(observation, "observe", registration, now);
    }
    if (!left) this.#overdue.delete(registration.endpoint);
  }

  /** Asked again in vain, it is left alone for a while. */
  #later(observation: WantedObservation, state: ActiveObservation, now: Instant): void {
    this.#steps.due.set(
      observation,
      Math.max(state.dueBy, now + this.#core.tuning.observationRetry),
    );
  }

  #rekeyed(observation: WantedObservation, now: Instant): void {
    if (observation.state.name === "active") this.#steps.abandon(observation.state.request);
    this.#steps.want(observation, "keys");
    this.#steps.tell(observation, now);
  }

  #reconsider(registration: Registration, again: (code: number) => boolean, now: Instant): void {
    for (const observation of this.#core.observations.of(registration.endpoint)) {
      const { state, path } = observation;
      if (state.name !== "refused" || !again(state.code)) continue;
      if (!listsPath(registration.objects, parseNodePath(path))) continue;
      this.#steps.want(observation, "registered");
      this.#steps.tell(observation, now);
    }
  }

  #keysOf(session: SessionId): number {
    return this.#keys.get(session) ?? 0;
  }
}

type ObserveOrder = {
  readonly endpoint: string;
  readonly path: string;
  readonly owner?: string | undefined;
};

type Asker = Operation & { readonly joins: string };

/** How the names of owners begin that want nothing after a restart. */
const OF_ONE_RUN = "run:";
const NOT_FOUND = 0x84;
/** The code of an empty message: a Reset, or no answer that can be read. */
const NO_ANSWER = 0;
const FINE: Observed = { fault: undefined };
