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
    }
  | { readonly type: "moved"; readonly session: SessionId; readonly validated: boolean }
  | { readonly type: "validated"; readonly session: SessionId }
  | { readonly type: "closed"; readonly session: SessionId; readonly why: string }
  /** A handshake that came to nothing. `kept`: how many from there, for such a reason, were not told of since the last. */
  | { readonly type: "failed"; readonly path: Path; readonly why: string; readonly kept: number }
  | { readonly type: "lookup"; readonly id: number; readonly lookup: Lookup }
  /** One line for SSLKEYLOGFILE; only where the debug switch is on. */
  | { readonly type: "keyLog"; readonly line: string }
  | StoreOutput;

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
