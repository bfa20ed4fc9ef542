import type { EndpointInput, EndpointOutput, ExchangeId, Request, Response } from "@godwit/coap";
import type {
  Identity,
  Instant,
  SessionId,
  StoreChange,
  StoredInput,
  StoreOutput,
} from "@godwit/base";
import type { RefusalReason } from "../refusal.ts";
import type { ObservationView } from "./observation-view.ts";
import type { OperationView } from "./operation.ts";
import type { RegistrationView } from "./registration.ts";

/** What the server machine is told. */
export type ServerInput =
  | Extract<
      EndpointOutput,
      {
        type:
          | "request"
          | "fragment"
          | "response"
          | "failed"
          | "renamed"
          | "alive"
          | "unobserved"
          | "pong";
      }
    >
  /** The transport knows who is at the other end. Raw UDP sessions need no such word: they prove nothing. */
  /** `guest`: the identity has another session, in which its device is spoken to until it has used this one for something. */
  | {
      readonly type: "opened";
      readonly session: SessionId;
      readonly identity: Identity;
      readonly guest?: boolean;
    }
  | { readonly type: "closed"; readonly session: SessionId }
  /** The session has new keys: what is bound to the old ones is over (RFC 8613 B.2). */
  | { readonly type: "established"; readonly session: SessionId }
  /** The peer of a session that is known by its keys is at another address. */
  | { readonly type: "moved"; readonly session: SessionId }
  | StoredInput
  /** A user wants something of a device. Answered by `operation` outputs until its state is final. */
  | {
      readonly type: "operate";
      /** Unique for ever; see `operationId`. */
      readonly id: number;
      readonly endpoint: string;
      readonly kind: OperationKind;
      /** The LwM2M path, for people and for observations; the request carries it too. */
      readonly path: string;
      readonly request: Request;
      /** Given up at this instant (ms). */
      readonly expiresAt: number;
      /**
       * Of observe and cancelObserve: who wants it. An observation that several want ends with the last of them. Who begins with
       * "run:" is a part of this run, such as a loop of a program, and wants nothing after a restart.
       */
      readonly owner?: string;
    }
  | { readonly type: "cancelOperation"; readonly id: number }
  /** A registration ends on our side; the device learns it from 4.04 at its next Update. */
  | { readonly type: "remove"; readonly endpoint: string; readonly why?: RemovedBecause }
  /** Nothing is asked of the endpoint any more: its operations fail with this reason, its observations end. */
  | { readonly type: "forget"; readonly endpoint: string; readonly reason: string };

/** `removed`: by an administrator. `revoked`: its credential is gone. `refused`: it proves nothing, and has to. */
export type RemovedBecause = "removed" | "revoked" | "refused";

export type OperationKind =
  | "read"
  | "discover"
  | "write"
  | "writeAttributes"
  | "execute"
  | "create"
  | "delete"
  | "observe"
  | "cancelObserve";

export type ServerOutput =
  | { readonly type: "coap"; readonly input: EndpointInput }
  /** The peer of `from` turned out to be that of `into`: move its path there, then adopt the exchange. */
  | {
      readonly type: "rebind";
      readonly exchange: ExchangeId;
      readonly from: SessionId;
      readonly into: SessionId;
    }
  /** Another peer speaks from the path of `session`, whose registration stays: give the newcomer a session of its own. */
  | { readonly type: "displace"; readonly exchange: ExchangeId; readonly session: SessionId }
  /** A registration refers to `session` from now on, or no longer does. */
  | { readonly type: "pin"; readonly session: SessionId }
  | { readonly type: "unpin"; readonly session: SessionId }
  /** The next `store` ends the last registration that refers to `session`: what is kept of that goes with it. */
  | { readonly type: "unkeep"; readonly session: SessionId }
  | StoreOutput
  | ServerEvent;

/** What happened, for people and programs above. */
export type ServerEvent =
  | {
      readonly type: "registered";
      readonly registration: RegistrationView;
      readonly replaced: boolean;
    }
  | {
      readonly type: "updated";
      /** Made anew each time it is asked for. */
      readonly registration: RegistrationView;
      readonly moved: boolean;
      readonly changed: readonly string[];
    }
  | {
      readonly type: "deregistered";
      readonly registration: RegistrationView;
      readonly why: "device" | "expired" | "replaced" | "evicted" | RemovedBecause;
    }
  /** A Register, Update or De-register was refused. Text from the device is in `detail` and `endpoint`: escape it. */
  | {
      readonly type: "refused";
      readonly session: SessionId;
      readonly code: number;
      readonly detail: string;
      readonly reason: RefusalReason;
      /** As the peer claims; else that of its credential. */
      readonly endpoint: string | undefined;
      readonly identity: Identity;
    }
  | { readonly type: "operation"; readonly operation: OperationView }
  | {
      readonly type: "notification";
      readonly endpoint: string;
      readonly path: string;
      readonly response: Response;
    }
  /** What has become of a wanted observation; `ended`: nobody wants it any more. */
  | {
      readonly type: "observation";
      readonly endpoint: string;
      readonly path: string;
      readonly state: ObservationView["state"] | "ended";
      readonly reason: string;
    }
  /** The device speaks, but does not report, and does not answer when it is asked to. */
  | {
      readonly type: "observationSilent";
      readonly endpoint: string;
      readonly path: string;
      /** When it last reported. */
      readonly heardAt: Instant;
    };

export type StoredRecord = { readonly key: string; readonly value: Uint8Array };

export type { StoreChange };
