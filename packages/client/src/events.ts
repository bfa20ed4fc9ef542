import type { LedgerSnapshot } from "@godwit/base";
import type { ClientEvent, Operation } from "@godwit/lwm2m";
import type { FaultSource } from "./faults.ts";

export type DeviceEvents = {
  readonly [E in ClientEvent as E["type"]]: E;
} & {
  /** The server wrote this resource. */
  readonly written: { readonly path: string };
  /** An operation of the server was answered. */
  readonly performed: {
    readonly operation: Operation["type"];
    readonly path: string;
    /** Whether it was done; else it was refused. */
    readonly success: boolean;
  };
  /**
   * A function of a resource, a listener, the store or the network failed. A resource's: the server was told 5.00, or 5.04
   * where it took too long, and `path` says which.
   */
  readonly fault: {
    readonly fault: Error;
    readonly source: FaultSource;
    readonly path: string | undefined;
  };
  /** Something that whoever runs the device may want to know, in a sentence: of files that were damaged, for one. */
  readonly note: { readonly text: string };
  /** What the session has cost so far; after each handshake, registration, Update and de-registration. */
  readonly session: SessionView;
  /** A handshake of DTLS came to nothing; the next try is at `retryAt`, or when there is something to send. */
  readonly handshakeFailed: { readonly why: string; readonly retryAt: number | undefined };
  /** The server has gone silent at a point of the handshake that says something: after our key, say. It goes on. */
  readonly handshakeStalled: { readonly why: string };
  /** A line for SSLKEYLOGFILE: with it anybody can read what was recorded. Only where `keyLog` is on. */
  readonly keyLog: { readonly line: string };
  /** A session of DTLS is open: after a handshake, or with the one that was kept. */
  readonly secured: { readonly how: "full" | "resumed" | "kept" };
};

export type SessionView = {
  readonly kind: "udp" | "oscore" | "dtls";
  readonly bytes: { readonly in: number; readonly out: number; readonly total: number };
  readonly handshakes: { readonly full: number; readonly resumed: number };
  readonly ledger: LedgerSnapshot;
};

/** Every event there is. */
export const DEVICE_EVENTS: Readonly<Record<keyof DeviceEvents, true>> = {
  registered: true,
  updated: true,
  deregistered: true,
  refused: true,
  unreachable: true,
  exhausted: true,
  keepAlive: true,
  asleep: true,
  awake: true,
  observation: true,
  stateChanged: true,
  written: true,
  note: true,
  performed: true,
  fault: true,
  session: true,
  handshakeFailed: true,
  handshakeStalled: true,
  keyLog: true,
  secured: true,
};
