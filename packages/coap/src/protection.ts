import type { Instant, SessionId } from "@godwit/base";
import type { Request, Response } from "./message.ts";

/**
 * Protection of requests and responses between the application and the message layer, such as OSCORE's (RFC 8613). Its
 * sessions are sessions to the application; their messages travel in those of a carrier. Exchanges are opaque here.
 */
export interface RequestProtection {
  /** MAX_UNFRAGMENTED_SIZE: the longest protected message that is put together from outer blocks (RFC 8613 4.1.3.4.2). */
  readonly maxUnfragmented: number;
  /** Why a datagram from an address not heard before is thrown away before a session is made for it; undefined: it may be somebody's. */
  strange(datagram: Uint8Array): Stranger | undefined;
  /** Whether the session is one of its own. */
  knows(session: SessionId): boolean;
  /** The carrier that leads to the session's peer, as far as known. */
  carrierOf(session: SessionId): SessionId | undefined;
  protectRequest(session: SessionId, request: Request, now: Instant): ProtectedRequest;
  /** For a request that came by `carrier` with an OSCORE option. `ref` names it, should the outcome come later. */
  unprotectRequest(
    carrier: SessionId,
    outer: Request,
    ref: number,
    now: Instant,
    proven?: boolean,
  ): UnprotectedRequest;
  protectResponse(exchange: unknown, response: Response, now: Instant): ProtectedResponse;
  unprotectResponse(
    exchange: unknown,
    outer: Response,
    now: Instant,
    carrier?: SessionId,
  ): ResponseOutcome;
  /** The session's peer is at its present carrier: it answered there what we had sent. */
  proven(session: SessionId): void;
  /** No response to this exchange is waited for any more. */
  abandon(exchange: unknown): void;
  /** The exchange is an observation: its notifications may come from anywhere. False: there are too many. */
  observing(exchange: unknown, token: Uint8Array): boolean;
  /** Whose notification it is that came under a token unknown to its carrier. */
  notified(
    carrier: SessionId,
    token: Uint8Array,
    outer: Response,
    now: Instant,
  ): { readonly exchange: unknown; readonly outcome: ResponseOutcome } | undefined;
}

/** Who is thrown away for `reason`: `kid` is what it calls itself, a view of the datagram. */
export type Stranger = { readonly reason: string; readonly kid: Uint8Array };

export type ProtectedRequest =
  | {
      readonly kind: "send";
      readonly carrier: SessionId;
      readonly request: Request;
      readonly exchange: unknown;
    }
  /** Not now: `ready` says when to ask again. */
  | { readonly kind: "wait" }
  | { readonly kind: "failed"; readonly reason: string };

export type UnprotectedRequest =
  | {
      readonly kind: "request";
      readonly session: SessionId;
      readonly request: Request;
      readonly exchange: unknown;
      /** The peer has shown that it is at this carrier. */
      readonly validated: boolean;
    }
  /** The answer, ready to be sent. */
  | {
      readonly kind: "reply";
      readonly session: SessionId | undefined;
      readonly response: Response;
    }
  /** Said before, by `carrier`: what was answered to the same message is said again, else `refusal`. */
  | {
      readonly kind: "duplicate";
      readonly session: SessionId;
      readonly carrier: SessionId | undefined;
      readonly refusal: Response | undefined;
    }
  /** The outcome comes later, with `released`. */
  | { readonly kind: "held" }
  | { readonly kind: "silence"; readonly reason: string };

export type ProtectedResponse =
  | { readonly kind: "send"; readonly response: Response }
  | { readonly kind: "failed"; readonly reason: string };

export type ResponseOutcome =
  | { readonly kind: "response"; readonly response: Response; readonly notification: boolean }
  /** The request once more, under a new token and message id. */
  | { readonly kind: "again"; readonly carrier: SessionId; readonly request: Request }
  /** As if nothing had come. */
  | { readonly kind: "ignored"; readonly reason: string }
  /** An answer that nobody can have authenticated ends the request. */
  | { readonly kind: "refused"; readonly code: number };
