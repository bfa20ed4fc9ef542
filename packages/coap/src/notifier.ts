import type { Instant, Outbox, SessionId } from "@godwit/base";
import type { AnswerSender } from "./answer-sender.ts";
import { observable } from "./answers.ts";
import { szxFor } from "./block-option.ts";
import { isSuccess } from "./codes.ts";
import type { EndpointInput, EndpointOutput, ExchangeId } from "./endpoint-events.ts";
import type { EndpointSession } from "./endpoint-session.ts";
import type { Outgoing } from "./message-layer.ts";
import type { Request, Response } from "./message.ts";
import { OBSERVE_REGISTER, findObserve, observeOption } from "./observe-option.ts";
import type { Observers } from "./observe-server.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, withOption, withoutOption } from "./options.ts";
import { SMALLEST_SHRUNK, type PathSizes } from "./path-sizes.ts";
import type { ServerExchange } from "./server-exchange.ts";

export type NotifierParts = {
  readonly outbox: Outbox<EndpointOutput>;
  readonly observers: Observers;
  readonly sending: AnswerSender;
  readonly sizes: PathSizes;
  readonly sessionOf: (id: SessionId) => EndpointSession | undefined;
};

/** The server's side of Observe (RFC 7641): accepts observations, sends what Observers lets go, and hears what comes of it. */
export class Notifier {
  readonly #outbox: Outbox<EndpointOutput>;
  readonly #observers: Observers;
  readonly #sending: AnswerSender;
  readonly #sizes: PathSizes;
  readonly #sessionOf: (id: SessionId) => EndpointSession | undefined;

  constructor(parts: NotifierParts) {
    this.#outbox = parts.outbox;
    this.#observers = parts.observers;
    this.#sending = parts.sending;
    this.#sizes = parts.sizes;
    this.#sessionOf = parts.sessionOf;
  }

  get wakeAt(): Instant | undefined {
    return this.#observers.wakeAt;
  }

  /** The Observe option of an answer counts if the request asked for it and there is room (RFC 7641 4.1). */
  accepted(exchange: ServerExchange, answer: Response, now: Instant): Response {
    if (findOption(answer.options, OptionNumber.Observe) === undefined) return answer;
    const options = withoutOption(answer.options, OptionNumber.Observe);
    const { id, session, token, request, protection } = exchange;
    const asked = observable(request.code) && findObserve(request.options) === OBSERVE_REGISTER;
    if (!asked || !isSuccess(answer.code)) return { ...answer, options };
    // RFC 7959 2.6: the block size asked for holds for all notifications.
    const size = findOption(exchange.original.options, OptionNumber.Block2);
    const observed =
      size === undefined ? request : { ...request, options: withOption(request.options, size) };
    const registration = {
      exchange: id,
      session: session.id,
      token,
      request: observed,
      protection,
    };
    const value = this.#observers.register(registration, now);
    if (value !== undefined)
      return { ...answer, options: withOption(options, observeOption(value)) };
    this.#outbox.push({ type: "unobserved", exchange: id, why: "full" });
    return { ...answer, options };
  }

  /** See EndpointInput. What the notifications of a protected session are bound to is lost (RFC 8613 B.1.3). */
  resume(
    session: EndpointSession,
    input: Extract<EndpointInput, { type: "resumeObserver" }>,
    now: Instant,
  ): void {
    const { exchange, token, request, sequence } = input;
    const registration = { exchange, session: session.id, token, request };
    if (session.isProtected || !this.#observers.resume(registration, sequence, now))
      this.#outbox.push({ type: "unobserved", exchange, why: "full" });
  }

  /** A new state of what the peer observes. */
  notify(id: ExchangeId, state: Response, confirmable: boolean | undefined, now: Instant): void {
    const observer = this.#observers.observation(id)?.session;
    const session = observer === undefined ? undefined : this.#sessionOf(observer);
    // The ACK of a first notification shows that somebody is there who wants more (RFC 9175 2.4 item 3).
    const proof = session !== undefined && !session.link.path.proven;
    this.#observers.notify(id, state, proof || confirmable, now);
    this.drain(now);
  }

  unobserve(id: ExchangeId, now: Instant): void {
    this.#observers.unobserve(id);
    this.drain(now);
  }

  /** A request with Observe 1. */
  deregister(session: SessionId, token: Uint8Array, request: Request, now: Instant): void {
    this.#observers.deregister(session, token, request);
    this.drain(now);
  }

  /** The ACK of a notification or a separate answer. */
  acknowledged(outgoing: Outgoing, acked: number, now: Instant): void {
    const { account: session, mid } = outgoing;
    if (outgoing.shrunk && acked === mid && outgoing.payloadLength >= SMALLEST_SHRUNK)
      this.#sizes.learn(session.id, szxFor(outgoing.payloadLength), now);
    else if (!outgoing.shrunk) this.#sizes.passed(session.id, outgoing.payloadLength);
    if (outgoing.owner.kind !== "notification") return;
    this.#observers.acknowledged(session.id, mid, now);
    this.drain(now);
  }

  /** RST to a notification, confirmable or not (RFC 7641 3.6). False: to none of ours. */
  reset(session: EndpointSession, mid: number, now: Instant): boolean {
    let known = this.#observers.reset(session.id, mid, now);
    for (const rider of session.riders) {
      if (known) break;
      known = this.#observers.reset(rider.id, mid, now);
    }
    this.drain(now);
    return known;
  }

  /** A notification was never acknowledged. */
  gaveUp(outgoing: Outgoing, now: Instant): void {
    if (outgoing.owner.kind !== "notification") return;
    this.#observers.timedOut(outgoing.account.id, outgoing.mid);
    this.drain(now);
  }

  /** What `from` observes, `into` observes from now on. */
  moved(from: SessionId, into: SessionId, now: Instant): void {
    this.#observers.moved(from, into, now);
  }

  closed(session: SessionId, now: Instant): void {
    this.#observers.closed(session);
    this.drain(now);
  }

  wake(now: Instant): void {
    this.#observers.wake(now);
    this.drain(now);
  }

  /** Sends what the observers let go. */
  drain(now: Instant): void {
    for (;;) {
      const output = this.#observers.poll();
      if (output === undefined) return;
      if (output.type !== "notify") {
        this.#outbox.push(output);
        continue;
      }
      const session = this.#sessionOf(output.session);
      if (session !== undefined) this.#sending.notify(session, output, now);
    }
  }
}
