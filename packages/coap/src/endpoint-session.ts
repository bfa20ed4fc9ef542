import { below, type Instant, type Ledger, type Rng, type SessionId } from "@godwit/base";
import { PathProof } from "./amplification.ts";
import type { ClientRequest } from "./client-request.ts";
import type { Outgoing } from "./message-layer.ts";
import type { SessionReplies } from "./reply-cache.ts";
import { NONE } from "./reply-columns.ts";
import { exchangeLifetime, type CoapTuning } from "./tuning.ts";

/** What exists while something of ours is under way in a session. */
class Work {
  readonly inFlight: Outgoing[] = [];
  readonly queue: Outgoing[] = [];
  readonly requests: ClientRequest[] = [];
  running = 0;
  held = false;
}

/**
 * What the endpoint keeps of one session. Millions of them are idle: it is one object, with the proof of its path and its
 * list in the reply cache in it, and has no lists of its own while nothing runs.
 */
export class EndpointSession extends PathProof implements SessionReplies {
  readonly session: SessionId;
  readonly ledger: Ledger;
  /** Its requests and responses are protected, and travel in other sessions. */
  readonly isProtected: boolean;
  /** A peer has asked here in clear: what was answered is not only of those that travel here. */
  hasPlain = false;
  /** Protected sessions that travel here. */
  riders: readonly EndpointSession[] = NOBODY;
  #carrier: EndpointSession | undefined;
  oldest: number = NONE;
  newest: number = NONE;
  count = 0;
  bytes = 0;
  index: number = NONE;
  #work: Work | undefined;
  /** Requests of the peer that the application has not answered. */
  pending = 0;
  #mid: number;
  /** When each sixteenth of the message ids was last given out; made when the first is used up. */
  #midsUsed: Float64Array | undefined;
  #token: number;

  /** `proven`: we opened the session, so nobody can use it to send our bytes to others. */
  constructor(
    id: SessionId,
    ledger: Ledger,
    rng: Rng,
    nonce: number,
    proven: boolean,
    isProtected = false,
  ) {
    super(nonce, proven);
    this.session = id;
    this.isProtected = isProtected;
    this.ledger = ledger;
    this.#mid = below(rng, 0x1_0000);
    this.#token = below(rng, 0x100);
  }

  get id(): SessionId {
    return this.session;
  }

  /** Where its messages travel: here, or in the carrier that a protected session has at present. */
  get link(): EndpointSession {
    return this.#carrier ?? this;
  }

  get path(): PathProof {
    return this;
  }

  get replies(): SessionReplies {
    return this;
  }

  /** Outgoing messages that wait for their ACK; at most NSTART, and pings. */
  get inFlight(): readonly Outgoing[] {
    return this.#work === undefined ? NOTHING : this.#work.inFlight;
  }

  /** Outgoing messages that wait for one of those to end. */
  get queue(): readonly Outgoing[] {
    return this.#work === undefined ? NOTHING : this.#work.queue;
  }

  /** Our requests that travel here, running and observing. */
  get requests(): readonly ClientRequest[] {
    return this.#work === undefined ? NOTHING : this.#work.requests;
  }

  /** Requests of ours that are not observations at rest. */
  get running(): number {
    return this.#work === undefined ? 0 : this.#work.running;
  }

  /** Something in flight was not sent, because the path is unproven. */
  get held(): boolean {
    return this.#work !== undefined && this.#work.held;
  }

  /** Whether a protected session has no way to its peer. */
  get isAdrift(): boolean {
    return this.isProtected && this.#carrier === undefined;
  }

  /**
   * The peer of this protected session is at another carrier. To the peer it is the same server, so the count of message
   * ids and tokens goes on there, unless others use it already.
   */
  follow(carrier: EndpointSession): void {
    const from = this.#carrier;
    this.#carrier = carrier;
    if (from !== undefined) {
      from.riders = from.riders.filter((rider) => rider !== this);
      if (carrier.riders.length === 0 && carrier.#work === undefined) {
        carrier.#mid = from.#mid;
        carrier.#token = from.#token;
        carrier.#midsUsed = from.#midsUsed && Float64Array.from(from.#midsUsed);
      }
    }
    carrier.riders = [...carrier.riders, this];
  }

  /** This protected session is over. */
  leave(): void {
    const from = this.#carrier;
    if (from !== undefined) from.riders = from.riders.filter((rider) => rider !== this);
    this.#carrier = undefined;
  }

  /** The same, to put something into. Say `rest` after something was taken out. */
  get work(): Work {
    return (this.#work ??= new Work());
  }

  rest(): void {
    const work = this.#work;
    if (work === undefined || work.running > 0) return;
    if (work.inFlight.length === 0 && work.queue.length === 0 && work.requests.length === 0)
      this.#work = undefined;
  }

  /**
   * The next message id (RFC 7252 4.4: random start, then counting). Undefined while the next ones were given out less
   * than EXCHANGE_LIFETIME ago, unless `reuse`: for answers, which the peer tells apart by their token.
   */
  nextMid(tuning: CoapTuning, now: Instant, reuse: boolean): number | undefined {
    const mid = (this.#mid + 1) & 0xffff;
    if ((mid & (MIDS_PER_PART - 1)) === 0) {
      const part = mid / MIDS_PER_PART;
      this.#midsUsed ??= new Float64Array(0x1_0000 / MIDS_PER_PART).fill(Number.NEGATIVE_INFINITY);
      if (!reuse && now - this.#midsUsed[part]! < exchangeLifetime(tuning)) return undefined; // one of 16
      const before = (part + this.#midsUsed.length - 1) % this.#midsUsed.length;
      this.#midsUsed[before] = now;
    }
    this.#mid = mid;
    return mid;
  }

  /**
   * A token no request of this session has. Tokens of one byte count up, so that an answer that comes late meets its old
   * token only after 255 others (RFC 9175 5.2); longer ones are random (RFC 7252 5.3.1).
   */
  nextToken(tuning: CoapTuning, rng: Rng): Uint8Array {
    if (tuning.emptyToken && !this.#knows(EMPTY_TOKEN)) return EMPTY_TOKEN;
    for (let attempt = 0; attempt < 256; attempt++) {
      const token =
        tuning.tokenLength > 1
          ? rng.bytes(tuning.tokenLength)
          : Uint8Array.of((this.#token = (this.#token + 1) & 0xff));
      if (!this.#knows(token)) return token;
    }
    return this.namingToken(rng);
  }

  /** So long that by it the request is known for good, whatever message it comes in. */
  namingToken(rng: Rng): Uint8Array {
    let token: Uint8Array;
    do token = rng.bytes(NAMING_TOKEN);
    while (this.#knows(token)); // 2^32 tokens for some hundred requests
    return token;
  }

  /** Our request that runs under this token. */
  requestOf(token: Uint8Array): ClientRequest | undefined {
    const { requests } = this;
    for (let i = 0; i < requests.length; i++) {
      const request = requests[i]!; // i < length
      if (sameToken(request.token, token)) return request;
    }
    return undefined;
  }

  #knows(token: Uint8Array): boolean {
    return this.requestOf(token) !== undefined;
  }
}

/** Takes `item` out of a short list; the order of the rest stays. */
export function removeFrom<T>(list: T[], item: T): boolean {
  const at = list.indexOf(item);
  if (at < 0) return false;
  if (at === list.length - 1) list.pop();
  else list.splice(at, 1);
  return true;
}

function sameToken(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

const MIDS_PER_PART = 4_096;
const NOTHING: readonly never[] = [];
const NOBODY: readonly EndpointSession[] = [];
/** Bytes of a token that no other request of the same peer will have. */
export const NAMING_TOKEN = 4;
const EMPTY_TOKEN = new Uint8Array(0);
