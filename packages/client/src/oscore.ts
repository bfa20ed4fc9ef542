import {
  UsageError,
  checkOptions,
  hex,
  oneOf,
  required,
  whole,
  type Instant,
  type Rng,
  type Rule,
  type Rules,
} from "@godwit/base";
import { FIRST_PROTECTED_SESSION, type ClientStackOptions } from "@godwit/lwm2m";
import {
  KeySource,
  OSCORE_TABLE,
  OscoreLayer,
  oscoreTuning,
  type Credential,
  type InputParameters,
  type OscoreTuning,
} from "@godwit/oscore";
import type { DtlsSecurity } from "./security.ts";

/** An OSCORE credential as the device has it; ids and secrets in hex. */
export type OscoreOptions = {
  /** The device's id, which is the server's Recipient ID; 0 to 7 bytes. */
  readonly senderId: string;
  /** The server's id. */
  readonly recipientId: string;
  readonly masterSecret: string;
  readonly masterSalt?: string;
  readonly idContext?: string;
  /** COSE value; 10 (AES-CCM-16-64-128) unless given. */
  readonly aead?: number;
  /** SHA-256 unless given. */
  readonly hkdf?: "sha256" | "sha384" | "sha512";
  /**
   * `negotiated` (the default): new keys by RFC 8613 Appendix B.2 at first use. `fixed`: the credential's own context, for
   * servers without B.2; `both`: begins with that one. The last two need a store.
   */
  readonly derivation?: "fixed" | "negotiated" | "both";
};

/** Keys for OSCORE; see `oscore`. */
export type OscoreSecurity = {
  readonly kind: "oscore";
  readonly credential: Credential;
  /** What it travels in, on "coaps://". */
  readonly inside?: DtlsSecurity;
};

/**
 * OSCORE (RFC 8613): protected without a handshake, on "coap://" as it is. With `inside`, such as `psk(…)`, on "coaps://":
 * whoever ends DTLS, a proxy perhaps, reads nothing of it.
 *
 * @throws UsageError for a credential that cannot be
 */
export function oscore(options: OscoreOptions, inside?: DtlsSecurity): OscoreSecurity {
  checkOptions("oscore()", options, OSCORE_RULES);
  const { masterSalt, idContext, aead, hkdf, derivation = "negotiated" } = options;
  const input: InputParameters = {
    senderId: bytes("senderId", options.senderId),
    recipientId: bytes("recipientId", options.recipientId),
    masterSecret: bytes("masterSecret", options.masterSecret),
    ...(masterSalt === undefined ? {} : { masterSalt: bytes("masterSalt", masterSalt) }),
    ...(idContext === undefined ? {} : { idContext: bytes("idContext", idContext) }),
    ...(aead === undefined ? {} : { aead }),
    ...(hkdf === undefined ? {} : { hkdf }),
  };
  void new KeySource(input); // names what cannot be
  const credential: Credential = { input, derivation, initiates: true };
  return { kind: "oscore", credential, ...(inside === undefined ? {} : { inside }) };
}

/**
 * {@link oscore} from JSON that somebody wrote.
 *
 * @throws UsageError that names what is missing, unknown or of the wrong type
 */
export function parseOscore(json: unknown): OscoreSecurity {
  checkOptions("an OSCORE credential", json, OSCORE_RULES);
  return oscore(json);
}

/** What a device's stack takes as `protection`. `record`: what the store has from an earlier run. */
export function oscoreProtection(
  { credential }: OscoreSecurity,
  rng: Rng,
  record: Uint8Array | undefined,
  now: Instant,
  tuning: Partial<OscoreTuning> = {},
): NonNullable<ClientStackOptions["protection"]> {
  const layer = new OscoreLayer(oscoreTuning(tuning), rng);
  const session = FIRST_PROTECTED_SESSION;
  if (record === undefined) layer.handle({ type: "add", session, credential }, now);
  else layer.handle({ type: "restore", session, credential, record, trusted: true }, now);
  return { layer, session };
}

/** Where the device's store has the record of its OSCORE context. */
export const OSCORE_RECORD: { readonly table: string; readonly key: string } = {
  table: OSCORE_TABLE,
  key: String(FIRST_PROTECTED_SESSION),
};

const HEX: Rule = {
  wanted: "text, hex digits",
  fits: (value) => typeof value === "string",
  secret: true,
};
const OSCORE_RULES: Rules<OscoreOptions> = {
  senderId: required(HEX),
  recipientId: required(HEX),
  masterSecret: required(HEX),
  masterSalt: HEX,
  idContext: HEX,
  aead: whole(-65_536, 65_535),
  hkdf: oneOf("sha256", "sha384", "sha512"),
  derivation: oneOf("fixed", "negotiated", "both"),
};

function bytes(name: string, text: string): Uint8Array {
  try {
    return hex(text);
  } catch {
    throw new UsageError(`${name} is no hex`);
  }
}
