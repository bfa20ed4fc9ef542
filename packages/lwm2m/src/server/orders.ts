// Orders to devices, and the observations that come of them.
//
//   accept ──> queue ──> (device can hear it) ──> dispatch ──> answered ──> end, exactly once
//                ▲                                    │
//                └───────── unanswered: wait for the device's next word

import { Deadlines, UsageError, unreachable, type Instant, type SessionId } from "@godwit/base";
import {
  Code,
  OptionNumber,
  findUint,
  request as buildRequest,
  response as buildResponse,
  type Request,
  type Response,
} from "@godwit/coap";
import type { PendingOrder, ServerCore } from "./core.ts";
import type { OperationKind, ServerInput } from "./events.ts";
import type { Observation } from "./observations.ts";
import { isFinal, isIdempotent, viewOperation, type Operation } from "./operation.ts";
import { canPush, noteUplink, notePushAnswered, notePushLost } from "./reach.ts";
import { TABLES, encodeObservation, observationKey, operationKey } from "./records.ts";
import type { Registration } from "./registration.ts";

export class Orders {
  readonly #core: ServerCore;
  /** Endpoints that answered 5.03, and when they may be asked again. */
  readonly #busy = new Deadlines<string>();
  /** Not promised yet: they are not sent before they are durable. */
  readonly #accepting = new Set<Operation>();

  constructor(core: ServerCore) {
    this.#core = core;
  }

  get wakeAt(): Instant | undefined {
    return this.#busy.next;
  }

  wake(now: Instant): void {
    const { registry } = this.#core;
    for (let name = this.#busy.expired(now); name !== undefined; name = this.#busy.expired(now)) {
      const registration = registry.byEndpoint(name);
      if (registration !== undefined) this.flush(registration, now);
    }
  }

  accept(input: Extract<ServerInput, { type: "operate" }>, now: Instant): void {
    if (this.#core.operations.get(input.id) !== undefined) {
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
      leastIdle: undefined,
      storedHeard: undefined,
      again: undefined,
      state: { name: "waiting" },
    };
    const full =
      this.#core.operations.fullFor(endpoint) ?? this.#observedEnough(kind, endpoint, path);
    if (full !== undefined) {
      operation.state = { name: "failed", at: now, reason: full };
      return this.#core.emit({ type: "operation", operation: viewOperation(operation) });
    }
    this.#core.operations.add(operation);
    this.#accepting.add(operation);
    this.#core.store([this.#core.operationChange(operation)], { kind: "accept", operation });
  }

  /** Why this path cannot be observed as well, if so. */
  #observedEnough(kind: OperationKind, endpoint: string, path: string): string | undefined {
    const { observations, tuning } = this.#core;
    if (kind !== "observe" || observations.find(endpoint, path) !== undefined) return undefined;
    if (observations.of(endpoint).length < tuning.maxObservationsPerEndpoint) return undefined;
    return `${tuning.maxObservationsPerEndpoint} paths of this device are observed already`;
  }

  cancel(id: number, now: Instant): void {
    const operation = this.#core.operations.get(id);
    if (operation === undefined || isFinal(operation.state)) return;
    this.end(operation, { name: "cancelled", at: now }, now);
  }

  /** Sends the next waiting operation if the device can hear it; one at a time (NSTART 1). */
  flush(registration: Registration, now: Instant): void {
    if (registration.queue.length === 0) return;
    // One that is over by a clock that was set meanwhile waits for its end, or for the clock to be right again.
    const next = registration.queue.find(({ state, expiresAt }) => {
      return state.name !== "waiting" || expiresAt > now;
    });
    if (next === undefined || next.state.name !== "waiting") return;
    if (!canPush(registration, this.#core.tuning, now)) return;
    this.#dispatch(registration, next, now);
  }

  #dispatch(registration: Registration, operation: Operation, now: Instant): void {
    const idle = now - registration.reach.seenAt;
    operation.state = { name: "sent", at: now, idle };
    operation.attempts += 1;
    if (operation.kind === "cancelObserve")
      return this.#stopObserving(registration, operation, now);
    operation.leastIdle = Math.min(idle, operation.leastIdle ?? idle);
    const idempotent = isIdempotent(operation.kind, operation.request);
    operation.again ??= this.#core.around.allocate(registration.session, now, !idempotent);
    const stored = operation.storedHeard === this.#mayBeHeard(operation);
    if (stored || idempotent) {
      return this.#send(registration, operation);
    }
    this.#core.store([this.#core.operationChange(operation)], { kind: "dispatch", operation });
  }

  /** It was sent while the device could well hear it. */
  #mayBeHeard({ leastIdle }: Operation): boolean {
    return leastIdle !== undefined && leastIdle < this.#core.tuning.trustedBinding;
  }

  #send(registration: Registration, operation: Operation): void {
    this.#core.out.push({
      type: "coap",
      input: {
        type: "request",
        id: operation.id,
        session: registration.session,
        request: this.#rooted(registration, operation.request),
        lasting: !isIdempotent(operation.kind, operation.request),
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

  answered(input: Extract<ServerInput, { type: "response" }>, now: Instant): void {
    const operation = this.#core.operations.get(input.id);
    const registration = this.#core.registry.bySession(input.session);
    if (registration !== undefined) {
      noteUplink(registration.reach, now);
      this.#core.registry.prove(registration);
    }
    if (operation !== undefined && operation.state.name === "sent") {
      if (registration) notePushAnswered(registration.reach, operation.state.idle);
      if (registration && this.#isBusy(operation, input.response)) {
        return this.#postpone(registration, operation, input.response, now);
      }
      if (operation.kind === "observe") this.#observed(operation, input);
      this.end(operation, { name: "done", at: now, response: owned(input.response) }, now);
      return;
    }
    this.#notified(input);
    if (registration !== undefined) this.flush(registration, now);
  }

  /**
   * The device wants proof before it obeys, and gets the order under another message id and token: a later life of ours must
   * repeat it under these.
   */
  renamed(id: number, again: NonNullable<Operation["again"]>): void {
    const operation = this.#core.operations.get(id);
    if (operation === undefined || operation.state.name !== "sent") return;
    operation.again = { mid: again.mid, token: again.token.slice() };
    this.#core.store([this.#core.operationChange(operation)], { kind: "rename", operation });
  }

  /** 5.03: the device has not obeyed and may do so later (RFC 7252 5.9.3.4). */
  #isBusy(operation: Operation, { code }: Response): boolean {
    return code === Code.ServiceUnavailable && operation.attempts < this.#core.tuning.busyAttempts;
  }

  /** To be sent anew: under the old message id the device would only say 5.03 again. */
  #postpone(
    registration: Registration,
    operation: Operation,
    { options }: Response,
    now: Instant,
  ): void {
    operation.state = { name: "waiting" };
    operation.again = undefined;
    operation.leastIdle = undefined;
    operation.storedHeard = undefined;
    const seconds = findUint(options, OptionNumber.MaxAge) ?? DEFAULT_MAX_AGE;
    registration.reach.busyUntil = now + seconds * 1_000;
    this.#busy.set(registration.endpoint, registration.reach.busyUntil);
    this.#core.emit({ type: "operation", operation: viewOperation(operation) });
  }

  unanswered(
    id: number,
    reason: Extract<ServerInput, { type: "failed" }>["reason"],
    now: Instant,
  ): void {
    const observation = this.#core.observations.byId(id);
    if (observation !== undefined && reason === "closed") return;
    const operation = this.#core.operations.get(id);
    if (operation === undefined || operation.state.name !== "sent") return;
    const registration = this.#core.registry.byEndpoint(operation.endpoint);
    const { idle } = operation.state;
    switch (reason) {
      case "timeout":
        if (registration) notePushLost(registration.reach, idle, this.#core.tuning);
        operation.state = { name: "waiting" };
        return this.#core.emit({ type: "operation", operation: viewOperation(operation) });
      case "closed":
      case "full":
      case "unprotected": // the device's next word brings keys
        operation.state = { name: "waiting" };
        return;
      case "reset":
      case "tooLarge":
      case "bodyChanged":
      case "badResponse":
        return this.end(operation, { name: "failed", at: now, reason: REASONS[reason] }, now);
      default:
        return unreachable(reason);
    }
  }

  /** Gives the operation its final state; a user hears of it once it is durable. */
  end(operation: Operation, state: Operation["state"], now: Instant): void {
    const running = operation.state.name === "sent";
    operation.state = state;
    if (running && state.name !== "done") {
      this.#core.out.push({
        type: "coap",
        input: { type: "cancel", id: operation.id, how: "forget" },
      });
    }
    const registration = this.#core.registry.byEndpoint(operation.endpoint);
    const place = registration?.queue.indexOf(operation) ?? -1;
    if (place >= 0) registration?.queue.splice(place, 1);
    const forgotten = this.#core.operations.finished(operation);
    const changes = [
      this.#core.operationChange(operation),
      ...forgotten.map((old) => ({
        table: TABLES.operation,
        key: operationKey(old.id),
        value: undefined,
      })),
    ];
    this.#core.store(changes, { kind: "finish", operation, changes });
    if (registration !== undefined) this.flush(registration, now);
  }

  forget(operation: Operation): void {
    this.#core.operations.remove(operation);
    this.#core.record([
      { table: TABLES.operation, key: operationKey(operation.id), value: undefined },
    ]);
  }

  /**
   * What waits for the endpoint waits for its new registration. An order that must not be obeyed twice and was sent while
   * the device could well hear it is not sent again: the device may have obeyed it, and restarted because of it.
   */
  takeQueue(registration: Registration, now: Instant): void {
    const waiting = this.#core.operations
      .of(registration.endpoint)
      .filter((operation) => !isFinal(operation.state) && !this.#accepting.has(operation));
    for (const operation of waiting) {
      if (this.#mayBeHeard(operation) && !isIdempotent(operation.kind, operation.request)) {
        const reason = "the device registered anew before it answered; it may have obeyed";
        this.end(operation, { name: "failed", at: now, reason }, now);
      } else registration.queue.push(operation);
    }
  }

  #observed(operation: Operation, input: Extract<ServerInput, { type: "response" }>): void {
    const { id, endpoint, path, request } = operation;
    const old = this.#core.observations.find(endpoint, path);
    if (old !== undefined) this.#forgetObservation(old, "forget");
    if (input.final || findUint(input.response.options, OptionNumber.Observe) === undefined) return;
    const observation = { id, endpoint, path, token: input.token, request, active: true };
    if (!this.#core.observations.add(observation)) {
      this.#core.out.push({ type: "coap", input: { type: "cancel", id, how: "deregister" } });
      return;
    }
    this.#core.record([
      {
        table: TABLES.observation,
        key: observationKey(observation),
        value: encodeObservation(observation),
      },
    ]);
    this.#core.out.push({ type: "observation", endpoint, path, state: "active" });
  }

  #notified(input: Extract<ServerInput, { type: "response" }>): void {
    const observation = this.#core.observations.byId(input.id);
    if (observation === undefined) return;
    const { endpoint, path } = observation;
    this.#core.out.push({ type: "notification", endpoint, path, response: input.response });
    if (input.final) this.#forgetObservation(observation, undefined);
  }

  #stopObserving(registration: Registration, operation: Operation, now: Instant): void {
    const observation = this.#core.observations.find(operation.endpoint, operation.path);
    if (observation === undefined) {
      const reason = "this path is not observed";
      return this.end(operation, { name: "failed", at: now, reason }, now);
    }
    const reachable = canPush(registration, this.#core.tuning, now);
    this.#forgetObservation(observation, reachable ? "deregister" : "forget");
    const response = buildResponse(Code.Content);
    this.end(operation, { name: "done", at: now, response }, now);
  }

  #forgetObservation(observation: Observation, how: "deregister" | "forget" | undefined): void {
    this.#core.observations.remove(observation);
    if (how !== undefined) {
      this.#core.out.push({ type: "coap", input: { type: "cancel", id: observation.id, how } });
    }
    this.#core.record([
      { table: TABLES.observation, key: observationKey(observation), value: undefined },
    ]);
    const { endpoint, path, active } = observation;
    if (active) this.#core.out.push({ type: "observation", endpoint, path, state: "ended" });
  }

  resume(
    observation: { id: number; token: Uint8Array; request: Request },
    session: SessionId,
  ): void {
    const { id, token, request } = observation;
    this.#core.out.push({
      type: "coap",
      input: { type: "resumeObservation", id, session, token, request },
    });
  }

  /** A new registration voids the device's observations; the ones users want are set up again (LwM2M 1.2 6.4.1). */
  observeAgain(registration: Registration, now: Instant): void {
    for (const observation of this.#core.observations.of(registration.endpoint)) {
      const operation: Operation = {
        id: this.#core.operationId(),
        endpoint: registration.endpoint,
        kind: "observe",
        path: observation.path,
        request: observation.request,
        createdAt: now,
        expiresAt: now + this.#core.tuning.finishedFor,
        attempts: 0,
        leastIdle: undefined,
        storedHeard: undefined,
        again: undefined,
        state: { name: "waiting" },
      };
      this.#core.operations.add(operation);
      registration.queue.push(operation);
    }
  }

  seen(session: SessionId, now: Instant): void {
    const registration = this.#core.registry.bySession(session);
    if (registration === undefined) return;
    this.#core.registry.prove(registration);
    noteUplink(registration.reach, now);
    this.flush(registration, now);
  }

  /** The order's change is durable, or the store refused it, for the reason given. */
  stored(pending: PendingOrder, refusal: string | undefined, now: Instant): void {
    const { kind, operation } = pending;
    const ok = refusal === undefined;
    switch (kind) {
      case "accept":
        this.#accepting.delete(operation);
        return ok ? this.#accepted(operation, now) : this.#notAccepted(operation, refusal, now);
      case "dispatch": {
        if (ok) operation.storedHeard = this.#mayBeHeard(operation);
        if (operation.state.name !== "sent") return;
        const registration = this.#core.registry.byEndpoint(operation.endpoint);
        if (ok && registration !== undefined) return this.#send(registration, operation);
        operation.state = { name: "waiting" }; // the device's next word tries again
        return;
      }
      case "rename": {
        const { id, again, state } = operation;
        if (!ok) operation.storedHeard = undefined; // its new name is not durable: not sent again before it is
        if (state.name !== "sent" || again === undefined) return;
        if (ok) {
          this.#core.out.push({ type: "coap", input: { type: "proceed", id, mid: again.mid } });
          return;
        }
        this.#abandon(id);
        operation.state = { name: "waiting" };
        return;
      }
      case "finish": // it did happen, durable or not
        if (!ok) this.#core.recordLater(pending.changes, now);
        return this.#core.emit({ type: "operation", operation: viewOperation(operation) });
      default:
        return unreachable(kind);
    }
  }

  /** The registration is gone: what was under way for it waits again. */
  release(registration: Registration): void {
    for (const operation of registration.queue) {
      if (operation.state.name !== "sent") continue;
      this.#abandon(operation.id);
      operation.state = { name: "waiting" };
    }
    for (const observation of this.#core.observations.of(registration.endpoint)) {
      if (!observation.active) continue;
      observation.active = false;
      this.#abandon(observation.id);
    }
  }

  /** Nothing is asked of the endpoint any more. */
  forgetEndpoint(endpoint: string, reason: string, now: Instant): void {
    for (const operation of [...this.#core.operations.of(endpoint)])
      if (!isFinal(operation.state)) this.end(operation, { name: "failed", at: now, reason }, now);
    for (const observation of this.#core.observations.of(endpoint))
      this.#forgetObservation(observation, "forget");
  }

  #accepted(operation: Operation, now: Instant): void {
    if (isFinal(operation.state)) return; // cancelled meanwhile
    this.#core.emit({ type: "operation", operation: viewOperation(operation) });
    const registration = this.#core.registry.byEndpoint(operation.endpoint);
    if (registration === undefined) return;
    // A Register that came between may have queued it already.
    if (!registration.queue.includes(operation)) registration.queue.push(operation);
    this.flush(registration, now);
  }

  #notAccepted(operation: Operation, refusal: string, now: Instant): void {
    if (isFinal(operation.state)) return; // cancelled meanwhile
    this.#core.operations.remove(operation);
    operation.state = { name: "failed", at: now, reason: `it could not be kept: ${refusal}` };
    this.#core.emit({ type: "operation", operation: viewOperation(operation) });
  }

  #abandon(id: number): void {
    this.#core.out.push({ type: "coap", input: { type: "cancel", id, how: "forget" } });
  }
}

/** A copy that does not keep the datagram's buffer alive. */
function owned({ code, options, payload }: Response): Response {
  return {
    code,
    options: options.map(({ number, value }) => ({ number, value: value.slice() })),
    payload: payload.slice(),
  };
}

/** s (RFC 7252 5.10.5). */
const DEFAULT_MAX_AGE = 60;
const REASONS = {
  reset: "the device rejected the request (RST)",
  tooLarge: "the body is too large for one of the two ends",
  bodyChanged: "the device's answer kept changing while it was read",
  badResponse: "the device's answer breaks the protocol",
} as const;
