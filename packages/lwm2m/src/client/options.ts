import type { Rng } from "@godwit/base";
import type { Registry } from "../definition.ts";
import type { ListStyle, ObjectEntry } from "../object-list.ts";
import type { Plain } from "../value.ts";
import type { Lwm2mVersion } from "../version.ts";
import type { KeepAliveStrategy } from "./keep-alive.ts";
import type { ClientSnapshot } from "./snapshot.ts";
import type { ClientTuning } from "./tuning.ts";

/**
 * `followed`: by the keys of our session, wherever we are. `bound`: so, too, but what is observed is bound to what the server has
 * in memory, and ends unsaid with its restart (RFC 8613 B.1.3). `address`: by our address, until an Update says that it is another.
 * `session`: by the address that our session was made from.
 */
export type PathKind = "followed" | "bound" | "address" | "session";

export type ClientOptions = ListStyle & {
  /** The endpoint name; may be left out from 1.1 on where the credential says it. */
  readonly endpoint?: string;
  readonly rng: Rng;
  readonly registry: Registry;
  /** The instances that exist, /1 aside. */
  readonly objects: readonly ObjectEntry[];
  /** Resources of our instance of /1, such as 1 (lifetime, s): `{ 1: 300 }`. */
  readonly server?: Readonly<Record<number, Plain>>;
  /** The id of our instance of /1. */
  readonly serverInstance?: number;
  /** Tried first; a server that refuses it is offered lower ones. */
  readonly lwm2m?: Lwm2mVersion;
  /** "/lwm2m": all paths of ours begin so. */
  readonly root?: string;
  /** Sleeps between messages; the server must wait for the next one. */
  readonly queueMode?: boolean;
  readonly keepAlive?: KeepAliveStrategy;
  /** What is sent as keep-alive: an Update makes a server follow a NoSec client to its new address, a ping is 5 bytes shorter. */
  readonly keepAliveMessage?: "update" | "ping";
  /** Says `b=U` and every object version although they go without saying. */
  readonly verbose?: boolean;
  /** How the server knows us when our address changes; "followed" unless given. Asked when there is something to report. */
  readonly pathKind?: () => PathKind;
  /** Observations can be taken up after a restart; not where they are bound to keys that do not outlive it (RFC 8613 B.1.3). */
  readonly resumesObservations?: boolean;
  /** From before a restart. */
  readonly snapshot?: ClientSnapshot | undefined;
  readonly tuning?: Partial<ClientTuning>;
};
