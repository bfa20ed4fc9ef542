import { Deadlines, UsageError, equal, type Instant, type Outbox, type Rng } from "@godwit/base";
import { HEADER_LENGTH, asksOnly, isBlock, withObserve } from "./answers.ts";
import { BlockTransfer, IDEMPOTENT, type BlockStep } from "./block-client.ts";
import { blockSize, szxFor } from "./block-option.ts";
import { ClientRequest, type OuterParts } from "./client-request.ts";
import { Code, isSuccess } from "./codes.ts";
import type { EndpointInput, EndpointOutput, RequestId } from "./endpoint-events.ts";
import { removeFrom, type EndpointSession } from "./endpoint-session.ts";
import { Outgoing, type MessageLayer } from "./message-layer.ts";
import { ACK, CON, type Message, type Response } from "./message.ts";
import { ObservationOrder } from "./observe-client.ts";
import { OptionNumber } from "./option-numbers.ts";
import { bodyLength } from "./options-codec.ts";
import { OuterAnswers, isOuterBlock } from "./outer-blocks.ts";
import { checkOptions, type OptionTable } from "./option-table.ts";
import { SMALLEST_SHRUNK, type PathSizes } from "./path-sizes.ts";
import { findOption, findUint, uintOption, withOption, withoutOption } from "./options.ts";
import { RequestSender } from "./request-sender.ts";
import type { RequestProtection } from "./protection.ts";
import { count, emptyMessage, type Sender } from "./sender.ts";
import type { CoapTuning } from "./tuning.ts";

//   request ──> in flight ──ACK with answer──────────────> answered ──> response
//                  ├──empty ACK──> waits ──CON/NON answer──> │  │
//                  ├──RST, timeout──> failed                 │  ├──4.01 + Echo, a further block──> in flight
//                                                            │  └──Observe──> observing ──> response, again and again
// RFC 7252 5.2 and 5.3.

type FailedReason = Extract<EndpointOutput, { type: "failed" }>["reason"];

/** Asks the peer. */
export class ClientRole {
  readonly #tuning: CoapTuning;
  readonly #rng: Rng;
  readonly #options: OptionTable;
  readonly #outbox: Outbox<EndpointOutput>;
  readonly #sender: Sender;
  readonly #layer: MessageLayer;
  readonly #sizes: PathSizes;
  readonly #requests = new Map<RequestId, ClientRequest>();
  /** Requests that have their empty ACK: the answer must come one day. */
  readonly #answers = new Deadlines<ClientRequest>();
  readonly #sending: RequestSender;
  readonly #protection: RequestProtection | undefined;
  /** The session, a protected one at the carrier that leads to it. */
  readonly #follow: (session: EndpointSession, now: Instant) => void;
  /** Observations by what protects them: their notifications may come from anywhere. */
  readonly #observing = new Map<unknown, ClientRequest>();
  #running = 0;
  readonly #outer: OuterAnswers | undefined;

  constructor(
    tuning: CoapTuning,
    rng: Rng,
    options: OptionTable,
    outbox: Outbox<EndpointOutput>,
    sender: Sender,
    layer: MessageLayer,
    sizes: PathSizes,
    protection: RequestProtection | undefined,
    follow: (session: EndpointSession, now: Instant) => void,
  ) {
    this.#protection = protection;
    this.#outer = protection && new OuterAnswers(tuning, protection.maxUnfragmented);
    this.#follow = follow;
    this.#tuning = tuning;
    this.#rng = rng;
    this.#options = options;
    this.#outbox = outbox;
    this.#sender = sender;
    this.#layer = layer;
    this.#sizes = sizes;
    this.#sending = new RequestSender(tuning, rng, outbox, layer, sizes, protection, {
      fail: (request, reason, now) => this.#fail(request, reason, now),
      forget: (request) => this.#forget(request),
      follow,
    });
  }

  get wakeAt(): Instant | undefined {
    return this.#answers.next;
  }

  request(
    session: EndpointSession,
    input: Extract<EndpointInput, { type: "request" }>,
    now: Instant,
  ): void {
    this.#unused(input.id);
    const { request, again } = input;
    this.#follow(session, now);
    const token = again?.token ?? this.#tokenFor(session, input.named === true);
    const running = new ClientRequest(
      input.id,
      session,
      request,
      input.confirmable ?? true,
      input.keepAlive ?? false,
      token,
    );
    const { maxRequests, maxRequestsPerSession } = this.#tuning;
    if (session.running >= maxRequestsPerSession || this.#running >= maxRequests) {
      this.#emitFailed(running, "full");
      return;
    }
    this.#begin(running);
    this.#requests.set(input.id, running);
    try {
      running.repeatable = input.repeatable ?? IDEMPOTENT.has(request.code);
      running.lasting = input.lasting ?? false;
      const szx = this.#sizes.szx(session.id, now);
      const narrow = szx < this.#tuning.preferredSzx && asksOnly(request);
      if (narrow || request.payload.length > blockSize(szx))
        running.transfer = this.#sending.transfer(running, now);
      this.#sending.send(running, running.transfer?.first() ?? request, now, again?.mid);
    } catch (error) {
      this.#end(running, now); // a request that cannot be encoded is our caller's fault, and leaves nothing behind
      throw error;
    }
  }

  /** See EndpointInput. */
  cancel(id: RequestId, how: "deregister" | "forget", now: Instant): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    const observing = request.order !== undefined;
    this.#end(request, now);
    if (!observing || how === "forget") return;
    // RFC 7641 3.6: the same request under the same token, with Observe 1. Nobody waits for the answer.
    const options = withOption(
      withoutOption(request.request.options, OptionNumber.Observe),
      uintOption(OptionNumber.Observe, 1),
    );
    const { session, token } = request;
    this.#follow(session, now);
    const goodbye = new ClientRequest(undefined, session, request.request, true, false, token);
    this.#begin(goodbye);
    this.#sending.send(goodbye, { ...request.request, options }, now);
  }

  resume(
    session: EndpointSession,
    input: Extract<EndpointInput, { type: "resumeObservation" }>,
  ): void {
    this.#unused(input.id);
    const { id, request, token } = input;
    if (session.isProtected) {
      // What its notifications were bound to is lost.
      const reason = "unprotected";
      this.#outbox.push({ type: "failed", id, session: session.id, reason, again: undefined });
      return;
    }
    const observing = new ClientRequest(id, session, request, true, false, token);
    observing.order = new ObservationOrder(this.#tuning);
    observing.alive = true;
    observing.delivered = true;
    session.work.requests.push(observing);
    this.#requests.set(id, observing);
  }

  ping(session: EndpointSession, id: RequestId, now: Instant): void {
    this.#follow(session, now);
    const { link } = session;
    const mid = session.isAdrift ? undefined : link.nextMid(this.#tuning, now, false);
    if (mid === undefined || link.inFlight.length >= this.#tuning.maxRequestsPerSession) {
      this.#outbox.push({
        type: "failed",
        id,
        session: session.id,
        reason: "full",
        again: undefined,
      });
      return;
    }
    const bytes = emptyMessage(CON, mid);
    const owner = { kind: "ping", id } as const;
    this.#layer.submit(new Outgoing(link, owner, mid, bytes, 0, true, true, session), now);
  }

  /** An empty ACK: the answer will come in a message of its own. */
  acknowledged(outgoing: Outgoing, now: Instant): void {
    const { owner, account: session } = outgoing;
    if (owner.kind === "ping") {
      this.#outbox.push({ type: "pong", id: owner.id, session: session.id });
      return;
    }
    if (owner.kind !== "request") return;
    owner.outgoing = undefined;
    this.#alive(owner);
    this.#answers.set(owner, now + this.#tuning.separateAnswerTimeout);
  }

  reset(outgoing: Outgoing, now: Instant): void {
    const { owner, account: session } = outgoing;
    if (owner.kind === "ping")
      this.#outbox.push({ type: "pong", id: owner.id, session: session.id });
    else if (owner.kind === "request") this.#fail(owner, "reset", now);
  }

  /** All transmissions were in vain. */
  gaveUp(outgoing: Outgoing, now: Instant): void {
    const { owner, account: session } = outgoing;
    if (owner.kind === "ping")
      this.#outbox.push({
        type: "failed",
        id: owner.id,
        session: session.id,
        reason: "timeout",
        again: undefined,
      });
    else if (owner.kind === "request") {
      const { length } = owner.request.payload;
      // What may not be carried out twice had to keep its size. The next one need not have it.
      if (owner.transfer === undefined && length > SMALLEST_SHRUNK)
        this.#sizes.learn(session.id, szxFor(length - 1), now, true);
      this.#fail(owner, "timeout", now);
    }
  }

  /**
   * An answer. "unknown": to nothing we ask; "refused": not to be understood (RFC 7252 5.4.1). Both deserve RST, unless
   * they came in an ACK.
   */
  response(link: EndpointSession, message: Message, length: number, now: Instant): ResponseOutcome {
    const request = this.#match(link, message);
    const isProtected = request?.session.isProtected === true;
    if (request !== undefined && isProtected) {
      if (request.parts !== undefined || isOuterBlock(message))
        return this.#part(request, link, message, length, now);
      const outcome = this.#unprotect(request, link, message, message, length, now);
      if (outcome !== "ignored" || message.type === ACK) return outcome;
    }
    if (request === undefined || isProtected) {
      const outcome = this.#elsewhere(link, message, length, now);
      if (outcome !== undefined) return outcome;
      count(link, "in", length, message.payload.length, "payload");
      return request === undefined ? "unknown" : "ignored";
    }
    const purpose = request.keepAlive ? "keepAlive" : "payload";
    count(link, "in", length, message.payload.length, purpose);
    return this.#taken(request, link, message, message, now);
  }

  /**
   * One block of a protected answer, cut by who forwarded it (RFC 8613 4.1.3.4.2). Nothing in it is verified: the rest is
   * asked for beside the request, which waits on for an answer of its own.
   */
  #part(
    request: ClientRequest,
    link: EndpointSession,
    message: Message,
    length: number,
    now: Instant,
  ): ResponseOutcome {
    const whole = request.parts?.whole ?? request;
    const { outgoing, session } = request;
    const { fetching } = whole;
    const older = request === whole && request.order !== undefined ? fetching : undefined;
    if (older !== undefined) this.#end(older, now); // of a notification before this one
    const parts = request.parts ?? this.#outer?.begin(request, message, now);
    count(session, "in", length, message.payload.length, "payload");
    const step = parts?.transfer.handle(message);
    if (parts === undefined || step === undefined) return this.#discard(session);
    if (step.kind === "failed" && whole === request) {
      this.#outer?.ended();
      return this.#discard(session);
    }
    request.outgoing = undefined;
    if (request === whole) {
      // What an empty ACK would say.
      if (request.order === undefined && this.#answers.at(request) === undefined)
        this.#answers.set(request, now + this.#tuning.separateAnswerTimeout);
      if (message.type === ACK) this.#alive(request);
    } else this.#answers.stop(request);
    if (request.proves(link.path.nonce)) link.path.proven = true;
    if (step.kind === "next" && now <= parts.until) {
      const fetch = request === whole ? this.#fetch(whole, parts) : request;
      fetch.token = session.link.nextToken(this.#tuning, this.#rng);
      this.#sending.submit(fetch, step.request, step.request, now, undefined);
    } else {
      this.#end(request, now);
      if (step.kind === "done") this.#unprotect(whole, link, message, step.response, 0, now);
      else this.#discard(session);
    }
    if (outgoing !== undefined) this.#layer.done(outgoing, now);
    return "taken";
  }

  #fetch(whole: ClientRequest, parts: OuterParts): ClientRequest {
    const { session, keepAlive, token, request } = whole;
    const fetch = new ClientRequest(undefined, session, request, true, keepAlive, token);
    fetch.parts = parts;
    fetch.alive = true;
    whole.fetching = fetch;
    this.#begin(fetch);
    return fetch;
  }

  #discard(session: EndpointSession): ResponseOutcome {
    this.#sender.drop(session, "outerBlocks");
    return "ignored";
  }

  /** A response under protection to a request of ours: `outer`, of which `message` is all, or the last part (then without `length`). */
  #unprotect(
    request: ClientRequest,
    link: EndpointSession,
    message: Message,
    outer: Response,
    length: number,
    now: Instant,
  ): ResponseOutcome {
    const protection = this.#protection!; // by which the request was protected
    const { session } = request;
    const candidates = [request.protection, ...(request.superseded ?? [])];
    for (const exchange of candidates) {
      if (exchange === undefined) continue; // it waits, and was not asked
      const outcome = protection.unprotectResponse(exchange, outer, now, link.id);
      if (outcome.kind === "ignored") continue;
      const purpose = request.keepAlive ? "keepAlive" : "payload";
      if (outcome.kind === "response") {
        const { options, payload } = outcome.response;
        const plain = HEADER_LENGTH + message.token.length + bodyLength(options, payload);
        const around = Math.max(0, length - plain);
        if (length > 0) count(session, "in", length, payload.length, purpose, around);
        return this.#taken(request, link, message, outcome.response, now);
      }
      if (length > 0) count(session, "in", length, message.payload.length, purpose);
      const { outgoing } = request;
      request.outgoing = undefined;
      this.#answers.stop(request);
      if (request.proves(link.path.nonce)) this.#sender.proven(link);
      if (outcome.kind === "refused") {
        this.#forget(request);
        this.#fail(request, "unprotected", now);
      } else {
        request.protection = exchange;
        request.superseded = undefined;
        this.#alive(request);
        this.#follow(session, now);
        this.#sending.rename(request, request.current, outcome.request, now);
      }
      if (outgoing !== undefined) this.#layer.done(outgoing, now);
      return "taken";
    }
    if (message.type === ACK && length > 0)
      count(session, "in", length, message.payload.length, "payload");
    return "ignored";
  }

  /** A notification whose token its carrier does not know: the peer's address has changed, perhaps. */
  #elsewhere(
    link: EndpointSession,
    message: Message,
    length: number,
    now: Instant,
  ): ResponseOutcome | undefined {
    const found = this.#protection?.notified(link.id, message.token, message, now);
    if (found?.outcome.kind !== "response") return undefined;
    const request = this.#observing.get(found.exchange);
    if (request === undefined) return undefined;
    const { response } = found.outcome;
    const plain = HEADER_LENGTH + message.token.length;
    const around = Math.max(0, length - plain - bodyLength(response.options, response.payload));
    count(request.session, "in", length, response.payload.length, "payload", around);
    this.#follow(request.session, now);
    return this.#taken(request, link, message, response, now);
  }

  /** `answer`: what the message says, its protection removed. */
  #taken(
    request: ClientRequest,
    link: EndpointSession,
    message: Message,
    answer: Response,
    now: Instant,
  ): ResponseOutcome {
    const { outgoing, session } = request;
    if (message.type === ACK && message.mid !== outgoing?.mid) request.shrunk = false; // the larger one did pass
    const sent = request.shrunk ? 0 : (outgoing?.payloadLength ?? 0);
    this.#sizes.passed(session.id, Math.max(sent, answer.payload.length));
    request.once = outgoing?.repeated === false;
    request.outgoing = undefined;
    this.#answers.stop(request);
    // Not a notification's, which answers what was asked long ago, and not one's that was asked at several places.
    if (!request.delivered && request.proves(link.path.nonce)) {
      this.#sender.proven(link);
      if (session.isProtected && session.link === link) this.#protection?.proven(session.id);
    }
    const { accepted, refused } = checkOptions(answer.options, this.#options);
    this.#alive(request);
    if (refused !== undefined) this.#fail(request, "badResponse", now);
    else {
      const { code, payload } = answer;
      this.#answered(request, { code, options: accepted, payload }, now);
    }
    // Only now may the queue go on: a further block of this request goes before it, so that transfers end before others
    // begin and a server has few of them to keep.
    if (outgoing !== undefined) this.#layer.done(outgoing, now);
    if (refused !== undefined) return "refused";
    return "taken";
  }

  closed(session: EndpointSession, now: Instant): void {
    this.#sending.closed(session.id);
    for (const outgoing of this.#layer.closed(session, now))
      if (outgoing.owner.kind === "ping")
        this.#outbox.push({
          type: "failed",
          id: outgoing.owner.id,
          session: session.id,
          reason: "closed",
          again: undefined,
        });
    for (const request of [...session.link.requests]) {
      if (session.link === session) request.outgoing = undefined;
      else if (request.session !== session) continue;
      if (request.parent === undefined) this.#fail(request, "closed", now);
    }
  }

  /** What travels in `from` for the account `session` travels in `to` from now on. */
  relink(session: EndpointSession, from: EndpointSession, to: EndpointSession): void {
    for (const request of [...from.requests]) {
      if (request.session !== session) continue;
      removeFrom(from.work.requests, request);
      to.work.requests.push(request);
    }
    from.rest();
  }

  #tokenFor({ link }: EndpointSession, isNamed: boolean): Uint8Array {
    return isNamed ? link.namingToken(this.#rng) : link.nextToken(this.#tuning, this.#rng);
  }

  /** We have answered a notification of this token by RST. */
  rejected(session: EndpointSession, token: Uint8Array, now: Instant): void {
    const request = session.requestOf(token);
    if (request?.session === session && request.order !== undefined)
      this.#fail(request, "reset", now);
  }

  /** The session's protection takes requests again. */
  ready(session: EndpointSession, now: Instant): void {
    this.#sending.ready(session, now);
  }

  /** A message is about to be sent again, see RequestSender. */
  renew(outgoing: Outgoing, request: ClientRequest, now: Instant): void {
    this.#sending.renew(outgoing, request, now);
  }

  wake(now: Instant): void {
    for (;;) {
      const request = this.#answers.expired(now);
      if (request === undefined) return;
      this.#fail(request, "timeout", now);
    }
  }

  /** See EndpointInput. */
  proceed(id: RequestId, mid: number, now: Instant): void {
    const request = this.#requests.get(id);
    if (request !== undefined) this.#sending.proceed(request, mid, now);
  }

  #unused(id: RequestId): void {
    if (this.#requests.has(id)) throw new UsageError(`request ${id} is still running`);
  }

  #match(session: EndpointSession, message: Message): ClientRequest | undefined {
    if (message.type === ACK) {
      const owner = this.#layer.find(session, message.mid)?.owner;
      // RFC 7252 5.3.2: message id and token must match.
      return owner?.kind === "request" && equal(owner.token, message.token) ? owner : undefined;
    }
    const request = session.requestOf(message.token);
    // What waits in the queue, or for a word of the caller, has not been asked yet.
    const queued = request?.outgoing !== undefined && request.outgoing.due === undefined;
    return queued || request?.renaming !== undefined ? undefined : request;
  }

  #answered(request: ClientRequest, response: Response, now: Instant): void {
    const { parent } = request;
    if (response.code === Code.Unauthorized && this.#repeat(request, response, now)) return;
    const observe = this.#observeOf(request, response);
    if (observe !== undefined) {
      this.#observed(request, response, observe, now);
      return;
    }
    const step = this.#step(request, response, now);
    if (step.kind === "next") {
      request.token = request.session.link.nextToken(this.#tuning, this.#rng);
      this.#sending.send(request, step.request, now);
      return;
    }
    this.#sending.release(request, true);
    if (step.kind === "failed") this.#fail(request, step.reason, now);
    else if (parent === undefined) {
      this.#end(request, now);
      this.#deliver(request, step.response, true);
    } else {
      this.#end(request, now);
      this.#deliver(parent, withObserve(step.response, parent.observe), false);
    }
  }

  /** RFC 9175 2.3: the server asks whether we are there; the same request with its Echo says so. */
  #repeat(request: ClientRequest, response: Response, now: Instant): boolean {
    const echo = findOption(response.options, OptionNumber.Echo);
    if (echo === undefined || request.echoes >= this.#tuning.maxEchoRepeats) return false;
    if (request.delivered) return false;
    request.echoes += 1;
    const options = withOption(withoutOption(request.current.options, OptionNumber.Echo), {
      number: OptionNumber.Echo,
      value: Uint8Array.from(echo.value),
    });
    this.#sending.rename(request, { ...request.current, options }, undefined, now);
    return true;
  }

  /** The Observe value of a response that is, or begins, an observation's. */
  #observeOf(request: ClientRequest, response: Response): number | undefined {
    if (request.parent !== undefined || !isSuccess(response.code)) return undefined;
    const value = findUint(response.options, OptionNumber.Observe);
    if (value === undefined) return undefined;
    if (request.order !== undefined) return value;
    return findUint(request.request.options, OptionNumber.Observe) === 0 ? value : undefined;
  }

  #observed(request: ClientRequest, response: Response, value: number, now: Instant): void {
    const { session } = request;
    if (request.order === undefined) {
      request.order = new ObservationOrder(this.#tuning);
      session.work.running -= 1;
      this.#running -= 1;
      if (request.protection !== undefined) {
        this.#observing.set(request.protection, request);
        this.#protection?.observing(request.protection, request.token);
      }
    }
    if (!request.order.newer(value, now)) {
      this.#sender.drop(session, "oldNotification");
      return;
    }
    request.observe = value;
    if (request.child !== undefined) this.#end(request.child, now);
    const transfer = request.transfer;
    request.transfer = undefined;
    const fetch =
      transfer ??
      (isBlock(response) ? new BlockTransfer(request.request, this.#tuning) : undefined);
    const step = fetch?.handle(response) ?? { kind: "done", response };
    if (fetch !== undefined) this.#learn(request, fetch, step, now);
    if (step.kind === "next") {
      // RFC 7959 2.6: the rest is asked for under another token, without Observe.
      const child = new ClientRequest(
        undefined,
        session,
        request.request,
        true,
        request.keepAlive,
        session.link.nextToken(this.#tuning, this.#rng),
      );
      child.transfer = fetch;
      child.parent = request;
      child.alive = true;
      request.child = child;
      this.#begin(child);
      this.#sending.send(child, step.request, now);
    } else if (step.kind === "failed") this.#incomplete(request, step.reason, now);
    else this.#deliver(request, withObserve(step.response, value), false);
  }

  #step(request: ClientRequest, response: Response, now: Instant): BlockStep {
    if (request.transfer === undefined) {
      if (!isBlock(response) && response.code !== Code.RequestEntityTooLarge)
        return { kind: "done", response };
      request.transfer = this.#sending.transfer(request, now);
    }
    const step = request.transfer.handle(response, request.once);
    this.#learn(request, request.transfer, step, now);
    return step;
  }

  /** Smaller blocks are answered where larger ones were not. */
  #learn(request: ClientRequest, transfer: BlockTransfer, step: BlockStep, now: Instant): void {
    if (request.shrunk && step.kind === "next")
      this.#sizes.learn(request.session.id, transfer.szx, now);
    request.shrunk = false;
  }

  #begin(request: ClientRequest): void {
    const { session } = request;
    session.link.work.requests.push(request);
    session.work.running += 1;
    this.#running += 1;
  }

  /** Takes the request out of everything. */
  #end(request: ClientRequest, now: Instant): void {
    const { session, id, parent, child, parts, fetching } = request;
    if (!session.link.requests.includes(request)) return;
    removeFrom(session.link.work.requests, request);
    this.#forget(request);
    request.waiting = undefined;
    request.renaming = undefined;
    if (request.order === undefined) {
      session.work.running -= 1;
      this.#running -= 1;
    }
    session.rest();
    session.link.rest();
    if (id !== undefined) this.#requests.delete(id);
    this.#answers.stop(request);
    this.#sending.release(request, false);
    if (parent?.child === request) parent.child = undefined;
    if (child !== undefined) this.#end(child, now);
    if (fetching !== undefined) this.#end(fetching, now);
    if (parts !== undefined) {
      parts.whole.fetching = undefined;
      this.#outer?.ended();
    }
    const { outgoing } = request;
    request.outgoing = undefined;
    if (outgoing !== undefined) this.#layer.done(outgoing, now);
  }

  /** What protected the request so far is over. */
  #forget(request: ClientRequest): void {
    if (request.protection === undefined) return;
    for (const exchange of [request.protection, ...(request.superseded ?? [])]) {
      this.#protection?.abandon(exchange);
      this.#observing.delete(exchange);
    }
    request.protection = undefined;
    request.superseded = undefined;
  }

  #fail(request: ClientRequest, reason: FailedReason, now: Instant): void {
    const { parent } = request;
    this.#end(request, now);
    if (parent !== undefined) this.#incomplete(parent, reason, now);
    else this.#emitFailed(request, reason);
  }

  /** The rest of a body in an observation does not come: the next notification will bring another. */
  #incomplete(observation: ClientRequest, reason: FailedReason, now: Instant): void {
    if (observation.delivered && reason !== "closed") {
      this.#sender.drop(observation.session, "notificationIncomplete");
      return;
    }
    this.#end(observation, now);
    this.#emitFailed(observation, reason);
  }

  #emitFailed(request: ClientRequest, reason: FailedReason): void {
    const { id, session, mid, token, transfer } = request;
    if (id === undefined) return;
    // In the middle of a block-wise transfer a repetition would begin at another block.
    const again = reason === "timeout" && transfer === undefined ? { mid, token } : undefined;
    this.#outbox.push({ type: "failed", id, session: session.id, reason, again });
  }

  #deliver(request: ClientRequest, response: Response, final: boolean): void {
    const { id, session, token, delivered } = request;
    request.delivered = true;
    if (id === undefined) return;
    this.#outbox.push({
      type: "response",
      id,
      session: session.id,
      response,
      notification: delivered,
      final,
      token,
    });
  }

  #alive(request: ClientRequest): void {
    if (request.alive) return;
    request.alive = true;
    this.#outbox.push({ type: "alive", session: request.session.id });
  }
}

export type ResponseOutcome = "taken" | "refused" | "unknown" | "ignored";
