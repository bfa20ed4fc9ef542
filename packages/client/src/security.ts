import { UsageError, check, hex, utf8 } from "@godwit/base";

import type { CertificateSecurity } from "./certificates.ts";
import { MATERIAL } from "./options.ts";
import type { OscoreSecurity } from "./oscore.ts";

/** How a device proves who it is; see `psk`, `rpk`, `x509` and `oscore`. */
export type Security = OscoreSecurity | DtlsSecurity;

/** Those of "coaps://". */
export type DtlsSecurity = PskSecurity | CertificateSecurity;

export type PskSecurity = {
  readonly kind: "psk";
  readonly identity: string;
  readonly key: Uint8Array;
};

/** A pre-shared key, for DTLS on "coaps://": `key` as bytes or in hex, 8 to 64 bytes. @throws UsageError that says what is wrong with it */
export function psk(identity: string, key: string | Uint8Array): PskSecurity {
  if (typeof identity !== "string") throw new UsageError("a PSK identity is text");
  check("psk()", "key", key, MATERIAL);
  const length = utf8(identity).length;
  if (length < 1 || length > MAX_IDENTITY) {
    throw new UsageError(`a PSK identity has 1 to ${MAX_IDENTITY} bytes, this one has ${length}`);
  }
  const bytes = typeof key === "string" ? hexKey(key) : key;
  if (bytes.length < MIN_KEY || bytes.length > MAX_KEY) {
    throw new UsageError(`a PSK has ${MIN_KEY} to ${MAX_KEY} bytes, this one has ${bytes.length}`);
  }
  return { kind: "psk", identity, key: bytes };
}

function hexKey(text: string): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/i.test(text)) throw new UsageError("a PSK is written in hex digits");
  return hex(text);
}

const MAX_IDENTITY = 128;
const MIN_KEY = 8;
const MAX_KEY = 64;
