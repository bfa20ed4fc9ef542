import type { Instant } from "@godwit/base";
import { alsoTo, type SentTo } from "./amplification.ts";
import type { BlockTransfer } from "./block-client.ts";
import type { RequestId } from "./endpoint-events.ts";
import type { EndpointSession } from "./endpoint-session.ts";
import type { Outgoing } from "./message-layer.ts";
import type { Request } from "./message.ts";
import type { ObservationOrder } from "./observe-client.ts";
import type { RequestTagLease } from "./request-tags.ts";

/** A request of ours, from its first transmission to its final answer. */
export class ClientRequest {
  readonly kind = "request";
  /** Undefined: a request of the endpoint itself, whose answer nobody waits for. */
  readonly id: RequestId | undefined;
  readonly session: EndpointSession;
  /** As the application gave it. */
  readonly request: Request;
  readonly confirmable: boolean;
  readonly keepAlive: boolean;
  /** May be carried out twice. */
  repeatable = false;
  /** Message id and token are kept by the caller: they change with its consent only. */
  lasting = false;
  /** It waits for that: under which message id, and as what, it goes out then. `outer`: protected already. */
  renaming:
    | { readonly mid: number; readonly current: Request; readonly outer: Request | undefined }
    | undefined = undefined;
  /** What is under way goes in smaller blocks than it could, as larger ones got no answer. */
  shrunk = false;
  /** By which the answer to what was sent last is verified; and to larger versions of it. */
  protection: unknown = undefined;
  superseded: unknown[] | undefined = undefined;
  /** As it went out last, protected. */
  outer: Request | undefined = undefined;
  /** Fetches the rest of a protected answer that came in outer blocks, for the request `whole` (RFC 8613 4.1.3.4.2). */
  parts: OuterParts | undefined = undefined;
  /** The request that does so for this one. */
  fetching: ClientRequest | undefined = undefined;
  /** It waits until the session's protection is ready; under this message id, if it must be one. */
  waiting: { readonly mid: number | undefined } | undefined = undefined;
  /** Of the message under way, or of the observation. */
  token: Uint8Array;
  mid = 0;
  /** What was sent last: the request, or one block of it. */
  current: Request;
  /** Where it went under its present token. */
  #sentTo: SentTo;
  #sentAs: Uint8Array | undefined;
  /** The message that waits for ACK or answer. */
  outgoing: Outgoing | undefined = undefined;
  /** Once bodies do not fit one message. */
  transfer: BlockTransfer | undefined = undefined;
  /** Its Request-Tag is in use. */
  lease: RequestTagLease | undefined = undefined;
  /** What was answered last had left a single time. */
  once = false;
  /** How often the server asked for an Echo. */
  echoes = 0;
  /** The peer has shown that it is there. */
  alive = false;
  /** A response has come out: the next is a notification. */
  delivered = false;
  /** Observe value of the newest notification. */
  observe = 0;
  /** Of a running observation. */
  order: ObservationOrder | undefined = undefined;
  /** Fetches the rest of a notification's body for the observation `parent`. */
  parent: ClientRequest | undefined = undefined;
  child: ClientRequest | undefined = undefined;

  constructor(
    id: RequestId | undefined,
    session: EndpointSession,
    request: Request,
    confirmable: boolean,
    keepAlive: boolean,
    token: Uint8Array,
  ) {
    this.id = id;
    this.session = session;
    this.request = request;
    this.current = request;
    this.confirmable = confirmable;
    this.keepAlive = keepAlive;
    this.token = token;
  }

  /** It left for the path `nonce`. */
  left(nonce: number): void {
    if (this.#sentAs !== this.token) this.#sentTo = undefined;
    this.#sentAs = this.token;
    this.#sentTo = alsoTo(this.#sentTo, nonce);
  }

  /** Whether an answer under its token shows that the peer is at the path `nonce`. */
  proves(nonce: number): boolean {
    return this.#sentAs === this.token && this.#sentTo === nonce;
  }
}

/** A protected answer that is being put together. */
export type OuterParts = {
  readonly whole: ClientRequest;
  readonly transfer: BlockTransfer;
  /** It has to be complete by then. */
  readonly until: Instant;
};
