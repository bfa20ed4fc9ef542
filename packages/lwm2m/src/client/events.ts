import type { Instant, SessionId } from "@godwit/base";
import type { EndpointInput, EndpointOutput } from "@godwit/coap";
import type { NodePath } from "../node-path.ts";
import type { ObjectEntry } from "../object-list.ts";
import type { Refusal } from "../refusal.ts";
import type { Plain, ValueNode } from "../value.ts";
import type { Lwm2mVersion } from "../version.ts";
import type { BindingKnowledge } from "./keep-alive.ts";

/** Names something the application is asked to do; never reused. */
export type PerformId = number;

/** What the client machine is told. */
export type ClientInput =
  | Extract<
      EndpointOutput,
      {
        type: "request" | "response" | "failed" | "alive" | "unobserved" | "unnotified" | "pong";
      }
    >
  /** There is a way to the server, for the first time or again. Registers, or updates a registration that still runs. */
  | { readonly type: "connected"; readonly session: SessionId }
  /** The way to the server is gone; nothing is sent until `connected`. */
  | { readonly type: "closed"; readonly session: SessionId }
  /** The session has new keys: observations are bound to the old ones, and over (RFC 8613 B.2). */
  | { readonly type: "rekeyed"; readonly session: SessionId }
  /** Our address changed, or is seen to have changed: the server is told at once. */
  | { readonly type: "moved"; readonly session: SessionId }
  /** Sends an Update now. */
  | { readonly type: "update" }
  /** Takes leave of the server and stays silent until `connected`. */
  | { readonly type: "deregister" }
  /** Something at or below `path` has a new value. Observations of it are looked at. */
  | { readonly type: "changed"; readonly path: NodePath }
  /** The instances that exist now, /1 aside. */
  | { readonly type: "objects"; readonly objects: readonly ObjectEntry[] }
  /** Sets resources of /1, such as 1 (lifetime, s), from our side. */
  | { readonly type: "configure"; readonly values: Readonly<Record<number, Plain>> }
  /** The answer to `perform`. One that comes too late is ignored. */
  | { readonly type: "performed"; readonly id: PerformId; readonly outcome: Outcome };

/** What the server wants done. Paths have no alternate root; rights, types and ranges are checked already. */
export type Operation =
  /** All that is readable at or below `path`. */
  | { readonly type: "read"; readonly path: NodePath }
  /** All resources and resource instances that exist at or below `path`. */
  | { readonly type: "discover"; readonly path: NodePath }
  /** `replace`: what is not named below `path` goes (of an instance: what can be written). `update`: it stays. */
  | {
      readonly type: "write";
      readonly mode: "replace" | "update";
      readonly path: NodePath;
      readonly nodes: readonly ValueNode[];
    }
  /** `args` by their digits; an argument without a value has "". */
  | {
      readonly type: "execute";
      readonly path: NodePath;
      readonly args: ReadonlyMap<number, string>;
    }
  /** A new instance; without an id the application chooses one. Paths of `nodes` have the id, or 65535. */
  | {
      readonly type: "create";
      readonly object: number;
      readonly instance: number | undefined;
      readonly nodes: readonly ValueNode[];
    }
  | { readonly type: "delete"; readonly path: NodePath };

export type Outcome =
  /** Of read. Nothing at all for a resource says that it does not exist. */
  | { readonly type: "values"; readonly nodes: readonly ValueNode[] }
  /** Of discover. */
  | { readonly type: "resources"; readonly paths: readonly NodePath[] }
  /** Of write, execute and delete. */
  | { readonly type: "done" }
  /** Of create. The new instance is announced without another word. */
  | { readonly type: "created"; readonly instance: number }
  /** Of anything. */
  | Refusal;

export type ClientOutput =
  | { readonly type: "coap"; readonly input: EndpointInput }
  /** Our session is bound to an address that may not be ours any more: it must be resumed. An Update follows in it. */
  | { readonly type: "resume" }
  /** `once`: what `snapshot` returns now must be durable first, so that it is not done again after a restart. */
  | {
      readonly type: "perform";
      readonly id: PerformId;
      readonly operation: Operation;
      readonly once: boolean;
    }
  | ClientEvent;

/** What happened, for the application and for people. */
export type ClientEvent =
  | {
      readonly type: "registered";
      readonly location: readonly string[];
      readonly lwm2m: Lwm2mVersion;
      /** Seconds; 0 never ends. */
      readonly lifetime: number;
    }
  /** An Update was answered. `keepAlive`: nothing but time was the reason for it. */
  | { readonly type: "updated"; readonly keepAlive: boolean }
  /** We took leave; until `until` nothing happens, or for good. */
  | { readonly type: "deregistered"; readonly until: Instant | undefined }
  /** The server said no. Its words are in `diagnostic`: escape them. */
  | {
      readonly type: "refused";
      readonly to: "register" | "update";
      readonly code: number;
      readonly diagnostic: string;
      /** undefined: there is no further attempt. */
      readonly retryAt: Instant | undefined;
    }
  /** No answer. The next attempt is at `retryAt`; a new session may help, see `connected`. */
  | { readonly type: "unreachable"; readonly retryAt: Instant | undefined }
  /** All attempts of /1/x/17 and /1/x/20 were in vain. `bootstrap`: /1/x/16 asks for a bootstrap now. */
  | { readonly type: "exhausted"; readonly bootstrap: boolean }
  /** What is known about the way to the server: silence of `binding` seconds is proven to be harmless. */
  | {
      readonly type: "keepAlive";
      readonly state: BindingKnowledge["state"];
      readonly binding: number | undefined;
      /** Seconds between two signs of life, before jitter; undefined: there are none. */
      readonly interval: number | undefined;
    }
  /** Nothing is expected before `until`: the radio may be off. */
  | { readonly type: "asleep"; readonly until: Instant | undefined }
  /** Something is about to be sent. */
  | { readonly type: "awake" }
  | { readonly type: "observation"; readonly path: NodePath; readonly active: boolean }
  /** What `snapshot` returns has changed in a way worth keeping. */
  | { readonly type: "stateChanged" };
