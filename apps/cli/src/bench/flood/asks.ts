import type { Known } from "./sort.ts";

/** The server under test, on 127.0.0.1. */
export type Ports = { readonly coap: number; readonly coaps: number };

/** What the process with the devices, and the one with the strangers, are asked. */
export type FloodAsk =
  /** Devices that come by a handshake each, and register. */
  | { readonly type: "come"; readonly ports: Ports; readonly devices: number }
  /** They send their Updates at this pace, all together, for so long. */
  | { readonly type: "update"; readonly seconds: number; readonly perSecond: number }
  /** One exchange after the other, to know what it costs the server. */
  | {
      readonly type: "exchange";
      readonly what: "ping over CID" | "resumed handshake" | "OSCORE GET";
      readonly seconds: number;
    }
  /** A device that has not been there before: handshake and registration. */
  | { readonly type: "newcomer"; readonly n: number; readonly seconds: number }
  /** Strangers get their sockets, and what they know. */
  | {
      readonly type: "gather";
      readonly ports: Ports;
      readonly known: Known;
      readonly sources: number;
      readonly hostPorts: number;
    }
  /** They send one sort. */
  | {
      readonly type: "flood";
      readonly sort: string;
      readonly seconds: number;
      readonly perSecond: number;
    };

export type FloodAnswer = {
  readonly come: { readonly devices: number; readonly cids: readonly Uint8Array[] };
  readonly update: Updates;
  readonly exchange: { readonly completed: number };
  /** ms until it was registered; undefined: it was not in the time it had. */
  readonly newcomer: { readonly ms: number | undefined };
  readonly gather: { readonly sources: number; readonly hostPorts: number };
  readonly flood: Flooded;
};

export type Updates = {
  /** Updates that were due. */
  readonly due: number;
  /** Answered without a retransmission. */
  readonly atOnce: number;
  /** Answered at all, with the retransmissions that CoAP has. */
  readonly answered: number;
  /** ms */
  readonly p50: number;
  readonly p99: number;
};

export type Flooded = {
  /** Datagrams that left. */
  readonly sent: number;
  /** s */
  readonly elapsed: number;
  /** s of processor time of the process that sent them. */
  readonly cpu: number;
};

/** What the server is told of the `n`-th device, by the identity that it shows. */
export function identityOf(n: number): string {
  return `cid-${n}`;
}

/** Every device has the same key: nothing is kept secret by it. */
export const KEY: Uint8Array = new TextEncoder().encode("bench-secret-key");
/** Numbers of the two OSCORE credentials: keys from the start, and keys by Appendix B.2. */
export const FIXED = 1;
export const NEGOTIATED = 2;
