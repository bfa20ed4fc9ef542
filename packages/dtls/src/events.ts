import type {
  DatagramEvent,
  Identity,
  Path,
  SessionId,
  StoreOutput,
  StoredInput,
} from "@godwit/base";
import type { Generation, Lookup, Verdict } from "./credentials.ts";

/** What server and client are both told. */
export type DtlsInput =
  | DatagramEvent
  | { readonly type: "send"; readonly session: SessionId; readonly bytes: Uint8Array }
  /** Says goodbye to the peer and ends the association. */
  | { readonly type: "close"; readonly session: SessionId }
  /** Says goodbye to whoever is at the peer's address, which was not proven. The association stays. */
  | { readonly type: "dismiss"; readonly session: SessionId }
  /** Answers a `psk` look-up; no key where nobody has that identity. */
  | {
      readonly type: "psk";
      readonly id: number;
      readonly key: Uint8Array | undefined;
      readonly generation?: Generation;
    }
  /** Answers a `certificate` or `resume` look-up. */
  | { readonly type: "verdict"; readonly id: number; readonly verdict: Verdict }
  /** The layer above has seen that the peer receives at its new address: an ACK to our CON, an Echo. */
  | { readonly type: "validated"; readonly session: SessionId }
  /** The layer above has seen that the peer speaks now, not in an earlier life of ours (Echo). */
  | { readonly type: "fresh"; readonly session: SessionId }
  /** One row of the store from an earlier run. All of them come before the first datagram. */
  | {
      readonly type: "restore";
      readonly table: string;
      readonly key: string;
      readonly value: Uint8Array;
    }
  | StoredInput;

export type DtlsOutput =
  | DatagramEvent
  /** Application data. `fresh` false: it may have been received before a crash already; obey nothing before Echo. */
  | {
      readonly type: "received";
      readonly session: SessionId;
      readonly bytes: Uint8Array;
      readonly fresh: boolean;
    }
  | {
      readonly type: "opened";
      readonly session: SessionId;
      readonly identity: Identity;
      readonly how: "full" | "resumed" | "restored";
      /** The identity has another association, which goes on until this one is settled (`DtlsServerOptions.guests`). */
      readonly guest?: boolean;
    }
  | { readonly type: "moved"; readonly session: SessionId; readonly validated: boolean }
  | { readonly type: "validated"; readonly session: SessionId }
  | { readonly type: "closed"; readonly session: SessionId; readonly why: string }
  | HandshakeFailure
  /** A client's handshake has gone silent at a point that says something; it goes on. */
  | { readonly type: "stalled"; readonly why: string }
  | { readonly type: "lookup"; readonly id: number; readonly lookup: Lookup }
  /** One line for SSLKEYLOGFILE; only where the debug switch is on. */
  | { readonly type: "keyLog"; readonly line: string }
  | StoreOutput;

/** A handshake that came to nothing. For our own side alone: the peer is told less (RFC 4279 2: no oracle). */
export type HandshakeFailure = {
  readonly type: "failed";
  readonly path: Path;
  readonly why: string;
  readonly reason: FailureReason;
  /** Whom the peer claims to be; not proven. */
  readonly claimed: Identity;
};

/**
 * - `unknownIdentity`: nobody has the PSK identity that the peer gave.
 * - `wrongKey`: somebody has it, and what the peer sent under its key cannot be opened with ours.
 * - `notAdmitted`: its public key or certificate is none of those that may in.
 * - `noAnswer`: the peer fell silent.
 * - `alert`: the peer ended it.
 * - `protocol`: it does not fit together, or breaks a rule.
 */
export type FailureReason =
  | "unknownIdentity"
  | "wrongKey"
  | "notAdmitted"
  | "noAnswer"
  | "alert"
  | "protocol";

/** Names of the tables in the store. */
export const TABLES = {
  association: "dtls.association",
  session: "dtls.session",
  ticketKeys: "dtls.ticketKeys",
} as const;

/** Seals what goes to the store and opens what comes from it; `open` gives undefined for what was altered. */
export type Sealer = {
  seal(plain: Uint8Array): Uint8Array;
  open(sealed: Uint8Array): Uint8Array | undefined;
};
