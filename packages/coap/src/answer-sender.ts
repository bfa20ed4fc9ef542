import type { Instant, Rng } from "@godwit/base";
import { EchoMint } from "./amplification.ts";
import { encodeAnswer, hasBlock, overhead } from "./answers.ts";
import { SMALLEST_BLOCK, blockSize, szxFor } from "./block-option.ts";
import type { BlockServer } from "./block-server.ts";
import { Code } from "./codes.ts";
import { NAMING_TOKEN, type EndpointSession } from "./endpoint-session.ts";
import { Outgoing, type MessageLayer } from "./message-layer.ts";
import { ACK, CON, NON, type Option, type Request, type Response } from "./message.ts";
import type { Observers, Notification as ObserverNotification } from "./observe-server.ts";
import { suppresses } from "./no-response.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, opaqueOption, response } from "./options.ts";
import type { OuterBlocks } from "./outer-blocks.ts";
import { SMALLEST_SHRUNK, type PathSizes } from "./path-sizes.ts";
import type { RequestProtection } from "./protection.ts";
import { ACKNOWLEDGED, ANSWERED, SILENT, type ReplyCache } from "./reply-cache.ts";
import type { Sender } from "./sender.ts";
import type { ServerExchange } from "./server-exchange.ts";
import type { CoapTuning } from "./tuning.ts";

//   answer ──> its first block, if it is long ──> protected ──> fits the path? ──no──> Echo, or smaller blocks
//                                                                  └──> ACK, CON or NON, and kept for duplicates

export type AnswerParts = {
  readonly tuning: CoapTuning;
  readonly rng: Rng;
  readonly sender: Sender;
  readonly layer: MessageLayer;
  readonly cache: ReplyCache;
  readonly sizes: PathSizes;
  readonly protection: RequestProtection | undefined;
  readonly blocks: BlockServer;
  readonly outer: OuterBlocks | undefined;
  readonly observers: Observers;
};

/** Puts answers and notifications into messages: in blocks, protected, no more than an unproven path may get. */
export class AnswerSender {
  readonly #tuning: CoapTuning;
  readonly #sender: Sender;
  readonly #layer: MessageLayer;
  readonly #cache: ReplyCache;
  readonly #sizes: PathSizes;
  readonly #protection: RequestProtection | undefined;
  readonly #blocks: BlockServer;
  readonly #outer: OuterBlocks | undefined;
  readonly #observers: Observers;
  readonly #mint: EchoMint;

  constructor(parts: AnswerParts) {
    this.#tuning = parts.tuning;
    this.#sender = parts.sender;
    this.#layer = parts.layer;
    this.#cache = parts.cache;
    this.#sizes = parts.sizes;
    this.#protection = parts.protection;
    this.#blocks = parts.blocks;
    this.#outer = parts.outer;
    this.#observers = parts.observers;
    this.#mint = new EchoMint(parts.tuning, parts.rng);
  }

  /** RFC 9175 2.3: who repeats our Echo speaks now, and is where it says to be. Whether it did. */
  prove({ path }: EndpointSession, options: readonly Option[], now: Instant): boolean {
    const echo = findOption(options, OptionNumber.Echo);
    const echoed = echo !== undefined && this.#mint.verify(path.nonce, echo.value, now);
    if (echoed) path.proven = true;
    return echoed;
  }

  echo(session: EndpointSession, now: Instant): Response {
    session.path.challenged = true;
    const value = this.#mint.make(session.path.nonce, now);
    return response(Code.Unauthorized, { options: [opaqueOption(OptionNumber.Echo, value)] });
  }

  acknowledge(exchange: ServerExchange, now: Instant): void {
    exchange.acknowledged = true;
    this.remember(exchange, ACKNOWLEDGED, undefined, now);
    this.#sender.acknowledge(exchange.link, exchange.mid);
  }

  remember(
    exchange: ServerExchange,
    state: typeof ACKNOWLEDGED | typeof ANSWERED | typeof SILENT,
    reply: Uint8Array | undefined,
    now: Instant,
  ): void {
    const { link, mid, hash } = exchange;
    this.#cache.settle(link.replies, mid, hash, state, reply, now);
  }

  reply(exchange: ServerExchange, full: Response, now: Instant, confirmable?: boolean): void {
    const { session, original } = exchange;
    if (suppresses(original.options, full.code)) {
      if (exchange.confirmable && !exchange.acknowledged) this.acknowledge(exchange, now);
      else this.remember(exchange, SILENT, undefined, now);
      return;
    }
    this.transmit(exchange, full, this.block(session, original, full, now), now, confirmable);
  }

  /** `first`: the part of `full` that goes into one message. */
  transmit(
    exchange: ServerExchange,
    full: Response,
    first: Response,
    now: Instant,
    confirmable: boolean | undefined,
  ): void {
    const { session, token, protection, outer } = exchange;
    const piggybacked = exchange.confirmable && !exchange.acknowledged;
    const link = piggybacked || session.isAdrift ? exchange.link : session.link;
    // A peer that acknowledges none of its answers must not fill our queue: from some point on they go once.
    const crowded = link.queue.length >= this.#tuning.maxPendingPerSession;
    const reliable = (confirmable ?? exchange.confirmable) && !crowded;
    const type = piggybacked ? ACK : reliable ? CON : NON;
    const mid = piggybacked ? exchange.mid : link.nextMid(this.#tuning, now, true)!; // reuse gives one always
    let answer = first;
    let bytes = this.#encode(type, mid, token, answer, session, link, protection, outer, now);
    if (bytes === undefined) return;
    if (!link.path.proven && bytes.length > this.#sender.allowance(link)) {
      answer = this.#smaller(exchange, full, bytes.length - first.payload.length, now);
      bytes = this.#encode(type, mid, token, answer, session, link, protection, outer, now);
      if (bytes === undefined) return;
    }
    const around = protection === undefined ? 0 : overhead(bytes, session, token, answer);
    const { length } = answer.payload;
    const { name } = exchange;
    if (name !== undefined && isNamed(exchange)) {
      const said = encodeAnswer(ACK, name.mid, token, answer);
      this.#cache.settle(session.replies, name.mid, name.hash, ANSWERED, said, now);
    }
    if (piggybacked) this.remember(exchange, ANSWERED, bytes, now);
    else if (!exchange.confirmable) this.remember(exchange, SILENT, undefined, now);
    if (type === CON) {
      const { original } = exchange;
      const owner = {
        kind: "answer",
        session,
        protection,
        request: original,
        outer,
        token,
        full,
      } as const;
      const outgoing = new Outgoing(link, owner, mid, bytes, length, true, false, session, around);
      this.#layer.submit(outgoing, now);
    } else this.#sender.send(link, bytes, length, "payload", session, around);
  }

  /** The answer as a message, protected, and in outer blocks, as its request was. Undefined: it cannot be any more. */
  #encode(
    type: typeof ACK | typeof CON | typeof NON,
    mid: number,
    token: Uint8Array,
    answer: Response,
    session: EndpointSession,
    link: EndpointSession,
    protection: unknown,
    outer: Request | undefined,
    now: Instant,
  ): Uint8Array | undefined {
    const made =
      protection === undefined
        ? ({ kind: "send", response: answer } as const)
        : this.#protection?.protectResponse(protection, answer, now);
    if (made?.kind === "send") {
      const said =
        outer === undefined || this.#outer === undefined
          ? made.response
          : this.#outer.respond(link.id, outer, made.response, now);
      return encodeAnswer(type, mid, token, said);
    }
    this.#sender.drop(session, `unprotected:${made?.reason}`);
    return undefined;
  }

  /**
   * What fits an unproven path: the Echo challenge, once, if the request did nothing; else the answer in small blocks
   * (RFC 7252 11.3). What is too long even so stays in the reply cache: a duplicate of the request makes room for it.
   */
  #smaller(exchange: ServerExchange, full: Response, overhead: number, now: Instant): Response {
    const { session, link, original } = exchange;
    const harmless = original.code === Code.GET || original.code === Code.FETCH;
    if (harmless && !link.path.challenged) return this.echo(link, now);
    const allowance = this.#sender.allowance(link);
    const room = allowance - overhead - BLOCK_OVERHEAD;
    if (room < SMALLEST_BLOCK) return harmless ? this.echo(link, now) : full;
    const limit = blockSize(szxFor(room));
    return this.#blocks.respond(session.id, original, full, now, limit);
  }
  notify(session: EndpointSession, output: ObserverNotification, now: Instant): void {
    const { exchange, token, request, confirmable, protection } = output;
    const { link } = session;
    const mid = link.nextMid(this.#tuning, now, true)!; // reuse gives one always
    const first = this.block(session, request, output.response, now);
    const type = confirmable ? CON : NON;
    const bytes = this.#encode(type, mid, token, first, session, link, protection, undefined, now);
    if (bytes === undefined) return;
    const around = overhead(bytes, session, token, first);
    const { length } = first.payload;
    this.#observers.sent(session.id, exchange, mid, now);
    if (confirmable) {
      const owner = {
        kind: "notification",
        exchange,
        session,
        protection,
        request,
        outer: undefined,
        token,
        full: output.response,
      } as const;
      const outgoing = new Outgoing(link, owner, mid, bytes, length, true, false, session, around);
      this.#layer.submit(outgoing, now);
    } else this.#sender.send(link, bytes, length, "payload", session, around);
  }

  block(session: EndpointSession, request: Request, full: Response, now: Instant): Response {
    const size = this.#sizes.size(session.id, now);
    const whole = full.payload.length <= size;
    if (whole && !hasBlock(request.options)) return full;
    return this.#blocks.respond(session.id, request, full, now, size);
  }

  /** RFC 7641 4.5.2: what is sent again is the newest state, under a message id of its own. */
  renew(outgoing: Outgoing, now: Instant): void {
    const { account: session, session: link, owner } = outgoing;
    if (owner.kind !== "notification" && owner.kind !== "answer") return;
    const observed = owner.kind === "notification" ? owner.exchange : undefined;
    const newer =
      observed === undefined
        ? undefined
        : this.#observers.retransmit(session.id, outgoing.mid, now);
    if (newer !== undefined) owner.full = newer.response;
    const limit = this.#smallerSize(outgoing);
    if (newer === undefined && limit === undefined) return;
    const first =
      limit === undefined
        ? this.block(session, owner.request, owner.full, now)
        : this.#blocks.respond(session.id, owner.request, owner.full, now, limit);
    if (newer === undefined && first.payload.length >= outgoing.payloadLength) return;
    const mid = link.nextMid(this.#tuning, now, true)!; // reuse gives one always
    const { token, protection, outer } = owner;
    const message = this.#encode(CON, mid, token, first, session, link, protection, outer, now);
    if (message === undefined) return;
    if (newer === undefined) {
      (outgoing.earlier ??= []).push(outgoing.mid);
      if (observed !== undefined) this.#observers.repeated(session.id, outgoing.mid);
    } else outgoing.earlier = undefined; // an ACK of older news does not end it
    outgoing.shrunk = newer === undefined;
    outgoing.mid = mid;
    outgoing.bytes = message;
    outgoing.overhead = overhead(message, session, owner.token, first);
    outgoing.payloadLength = first.payload.length;
    if (observed !== undefined) this.#observers.sent(session.id, observed, mid, now);
  }

  /** A large message that got no ACK: how small its next try should be, for a path that does not carry it. */
  #smallerSize({ payloadLength, retransmissions }: Outgoing): number | undefined {
    const { shrinkAfter, maxRetransmit } = this.#tuning;
    if (retransmissions < shrinkAfter || payloadLength <= SMALLEST_SHRUNK) return undefined;
    if (retransmissions >= maxRetransmit) return SMALLEST_SHRUNK;
    return blockSize(szxFor(payloadLength - 1));
  }
}

/** Whether it is known by more than the bytes of its message. */
export function isNamed({ token, protection }: ServerExchange): boolean {
  return protection !== undefined || token.length >= NAMING_TOKEN;
}

/** Bytes the block-wise answer adds at most: Block2 and an ETag. */
const BLOCK_OVERHEAD = 5 + 10;
