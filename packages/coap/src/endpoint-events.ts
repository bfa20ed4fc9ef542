import type { DatagramEvent, Instant, SessionId } from "@godwit/base";
import type { Request, Response } from "./message.ts";
import type { UnprotectedRequest } from "./protection.ts";

/** Names a request that our side sends; chosen by the caller, unique while it runs. */
export type RequestId = number;
/** Names a request that the peer sent; given by the endpoint, never reused. */
export type ExchangeId = number;

/**
 * Names a request of the peer over restarts of both sides: a repetition has the same token and asks for the same. `hash` is
 * over the message as it was meant, without protection and Echo.
 */
export type RequestName = {
  /** 0 if the token is long enough (4 bytes) to do without: who is asked for an Echo repeats under another message id. */
  readonly mid: number;
  readonly token: Uint8Array;
  readonly hash: number;
};

/** What the endpoint is told. Session-keyed throughout: no address is known here. */
export type EndpointInput =
  /**
   * One CoAP message from the transport below. A session that begins with it is unproven: a transport that proves paths
   * (DTLS) says `validated` when the session opens.
   */
  | { readonly type: "received"; readonly session: SessionId; readonly bytes: Uint8Array }
  /** Sends a request. Observe option 0 in `request` starts an observation: `response` comes more than once. */
  | {
      readonly type: "request";
      readonly id: RequestId;
      readonly session: SessionId;
      readonly request: Request;
      /** CON unless false. */
      readonly confirmable?: boolean;
      /**
       * May be carried out twice, so that it may go on in smaller blocks when it gets no answer. If not said: by the method
       * (RFC 7252 5.1, RFC 8132 2).
       */
      readonly repeatable?: boolean;
      /** Sends once more under the message id and token of an earlier try, so that the peer's deduplication finds it. */
      readonly again?: { readonly mid: number; readonly token: Uint8Array };
      /** Under a token that nobody else's request has who stands at our address before or after us. */
      readonly named?: boolean;
      /** The caller keeps message id and token: before the request goes out under others it says so by `renamed`, and waits. */
      readonly lasting?: boolean;
      /** Counts the bytes as keep-alive in the ledger. */
      readonly keepAlive?: boolean;
    }
  /** Lets `id` go out under the message id and token that `renamed` told. Too late for it, it does nothing. */
  | { readonly type: "proceed"; readonly id: RequestId; readonly mid: number }
  /** Stops waiting for `id`. An observation is also cancelled at the peer: by Observe 1, or by RST to its next notification. */
  | { readonly type: "cancel"; readonly id: RequestId; readonly how?: "deregister" | "forget" }
  /** Takes up an observation from before a restart: notifications with this token come out as responses to `id`. */
  | {
      readonly type: "resumeObservation";
      readonly id: RequestId;
      readonly session: SessionId;
      readonly token: Uint8Array;
      readonly request: Request;
    }
  /** Answers a request of the peer. An Observe option in the response accepts the observation asked for. */
  | {
      readonly type: "respond";
      readonly exchange: ExchangeId;
      readonly response: Response;
      /** For a separate response: CON unless false. */
      readonly confirmable?: boolean;
    }
  /**
   * Answers a request with 4.01 and an Echo (RFC 9175 2.3): the peer must repeat it from where it claims to be before it
   * counts. The repetition comes out as a new request, `validated`.
   */
  | { readonly type: "challenge"; readonly exchange: ExchangeId }
  /** As if the request had not come: there is no answer, and its repetition comes out as a new one. */
  | { readonly type: "ignore"; readonly exchange: ExchangeId }
  /** Another notification for an accepted observation. A class 4 or 5 code ends it. */
  | {
      readonly type: "notify";
      readonly exchange: ExchangeId;
      readonly response: Response;
      /** NON unless true or unless a CON is due (RFC 7641 4.5: once in 24 hours). */
      readonly confirmable?: boolean;
    }
  /**
   * Takes up an observation by the peer from before a restart. `exchange` is the caller's choice, below 0: no request of the
   * peer has such a number. `sequence`: none of its notifications had a greater Observe value. Where it cannot be taken up
   * `unobserved` follows.
   */
  | {
      readonly type: "resumeObserver";
      readonly exchange: ExchangeId;
      readonly session: SessionId;
      readonly token: Uint8Array;
      readonly request: Request;
      readonly sequence: number;
    }
  /** Ends an accepted observation without a word to the peer. */
  | { readonly type: "unobserve"; readonly exchange: ExchangeId }
  /**
   * A request that came before a restart, or in another session: its repetition in this one gets this answer. Only where
   * `maxUnsafeKept` is not 0. `since`: when it came.
   */
  | {
      readonly type: "remember";
      readonly session: SessionId;
      readonly name: RequestName;
      readonly answer: Response;
      readonly since: Instant;
    }
  /** CoAP ping: an empty CON, answered by RST. */
  | { readonly type: "ping"; readonly id: RequestId; readonly session: SessionId }
  /** The session's path changed. What waits for an answer is sent again at once; the new path is unproven unless `validated`. */
  | { readonly type: "moved"; readonly session: SessionId; readonly validated: boolean }
  /** The session's path is proven (handshake, return routability check). */
  | { readonly type: "validated"; readonly session: SessionId }
  /**
   * A request that arrived in the provisional session `from` belongs to `into`: `from` ends, and the request is treated
   * as if it had come in `into`. Was it answered there before, that answer goes out again; else `request` comes out anew.
   * What is known about the path of `from` holds for `into` from now on: say `moved` first, then `adopt`.
   *
   * `fromStays`: `from` is the session of another peer, who had that path before. It goes on with all it has, and only the
   * request leaves it; the path is unproven.
   */
  | {
      readonly type: "adopt";
      readonly exchange: ExchangeId;
      readonly into: SessionId;
      readonly fromStays?: boolean;
    }
  /** What `unprotectRequest` held back has its outcome; `exchange` is the `ref` it was given. */
  | {
      readonly type: "released";
      readonly exchange: ExchangeId;
      readonly result: UnprotectedRequest;
    }
  /** The session's protection takes requests again. */
  | { readonly type: "ready"; readonly session: SessionId }
  /** The session is over: everything of it ends. */
  | { readonly type: "closed"; readonly session: SessionId };

export type EndpointOutput =
  /** One CoAP message to hand to the transport below. */
  | { readonly type: "send"; readonly session: SessionId; readonly bytes: Uint8Array }
  /** The peer asks, with its whole body. Answer with `respond`, once. */
  | {
      readonly type: "request";
      readonly exchange: ExchangeId;
      readonly session: SessionId;
      readonly request: Request;
      /** The peer's path is proven, or its request carried a valid Echo. */
      readonly validated: boolean;
      /** The request carried a valid Echo: its sender speaks now. */
      readonly echoed?: boolean;
      /** For `remember`: of what is not safe to do twice, where `maxUnsafeKept` is not 0. */
      readonly name?: RequestName | undefined;
      /** The request's, a view of its datagram; for `resumeObserver`. */
      readonly token: Uint8Array;
    }
  /**
   * The peer goes on with a block-wise transfer that did not begin in this session: perhaps it began in another, and the
   * peer's path has changed since. `request` has the options, without a body. Say `adopt` if that other session is known;
   * else `respond` with 4.08. Only for who wants to know (EndpointOptions); for all others the answer is 4.08 at once.
   */
  | {
      readonly type: "fragment";
      readonly exchange: ExchangeId;
      readonly session: SessionId;
      readonly request: Request;
    }
  /** The answer to `id`, or a notification when `notification` is set (newer than all before it). */
  | {
      readonly type: "response";
      readonly id: RequestId;
      readonly session: SessionId;
      readonly response: Response;
      readonly notification: boolean;
      /** Nothing more will come for `id`. */
      readonly final: boolean;
      /** The token of the request, to resume an observation after a restart. */
      readonly token: Uint8Array;
    }
  /**
   * `id` ended without an answer. `again` repeats it so that the peer's deduplication finds it. "unprotected": there are
   * no keys to ask with, or the peer refused in clear, as anybody could have.
   */
  | {
      readonly type: "failed";
      readonly id: RequestId;
      readonly session: SessionId;
      readonly reason:
        | "timeout"
        | "reset"
        | "closed"
        | "tooLarge"
        | "bodyChanged"
        | "badResponse"
        | "unprotected"
        | "full";
      readonly again: { readonly mid: number; readonly token: Uint8Array } | undefined;
    }
  /**
   * The peer has not carried out `id`, and is asked anew under another message id (and the same token if it is `lasting`): it wants an Echo (RFC 9175 2.3),
   * or other keys (RFC 8613 B.2). A `lasting` request waits for `proceed`.
   */
  | {
      readonly type: "renamed";
      readonly id: RequestId;
      readonly session: SessionId;
      readonly again: { readonly mid: number; readonly token: Uint8Array };
    }
  /** The first transmission of `id` got its ACK, or a first answer: the peer is there. */
  | { readonly type: "alive"; readonly session: SessionId }
  /** The peer cancelled an observation, or its notifications were not acknowledged. "full": it was never accepted. */
  | {
      readonly type: "unobserved";
      readonly exchange: ExchangeId;
      readonly why: "reset" | "deregistered" | "timeout" | "replaced" | "closed" | "error" | "full";
    }
  /**
   * A confirmable notification was never acknowledged, or was about to be sent when another was not. The observation goes
   * on; send the newest state once the peer is known to be there. Only where observers are lasting (EndpointOptions).
   */
  | { readonly type: "unnotified"; readonly exchange: ExchangeId; readonly session: SessionId }
  | { readonly type: "pong"; readonly id: RequestId; readonly session: SessionId }
  /** The peer answered what was sent to the session's path, of which nothing was known before: it is there. */
  | { readonly type: "proven"; readonly session: SessionId }
  /** Something was thrown away, and counted under this reason. */
  | { readonly type: "dropped"; readonly session: SessionId; readonly reason: string };

/** What carries CoAP: plain UDP here, DTLS elsewhere. One contract for both. */
export type TransportInput =
  | DatagramEvent
  | { readonly type: "send"; readonly session: SessionId; readonly bytes: Uint8Array }
  | { readonly type: "close"; readonly session: SessionId };

export type TransportOutput =
  | DatagramEvent
  | { readonly type: "received"; readonly session: SessionId; readonly bytes: Uint8Array }
  /** A session came to be. For raw UDP: a datagram from a path not seen before. */
  | { readonly type: "opened"; readonly session: SessionId }
  | { readonly type: "moved"; readonly session: SessionId; readonly validated: boolean }
  | { readonly type: "closed"; readonly session: SessionId; readonly why: string };
