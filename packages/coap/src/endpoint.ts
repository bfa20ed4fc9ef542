import {
  Outbox,
  SelfKeyed,
  UsageError,
  byNumber,
  earlier,
  unreachable,
  type Instant,
  type Ledger,
  type Machine,
  type Rng,
  type SessionId,
} from "@godwit/base";
import { ClientRole } from "./client-role.ts";
import { isRequest } from "./codes.ts";
import type { EndpointInput, EndpointOutput, ExchangeId } from "./endpoint-events.ts";
import { EndpointSession } from "./endpoint-session.ts";
import { MessageFault, scanMessage, type MessageFormatReason } from "./message-codec.ts";
import { MessageLayer, type Outgoing } from "./message-layer.ts";
import { ACK, CON, NON, RST, type Message } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { OPTION_TABLE, optionSubset, type OptionTable } from "./option-table.ts";
import type { RequestProtection } from "./protection.ts";
import { PathSizes } from "./path-sizes.ts";
import { RejectedTokens } from "./rejected-tokens.ts";
import { ACKNOWLEDGED, RESET, SILENT, ReplyCache, messageHash } from "./reply-cache.ts";
import { EMPTY_LENGTH, Sender, count } from "./sender.ts";
import { ServerRole } from "./server-role.ts";
import { coapTuning, type CoapTuning } from "./tuning.ts";

//   received ──> format ──> duplicate? ──> empty:    ACK, RST, ping     MessageLayer
//                                     ──> request   (class 0)           ServerRole
//                                     ──> response  (class 2, 4, 5)     ClientRole
//
// A CoAP endpoint, both roles at once, over sessions whose addresses it never sees (RFC 7252 4 and 5).

export type EndpointOptions = {
  readonly rng: Rng;
  readonly tuning?: CoapTuning;
  /** The account that a session's bytes are booked on. Asked once per session. */
  readonly ledgerOf: (session: SessionId) => Ledger;
  /** The application knows sessions again whose path has changed: see `fragment` in EndpointOutput. */
  readonly fragments?: boolean;
  /**
   * Whether the body of a request of this session may be kept until its last block is there; unless given, always. A request of
   * another goes to the application with what its first block has: it is to be refused, whatever the rest says.
   */
  readonly mayUpload?: (session: SessionId) => boolean;
  /** Protects the requests and responses of some sessions, in the messages of others: OSCORE. */
  readonly protection?: RequestProtection;
  /** A notification that is never acknowledged ends no observation: the application decides, see `unnotified`. */
  readonly lastingObservers?: boolean;
  /** Options the application understands beyond those of plain CoAP. */
  readonly options?: OptionTable;
};

export class Endpoint implements Machine<EndpointInput, EndpointOutput> {
  readonly #tuning: CoapTuning;
  readonly #rng: Rng;
  readonly #protection: RequestProtection | undefined;
  readonly #ledgerOf: (session: SessionId) => Ledger;
  readonly #outbox = new Outbox<EndpointOutput>();
  readonly #sessions = new SelfKeyed(BY_SESSION);
  /** Paths seen so far: each has its number. */
  #paths = 0;
  readonly #cache: ReplyCache;
  readonly #rejected = new RejectedTokens();
  readonly #sender: Sender;
  readonly #layer: MessageLayer;
  readonly #sizes: PathSizes;
  readonly #server: ServerRole;
  readonly #client: ClientRole;

  constructor(options: EndpointOptions) {
    const { rng, tuning = coapTuning(), ledgerOf } = options;
    const known = options.options === undefined ? PLAIN : new Map([...PLAIN, ...options.options]);
    this.#protection = options.protection;
    this.#tuning = tuning;
    this.#rng = rng;
    this.#ledgerOf = ledgerOf;
    this.#cache = new ReplyCache(tuning);
    this.#sender = new Sender(this.#outbox, tuning);
    this.#layer = new MessageLayer(tuning, rng, this.#sender);
    this.#sizes = new PathSizes(tuning);
    this.#client = new ClientRole(
      tuning,
      rng,
      known,
      this.#outbox,
      this.#sender,
      this.#layer,
      this.#sizes,
      options.protection,
      (session, now) => this.#follow(session, now),
    );
    this.#server = new ServerRole({
      tuning,
      rng,
      options: known,
      outbox: this.#outbox,
      sender: this.#sender,
      layer: this.#layer,
      cache: this.#cache,
      sizes: this.#sizes,
      sessionOf: (id) => this.#sessions.get(id),
      fragments: options.fragments ?? false,
      mayUpload: options.mayUpload,
      lastingObservers: options.lastingObservers ?? false,
      protection: options.protection,
      follow: (id, now) => {
        const session = this.#session(id, true);
        this.#follow(session, now);
        return session;
      },
    });
  }

  /** Received messages that a duplicate would be recognised of. */
  get remembered(): number {
    return this.#cache.size;
  }

  /** The session in which an unanswered request came. */
  sessionOf(exchange: ExchangeId): SessionId | undefined {
    return this.#server.sessionOf(exchange);
  }

  /**
   * Message id and token for one request to `session`, for callers that must know them before it is sent: what they store
   * and later give as `again` is the same message to the peer, even after a restart. `lasting`: the token alone tells it
   * from all others.
   */
  allocate(
    session: SessionId,
    now: Instant,
    lasting = false,
  ): { readonly mid: number; readonly token: Uint8Array } {
    const rider = this.#session(session, true);
    this.#follow(rider, now);
    const of = rider.link;
    const mid = of.nextMid(this.#tuning, now, false) ?? of.nextMid(this.#tuning, now, true);
    if (mid === undefined) throw new UsageError("message ids can always be reused");
    const token = lasting ? of.namingToken(this.#rng) : of.nextToken(this.#tuning, this.#rng);
    return { mid, token };
  }

  get wakeAt(): Instant | undefined {
    return earlier(
      earlier(this.#layer.wakeAt, this.#client.wakeAt),
      earlier(this.#server.wakeAt, this.#cache.wakeAt),
    );
  }

  handle(input: EndpointInput, now: Instant): void {
    switch (input.type) {
      case "received":
        this.#received(this.#session(input.session, false), input.bytes, now);
        break;
      case "request":
        this.#client.request(this.#session(input.session, true), input, now);
        break;
      case "proceed":
        this.#client.proceed(input.id, input.mid, now);
        break;
      case "cancel":
        this.#client.cancel(input.id, input.how ?? "deregister", now);
        break;
      case "resumeObservation":
        this.#client.resume(this.#session(input.session, true), input);
        break;
      case "respond":
        this.#server.respond(input.exchange, input.response, input.confirmable, now);
        break;
      case "notify":
        this.#server.notifier.notify(input.exchange, input.response, input.confirmable, now);
        break;
      case "resumeObserver":
        this.#server.notifier.resume(this.#session(input.session, true), input, now);
        break;
      case "unobserve":
        this.#server.notifier.unobserve(input.exchange, now);
        break;
      case "challenge":
        this.#server.challenge(input.exchange, now);
        break;
      case "ignore":
        this.#server.ignore(input.exchange, now);
        break;
      case "remember":
        this.#server.remember(input);
        break;
      case "ping":
        this.#client.ping(this.#session(input.session, true), input.id, now);
        break;
      case "moved":
        this.#moved(this.#session(input.session, true), input.validated, now);
        break;
      case "validated":
        this.#validated(this.#session(input.session, true), now);
        break;
      case "adopt":
        this.#adopt(input.exchange, this.#session(input.into, true), input.fromStays === true, now);
        break;
      case "released":
        this.#server.released(input.exchange, input.result, now);
        break;
      case "ready":
        this.#client.ready(this.#session(input.session, true), now);
        break;
      case "closed":
        this.#closed(this.#sessions.get(input.session), now);
        break;
      default:
        unreachable(input);
    }
  }

  wake(now: Instant): void {
    for (;;) {
      const outgoing = this.#layer.expired(now, this);
      if (outgoing === undefined) break;
      this.#layer.done(outgoing, now);
      this.#client.gaveUp(outgoing, now);
      this.#server.notifier.gaveUp(outgoing, now);
    }
    this.#client.wake(now);
    this.#server.wake(now);
    this.#cache.expire(now);
  }

  /** Before a message is sent again: there may be something better to send in its place. */
  renew(outgoing: Outgoing, now: Instant): void {
    if (outgoing.owner.kind === "request") this.#client.renew(outgoing, outgoing.owner, now);
    else this.#server.renew(outgoing, now);
  }

  poll(): EndpointOutput | undefined {
    return this.#outbox.take();
  }

  /** `ours`: whose first event is of our making is a peer that we chose. */
  #session(id: SessionId, ours: boolean): EndpointSession {
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = new EndpointSession(
        id,
        this.#ledgerOf(id),
        this.#rng,
        ++this.#paths,
        ours,
        this.#protection?.knows(id) === true,
      );
      this.#sessions.set(session);
    }
    return session;
  }

  /** A protected session travels where its protection says. */
  #follow(session: EndpointSession, now: Instant): void {
    if (!session.isProtected) return;
    const carrier = this.#protection?.carrierOf(session.id);
    if (carrier === undefined) return;
    const to = this.#session(carrier, true);
    const from = session.link;
    if (from === to) return;
    this.#client.relink(session, from, to);
    session.follow(to);
    this.#layer.relink(session, from, to, now);
    if (from !== session && from.riders.length === 0 && !from.hasPlain)
      this.#server.relinked(from, to, now);
    this.#sizes.forget(session.id);
  }

  #received(session: EndpointSession, bytes: Uint8Array, now: Instant): void {
    session.path.received(bytes.length);
    const scanned = scanMessage(bytes, this.#tuning.maxTokenLength);
    if (scanned instanceof MessageFault) {
      const { reason, type, mid } = scanned;
      count(session, "in", bytes.length, 0, "payload");
      this.#sender.drop(session, FORMAT_DROPS[reason]);
      // RFC 7252 4.2: a CON that cannot be read is rejected. 4.3: a NON may be ignored.
      if (type === CON && mid !== undefined) this.#sender.reset(session, mid);
    } else this.#message(session, scanned, bytes, now);
    if (session.held) this.#layer.retryHeld(session, now);
  }

  #message(session: EndpointSession, message: Message, bytes: Uint8Array, now: Instant): void {
    if (message.code === 0) this.#empty(session, message, now);
    else if (isRequest(message.code)) this.#request(session, message, bytes, now);
    else this.#response(session, message, bytes, now);
  }

  #empty(session: EndpointSession, message: Message, now: Instant): void {
    const { type, mid } = message;
    if (type === CON) {
      count(session, "in", EMPTY_LENGTH, 0, "keepAlive");
      this.#sender.reset(session, mid, "keepAlive"); // RFC 7252 4.3: CoAP ping
      return;
    }
    const outgoing = this.#layer.find(session, mid);
    count(session, "in", EMPTY_LENGTH, 0, outgoing?.keepAlive === true ? "keepAlive" : "payload");
    if (outgoing === undefined || (type === ACK && !outgoing.confirmable)) {
      if (type === RST && this.#server.notifier.reset(session, mid, now)) return;
      this.#sender.drop(session, type === ACK ? "strayAck" : "strayReset");
      return;
    }
    const { account } = outgoing;
    if (outgoing.proves(mid, session.path.nonce)) {
      this.#sender.proven(session);
      if (account.isProtected && account.link === session) this.#protection?.proven(account.id);
    }
    this.#layer.done(outgoing, now);
    if (type === RST) {
      this.#client.reset(outgoing, now);
      if (outgoing.owner.kind === "notification")
        this.#server.notifier.reset(outgoing.account, outgoing.mid, now);
    } else {
      this.#client.acknowledged(outgoing, now);
      this.#server.notifier.acknowledged(outgoing, mid, now);
    }
  }

  #request(session: EndpointSession, message: Message, bytes: Uint8Array, now: Instant): void {
    const hash = messageHash(bytes);
    const { mid } = message;
    const place = this.#cache.find(session.replies, mid, hash, now);
    if (place >= 0) {
      count(session, "in", bytes.length, 0, "retransmission");
      this.#server.duplicate(session, mid, place);
      return;
    }
    const kept = this.#cache.kept(session.id, mid, hash, now);
    if (kept !== undefined) {
      count(session, "in", bytes.length, 0, "retransmission");
      this.#sender.send(session, kept, 0, "retransmission");
      return;
    }
    this.#server.request(session, message, bytes.length, hash, now);
  }

  #response(session: EndpointSession, message: Message, bytes: Uint8Array, now: Instant): void {
    const { type, mid } = message;
    if (type === ACK) {
      const outcome = this.#client.response(session, message, bytes.length, now);
      if (outcome === "unknown") this.#sender.drop(session, "strayAnswer");
      return;
    }
    const hash = messageHash(bytes);
    const place = this.#cache.find(session.replies, mid, hash, now);
    if (place >= 0) {
      count(session, "in", bytes.length, 0, "retransmission");
      this.#server.duplicate(session, mid, place);
      return;
    }
    const confirmable = type === CON;
    this.#cache.add(session.replies, mid, hash, confirmable, false, 0, now);
    const outcome = this.#client.response(session, message, bytes.length, now);
    if (outcome === "unknown" && type === NON && !session.path.proven) {
      // RFC 7252 4.3 leaves a Reset to us. It would end the observation of a device whose NAT has rebound, and that notifies
      // before its session has moved here (RFC 7641 3.6).
      this.#sender.drop(session, "strayAnswer");
      this.#cache.settle(session.replies, mid, hash, SILENT, undefined, now);
    } else if (outcome === "unknown" || outcome === "refused") {
      this.#sender.drop(session, outcome === "unknown" ? "strayAnswer" : "criticalOption");
      if (outcome === "unknown") this.#rejected.note(session.id, message.token);
      this.#cache.settle(session.replies, mid, hash, RESET, undefined, now);
      this.#sender.reset(session, mid); // RFC 7252 4.2, 4.3
    } else if (confirmable) {
      this.#cache.settle(session.replies, mid, hash, ACKNOWLEDGED, undefined, now);
      this.#sender.acknowledge(session, mid);
    }
  }

  #moved(session: EndpointSession, validated: boolean, now: Instant): void {
    if (session.isProtected) {
      this.#follow(session, now);
      if (validated) session.link.path.proven = true;
      return;
    }
    session.path.restart(++this.#paths, validated);
    this.#sizes.forget(session.id);
    this.#layer.moved(session, now);
  }

  #validated(session: EndpointSession, now: Instant): void {
    session.link.path.proven = true;
    if (session.held) this.#layer.retryHeld(session, now);
  }

  #adopt(exchange: ExchangeId, into: EndpointSession, fromStays: boolean, now: Instant): void {
    const from = this.#server.adopt(exchange, into, fromStays, now);
    if (from === undefined) return;
    // What we rejected by RST came from this peer: to it the observation is over (RFC 7641 3.6).
    for (const token of this.#rejected.take(from.id)) this.#client.rejected(into, token, now);
    if (!fromStays) this.#closed(from, now);
    if (into.held) this.#layer.retryHeld(into, now);
  }

  #closed(session: EndpointSession | undefined, now: Instant): void {
    if (session === undefined) return;
    this.#client.closed(session, now);
    this.#server.closed(session, now);
    session.leave();
    this.#rejected.take(session.id);
    this.#sessions.delete(session);
    this.#sizes.forget(session.id);
  }
}

const BY_SESSION = byNumber(({ session }: EndpointSession) => session);
const FORMAT_DROPS: Readonly<Record<MessageFormatReason, string>> = {
  short: "format:short",
  version: "format:version",
  code: "format:code",
  empty: "format:empty",
  type: "format:type",
  token: "format:token",
  options: "format:options",
};
/** What every endpoint understands: not the options of security layers, proxies and Q-Block. */
const PLAIN: OptionTable = optionSubset(
  [...OPTION_TABLE.keys()].filter(
    (number) =>
      number !== OptionNumber.Oscore &&
      number !== OptionNumber.Edhoc &&
      number !== OptionNumber.QBlock1 &&
      number !== OptionNumber.QBlock2 &&
      number !== OptionNumber.ProxyUri &&
      number !== OptionNumber.ProxyScheme,
  ),
);
