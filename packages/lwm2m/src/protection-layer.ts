import type { Instant, SessionId, StoreOutput, StoredInput } from "@godwit/base";
import type { ExchangeId, RequestProtection, UnprotectedRequest } from "@godwit/coap";

/** A machine that protects requests and responses, such as OSCORE's. Its sessions have numbers that the stack gives. */
export interface ProtectionLayer<Credential> extends RequestProtection {
  readonly wakeAt: Instant | undefined;
  handle(input: ProtectionInput<Credential>, now: Instant): void;
  wake(now: Instant): void;
  poll(): ProtectionOutput | undefined;
}

export type ProtectionInput<Credential> =
  /** A credential never used before. */
  | {
      readonly type: "add";
      readonly session: SessionId;
      readonly credential: Credential;
      readonly carrier?: SessionId;
    }
  /** A session from before a restart, with the record that its store outputs left. */
  | {
      readonly type: "restore";
      readonly session: SessionId;
      readonly credential: Credential;
      readonly record: Uint8Array | undefined;
      readonly trusted: boolean;
      readonly carrier?: SessionId;
    }
  | { readonly type: "remove"; readonly session: SessionId }
  /** The way to the peer is another one, on our decision. */
  | { readonly type: "carrier"; readonly session: SessionId; readonly carrier: SessionId }
  /** The peer is where it was, and the path has another number. */
  | { readonly type: "relocate"; readonly session: SessionId; readonly carrier: SessionId }
  /** A clean stop. */
  | { readonly type: "park" }
  | StoredInput;

export type ProtectionOutput =
  | StoreOutput
  | {
      readonly type: "released";
      readonly ref: ExchangeId;
      readonly result: UnprotectedRequest;
    }
  | { readonly type: "ready"; readonly session: SessionId }
  | {
      readonly type: "moved";
      readonly session: SessionId;
      readonly carrier: SessionId;
      readonly validated: boolean;
    }
  | { readonly type: "established"; readonly session: SessionId; readonly by: "us" | "peer" }
  | { readonly type: "rekey"; readonly session: SessionId; readonly why: string }
  | { readonly type: "dead"; readonly session: SessionId; readonly why: string }
  | {
      readonly type: "dropped";
      readonly session: SessionId | undefined;
      readonly reason: string;
      /** By what it came, and the sender id that it gave; neither is proven. */
      readonly from?: {
        readonly carrier: SessionId;
        readonly kid: Uint8Array;
        readonly answered: boolean;
      };
    };
