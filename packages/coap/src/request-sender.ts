import { EMPTY, type Instant, type Outbox, type Rng, type SessionId } from "@godwit/base";
import { HEADER_LENGTH, asksOnly } from "./answers.ts";
import { BlockTransfer } from "./block-client.ts";
import { SMALLEST_BLOCK, szxFor } from "./block-option.ts";
import type { ClientRequest } from "./client-request.ts";
import type { EndpointOutput } from "./endpoint-events.ts";
import type { EndpointSession } from "./endpoint-session.ts";
import { encodeMessage } from "./message-codec.ts";
import { Outgoing, type MessageLayer } from "./message-layer.ts";
import { CON, NON, type Request } from "./message.ts";
import { bodyLength } from "./options-codec.ts";
import { SMALLEST_SHRUNK, type PathSizes } from "./path-sizes.ts";
import type { RequestProtection } from "./protection.ts";
import { RequestTags } from "./request-tags.ts";
import type { CoapTuning } from "./tuning.ts";

//   request, or one block of it ──protect──> message ──> MessageLayer ──no answer──> the same, or smaller blocks
//                                   │ keys not ready
//                                   └──> waits for `ready`

/** What sending needs of the role around it. */
export interface RequestHost {
  fail(request: ClientRequest, reason: "full" | "unprotected", now: Instant): void;
  /** What protected the request so far is over. */
  forget(request: ClientRequest): void;
  /** The session, a protected one at the carrier that leads to it. */
  follow(session: EndpointSession, now: Instant): void;
}

/** Puts our requests into messages: protected where their session is, in blocks where they do not fit. */
export class RequestSender {
  readonly #tuning: CoapTuning;
  readonly #rng: Rng;
  readonly #outbox: Outbox<EndpointOutput>;
  readonly #layer: MessageLayer;
  readonly #sizes: PathSizes;
  readonly #protection: RequestProtection | undefined;
  readonly #host: RequestHost;
  readonly #tags: RequestTags;

  constructor(
    tuning: CoapTuning,
    rng: Rng,
    outbox: Outbox<EndpointOutput>,
    layer: MessageLayer,
    sizes: PathSizes,
    protection: RequestProtection | undefined,
    host: RequestHost,
  ) {
    this.#tuning = tuning;
    this.#rng = rng;
    this.#outbox = outbox;
    this.#layer = layer;
    this.#sizes = sizes;
    this.#protection = protection;
    this.#host = host;
    this.#tags = new RequestTags(rng);
  }

  /** The session is over. */
  closed(session: SessionId): void {
    this.#tags.closed(session);
  }

  /** The caller knows of the request's new name, see `rename`. */
  proceed(request: ClientRequest, mid: number, now: Instant): void {
    const { renaming } = request;
    if (renaming?.mid !== mid) return;
    request.renaming = undefined;
    this.#host.follow(request.session, now);
    const { current, outer } = renaming;
    if (outer === undefined) this.send(request, current, now, mid);
    else this.submit(request, current, outer, now, mid);
  }

  /** The session's protection takes requests again. */
  ready(session: EndpointSession, now: Instant): void {
    for (const request of [...session.link.requests]) {
      const { waiting } = request;
      if (request.session !== session || waiting === undefined) continue;
      request.waiting = undefined;
      this.send(request, request.current, now, waiting.mid);
    }
  }

  /**
   * A message is about to be sent again. What is large, or asks for what may be large, shrinks instead: datagrams of its
   * size may vanish on this path. Transmissions and timeouts stay as they are (RFC 7252 4.2); only the last one goes
   * right to blocks that pass everywhere.
   */
  renew(outgoing: Outgoing, request: ClientRequest, now: Instant): void {
    const { shrinkAfter, maxRetransmit } = this.#tuning;
    const { retransmissions, session } = outgoing;
    const isLast = retransmissions >= maxRetransmit;
    const known = request.transfer?.passed === true;
    if (known ? !isLast : retransmissions < shrinkAfter) return;
    const { transfer } = request;
    if (transfer?.acting !== false && !request.repeatable) return;
    if (!asksOnly(request.request) && request.current.payload.length <= SMALLEST_SHRUNK)
      if (transfer?.acting !== false) return;
    const shrinking = transfer ?? this.transfer(request, now);
    const floor = szxFor(SMALLEST_SHRUNK);
    const smaller =
      shrinking.szx > floor ? shrinking.smaller(isLast && !known ? floor : undefined) : undefined;
    const mid = smaller && session.nextMid(this.#tuning, now, false);
    const before = outgoing.mid;
    if (
      smaller === undefined ||
      mid === undefined ||
      !this.#encodeSmaller(request, smaller, mid, outgoing, now)
    ) {
      if (transfer === undefined) this.release(request, true);
      return;
    }
    request.transfer = shrinking;
    request.shrunk = true;
    (outgoing.earlier ??= []).push(before);
  }

  /** The peer has not carried it out: it goes out once more, as a new message. `outer`: protected already. */
  rename(request: ClientRequest, current: Request, outer: Request | undefined, now: Instant): void {
    const { id, session } = request;
    if (!request.lasting || id === undefined) {
      request.token = session.link.nextToken(this.#tuning, this.#rng);
      if (outer === undefined) this.send(request, current, now);
      else this.submit(request, current, outer, now, undefined);
      return;
    }
    const mid = session.link.nextMid(this.#tuning, now, false);
    if (mid === undefined) return this.#host.fail(request, "full", now);
    request.renaming = { mid, current, outer };
    const again = { mid, token: request.token };
    this.#outbox.push({ type: "renamed", id, session: session.id, again });
  }

  /** A body that may go out in blocks is told apart from others to the same resource (RFC 9175 3.4). */
  transfer(request: ClientRequest, now: Instant): BlockTransfer {
    const { session } = request;
    if (request.request.payload.length > SMALLEST_BLOCK)
      request.lease ??= this.#tags.take(session.id, request.request);
    const szx = this.#sizes.szx(session.id, now);
    return new BlockTransfer(request.request, this.#tuning, {
      szx,
      requestTag: request.lease?.tag,
      newTag: () => this.#anotherTag(request),
    });
  }

  #anotherTag(request: ClientRequest): Uint8Array | undefined {
    const { session, lease } = request;
    request.lease = this.#tags.take(session.id, request.request);
    if (lease !== undefined) this.#tags.release(lease, true); // each of its messages was answered
    return request.lease.tag;
  }

  release(request: ClientRequest, concluded: boolean): void {
    if (request.lease !== undefined) this.#tags.release(request.lease, concluded);
    request.lease = undefined;
  }

  send(request: ClientRequest, current: Request, now: Instant, mid?: number): void {
    const { session } = request;
    if (!session.isProtected) {
      this.submit(request, current, current, now, mid);
      return;
    }
    this.#host.follow(session, now);
    const made = this.#protection!.protectRequest(session.id, current, now); // it made the session
    if (made.kind === "send") {
      this.#host.forget(request);
      request.protection = made.exchange;
      this.submit(request, current, made.request, now, mid);
    } else if (made.kind === "wait") {
      request.current = current;
      request.waiting = { mid };
    } else this.#host.fail(request, "unprotected", now);
  }

  /** `outer`: `current` as it travels. */
  submit(
    request: ClientRequest,
    current: Request,
    outer: Request,
    now: Instant,
    mid: number | undefined,
  ): void {
    const { session, confirmable, keepAlive } = request;
    const { link } = session;
    const id = mid ?? link.nextMid(this.#tuning, now, false);
    if (id === undefined) {
      this.#host.fail(request, "full", now);
      return;
    }
    request.outgoing = new Outgoing(link, request, id, EMPTY, 0, confirmable, keepAlive, session);
    this.#encode(request, current, outer, id, request.outgoing);
    this.#layer.submit(request.outgoing, now, request.alive);
  }

  /** In place of what is under way. False: it cannot be protected now. */
  #encodeSmaller(
    request: ClientRequest,
    smaller: Request,
    mid: number,
    outgoing: Outgoing,
    now: Instant,
  ): boolean {
    const { session } = request;
    let outer = smaller;
    if (session.isProtected) {
      const made = this.#protection!.protectRequest(session.id, smaller, now); // it made the session
      if (made.kind !== "send") return false;
      (request.superseded ??= []).push(request.protection);
      request.protection = made.exchange;
      outer = made.request;
    }
    this.#encode(request, smaller, outer, mid, outgoing);
    return true;
  }

  #encode(
    request: ClientRequest,
    current: Request,
    outer: Request,
    mid: number,
    outgoing: Outgoing,
  ): void {
    const { token } = request;
    const type = request.confirmable ? CON : NON;
    outgoing.bytes = encodeMessage({ type, mid, token, ...outer });
    outgoing.payloadLength = current.payload.length;
    if (outer !== current) {
      const plain = HEADER_LENGTH + token.length + bodyLength(current.options, current.payload);
      outgoing.overhead = Math.max(0, outgoing.bytes.length - plain);
    }
    outgoing.mid = mid;
    request.outer = outer === current ? undefined : outer;
    request.current = current;
    request.mid = mid;
  }
}
