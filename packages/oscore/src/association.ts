import type { Instant, SessionId } from "@godwit/base";
import type { Request } from "@godwit/coap";
import type { IssuedNonces } from "./issued-nonces.ts";
import type { Credential } from "./layer-events.ts";
import type { RequestBinding } from "./protection.ts";
import { KeySource, type SecurityContext } from "./security-context.ts";

/**
 * A session: one credential, and the security context that is in use between its two ends. What exists only for a while
 * is undefined the rest of the time: an idle session should cost little.
 */
export class Association {
  readonly session: SessionId;
  readonly source: KeySource;
  readonly derivation: Credential["derivation"];
  readonly initiates: boolean;
  /** Another session whose peer has the same kid. */
  namesake: Association | undefined = undefined;
  /** In use. */
  active: SecurityContext | undefined = undefined;
  /** Our request 2 of B.2 is out under these keys; they are in use once the peer has used them. */
  pending: SecurityContext | undefined = undefined;
  /** Our request 1 of B.2 is out. */
  probe: ClientExchange | undefined = undefined;
  /** R2 values under way to the peer. */
  nonces: IssuedNonces | undefined = undefined;
  /** Request 2 of the peer verified under these keys, and they are being stored. */
  adopting: SecurityContext | undefined = undefined;
  /** Came from a store that may be too old: `active` verifies, but encrypts nothing. */
  stale = false;
  /** Removed: whatever still points here does nothing. */
  gone = false;
  /** `active` came from a store. */
  restored = false;
  /** The replay window is lost, and no request was shown to be fresh since (B.1.2). */
  windowLost = false;
  /** No Partial IV at or above this was accepted before the window was lost, as far as that is known. */
  lostBelow: number | undefined = undefined;
  /** Requests since then that brought no Echo back. */
  unanswered = 0;
  /** What a clean stop left of the window. Good as soon as the record that says so is overwritten. */
  windowTop: number | undefined = undefined;
  sendIdContext: boolean;
  /** New keys are wanted, and how often we asked for them. */
  renew = false;
  renewals = 0;

  // ── the path ──
  carrier: SessionId | undefined;
  /** We chose `carrier`: what comes by another one does not change it. */
  anchored = false;
  /** The peer has shown to be at `carrier`. */
  carrierProven = false;
  /** Where it was, proven, before it claimed to be at `carrier`. */
  provenCarrier: SessionId | undefined = undefined;
  /** The number that moved the path. */
  movedBy = -1;
  /** Where the last Echo went. */
  challenged: SessionId | undefined = undefined;

  // ── the store ──
  stride: number;
  strideSince: Instant = 0;
  /** A write of this session is under way. */
  storing = false;
  /** Requests that wait for it. */
  held: HeldRequest[] | undefined = undefined;
  /** Somebody was told to wait. */
  waited = false;

  constructor(
    session: SessionId,
    credential: Credential,
    carrier: SessionId | undefined,
    stride: number,
  ) {
    this.session = session;
    this.source = new KeySource(credential.input);
    this.derivation = credential.derivation;
    this.initiates = credential.initiates;
    this.sendIdContext = credential.sendIdContext ?? false;
    this.carrier = carrier;
    this.stride = stride;
  }

  /** Whether B.2 may replace the keys. */
  get negotiates(): boolean {
    return this.derivation !== "fixed";
  }
}

export type HeldRequest = {
  readonly ref: number;
  readonly carrier: SessionId;
  readonly proven: boolean;
  readonly outer: Request;
};

/** A request of ours, from its first protection to its last response. Opaque to the caller. */
export class ClientExchange {
  readonly association: Association;
  /** What the application asks. */
  readonly request: Request;
  binding: RequestBinding;
  /** What was sent is request 1 of B.2, not the request. */
  probing: boolean;
  /** The ID Context went along, because the peer seemed to miss it. */
  triedIdContext = false;
  /** New keys were made, because the peer seemed not to know the old ones. */
  triedRenewal = false;
  /** How often the peer asked for new keys. */
  rounds = 0;
  /** Known under this token to `notified`. */
  token: string | undefined = undefined;

  constructor(
    association: Association,
    request: Request,
    binding: RequestBinding,
    probing: boolean,
  ) {
    this.association = association;
    this.request = request;
    this.binding = binding;
    this.probing = probing;
  }
}

/** A request of the peer, until its last response. Opaque to the caller. */
export class ServerExchange {
  readonly association: Association;
  readonly binding: RequestBinding;

  constructor(association: Association, binding: RequestBinding) {
    this.association = association;
    this.binding = binding;
  }
}
