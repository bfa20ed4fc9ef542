import { hex, toHex, type Instant, type Rng } from "@godwit/base";
import { oscore, oscoreProtection } from "@godwit/client";
import type { ClientDtlsOptions, ClientStackOptions, Credential, DtlsRow } from "@godwit/lwm2m";
import { OSCORE_RECORD } from "@godwit/client";

/** The ways in which a device and its server keep their session. */
export const STRATEGIES = ["udp", "queue", "resume", "cid", "oscore", "oscore-b2"] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** A credential has a new secret each time it is replaced. */
export type KeyVersion = number;

export function isDtls(strategy: Strategy): boolean {
  return strategy === "resume" || strategy === "cid";
}

export function isOscore(strategy: Strategy): boolean {
  return strategy === "oscore" || strategy === "oscore-b2";
}

/** Proves nothing: it may come in where NoSec is on and its endpoint has no credential. */
export function isOpen(strategy: Strategy): boolean {
  return strategy === "udp" || strategy === "queue";
}

/** What the operator gives the server for the device. A device that proves nothing would need a key that it does not have. */
export function credentialOf(strategy: Strategy, version: KeyVersion): Credential {
  const endpoint = strategy;
  if (!isOscore(strategy)) {
    return { kind: "psk", endpoint, identity: endpoint, key: keyOf(strategy, version) };
  }
  return {
    kind: "oscore",
    endpoint,
    senderId: SERVER_ID,
    recipientId: idOf(strategy),
    masterSecret: keyOf(strategy, version),
    masterSalt: undefined,
    idContext: undefined,
    aead: undefined,
    hkdf: undefined,
    derivation: strategy === "oscore" ? "both" : "negotiated",
  };
}

/** What makes the stack of a device one of this strategy. `rows`: what its disk has. */
export function securityOf(
  strategy: Strategy,
  { version, rows, rng, now }: DeviceSecurity,
): Pick<ClientStackOptions, "protection" | "dtls" | "keepAlive" | "queueMode"> & {
  readonly emptyToken: boolean;
} {
  switch (strategy) {
    case "udp":
      return { keepAlive: 25, emptyToken: false };
    case "queue":
      return { queueMode: true, emptyToken: false };
    case "resume":
    case "cid":
      return { dtls: dtlsOf(strategy, version, rows), emptyToken: false };
    case "oscore":
    case "oscore-b2": {
      const security = oscore({
        senderId: toHex(idOf(strategy)),
        recipientId: toHex(SERVER_ID),
        masterSecret: toHex(keyOf(strategy, version)),
        derivation: strategy === "oscore" ? "both" : "negotiated",
      });
      const record = rows.find(
        ({ table, key }) => table === OSCORE_RECORD.table && key === OSCORE_RECORD.key,
      )?.value;
      const tuning = { firstStride: OSCORE_STRIDE, maxStride: OSCORE_STRIDE };
      const protection = oscoreProtection(security, rng, record, now, tuning);
      return { protection, emptyToken: true };
    }
  }
}

export type DeviceSecurity = {
  readonly version: KeyVersion;
  readonly rows: readonly DtlsRow[];
  readonly rng: Rng;
  readonly now: Instant;
};

function dtlsOf(
  strategy: Strategy,
  version: KeyVersion,
  rows: readonly DtlsRow[],
): ClientDtlsOptions {
  return {
    credentials: { kind: "psk", identity: strategy, key: keyOf(strategy, version) },
    ...(strategy === "cid" && { connectionId: new Uint8Array(0) }),
    tuning: { stride: DTLS_STRIDE },
    sealer: UNSEALED,
    stored: rows.filter(({ table }) => table !== OSCORE_RECORD.table),
    freshSocket: true,
  };
}

function keyOf(strategy: Strategy, version: KeyVersion): Uint8Array {
  const n = STRATEGIES.indexOf(strategy);
  return Uint8Array.from({ length: 16 }, (_, at) => (at * 7 + n * 31 + version * 57) & 0xff);
}

function idOf(strategy: Strategy): Uint8Array {
  return Uint8Array.of(0x40 + STRATEGIES.indexOf(strategy));
}

/** The device's disk is read by nobody here. */
const UNSEALED = {
  seal: (plain: Uint8Array) => plain.slice(),
  open: (sealed: Uint8Array) => sealed.slice(),
};
const SERVER_ID = hex("53");
/** Short ones, so that a device put back to an old copy of its state meets numbers that it has used. */
export const DTLS_STRIDE = 8;
export const OSCORE_STRIDE = 8;
