import type { SessionId, StoreOutput, StoredInput } from "@godwit/base";
import type { Request, Response } from "@godwit/coap";
import type { ClientExchange, ServerExchange } from "./association.ts";
import type { InputParameters } from "./security-context.ts";

/** What we share with one peer, and how contexts come of it. */
export type Credential = {
  readonly input: InputParameters;
  /**
   * - `fixed`: one context for all time (RFC 8613 B.1); losing what it needs to remember makes it useless.
   * - `negotiated`: contexts come of Appendix B.2 alone, as LwM2M wants it at first use.
   * - `both`: begins with the fixed one, and lets B.2 replace it.
   */
  readonly derivation: "fixed" | "negotiated" | "both";
  /** Whether we start B.2 with this peer. Else only the peer does, and we where our keys run out. */
  readonly initiates: boolean;
  /** Sends the ID Context of a fixed context with every request; else only once the peer has asked for it. */
  readonly sendIdContext?: boolean;
};

export type OscoreInput =
  /** A credential never used before; not one whose record is lost: that is `restore` without `record`. */
  | {
      readonly type: "add";
      readonly session: SessionId;
      readonly credential: Credential;
      /** The session of the transport below that leads to the peer, if we know one. */
      readonly carrier?: SessionId;
    }
  /**
   * A session from before a restart. `trusted` false: the store may be older than what was sent (a restored backup), so
   * no nonce of it may be used again.
   */
  | {
      readonly type: "restore";
      readonly session: SessionId;
      readonly credential: Credential;
      readonly record: Uint8Array | undefined;
      readonly trusted: boolean;
      readonly carrier?: SessionId;
    }
  /** The credential is revoked: keys, exchanges and record go at once. */
  | { readonly type: "remove"; readonly session: SessionId }
  /** The carrier is another one, on our decision; proven as it is. From then on it follows the peer nowhere. */
  | { readonly type: "carrier"; readonly session: SessionId; readonly carrier: SessionId }
  /** The peer is where it was, as far as known, and the carrier that leads there has another number. */
  | { readonly type: "relocate"; readonly session: SessionId; readonly carrier: SessionId }
  /** The peer is at its present carrier: it returned an Echo, or an ACK to our own CON. */
  | { readonly type: "validated"; readonly session: SessionId }
  /** New keys at the next opportunity (B.2). */
  | { readonly type: "renew"; readonly session: SessionId }
  /** A clean stop: exact numbers and windows are stored, and no number is used after. */
  | { readonly type: "park" }
  | StoredInput;

export type OscoreOutput =
  | StoreOutput
  /** What `unprotectRequest` held back has an outcome. */
  | { readonly type: "released"; readonly ref: number; readonly result: UnprotectedRequest }
  /** `protectRequest` said "wait", and now it would not. */
  | { readonly type: "ready"; readonly session: SessionId }
  /** A verified, newer message of the session came by another carrier. A claim, unless `validated`. */
  | {
      readonly type: "moved";
      readonly session: SessionId;
      readonly carrier: SessionId;
      readonly validated: boolean;
    }
  /** New keys are in use (B.2). Observations made under the old ones are over. */
  | { readonly type: "established"; readonly session: SessionId; readonly by: "us" | "peer" }
  /** A limit comes near; where B.2 is possible it will be run. */
  | { readonly type: "rekey"; readonly session: SessionId; readonly why: RekeyReason }
  /** The session cannot be used any more, until new keys come. */
  | { readonly type: "dead"; readonly session: SessionId; readonly why: DeathReason }
  /** Something was thrown away, and counted under this reason. */
  | {
      readonly type: "dropped";
      readonly session: SessionId | undefined;
      readonly reason: DropReason;
      /** Who sent it, where that is somebody who is not let in. */
      readonly from?: DroppedFrom;
    };

/** By what it came, and the Sender ID that it gave, a view of the message; empty where it gave none. Neither is proven. */
export type DroppedFrom = {
  readonly carrier: SessionId;
  readonly kid: Uint8Array;
  /** Whether it gets an answer: at most so many a second do. */
  readonly answered: boolean;
};

export type RekeyReason = "sequence" | "encryptions" | "forgeries";
export type DeathReason = "noRecord" | "corruptRecord" | "restoredBackup";
export type DropReason =
  | "badOption"
  | "tooLarge"
  | "unknownKid"
  | "unknownContext"
  | "replayed"
  | "forged"
  | "malformed"
  | "heldFull"
  | "storeFailed"
  | "corruptRecord"
  | "errorRate"
  | "pathRace"
  | "badOptionInResponse"
  | "forgedResponse"
  | "replayedResponse"
  | "unexpectedResponse"
  | "malformedResponse"
  | "unprotectedResponse";

export type ProtectedRequest =
  /** To send by `carrier`, under a token and a message id of its own. */
  | {
      readonly kind: "send";
      readonly carrier: SessionId;
      readonly request: Request;
      readonly exchange: ClientExchange;
    }
  /** Not now: keys are being made, or a write is under way. `ready` says when to ask again. */
  | { readonly kind: "wait" }
  | { readonly kind: "failed"; readonly reason: ProtectFailure };

export type ProtectFailure =
  | "unknownSession"
  | "noCarrier"
  | "noContext"
  | "exhausted"
  | "retired"
  | "sequence";

export type UnprotectedRequest =
  | {
      readonly kind: "request";
      readonly session: SessionId;
      /** As the peer meant it. */
      readonly request: Request;
      readonly exchange: ServerExchange;
      /** It came with an Echo that we had sent by this very carrier. */
      readonly validated: boolean;
    }
  /** The answer, outer and ready to send; nothing goes to the application. */
  | {
      readonly kind: "reply";
      readonly session: SessionId | undefined;
      readonly response: Response;
    }
  /**
   * Verified, but its number was used before. If the very same message was answered before (as `session`, by `carrier` or
   * an earlier one), say that answer again; else `refusal`, or nothing.
   */
  | {
      readonly kind: "duplicate";
      readonly session: SessionId;
      readonly carrier: SessionId | undefined;
      readonly refusal: Response | undefined;
    }
  /** A write must finish first; then `released` comes with the `ref` given. */
  | { readonly kind: "held" }
  | { readonly kind: "silence"; readonly reason: DropReason };

export type ProtectedResponse =
  | { readonly kind: "send"; readonly response: Response }
  | { readonly kind: "failed"; readonly reason: ProtectFailure };

export type ResponseOutcome =
  | {
      readonly kind: "response";
      readonly response: Response;
      /** More may follow. */
      readonly notification: boolean;
    }
  /** The same request once more, as `request`, under a new token and message id: the exchange goes on. */
  | { readonly kind: "again"; readonly carrier: SessionId; readonly request: Request }
  /** Wait on, as if nothing had come. */
  | { readonly kind: "ignored"; readonly reason: DropReason }
  /** An answer that nobody can have authenticated ends the request, and nothing else. */
  | { readonly kind: "refused"; readonly code: number };
