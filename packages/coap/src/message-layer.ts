import { Deadlines, type Instant, type Rng } from "@godwit/base";
import { alsoTo, type SentTo } from "./amplification.ts";
import type { ClientRequest } from "./client-request.ts";
import { removeFrom, type EndpointSession } from "./endpoint-session.ts";
import { CON } from "./message.ts";
import type { Notification, SeparateAnswer } from "./server-exchange.ts";
import { EMPTY_LENGTH, emptyMessage, type Sender } from "./sender.ts";
import type { CoapTuning } from "./tuning.ts";

//   submit ──> queue ──(NSTART)──> in flight ──ACK, RST, answer──> done ──> the next of the queue
//                                   │    ^
//                                   └────┘ timeout, doubled each time, MAX_RETRANSMIT times; then given up
//
// RFC 7252 4.2 and 4.7.

/** What an outgoing message is for. */
export type Owner = ClientRequest | Ping | Probe | SeparateAnswer | Notification;

export type Ping = { readonly kind: "ping"; readonly id: number };

/** A ping of our own: its RST proves a path towards which a message is held back. */
type Probe = { readonly kind: "probe" };

/** A message that somebody waits for: a CON until its ACK, a NON request until its answer. */
export class Outgoing {
  /** Where it travels. */
  session: EndpointSession;
  /** Whose it is, and on whose account: another one if it is protected. */
  readonly account: EndpointSession;
  readonly owner: Owner;
  /** These four change when a newer notification or smaller blocks take the place of what was sent. */
  mid: number;
  bytes: Uint8Array;
  payloadLength: number;
  /** Bytes of its protection. */
  overhead: number;
  readonly confirmable: boolean;
  readonly keepAlive: boolean;
  /** Message ids of larger versions of it: their ACK is as good. */
  earlier: number[] | undefined = undefined;
  /** It has left more than once. */
  repeated = false;
  /** It went out in smaller blocks than it could. */
  shrunk = false;
  /** Transmissions after the first. */
  retransmissions = 0;
  /** The current one, ms. */
  timeout = 0;
  /** Undefined while queued. */
  due: Instant | undefined;
  /** Where it went under its present message id. */
  #sentTo: SentTo;
  #sentAs: number | undefined;
  /** The last transmission did not leave: the path is unproven and its allowance used up. */
  held = false;

  constructor(
    session: EndpointSession,
    owner: Owner,
    mid: number,
    bytes: Uint8Array,
    payloadLength: number,
    confirmable: boolean,
    keepAlive: boolean,
    account: EndpointSession = session,
    overhead = 0,
  ) {
    this.session = session;
    this.account = account;
    this.overhead = overhead;
    this.owner = owner;
    this.mid = mid;
    this.bytes = bytes;
    this.payloadLength = payloadLength;
    this.confirmable = confirmable;
    this.keepAlive = keepAlive;
  }

  /** It left for the path `nonce`. */
  left(nonce: number): void {
    if (this.#sentAs !== this.mid) this.#sentTo = undefined;
    this.#sentAs = this.mid;
    this.#sentTo = alsoTo(this.#sentTo, nonce);
    if (this.owner.kind === "request") this.owner.left(nonce);
  }

  /** Whether an ACK or RST with this id shows that the peer is at the path `nonce`. */
  proves(mid: number, nonce: number): boolean {
    return mid === this.mid && mid === this.#sentAs && this.#sentTo === nonce;
  }
}

/** May put something newer or smaller into a message that is about to be sent again. */
export interface Renewal {
  renew(outgoing: Outgoing, now: Instant): void;
}

/** Transmits what must be acknowledged, again and again, a few at a time. */
export class MessageLayer {
  readonly #tuning: CoapTuning;
  readonly #rng: Rng;
  readonly #sender: Sender;
  readonly #deadlines = new Deadlines<Outgoing>();

  constructor(tuning: CoapTuning, rng: Rng, sender: Sender) {
    this.#tuning = tuning;
    this.#rng = rng;
    this.#sender = sender;
  }

  get wakeAt(): Instant | undefined {
    return this.#deadlines.next;
  }

  /**
   * Sends now, or when NSTART allows. A ping waits for nobody: it asks whether anybody is there. `first`: goes before all
   * that waits, as it goes on with what has begun.
   */
  submit(outgoing: Outgoing, now: Instant, first = false): void {
    const { session } = outgoing;
    if (isPing(outgoing) || busy(session) < this.#tuning.nstart) this.#launch(outgoing, now);
    else if (first) session.work.queue.unshift(outgoing);
    else session.work.queue.push(outgoing);
  }

  /** The message in flight that an ACK or RST with this id is about. */
  find(session: EndpointSession, mid: number): Outgoing | undefined {
    const { inFlight } = session;
    for (let i = 0; i < inFlight.length; i++) {
      const outgoing = inFlight[i]!; // i < length
      if (outgoing.mid === mid || outgoing.earlier?.includes(mid)) return outgoing;
    }
    return undefined;
  }

  /** Ends a message, in flight or queued, and starts the next. */
  done(outgoing: Outgoing, now: Instant): void {
    const { session } = outgoing;
    if (outgoing.due === undefined) {
      removeFrom(session.work.queue, outgoing);
      session.rest();
      return;
    }
    this.#deadlines.stop(outgoing);
    if (removeFrom(session.work.inFlight, outgoing)) this.#advance(session, now);
    session.rest();
  }

  /** Retransmits what is due; returns one message whose tries are used up, to be ended by its owner. */
  expired(now: Instant, newest: Renewal): Outgoing | undefined {
    for (;;) {
      const outgoing = this.#deadlines.expired(now);
      if (outgoing === undefined) return undefined;
      if (!outgoing.confirmable || outgoing.retransmissions >= this.#tuning.maxRetransmit)
        return outgoing;
      outgoing.retransmissions += 1;
      outgoing.timeout *= 2;
      this.#due(outgoing, now);
      newest.renew(outgoing, now);
      this.#transmit(outgoing, "retransmission", now);
    }
  }

  /** The path is another one: all in flight goes there at once, and the back-off goes on. */
  moved(session: EndpointSession, now: Instant): void {
    for (const outgoing of [...session.inFlight])
      if (outgoing.confirmable) this.#transmit(outgoing, "retransmission", now);
  }

  /** The allowance has grown: what was held back may leave now. */
  retryHeld(session: EndpointSession, now: Instant): void {
    session.work.held = false;
    for (const outgoing of [...session.inFlight]) {
      if (!outgoing.held) continue;
      const purpose = outgoing.retransmissions === 0 ? "payload" : "retransmission";
      this.#transmit(outgoing, purpose, now);
    }
  }

  /** What travels in `from` for the account `session` goes on in `to`, at once. */
  relink(session: EndpointSession, from: EndpointSession, to: EndpointSession, now: Instant): void {
    const flying = from.inFlight.filter(({ account }) => account === session);
    const queued = from.queue.filter(({ account }) => account === session);
    for (const outgoing of flying) {
      removeFrom(from.work.inFlight, outgoing);
      outgoing.session = to;
      to.work.inFlight.push(outgoing);
      if (outgoing.confirmable) this.#transmit(outgoing, "retransmission", now);
    }
    for (const outgoing of queued) {
      removeFrom(from.work.queue, outgoing);
      outgoing.session = to;
      this.submit(outgoing, now);
    }
    this.#advance(from, now);
    from.rest();
  }

  /** Forgets all of a session; returns it, oldest first. */
  closed(session: EndpointSession, now: Instant): Outgoing[] {
    if (session.link !== session) {
      const { inFlight, queue } = session.link;
      const its = [...inFlight, ...queue].filter(({ account }) => account === session);
      for (const outgoing of its) this.done(outgoing, now);
      return its;
    }
    const all = [...session.inFlight, ...session.queue];
    for (const outgoing of session.inFlight) this.#deadlines.stop(outgoing);
    session.work.inFlight.length = 0;
    session.work.queue.length = 0;
    session.rest();
    return all;
  }

  #advance(session: EndpointSession, now: Instant): void {
    const { queue } = session.work;
    while (busy(session) < this.#tuning.nstart) {
      const next = queue.shift(); // bounded and mostly empty
      if (next === undefined) break;
      this.#launch(next, now);
    }
  }

  #launch(outgoing: Outgoing, now: Instant): void {
    const { ackTimeout, ackRandomFactor, nonAnswerTimeout, probingRate } = this.#tuning;
    // RFC 7252 4.7: to who does not answer, NON requests leave no faster than PROBING_RATE.
    outgoing.timeout = outgoing.confirmable
      ? ackTimeout * (1 + (ackRandomFactor - 1) * this.#rng.float())
      : Math.max(nonAnswerTimeout, (outgoing.bytes.length / probingRate) * 1_000);
    outgoing.session.work.inFlight.push(outgoing);
    this.#due(outgoing, now);
    this.#transmit(outgoing, "payload", now);
  }

  #due(outgoing: Outgoing, now: Instant): void {
    outgoing.due = now + outgoing.timeout;
    this.#deadlines.set(outgoing, outgoing.due);
  }

  #transmit(outgoing: Outgoing, purpose: "payload" | "retransmission", now: Instant): void {
    const { session, bytes, payloadLength, keepAlive, account, overhead } = outgoing;
    if (purpose === "retransmission") outgoing.repeated = true;
    outgoing.held = !this.#sender.send(
      session,
      bytes,
      payloadLength,
      keepAlive ? "keepAlive" : purpose,
      account,
      overhead,
    );
    if (!outgoing.held) {
      outgoing.left(session.path.nonce);
      return;
    }
    session.work.held = true;
    if (outgoing.confirmable) this.#probe(session, account, now);
  }

  /**
   * What is held back may be longer than all that the peer will ever say: a ping fits nearly any allowance, and its RST
   * proves the path.
   */
  #probe(session: EndpointSession, account: EndpointSession, now: Instant): void {
    if (this.#sender.allowance(session) < EMPTY_LENGTH) return;
    if (session.inFlight.some(({ owner }) => owner.kind === "probe")) return;
    const mid = session.nextMid(this.#tuning, now, false);
    if (mid === undefined) return;
    const bytes = emptyMessage(CON, mid);
    this.submit(new Outgoing(session, PROBE, mid, bytes, 0, true, false, account), now);
  }
}

/** What counts towards NSTART: a probe is there for another message, which does. */
function busy({ inFlight }: EndpointSession): number {
  let busy = inFlight.length;
  for (let i = 0; i < inFlight.length; i++) if (inFlight[i]!.owner.kind === "probe") busy -= 1; // i < length
  return busy;
}

/** It asks whether anybody is there, and waits for nobody. */
function isPing({ owner }: Outgoing): boolean {
  return owner.kind === "ping" || owner.kind === "probe";
}

const PROBE: Probe = { kind: "probe" };
