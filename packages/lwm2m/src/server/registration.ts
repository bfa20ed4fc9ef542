import type { Identity, Instant, SessionId } from "@godwit/base";
import { type Reach, freshReach } from "./reach.ts";
import type { Operation } from "./operation.ts";
import type { ObjectList } from "../object-list.ts";
import type { Lwm2mVersion } from "../version.ts";

/** One registered device. A few hundred bytes while it idles: no timers, no closures. */
export type Registration = {
  /** The last segment of its Location-Path. */
  readonly id: string;
  readonly endpoint: string;
  session: SessionId;
  identity: Identity;
  /** s; 0 is for ever. */
  lifetime: number;
  readonly version: Lwm2mVersion;
  binding: string;
  queueMode: boolean;
  sms: string | undefined;
  objects: ObjectList;
  readonly registeredAt: Instant;
  updatedAt: Instant;
  /** `undefined`: never. */
  expiresAt: Instant | undefined;
  reach: Reach;
  /** The device has shown that it received our answer: its address is no forgery. */
  proven: boolean;
  /** In which session its identity was last found to stand for its endpoint, and as of which revision of all identities. */
  vouchedIn: SessionId | undefined;
  vouchedAt: number;
  /** Observations have something to say to the device at its next word. */
  unasked: boolean;
  /** Waiting and running operations, in the order they were accepted. */
  readonly queue: Operation[];
};

/** What people and programs see of a registration; plain data. */
export type RegistrationView = {
  readonly id: string;
  readonly endpoint: string;
  readonly session: SessionId;
  readonly identity: Identity;
  readonly lifetime: number;
  readonly version: Lwm2mVersion;
  readonly binding: string;
  readonly queueMode: boolean;
  readonly objects: ObjectList;
  readonly registeredAt: Instant;
  readonly updatedAt: Instant;
  readonly seenAt: Instant;
  readonly expiresAt: Instant | undefined;
  readonly reachability: Reachability;
  /** Those that somebody has asked for; not what the server asks of its own accord. */
  readonly waitingOperations: number;
};

/**
 * `reachable`: it spoke or answered lately. `uncertain`: silent for longer than a NAT is known to hold its mapping.
 * `asleep`: queue mode, outside its awake window. `unreachable`: it did not answer the last request.
 */
export type Reachability = "reachable" | "uncertain" | "asleep" | "unreachable";

export type RegistrationFields = Omit<
  Registration,
  "reach" | "queue" | "unasked" | "proven" | "updatedAt" | "expiresAt" | "vouchedIn" | "vouchedAt"
> & { readonly now: Instant };

export function newRegistration(fields: RegistrationFields): Registration {
  const { now, ...rest } = fields;
  return {
    ...rest,
    updatedAt: now,
    expiresAt: undefined,
    reach: freshReach(now),
    proven: false,
    vouchedIn: undefined,
    vouchedAt: 0,
    unasked: false,
    queue: [],
  };
}
