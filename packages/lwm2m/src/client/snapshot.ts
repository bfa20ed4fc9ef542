import type { Instant } from "@godwit/base";
import type { Attributes } from "../attributes.ts";
import type { ObjectList } from "../object-list.ts";
import type { Plain } from "../value.ts";
import type { KeptObservations } from "./reporting.ts";
import type { Lwm2mVersion } from "../version.ts";
import type { Deed } from "./deeds.ts";
import type { BindingKnowledge } from "./keep-alive.ts";

/**
 * What outlives a restart of the device. Plain data; 64-bit numbers in `server` may be bigint. Instants are on the shell's clock, which
 * must go on over the restart for the registration to be continued.
 */
export type ClientSnapshot = {
  /** The registration that runs, if one does. */
  readonly registration:
    | {
        readonly location: readonly string[];
        readonly lwm2m: Lwm2mVersion;
        /** undefined: never. */
        readonly expiresAt: Instant | undefined;
        readonly told: Told;
        /** Whether the server observes what is not in `observations`: then the registration is not continued. */
        readonly observed: boolean;
      }
    | undefined;
  /** Resources of /1. */
  readonly server: Readonly<Record<number, Plain>>;
  /** Attached attributes by path. */
  readonly attributes: readonly (readonly [path: string, attributes: Attributes])[];
  readonly binding: BindingKnowledge;
  /** What must not be done twice and was begun; none in snapshots of old. */
  readonly deeds?: readonly Deed[];
  /** What the server observes; none in snapshots of old. */
  readonly observations?: KeptObservations;
  /** A first registration was made: /1/x/14 no longer counts. */
  readonly registeredBefore: boolean;
};

/** What the server knows of the registration's parameters. */
export type Told = {
  readonly lifetime: number;
  readonly binding: string;
  readonly queue: boolean;
  readonly objects: ObjectList;
};
