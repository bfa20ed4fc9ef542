import {
  either,
  finite,
  flag,
  ofKind,
  oneOf,
  required,
  text,
  tuningLike,
  whole,
  withMethods,
  type Rule,
  type Rules,
} from "@godwit/base";
import {
  LWM2M_VERSIONS,
  MAX_LIFETIME,
  SHORTEST_KEEP_ALIVE,
  clientTuning,
  type ClientTuning,
  type KeepAliveStrategy,
  type Lwm2mVersion,
} from "@godwit/lwm2m";
import type { DeviceStore } from "./device-store.ts";
import type { Security } from "./security.ts";
import { deviceLimits, type DeviceLimits } from "./tuning.ts";

export type DeviceOptions = {
  /** The endpoint name. */
  readonly endpoint: string;
  /** "coap://host[:port]"; "coaps://host[:port]" with a key or certificate. */
  readonly server: string;
  /** How it proves who it is, see `psk`, `rpk`, `x509` and `oscore`; without it the server must take devices that do not. */
  readonly security?: Security;
  /**
   * How a session of DTLS outlives the NAT's memory. "cid" (the default): by Connection ID (RFC 9146), at no cost; servers
   * without it do as with "resume": after some silence the session is resumed by an abbreviated handshake.
   */
  readonly strategy?: "cid" | "resume";
  /** s; 86 400 unless given. */
  readonly lifetime?: number;
  /** Sleeps between its messages: the server waits for them. */
  readonly queueMode?: boolean;
  /** "off" (the default), seconds (at least 15), or "auto": learns how long the NAT remembers. */
  readonly keepAlive?: KeepAliveStrategy;
  /** Tried first; "1.1" unless given. */
  readonly lwm2m?: Lwm2mVersion;
  /** What outlives a restart; see `fileStore`. */
  readonly store?: DeviceStore;
  /** For debugging only: `keyLog` events tell the keys of each session of DTLS, by which anybody can read all. */
  readonly keyLog?: boolean;
  readonly tuning?: Partial<ClientTuning>;
  /** How long functions of resources, and the store, may take. */
  readonly limits?: Partial<DeviceLimits>;
};

export type StopOptions = {
  /** Takes leave of the server; true unless given. False: falls silent and keeps its registration for the next start. */
  readonly deregister?: boolean;
  /** How long the server's answer is waited for, in ms; 3 000 unless given. */
  readonly patience?: number;
};

export type StartOptions = {
  /** Ends the start: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
};

export const ENDPOINT: Rule = text(1, 255);

export const DEVICE_RULES: Rules<DeviceOptions> = {
  endpoint: required(ENDPOINT),
  server: required({ ...text(1, 300), wanted: 'text such as "coap://lwm2m.example.com"' }),
  security: ofKind("made by psk(…), rpk(…), x509(…) or oscore(…)", "psk", "rpk", "x509", "oscore"),
  strategy: oneOf("cid", "resume"),
  lifetime: whole(0, MAX_LIFETIME, "s"),
  queueMode: flag,
  keepAlive: either(oneOf("off", "auto"), finite(SHORTEST_KEEP_ALIVE)),
  lwm2m: oneOf(...LWM2M_VERSIONS),
  store: withMethods("made by fileStore(…)", "load", "save", "records"),
  keyLog: flag,
  tuning: tuningLike(clientTuning),
  limits: tuningLike(deviceLimits),
};

export const START_RULES: Rules<StartOptions> = {
  signal: withMethods("an AbortSignal", "addEventListener", "removeEventListener"),
};

export const STOP_RULES: Rules<StopOptions> = { deregister: flag, patience: finite(0) };

/** A key or certificate as text or bytes. */
export const MATERIAL: Rule = {
  wanted: "PEM, hex or base64 text, or bytes (DER)",
  fits: (value) => typeof value === "string" || value instanceof Uint8Array,
  secret: true,
};
