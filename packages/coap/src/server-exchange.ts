import type { Instant } from "@godwit/base";
import type { ExchangeId, RequestName } from "./endpoint-events.ts";
import type { EndpointSession } from "./endpoint-session.ts";
import type { Request, Response } from "./message.ts";

/** A request of the peer, from its arrival to its answer. */
export class ServerExchange {
  readonly id: ExchangeId;
  session: EndpointSession;
  readonly mid: number;
  /** Of the whole message, for the reply cache. */
  readonly hash: number;
  readonly token: Uint8Array;
  readonly confirmable: boolean;
  /** Where it came, and where a piggybacked answer goes. */
  link: EndpointSession;
  /** By which its answers are protected. */
  protection: unknown = undefined;
  /** Of what must not be done twice: by it the same is known when it comes in another message. */
  name: RequestName | undefined = undefined;
  /** As it came, without its protection. */
  original: Request;
  /** The outer block that made it whole (RFC 8613 4.1.3.4.2): its answer says so. */
  outer: Request | undefined = undefined;
  /** As the application gets it: its body whole. */
  request: Request;
  /** It carried a valid Echo. */
  echoed = false;
  /** The request is a block whose beginning is not known in its session; `request` has its options only. */
  fragment = false;
  /** Bytes of the message it came in. */
  length = 0;
  /** The empty ACK has left; the answer will be a message of its own. */
  acknowledged = false;
  /** Since when it waits for what its queue waits for. */
  since: Instant = 0;
  queue: ExchangeQueue | undefined = undefined;
  before: ServerExchange | undefined = undefined;
  behind: ServerExchange | undefined = undefined;

  constructor(
    id: ExchangeId,
    session: EndpointSession,
    mid: number,
    hash: number,
    token: Uint8Array,
    confirmable: boolean,
    original: Request,
  ) {
    this.id = id;
    this.session = session;
    this.link = session;
    this.mid = mid;
    this.hash = hash;
    this.token = token;
    this.confirmable = confirmable;
    this.original = original;
    this.request = original;
  }
}

/** Exchanges that all wait equally long: the first in is the first due, so no timer is kept for any of them. */
export class ExchangeQueue {
  readonly #delay: number;
  #first: ServerExchange | undefined;
  #last: ServerExchange | undefined;

  constructor(delay: number) {
    this.#delay = delay;
  }

  get wakeAt(): Instant | undefined {
    return this.#first && this.#first.since + this.#delay;
  }

  push(exchange: ServerExchange, now: Instant): void {
    exchange.queue = this;
    exchange.since = now;
    exchange.before = this.#last;
    exchange.behind = undefined;
    if (this.#last === undefined) this.#first = exchange;
    else this.#last.behind = exchange;
    this.#last = exchange;
  }

  remove(exchange: ServerExchange): void {
    if (exchange.queue !== this) return;
    exchange.queue = undefined;
    if (exchange.before === undefined) this.#first = exchange.behind;
    else exchange.before.behind = exchange.behind;
    if (exchange.behind === undefined) this.#last = exchange.before;
    else exchange.behind.before = exchange.before;
    // One that is over and not collected yet would keep all that came after it.
    exchange.before = undefined;
    exchange.behind = undefined;
  }

  /** Takes out one that is due. */
  expired(now: Instant): ServerExchange | undefined {
    const first = this.#first;
    if (first === undefined || first.since + this.#delay > now) return undefined;
    this.remove(first);
    return first;
  }
}

/** The answer to a CON request that had got its empty ACK. */
export type SeparateAnswer = Sent & { readonly kind: "answer" };

/** A confirmable message of an observation. */
export type Notification = Sent & {
  readonly kind: "notification";
  readonly exchange: ExchangeId;
};

/** What is needed to send it once more in smaller blocks. */
type Sent = {
  readonly session: EndpointSession;
  readonly protection: unknown;
  readonly request: Request;
  readonly outer: Request | undefined;
  readonly token: Uint8Array;
  /** Whole, and newer if there is newer to tell. */
  full: Response;
};
