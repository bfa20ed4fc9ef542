import {
  EMPTY,
  SelfKeyed,
  byNumber,
  earlier,
  type Instant,
  type Outbox,
  type Rng,
  type SessionId,
} from "@godwit/base";
import { AnswerSender, isNamed } from "./answer-sender.ts";
import { HEADER_LENGTH, encodeAnswer, hasBlock, isSafe, refusedOption } from "./answers.ts";
import { BlockServer } from "./block-server.ts";
import { Code } from "./codes.ts";
import type { EndpointInput, EndpointOutput, ExchangeId, RequestName } from "./endpoint-events.ts";
import { NAMING_TOKEN, type EndpointSession } from "./endpoint-session.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import { Outgoing, type MessageLayer } from "./message-layer.ts";
import { ACK, CON, type Message, type Request, type Response } from "./message.ts";
import { OBSERVE_DEREGISTER, findObserve } from "./observe-option.ts";
import { Notifier } from "./notifier.ts";
import { Observers } from "./observe-server.ts";
import { OuterBlocks } from "./outer-blocks.ts";
import { OptionNumber } from "./option-numbers.ts";
import type { RequestProtection, UnprotectedRequest } from "./protection.ts";
import { bodyLength } from "./options-codec.ts";
import { checkOptions, type OptionTable } from "./option-table.ts";
import { findOption, response, withoutOption } from "./options.ts";
import type { PathSizes } from "./path-sizes.ts";
import {
  ACKNOWLEDGED,
  ANSWERED,
  PENDING,
  RESET,
  SILENT,
  messageHash,
  type ReplyCache,
} from "./reply-cache.ts";
import { count, type Sender } from "./sender.ts";
import { ExchangeQueue, ServerExchange } from "./server-exchange.ts";
import type { CoapTuning } from "./tuning.ts";

//   request ──> seen before? ──yes──> what was said to it, again
//      │ no
//      ├──> options, method, blocks ──> answered here (4.02, 4.05, 5.05, 2.31 …)
//      └──> application ──respond──> piggybacked in the ACK
//                 │ processingDelay
//                 └──> empty ACK ──respond──> separate answer                    RFC 7252 5.2, figures 4 and 5

export type ServerRoleParts = {
  readonly tuning: CoapTuning;
  readonly rng: Rng;
  readonly options: OptionTable;
  readonly outbox: Outbox<EndpointOutput>;
  readonly sender: Sender;
  readonly layer: MessageLayer;
  readonly cache: ReplyCache;
  readonly sizes: PathSizes;
  readonly sessionOf: (id: SessionId) => EndpointSession | undefined;
  readonly fragments: boolean;
  readonly mayUpload: ((session: SessionId) => boolean) | undefined;
  readonly lastingObservers: boolean;
  readonly protection: RequestProtection | undefined;
  /** The protected session, at the carrier that leads to it. */
  readonly follow: (id: SessionId, now: Instant) => EndpointSession;
};

/** Answers the peer's requests. */
export class ServerRole {
  readonly #tuning: CoapTuning;
  readonly #options: OptionTable;
  readonly #outbox: Outbox<EndpointOutput>;
  readonly #sender: Sender;
  readonly #cache: ReplyCache;
  readonly #fragments: boolean;
  readonly #sessionOf: (id: SessionId) => EndpointSession | undefined;
  readonly #protection: RequestProtection | undefined;
  /** The protected session, at the carrier that leads to it. */
  readonly #follow: (id: SessionId, now: Instant) => EndpointSession;
  readonly #blocks: BlockServer;
  readonly #outer: OuterBlocks | undefined;
  readonly #sending: AnswerSender;
  /** Of observations by our peers. */
  readonly notifier: Notifier;
  readonly #exchanges = new SelfKeyed(BY_ID);
  /** CON requests without ACK: an empty one is due after processingDelay, before the peer sends again. */
  readonly #unacknowledged: ExchangeQueue;
  /** All other requests without answer: the application must not let them pile up. */
  readonly #unanswered: ExchangeQueue;
  #lastExchange: ExchangeId = 0;

  constructor(parts: ServerRoleParts) {
    const { tuning, rng, options, outbox, sender, layer, cache, sizes, sessionOf } = parts;
    const { fragments, protection, follow } = parts;
    this.#protection = protection;
    this.#follow = follow;
    this.#tuning = tuning;
    this.#options = options;
    this.#outbox = outbox;
    this.#sender = sender;
    this.#cache = cache;
    this.#sessionOf = sessionOf;
    this.#fragments = fragments;
    this.#blocks = new BlockServer(tuning, rng, parts.mayUpload);
    this.#outer = protection && new OuterBlocks(tuning, rng, protection.maxUnfragmented);
    const observers = new Observers(tuning, parts.lastingObservers);
    this.#sending = new AnswerSender({
      tuning,
      rng,
      sender,
      layer,
      cache,
      sizes,
      protection,
      blocks: this.#blocks,
      outer: this.#outer,
      observers,
    });
    this.notifier = new Notifier({
      outbox,
      observers,
      sending: this.#sending,
      sizes,
      sessionOf,
    });
    this.#unacknowledged = new ExchangeQueue(tuning.processingDelay);
    this.#unanswered = new ExchangeQueue(tuning.answerLifetime);
  }

  get wakeAt(): Instant | undefined {
    return earlier(
      earlier(this.#unacknowledged.wakeAt, this.#unanswered.wakeAt),
      earlier(earlier(this.#blocks.wakeAt, this.#outer?.wakeAt), this.notifier.wakeAt),
    );
  }

  sessionOf(exchange: ExchangeId): SessionId | undefined {
    return this.#exchanges.get(exchange)?.session.id;
  }

  /** A request that is no duplicate. */
  request(
    session: EndpointSession,
    message: Message,
    length: number,
    hash: number,
    now: Instant,
  ): void {
    const { code, token, mid, options, payload } = message;
    const confirmable = message.type === CON;
    const asked: Request = { code, options, payload };
    const id = ++this.#lastExchange;
    const exchange = new ServerExchange(id, session, mid, hash, token, confirmable, asked);
    exchange.length = length;
    if (this.#protection !== undefined && findOption(options, OptionNumber.Oscore) !== undefined) {
      if (hasBlock(options)) this.#fragment(exchange, this.#protection, now);
      else this.#unprotect(exchange, asked, this.#protection, now);
      return;
    }
    session.hasPlain = true;
    this.#cache.add(session.replies, mid, hash, confirmable, !isSafe(code), id, now);
    count(session, "in", length, payload.length, "payload");
    this.#accept(exchange, asked, now);
  }

  /** A request as the peer meant it. */
  #accept(exchange: ServerExchange, asked: Request, now: Instant): void {
    const { session, link, token } = exchange;
    const { code, payload } = asked;
    const { accepted, refused } = checkOptions(asked.options, this.#options);
    const request: Request = { code, options: accepted, payload };
    exchange.original = request;
    exchange.request = request;
    if (refused !== undefined) {
      this.#refuse(exchange, refused.number, now);
      return;
    }
    if (code > Code.iPATCH) {
      this.#sending.reply(exchange, response(Code.MethodNotAllowed), now);
      return;
    }
    exchange.echoed = this.#sending.prove(link, accepted, now);
    if (this.#saidBefore(exchange, now)) return;
    if (hasBlock(accepted)) {
      const result = this.#blocks.request(session.id, request, now);
      if (result.kind === "whole") exchange.request = result.request;
      else {
        const { fragment } = result;
        // A protected session is known wherever its peer is: there is no other where the body could have begun.
        const rest = this.#fragments && !session.isProtected;
        if (fragment === undefined || !rest || this.#isBusy(session)) {
          this.#sending.transmit(exchange, result.response, result.response, now, undefined);
          return;
        }
        exchange.fragment = true;
        exchange.request = fragment;
      }
    }
    if (findObserve(accepted) === OBSERVE_DEREGISTER) {
      this.notifier.deregister(session.id, token, exchange.request, now);
    }
    if (this.#isBusy(session)) {
      this.#sender.drop(session, "busy");
      this.#sending.reply(
        exchange,
        response(Code.ServiceUnavailable, { maxAge: BUSY_SECONDS }),
        now,
      );
      return;
    }
    this.#pend(exchange, now);
  }

  /** A block of a protected request, or a request for a block of its answer (RFC 8613 4.1.3.4.2). */
  #fragment(exchange: ServerExchange, protection: RequestProtection, now: Instant): void {
    const { id, link, mid, hash, confirmable, length, original } = exchange;
    const result = this.#outer!.request(link.id, original, now); // it is there where protection is
    if (result.kind === "whole") {
      exchange.outer = original;
      this.#unprotect(exchange, result.request, protection, now);
      return;
    }
    this.#cache.add(link.replies, mid, hash, confirmable, false, id, now);
    count(link, "in", length, original.payload.length, "payload");
    this.#sending.transmit(exchange, result.response, result.response, now, false);
  }

  /** `outer`: as it came, its outer blocks put together. */
  #unprotect(
    exchange: ServerExchange,
    outer: Request,
    protection: RequestProtection,
    now: Instant,
  ): void {
    const { id, link, mid, hash, confirmable } = exchange;
    const result = protection.unprotectRequest(link.id, outer, id, now, link.path.proven);
    this.#book(exchange, result, now);
    // Nothing is remembered of what is passed over: when it comes again it may be heard.
    if (result.kind === "silence") return;
    this.#cache.add(link.replies, mid, hash, confirmable, false, id, now);
    if (result.kind === "held") this.#wait(exchange, now);
    else this.#unprotected(exchange, result, now);
  }

  /** What was held back has its outcome. */
  released(id: ExchangeId, result: UnprotectedRequest, now: Instant): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined || exchange.protection !== undefined) return;
    this.#settle(exchange);
    this.#book(exchange, result, now);
    this.#unprotected(exchange, result, now);
  }

  /** Whose bytes they were is known once they are verified; what is nobody's is the carrier's. */
  #book(exchange: ServerExchange, result: UnprotectedRequest, now: Instant): void {
    const { link, token, original, length } = exchange;
    if (result.kind === "held") return;
    if (result.kind === "silence" || result.session === undefined) {
      count(link, "in", length, original.payload.length, "payload");
      return;
    }
    const { options, payload } = result.kind === "request" ? result.request : NO_BODY;
    const around = length - HEADER_LENGTH - token.length - bodyLength(options, payload);
    const account = this.#follow(result.session, now);
    count(account, "in", length, payload.length, "payload", Math.max(0, around));
  }

  #unprotected(exchange: ServerExchange, result: UnprotectedRequest, now: Instant): void {
    const { link, mid, hash } = exchange;
    switch (result.kind) {
      case "request": {
        if (result.validated) link.path.proven = true;
        exchange.session = this.#follow(result.session, now);
        exchange.protection = result.exchange;
        this.#accept(exchange, result.request, now);
        return;
      }
      case "reply": {
        if (result.session !== undefined) exchange.session = this.#follow(result.session, now);
        this.#sending.transmit(exchange, result.response, result.response, now, false);
        return;
      }
      case "duplicate": {
        const session = this.#follow(result.session, now);
        const before = result.carrier === undefined ? undefined : this.#sessionOf(result.carrier);
        const place =
          before === undefined || before === link
            ? -1
            : this.#cache.find(before.replies, mid, hash, now);
        if (place >= 0) {
          exchange.session = session;
          this.#sayAgain(exchange, place, now);
        } else if (result.refusal === undefined)
          this.#sending.remember(exchange, SILENT, undefined, now);
        else this.#sending.transmit(exchange, result.refusal, result.refusal, now, false);
        return;
      }
      case "held":
      case "silence":
        this.#sending.remember(exchange, SILENT, undefined, now);
    }
  }

  /** The peer repeats by another path what was answered on an earlier one. */
  #sayAgain(exchange: ServerExchange, place: number, now: Instant): void {
    const { link, mid, session } = exchange;
    const state = this.#cache.state(place);
    if (state === ANSWERED) {
      const bytes = this.#cache.reply(place);
      this.#sending.remember(exchange, ANSWERED, bytes, now);
      this.#sender.send(link, bytes, 0, "retransmission", session);
    } else if (state === ACKNOWLEDGED) {
      this.#sending.remember(exchange, ACKNOWLEDGED, undefined, now);
      this.#sender.acknowledge(link, mid, true);
    }
  }

  /**
   * A peer that repeats a request after its keys' numbers have gone on, or after a restart, protects it anew; one that was
   * asked for an Echo does so under another message id. What must not be obeyed twice is known by its name.
   */
  #saidBefore(exchange: ServerExchange, now: Instant): boolean {
    const { id, session, confirmable } = exchange;
    const name = this.#nameOf(exchange);
    exchange.name = name;
    if (name === undefined || !isNamed(exchange)) return false;
    const { mid, hash } = name;
    const place = this.#cache.find(session.replies, mid, hash, now);
    const isAnswered = place >= 0 && this.#cache.state(place) === ANSWERED;
    const said = isAnswered
      ? this.#cache.reply(place)
      : this.#cache.kept(session.id, mid, hash, now);
    if (said !== undefined) {
      const { code, options, payload } = decodeMessage(said, this.#tuning.maxTokenLength);
      const answer = { code, options, payload };
      this.#sending.transmit(exchange, answer, answer, now, undefined);
      return true;
    }
    if (place >= 0) return true; // the answer is under way
    this.#cache.add(session.replies, mid, hash, confirmable, true, id, now);
    return false;
  }

  #nameOf(exchange: ServerExchange): RequestName | undefined {
    const { hash, token, request } = exchange;
    if (this.#tuning.maxUnsafeKept === 0 || isSafe(request.code)) return undefined;
    if (hasBlock(request.options)) return undefined;
    if (!isNamed(exchange)) return { mid: exchange.mid, token: token.slice(), hash };
    const mid = token.length < NAMING_TOKEN ? exchange.mid : 0;
    const options = withoutOption(request.options, OptionNumber.Echo); // it proves, and asks for nothing
    const asked = encodeMessage({ type: CON, mid, token, ...request, options });
    return { mid, token: token.slice(), hash: messageHash(asked) };
  }

  remember({ session, name, answer, since }: Extract<EndpointInput, { type: "remember" }>): void {
    const { mid, token, hash } = name;
    this.#cache.keep(session, mid, hash, encodeAnswer(ACK, mid, token, answer), since);
  }

  #isBusy(session: EndpointSession): boolean {
    const { maxPending, maxPendingPerSession } = this.#tuning;
    return session.pending >= maxPendingPerSession || this.#exchanges.size >= maxPending;
  }

  /** A message that came before: says again what was said to it (RFC 7252 4.2, 4.3). */
  duplicate(session: EndpointSession, mid: number, place: number): void {
    switch (this.#cache.state(place)) {
      case PENDING:
      case SILENT:
        break;
      case ACKNOWLEDGED:
        this.#sender.acknowledge(session, mid, true);
        break;
      case ANSWERED:
        this.#sender.send(session, this.#cache.reply(place), 0, "retransmission");
        break;
      case RESET:
        this.#sender.reset(session, mid, "retransmission");
        break;
    }
  }

  /** The application's answer. An exchange that is over meanwhile takes none. */
  respond(id: ExchangeId, answer: Response, confirmable: boolean | undefined, now: Instant): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return;
    this.#settle(exchange);
    this.#sending.reply(exchange, this.notifier.accepted(exchange, answer, now), now, confirmable);
    this.notifier.drain(now);
  }

  /** A message is about to be sent again, see AnswerSender. */
  renew(outgoing: Outgoing, now: Instant): void {
    this.#sending.renew(outgoing, now);
    this.notifier.drain(now);
  }

  /** Asks the peer to show that it is at its path: 4.01 with an Echo (RFC 9175 2.3). */
  challenge(id: ExchangeId, now: Instant): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return;
    this.#settle(exchange);
    this.#sending.reply(exchange, this.#sending.echo(exchange.link, now), now, false);
  }

  /** See EndpointInput. */
  ignore(id: ExchangeId, now: Instant): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) return;
    this.#settle(exchange);
    this.#cache.forget(exchange.link.replies, exchange.mid, exchange.hash, now);
    this.#sender.drop(exchange.session, "ignored");
  }

  /** See EndpointInput. Says whether the exchange was there to be adopted. */
  adopt(
    id: ExchangeId,
    into: EndpointSession,
    fromStays: boolean,
    now: Instant,
  ): EndpointSession | undefined {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined || exchange.session === into) return undefined;
    const from = exchange.session;
    if (exchange.protection !== undefined) return undefined; // the session of a protection is who it says
    const before = this.#cache.find(into.replies, exchange.mid, exchange.hash, now);
    if (fromStays) this.#leave(exchange, into, before < 0, now);
    else this.#takeAll(from, into, now);
    if (before >= 0) {
      this.#settle(exchange);
      this.duplicate(into, exchange.mid, before);
    } else {
      this.#move(exchange, into);
      if (exchange.fragment) this.#resume(exchange, now);
      else this.#announce(exchange);
    }
    if (!fromStays && from.pending > 0)
      for (const other of this.#exchanges.values())
        if (other.session === from) this.#move(other, into);
    this.notifier.drain(now);
    return from;
  }

  /** `from` was `into` all the time: what it has and knows is that one's. */
  #takeAll(from: EndpointSession, into: EndpointSession, now: Instant): void {
    into.path.takeOver(from.path);
    this.#cache.absorb(into.replies, from.replies, now);
    this.#blocks.moved(from.id, into.id);
    this.notifier.moved(from.id, into.id, now);
  }

  /** The one request came from `into`, and nothing else of its session. */
  #leave(exchange: ServerExchange, into: EndpointSession, isNew: boolean, now: Instant): void {
    const { id, session, mid, hash, confirmable, original, length } = exchange;
    into.path.received(length);
    this.#cache.forget(session.replies, mid, hash, now);
    if (isNew)
      this.#cache.add(into.replies, mid, hash, confirmable, !isSafe(original.code), id, now);
  }

  closed(session: EndpointSession, now: Instant): void {
    this.#cache.closed(session.replies);
    this.#blocks.closed(session.id);
    this.#outer?.closed(session.id);
    this.notifier.closed(session.id, now);
    if (session.pending === 0) return;
    for (const exchange of this.#exchanges.values())
      if (exchange.session === session) this.#settle(exchange);
  }

  /** The session's answers by their protection: what was answered in `from` was answered in `to`. */
  relinked(from: EndpointSession, to: EndpointSession, now: Instant): void {
    this.#cache.absorb(to.replies, from.replies, now);
  }

  wake(now: Instant): void {
    for (;;) {
      const exchange = this.#unacknowledged.expired(now);
      if (exchange === undefined) break;
      this.#sending.acknowledge(exchange, now);
      this.#unanswered.push(exchange, now);
    }
    for (;;) {
      const exchange = this.#unanswered.expired(now);
      if (exchange === undefined) break;
      this.#settle(exchange);
      this.#sender.drop(exchange.session, "unanswered");
      const lost = exchange.fragment ? Code.RequestEntityIncomplete : Code.ServiceUnavailable;
      this.#sending.reply(exchange, response(lost), now);
    }
    this.#blocks.wake(now);
    this.#outer?.wake(now);
    this.notifier.wake(now);
  }

  #pend(exchange: ServerExchange, now: Instant): void {
    this.#wait(exchange, now);
    this.#announce(exchange);
  }

  #wait(exchange: ServerExchange, now: Instant): void {
    this.#exchanges.set(exchange);
    exchange.session.pending += 1;
    const silent = exchange.confirmable && !exchange.acknowledged;
    (silent ? this.#unacknowledged : this.#unanswered).push(exchange, now);
  }

  /** A block has found its session: what it goes on with is there, or nowhere. */
  #resume(exchange: ServerExchange, now: Instant): void {
    const result = this.#blocks.request(exchange.session.id, exchange.original, now);
    exchange.fragment = false;
    if (result.kind === "whole") {
      exchange.request = result.request;
      this.#announce(exchange);
      return;
    }
    this.#settle(exchange);
    this.#sending.transmit(exchange, result.response, result.response, now, undefined);
  }

  #announce(exchange: ServerExchange): void {
    if (exchange.fragment) {
      const { id, session, request } = exchange;
      this.#outbox.push({ type: "fragment", exchange: id, session: session.id, request });
      return;
    }
    this.#outbox.push({
      type: "request",
      exchange: exchange.id,
      session: exchange.session.id,
      request: exchange.request,
      validated: exchange.link.path.proven,
      echoed: exchange.echoed,
      name: exchange.name,
      token: exchange.token,
    });
  }

  #settle(exchange: ServerExchange): void {
    this.#exchanges.delete(exchange);
    exchange.queue?.remove(exchange);
    exchange.session.pending -= 1;
  }

  #move(exchange: ServerExchange, into: EndpointSession): void {
    exchange.session.pending -= 1;
    exchange.session = into;
    exchange.link = into;
    into.pending += 1;
  }

  /** RFC 7252 5.4.1 and 5.10.2: an option we cannot do without understanding it. */
  #refuse(exchange: ServerExchange, option: number, now: Instant): void {
    const proxy = option === OptionNumber.ProxyUri || option === OptionNumber.ProxyScheme;
    if (!exchange.confirmable && !proxy) {
      this.#sender.drop(exchange.session, "criticalOption");
      this.#sender.reset(exchange.link, exchange.mid);
      return;
    }
    this.#sending.reply(
      exchange,
      proxy ? response(Code.ProxyingNotSupported) : refusedOption(option),
      now,
    );
  }
}

/** No Map: one that is set and deleted for every request is made anew for every few. */
const BY_ID = byNumber(({ id }: ServerExchange) => id);
const NO_BODY = { options: [], payload: EMPTY };
const BUSY_SECONDS = 5;
