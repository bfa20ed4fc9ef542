import {
  UsageError,
  bytes,
  either,
  finite,
  flag,
  list,
  oneOf,
  record,
  required,
  text,
  tuningLike,
  whole,
  withMethods,
  type Rule,
  type Rules,
  type StoreChange,
} from "@godwit/base";
import { coapTuning, type CoapTuning } from "@godwit/coap";
import type { Clock, Store } from "@godwit/io";
import {
  plainRule,
  serverTuning,
  type Credential,
  type CredentialSealer,
  type ServerDtlsOptions,
  type ServerTuning,
} from "@godwit/lwm2m";

export type ServerOptions = {
  /** Where plain CoAP listens, "host:port"; a wildcard host binds every address of this machine by itself. */
  readonly coap?: string;
  /** Where CoAP over DTLS listens, "host:port". Devices come in by the credentials that were added. */
  readonly coaps?: string;
  /**
   * Settings of DTLS: what the server shows to devices that come by public key or certificate, and whom it trusts. Shows the
   * bare public key, or a self-signed certificate, of a key of its own unless `certificates` are given: made at the first
   * start, kept sealed in the store.
   */
  readonly dtls?: Omit<ServerDtlsOptions, "port">;
  /** Accept devices that prove nothing. Off unless switched on. */
  readonly nosec?: boolean;
  /** Where promises are kept; without one they last as long as the process. `close` closes it. */
  readonly store?: Store;
  /** Goes with the store: deadlines in it are this clock's. */
  readonly clock?: Clock;
  /** Encrypts credentials in the store; without it none can be added. A `MasterKey` is one. */
  readonly sealer?: CredentialSealer;
  /** The store was found to be older than it was; see `Data` of the data directory. */
  readonly rolledBack?: { readonly settled: StoreChange };
  readonly tuning?: Partial<ServerTuning>;
  readonly coapTuning?: Partial<CoapTuning>;
};

/** Of every call that waits. */
export type WaitOptions = {
  /** Ends the wait: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
};

export type OrderOptions = WaitOptions & {
  /** How long an order may wait for its device, in ms; 24 hours unless given, at most a year. */
  readonly expires?: number;
  /** Of observe and cancelObserve by `Server.order`: who wants it. An observation ends with its last owner. */
  readonly owner?: string;
};

/**
 * Attributes of an observation (OMA TS Core 5.1.2); seconds for pmin and pmax. They belong to the path: while a loop runs
 * that named some, another one may name the same or none.
 */
export type ObserveOptions = OrderOptions & {
  readonly pmin?: number;
  readonly pmax?: number;
  readonly gt?: number;
  readonly lt?: number;
  readonly st?: number;
};

export type WriteOptions = OrderOptions & { readonly mode?: "replace" | "update" };

const ADDRESS: Rule = { ...text(1, 300), wanted: 'text, HOST:PORT, such as "127.0.0.1:5683"' };
const SIGNAL: Rule = withMethods("an AbortSignal", "addEventListener", "removeEventListener");
const YEAR = 365 * 24 * 3_600_000;
const LONGEST_PERIOD = 0xffff_ffff;

export const SERVER_RULES: Rules<ServerOptions> = {
  coap: ADDRESS,
  coaps: ADDRESS,
  dtls: record<Omit<ServerDtlsOptions, "port">>({
    certificates: list({ wanted: "made by shown(…)", fits: isObject }),
    anchors: list(bytes),
    tuning: { wanted: "an object", fits: isObject },
    suites: list({ wanted: "a suite", fits: isObject }),
    nodeId: whole(0, 255),
    tickets: flag,
    wall: { wanted: "a function", fits: (value) => typeof value === "function" },
    keyLog: flag,
  }),
  nosec: flag,
  store: withMethods("a store", "load", "write", "flush", "close"),
  clock: withMethods("a clock", "now", "wall", "toWall"),
  sealer: withMethods("a MasterKey", "seal", "open"),
  rolledBack: { wanted: "an object", fits: isObject },
  tuning: tuningLike(serverTuning),
  coapTuning: tuningLike(coapTuning()),
};

export const WAIT_RULES: Rules<WaitOptions> = { signal: SIGNAL };

export const ORDER_RULES: Rules<OrderOptions> = {
  ...WAIT_RULES,
  expires: whole(1, YEAR, "ms"),
  owner: text(1, 255),
};

export const WRITE_RULES: Rules<WriteOptions> = {
  ...ORDER_RULES,
  mode: oneOf("replace", "update"),
};

export const OBSERVE_RULES: Rules<ObserveOptions> = {
  ...ORDER_RULES,
  pmin: whole(0, LONGEST_PERIOD, "s"),
  pmax: whole(0, LONGEST_PERIOD, "s"),
  gt: finite(),
  lt: finite(),
  st: {
    wanted: "a finite number above 0",
    fits: (value) => Number.isFinite(value) && Number(value) > 0,
  },
};

/** Of several resources by id. */
export const VALUES: Rule = {
  wanted: `values by resource id, each ${plainRule.wanted}`,
  fits: (value) =>
    isObject(value) &&
    !Array.isArray(value) &&
    Object.values(value).every((one) => plainRule.fits(one)),
};
export const ONE_OR_MORE_VALUES: Rule = either(plainRule, VALUES);

export const ENDPOINT: Rule = text(1, 255);

type RulesOf<C> = Rules<Record<keyof C & string, unknown>>;
type Kinds = { readonly [K in Credential["kind"]]: Rules<Record<string, unknown>> };

const NAMED = { kind: required(text(1, 10)), endpoint: required(ENDPOINT) };
const BYTES: Rule = { ...bytes, secret: true };
const PSK: RulesOf<Extract<Credential, { kind: "psk" }>> = {
  ...NAMED,
  identity: required(text(1, 128)),
  key: required(BYTES),
};
const OSCORE: RulesOf<Extract<Credential, { kind: "oscore" }>> = {
  ...NAMED,
  senderId: required(BYTES),
  recipientId: required(BYTES),
  masterSecret: required(BYTES),
  masterSalt: BYTES,
  idContext: BYTES,
  aead: whole(0, 65_535),
  hkdf: oneOf("sha256", "sha384", "sha512"),
  derivation: required(oneOf("fixed", "negotiated", "both")),
};

/** The fields of a credential by its kind. */
export const CREDENTIAL_RULES: Kinds = {
  psk: PSK,
  oscore: OSCORE,
  rpk: { ...NAMED, spki: required(bytes) },
  x509: { ...NAMED, name: text(1, 128), fingerprint: bytes },
};

/** "127.0.0.1:5683", "[::1]:5683". `option`: what it was given as. @throws UsageError */
export function parseAddress(
  text: string,
  option?: string,
): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.%\w]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new UsageError(
      `${option === undefined ? "" : `${option}: `}"${text}" is no address: write HOST:PORT, such as 127.0.0.1:5683 or [::]:5683`,
      "INVALID_OPTION",
    );
  }
  return { host: match[1] ?? match[2]!, port }; // one of the two matched
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
