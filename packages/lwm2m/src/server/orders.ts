// Orders to devices. What they observe is kept by Observing.
//
//   accept ──> queue ──> (device can hear it) ──> dispatch ──> answered ──> end, exactly once
//                ▲                                    │
//                └───────── unanswered: wait for the device's next word

import { Deadlines, UsageError, unreachable, type Instant, type SessionId } from "@godwit/base";
import {
  Code,
  OptionNumber,
  findUint,
  isSuccess,
  request as buildRequest,
  response as buildResponse,
  type Request,
  type Response,
} from "@godwit/coap";
import type { PendingOrder, ServerCore } from "./core.ts";
import type { OperationKind, ServerInput } from "./events.ts";
import { observationChange } from "./observation-steps.ts";
import type { Observing } from "./observing.ts";
import { isFinal, isIdempotent, viewOperation, type Operation } from "./operation.ts";
import { canPush, noteUplink, notePushAnswered, notePushLost } from "./reach.ts";
import { TABLES, operationKey } from "./records.ts";
import type { Registration } from "./registration.ts";

export class Orders {
  readonly #core: ServerCore;
  /** Endpoints that answered 5.03, and when they may be asked again. */
  readonly #busy = new Deadlines<string>();
  /** Not promised yet: they are not sent before they are durable. */
  readonly #accepting = new Set<Operation>();

  readonly #observing: Observing;

  constructor(core: ServerCore, observing: Observing) {
    this.#core = core;
    this.#observing = observing;
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
      this.#core.operations.fullFor(endpoint) ??
      (kind === "observe" ? this.#observing.refusal(input) : undefined);
    if (full !== undefined) {
      operation.state = { name: "failed", at: now, reason: full, notAccepted: "limit" };
      return this.#core.emit({ type: "operation", operation: viewOperation(operation) });
    }
    this.#core.operations.add(operation);
    this.#accepting.add(operation);
    if (OBSERVES.has(kind)) operation.owner = input.owner;
    const observation = kind === "observe" ? this.#observing.join(operation) : undefined;
    const changes = [this.#core.operationChange(operation)];
    if (observation !== undefined) changes.push(observationChange(observation));
    this.#core.store(changes, { kind: "accept", operation });
  }

  cancel(id: number, now: Instant): void {
    const operation = this.#core.operations.get(id);
    if (operation === undefined || isFinal(operation.state)) return;
    this.end(operation, { name: "cancelled", at: now }, now);
  }

  /** Sends the next waiting operation if the device can hear it; one at a time (NSTART 1). */
  flush(registration: Registration, now: Instant): void {
    this.#observing.ask(registration, now);
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
    if (operation.kind === "cancelObserve" && operation.internal !== true)
      return this.#stopObserving(operation, now);
    operation.leastIdle = Math.min(idle, operation.leastIdle ?? idle);
    const idempotent = isIdempotent(operation.kind, operation.request);
    if (OBSERVES.has(operation.kind)) this.#observing.dispatched(operation, registration, now);
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
      return this.#done(operation, input, now);
    }
    this.#observing.notified(input, now);
    if (registration !== undefined) this.flush(registration, now);
  }

  #done(
    operation: Operation,
    input: Extract<ServerInput, { type: "response" }>,
    now: Instant,
  ): void {
    const { kind } = operation;
    if (kind === "observe") {
      const { fault } = this.#observing.answered(operation, input, now);
      if (fault !== undefined) {
        const state = { name: "failed", at: now, reason: fault, notObserved: true } as const;
        return this.end(operation, state, now);
      }
    }
    if (kind === "cancelObserve" && !this.#observing.endAnswered(operation, input.response)) {
      operation.state = { name: "waiting" };
      const registration = this.#core.registry.byEndpoint(operation.endpoint);
      if (registration !== undefined) this.flush(registration, now);
      return;
    }
    if (kind === "writeAttributes" && isSuccess(input.response.code))
      this.#observing.attached(operation, now);
    this.end(operation, { name: "done", at: now, response: owned(input.response) }, now);
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
    const { busyAttempts } = this.#core.tuning;
    return code === Code.ServiceUnavailable && (operation.putOff ?? 0) + 1 < busyAttempts;
  }

  /** To be sent anew: under the old message id the device would only say 5.03 again. */
  #postpone(
    registration: Registration,
    operation: Operation,
    { options }: Response,
    now: Instant,
  ): void {
    operation.state = { name: "waiting" };
    operation.putOff = (operation.putOff ?? 0) + 1;
    operation.again = undefined;
    operation.leastIdle = undefined;
    operation.storedHeard = undefined;
    const seconds = findUint(options, OptionNumber.MaxAge) ?? DEFAULT_MAX_AGE;
    registration.reach.busyUntil = now + seconds * 1_000;
    this.#busy.set(registration.endpoint, registration.reach.busyUntil);
    if (OBSERVES.has(operation.kind)) this.#observing.undelivered(operation);
    this.#say(operation);
  }

  unanswered(
    id: number,
    reason: Extract<ServerInput, { type: "failed" }>["reason"],
    now: Instant,
  ): void {
    const operation = this.#core.operations.get(id);
    if (operation === undefined || operation.state.name !== "sent") {
      if (reason !== "closed") this.#observing.failed(id, now); // a closed session goes on in another
      return;
    }
    const registration = this.#core.registry.byEndpoint(operation.endpoint);
    const { idle } = operation.state;
    switch (reason) {
      case "timeout":
        if (registration) notePushLost(registration.reach, idle, this.#core.tuning);
        operation.state = { name: "waiting" };
        return this.#undelivered(operation, now);
      case "closed":
      case "full":
      case "unprotected": // the device's next word brings keys
        operation.state = { name: "waiting" };
        if (OBSERVES.has(operation.kind)) this.#observing.undelivered(operation);
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

  #undelivered(operation: Operation, now: Instant): void {
    const enough = OBSERVES.has(operation.kind) && this.#observing.undelivered(operation);
    if (enough) return this.end(operation, { name: "cancelled", at: now }, now);
    this.#say(operation);
  }

  #say(operation: Operation): void {
    if (operation.internal === true) return;
    this.#core.emit({ type: "operation", operation: viewOperation(operation) });
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
    const queue = registration?.queue ?? [];
    const place = queue.indexOf(operation);
    if (place >= 0) queue.splice(place, 1);
    if (OBSERVES.has(operation.kind)) this.#observing.ended(operation, now);
    if (operation.internal === true) {
      this.#core.operations.remove(operation);
      if (registration !== undefined) this.flush(registration, now);
      return;
    }
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

  #stopObserving(operation: Operation, now: Instant): void {
    const reason = this.#observing.leave(operation);
    if (reason !== undefined) return this.end(operation, { name: "failed", at: now, reason }, now);
    const response = buildResponse(Code.Content);
    this.end(operation, { name: "done", at: now, response }, now);
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
  release(registration: Registration, now: Instant): void {
    for (const operation of registration.queue) {
      if (operation.state.name !== "sent") continue;
      this.#abandon(operation.id);
      operation.state = { name: "waiting" };
    }
    this.#observing.released(registration, now);
  }

  /** Nothing is asked of the endpoint any more. */
  forgetEndpoint(endpoint: string, reason: string, now: Instant): void {
    for (const operation of [...this.#core.operations.of(endpoint)])
      if (!isFinal(operation.state)) this.end(operation, { name: "failed", at: now, reason }, now);
    this.#observing.forget(endpoint);
  }

  #accepted(operation: Operation, now: Instant): void {
    if (isFinal(operation.state)) return; // cancelled meanwhile
    this.#say(operation);
    const registration = this.#core.registry.byEndpoint(operation.endpoint);
    if (registration === undefined) return;
    // A Register that came between may have queued it already.
    if (!registration.queue.includes(operation)) registration.queue.push(operation);
    this.flush(registration, now);
  }

  #notAccepted(operation: Operation, refusal: string, now: Instant): void {
    if (isFinal(operation.state)) return; // cancelled meanwhile
    this.#core.operations.remove(operation);
    const reason = `it could not be kept: ${refusal}`;
    operation.state = { name: "failed", at: now, reason, notAccepted: "storage" };
    this.#observing.ended(operation, now);
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

const OBSERVES: ReadonlySet<OperationKind> = new Set<OperationKind>(["observe", "cancelObserve"]);
/** s (RFC 7252 5.10.5). */
const DEFAULT_MAX_AGE = 60;
const REASONS = {
  reset: "the device rejected the request (RST)",
  tooLarge: "the body is too large for one of the two ends",
  bodyChanged: "the device's answer kept changing while it was read",
  badResponse: "the device's answer breaks the protocol",
} as const;
