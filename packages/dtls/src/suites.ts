/** How a record is protected. Lengths in bytes; `tag` is the MAC's length for CBC. */
export type CipherSpec = {
  readonly kind: "ccm" | "gcm" | "cbc";
  readonly key: 16 | 32;
  /** The fixed part of the nonce; 0 for CBC. */
  readonly salt: 4 | 0;
  readonly tag: 8 | 16 | 32;
  /** The MAC key; 0 for AEADs. */
  readonly mac: 0 | 32;
};

/** How the premaster secret comes to be, and who proves what. */
export type KeyExchange = "psk" | "ecdhePsk" | "ecdheEcdsa";

export type Suite = {
  readonly id: number;
  readonly name: string;
  readonly exchange: KeyExchange;
  readonly cipher: CipherSpec;
};

/** The suite of that number, if this stack has it. */
export function suiteOf(id: number): Suite | undefined {
  return BY_ID.get(id);
}

/** Bytes of key material for one direction. */
export function keyLength(cipher: CipherSpec): number {
  return cipher.mac + cipher.key + cipher.salt;
}

/** Whether the cipher needs encrypt-then-MAC to be safe (RFC 7366): we speak CBC in no other way. */
export function needsEncryptThenMac(cipher: CipherSpec): boolean {
  return cipher.kind === "cbc";
}

const CCM_8: CipherSpec = { kind: "ccm", key: 16, salt: 4, tag: 8, mac: 0 };
const CCM: CipherSpec = { kind: "ccm", key: 16, salt: 4, tag: 16, mac: 0 };
const CCM_8_256: CipherSpec = { kind: "ccm", key: 32, salt: 4, tag: 8, mac: 0 };
const GCM: CipherSpec = { kind: "gcm", key: 16, salt: 4, tag: 16, mac: 0 };
const CBC_SHA256: CipherSpec = { kind: "cbc", key: 16, salt: 0, tag: 32, mac: 32 };

/**
 * Every suite of this stack, the smallest records and the cheapest handshake first: the default order of preference.
 * RFC 6655, 7251, 5487, 5489, 8442 and the IANA registry for D003.
 */
export const SUITES: readonly Suite[] = [
  { id: 0xc0a8, name: "TLS_PSK_WITH_AES_128_CCM_8", exchange: "psk", cipher: CCM_8 },
  { id: 0xc0a9, name: "TLS_PSK_WITH_AES_256_CCM_8", exchange: "psk", cipher: CCM_8_256 },
  { id: 0xc0a4, name: "TLS_PSK_WITH_AES_128_CCM", exchange: "psk", cipher: CCM },
  { id: 0x00a8, name: "TLS_PSK_WITH_AES_128_GCM_SHA256", exchange: "psk", cipher: GCM },
  {
    id: 0xd003,
    name: "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256",
    exchange: "ecdhePsk",
    cipher: CCM_8,
  },
  { id: 0xd005, name: "TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256", exchange: "ecdhePsk", cipher: CCM },
  { id: 0xd001, name: "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256", exchange: "ecdhePsk", cipher: GCM },
  { id: 0xc0ae, name: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", exchange: "ecdheEcdsa", cipher: CCM_8 },
  { id: 0xc0ac, name: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", exchange: "ecdheEcdsa", cipher: CCM },
  {
    id: 0xc02b,
    name: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    exchange: "ecdheEcdsa",
    cipher: GCM,
  },
  { id: 0x00ae, name: "TLS_PSK_WITH_AES_128_CBC_SHA256", exchange: "psk", cipher: CBC_SHA256 },
];

const BY_ID: ReadonlyMap<number, Suite> = new Map(SUITES.map((suite) => [suite.id, suite]));
