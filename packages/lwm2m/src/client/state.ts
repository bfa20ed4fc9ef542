import type { Instant } from "@godwit/base";
import type { RequestId } from "@godwit/coap";
import { sameObjectList } from "../object-list.ts";
import type { RegistrationUpdate } from "../registration.ts";
import type { Lwm2mVersion } from "../version.ts";
import type { Told } from "./snapshot.ts";

/** A question whose answer comes after a silence. */
export type Probe = {
  readonly request: RequestId;
  readonly seconds: number;
  readonly since: Instant;
  /** The server has it. */
  taken: boolean;
};

export type SentUpdate = {
  readonly request: RequestId;
  readonly told: Told;
  readonly since: Instant;
  readonly keepAlive: boolean;
};

export type Registered = {
  readonly name: "registered";
  readonly location: readonly string[];
  readonly lwm2m: Lwm2mVersion;
  /** undefined: never. */
  expiresAt: Instant | undefined;
  told: Told;
  update: SentUpdate | undefined;
};

export type State =
  | { readonly name: "idle" }
  | { readonly name: "holding" }
  | {
      readonly name: "registering";
      readonly request: RequestId;
      readonly lwm2m: Lwm2mVersion;
      readonly told: Told;
      readonly since: Instant;
    }
  | { readonly name: "waiting"; readonly lwm2m: Lwm2mVersion }
  | Registered
  | {
      readonly name: "deregistering";
      readonly request: RequestId;
      readonly then: "stop" | "disable";
    }
  | { readonly name: "disabled" };

export type TimerName =
  /** The next Register: after /1/x/14, a back-off, or /1/x/5. */
  | "attempt"
  /** An Update before the lifetime ends, or again after one that was lost. */
  | "update"
  /** The lifetime ends: the server has forgotten us. */
  | "expiry"
  /** The way to the server has been silent long enough. */
  | "keepAlive"
  /** The server dropped what we report: a new registration is due, one in a while. */
  | "renew"
  /** The answer to a probe is overdue. */
  | "probe"
  /** Nothing has happened for the awake window. */
  | "sleep";

/** What an Update must say so that a server that knows `told` knows `now`. */
export function changesOf(told: Told, now: Told): RegistrationUpdate {
  const { lifetime, binding, queue, objects } = now;
  const queueChanged = queue !== told.queue;
  return {
    ...(lifetime !== told.lifetime && { lifetime }),
    ...((binding !== told.binding || queueChanged) && { binding, queue }),
    ...(!sameObjectList(objects, told.objects) && { objects }),
  };
}
