import { type Identity, type Rng, type SessionId, UsageError } from "@godwit/base";
import type { ServerCredentials } from "./credentials.ts";
import type { DtlsInput, Sealer } from "./events.ts";
import type { Vouch } from "./server-restore.ts";
import type { Suite } from "./suites.ts";
import type { DtlsTuning } from "./tuning.ts";

export type DtlsServerOptions = {
  readonly rng: Rng;
  readonly credentials: ServerCredentials;
  readonly tuning?: Partial<DtlsTuning>;
  /** Suites in order of preference; all of ours, the smallest first, unless given. */
  readonly suites?: readonly Suite[];
  /** Byte 0 of every connection id, so that a cluster finds the node; random unless given. */
  readonly nodeId?: number;
  /** Gives tickets to clients that ask for them. */
  readonly tickets?: boolean;
  /** Keeps associations, sessions and ticket keys in the store, sealed by this. Without it nothing outlives a restart. */
  readonly sealer?: Sealer;
  /** Gives each session its number, none twice, restarts or not; counts from 1 unless given. */
  readonly takeSession?: () => SessionId | undefined;
  /** Whether an identity proven by a credential of this generation is still good; yes unless given. */
  readonly vouches?: Vouch;
  /** An identity has one association: a new one ends the old. True unless false. */
  readonly onePerIdentity?: boolean;
  /**
   * A new association of an identity that has one elsewhere is a guest: it ends the old one, and is kept over a restart, once the
   * layer above says `settle`. False unless given.
   */
  readonly guests?: boolean;
  /** Puts out `keyLog` lines, with which anybody can read everything. For debugging only. */
  readonly keyLog?: boolean;
};

export type DtlsServerInput =
  | DtlsInput
  /** The credential is no longer good: its association ends, its sessions are forgotten. */
  | { readonly type: "revoke"; readonly identity: Identity }
  /** A guest is to stay: see `DtlsServerOptions.guests`. Anything else stays as it is. */
  | { readonly type: "settle"; readonly session: SessionId };

export function checkTuning(tuning: DtlsTuning): void {
  const { cookieLength, replayWindow, cidLength, sessionIdLength } = tuning;
  if (cookieLength < 8 || cookieLength > 32) throw new UsageError("cookies have 8 to 32 bytes");
  if (replayWindow < 64 || replayWindow % 32 !== 0) {
    throw new UsageError("the replay window is a multiple of 32, at least 64");
  }
  if (cidLength > 255 || sessionIdLength > 32) throw new UsageError("identifier too long");
}
