import {
  type KeyObject,
  type PrivateKeyInput,
  X509Certificate,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  sign as nodeSign,
  verify as nodeVerify,
} from "node:crypto";
import { FormatError, HmacSha256, type Rng, concat, sha256, toHex } from "@godwit/base";
import { type CertificateTraits, readTraits } from "./certificate-traits.ts";
import { Group } from "./codes.ts";
import type { CipherSpec } from "./suites.ts";

/** The one door to the system's cryptography. Everything is synchronous and takes its keys and its chance as arguments. */

/** For records; handshakes have many short texts, for which `HmacSha256` is faster. */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac("sha256", key);
  for (const part of parts) mac.update(part);
  return mac.digest();
}

/** PRF of TLS 1.2 with SHA-256: P_SHA256(secret, label + seed) (RFC 5246 5). */
export function prf(
  secret: Uint8Array,
  label: Uint8Array,
  seed: Uint8Array,
  length: number,
): Uint8Array {
  const mac = new HmacSha256(secret);
  const out = new Uint8Array(length);
  let a = mac.of(label, seed);
  for (let at = 0; at < length; at += 32) {
    const block = mac.of(a, label, seed);
    const left = Math.min(32, length - at);
    for (let i = 0; i < left; i++) out[at + i] = block[i]!; // 32 bytes
    block.fill(0);
    if (at + 32 < length) a = mac.of(a);
  }
  mac.wipe();
  return out;
}

/** Encrypts into `out` at `at`: ciphertext, then tag. */
export function aeadSeal(
  cipher: CipherSpec,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
  out: Uint8Array,
  at: number,
): void {
  if (cipher.kind === "gcm") {
    const gcm = createCipheriv(cipher.key === 16 ? "aes-128-gcm" : "aes-256-gcm", key, nonce, {
      authTagLength: cipher.tag,
    });
    gcm.setAAD(aad);
    out.set(gcm.update(plaintext), at);
    gcm.final();
    out.set(gcm.getAuthTag(), at + plaintext.length);
    return;
  }
  const ccm = createCipheriv(cipher.key === 16 ? "aes-128-ccm" : "aes-256-ccm", key, nonce, {
    authTagLength: cipher.tag,
  });
  ccm.setAAD(aad, { plaintextLength: plaintext.length });
  out.set(ccm.update(plaintext), at);
  ccm.final();
  out.set(ccm.getAuthTag(), at + plaintext.length);
}

/** The plaintext, or undefined where the tag does not verify. `sealed`: ciphertext and tag, at least the tag's length. */
export function aeadOpen(
  cipher: CipherSpec,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const length = sealed.length - cipher.tag;
  const tag = sealed.subarray(length);
  try {
    if (cipher.kind === "gcm") {
      const gcm = createDecipheriv(cipher.key === 16 ? "aes-128-gcm" : "aes-256-gcm", key, nonce, {
        authTagLength: cipher.tag,
      });
      gcm.setAAD(aad);
      gcm.setAuthTag(tag);
      const plaintext = gcm.update(sealed.subarray(0, length));
      gcm.final();
      return plaintext;
    }
    const ccm = createDecipheriv(cipher.key === 16 ? "aes-128-ccm" : "aes-256-ccm", key, nonce, {
      authTagLength: cipher.tag,
    });
    ccm.setAuthTag(tag);
    ccm.setAAD(aad, { plaintextLength: length });
    const plaintext = ccm.update(sealed.subarray(0, length));
    ccm.final();
    return plaintext;
  } catch {
    return undefined; // node:crypto says "does not verify" by throwing
  }
}

/** AES-128-CBC over whole blocks: the caller pads. */
export function cbcEncrypt(key: Uint8Array, iv: Uint8Array, blocks: Uint8Array): Uint8Array {
  const cbc = createCipheriv("aes-128-cbc", key, iv).setAutoPadding(false);
  const out = cbc.update(blocks);
  cbc.final();
  return out;
}

export function cbcDecrypt(key: Uint8Array, iv: Uint8Array, blocks: Uint8Array): Uint8Array {
  const cbc = createDecipheriv("aes-128-cbc", key, iv).setAutoPadding(false);
  const out = cbc.update(blocks);
  cbc.final();
  return out;
}

/** AES-256-GCM for what we keep or hand out ourselves (tickets). */
export function wrap(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const out = new Uint8Array(plaintext.length + WRAP.tag);
  aeadSeal(WRAP, key, nonce, new Uint8Array(0), plaintext, out, 0);
  return out;
}

export function unwrap(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.length < WRAP.tag) return undefined;
  return aeadOpen(WRAP, key, nonce, new Uint8Array(0), sealed);
}

/** Our half of an ephemeral key agreement. */
export type Ephemeral = {
  readonly group: number;
  readonly publicKey: Uint8Array;
  /** The shared secret; throws FormatError for a point that is none or gives none. */
  agree(peer: Uint8Array): Uint8Array;
};

export function ephemeral(group: number, rng: Rng): Ephemeral {
  return group === Group.x25519 ? x25519(rng) : p256(rng);
}

function p256(rng: Rng): Ephemeral {
  const ecdh = createECDH("prime256v1");
  for (;;) {
    try {
      ecdh.setPrivateKey(rng.bytes(32));
      break;
    } catch {
      continue; // 0 or beyond the order: one chance in 2^32
    }
  }
  return {
    group: Group.secp256r1,
    publicKey: ecdh.getPublicKey(),
    agree(peer) {
      // RFC 8422 5.4.1: the uncompressed form only.
      if (peer.length !== 65 || peer[0] !== 4) throw new FormatError("point is not uncompressed");
      try {
        return ecdh.computeSecret(peer);
      } catch {
        throw new FormatError("point is not on the curve");
      }
    },
  };
}

function x25519(rng: Rng): Ephemeral {
  const privateKey = createPrivateKey({
    key: der(concat(X25519_PKCS8, rng.bytes(32))),
    format: "der",
    type: "pkcs8",
  });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  return {
    group: Group.x25519,
    publicKey: spki.subarray(spki.length - 32),
    agree(peer) {
      if (peer.length !== 32) throw new FormatError("an X25519 key has 32 bytes");
      try {
        const publicKey = createPublicKey({
          key: der(concat(X25519_SPKI, peer)),
          format: "der",
          type: "spki",
        });
        return diffieHellman({ privateKey, publicKey });
      } catch {
        throw new FormatError("X25519 key gives no secret"); // the all-zero result, RFC 7748 6.1
      }
    },
  };
}

/** A private key of our own, ready to sign. */
export type SigningKey = { readonly key: KeyObject; readonly spki: Uint8Array };

/** A P-256 private key in PKCS#8 or SEC 1, DER. Throws FormatError for anything else. */
export function privateKey(bytes: Uint8Array): SigningKey {
  let key: KeyObject | undefined;
  for (const type of ["pkcs8", "sec1"] as const) {
    try {
      key ??= createPrivateKey({ key: der(bytes), format: "der", type });
    } catch {
      continue; // the other kind, or none
    }
  }
  if (key === undefined) throw new FormatError("not a private key");
  if (!isP256(key)) throw new FormatError(`only P-256 keys sign here, not ${kindOf(key)}`);
  return { key, spki: exportSpki(createPublicKey(key)) };
}

/** A new P-256 key pair from chance: PKCS#8 to keep. */
export function makeKey(rng: Rng): Uint8Array {
  for (;;) {
    try {
      return privateKey(concat(P256_SEC1, rng.bytes(32), P256_SEC1_END)).key.export({
        format: "der",
        type: "pkcs8",
      });
    } catch (fault) {
      if (!(fault instanceof FormatError)) throw fault;
      continue; // 0 or beyond the order: one chance in 2^32
    }
  }
}

/** SubjectPublicKeyInfo. */
export function exportSpki(key: KeyObject): Uint8Array {
  return key.export({ format: "der", type: "spki" });
}

/** ecdsa_secp256r1_sha256 over the parts, DER-coded as TLS wants it. */
export function signEcdsa(key: SigningKey, ...parts: readonly Uint8Array[]): Uint8Array {
  return nodeSign("sha256", concat(...parts), key.key);
}

/** Whether `signature` over the parts was made by the key in `spki`. Throws FormatError if that is no P-256 key. */
export function verifyEcdsa(
  spki: Uint8Array,
  signature: Uint8Array,
  ...parts: readonly Uint8Array[]
): boolean {
  const key = publicKey(spki);
  try {
    return nodeVerify("sha256", concat(...parts), key, signature);
  } catch {
    return false;
  }
}

/** Refuses everything but a P-256 SubjectPublicKeyInfo. */
export function publicKey(spki: Uint8Array): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: der(spki), format: "der", type: "spki" });
  } catch {
    throw new FormatError("not a SubjectPublicKeyInfo");
  }
  if (!isP256(key)) throw new FormatError(`not a P-256 key, but ${kindOf(key)}`);
  return key;
}

/** What the chain rules need to know of a certificate. */
export type ParsedCertificate = {
  readonly raw: Uint8Array;
  /** SHA-256 in lower-case hex. */
  readonly fingerprint: string;
  readonly commonName: string;
  readonly spki: Uint8Array;
  readonly isCa: boolean;
  readonly traits: CertificateTraits;
  readonly validFrom: CertificateDate;
  readonly validTo: CertificateDate;
  /** Whether it says that `issuer` issued it. */
  names(issuer: ParsedCertificate): boolean;
  signedBy(issuer: ParsedCertificate): boolean;
  matchesHost(name: string): boolean;
};

/** In ms since 1970, and as it is written. */
export type CertificateDate = { readonly at: number; readonly text: string };

/** Parses one DER certificate; throws FormatError if it is none. */
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  let x509: X509Certificate;
  let spki: Uint8Array;
  try {
    x509 = new X509Certificate(der);
    spki = x509.publicKey.export({ format: "der", type: "spki" });
  } catch {
    throw new FormatError("not an X.509 certificate, or its key is of an unknown kind");
  }
  const parsed = {
    raw: der,
    x509,
    fingerprint: toHex(sha256(der)),
    commonName: commonNameOf(x509.subject ?? ""),
    spki,
    isCa: x509.ca,
    traits: readTraits(der),
    validFrom: { at: instantOf(x509.validFrom), text: x509.validFrom },
    validTo: { at: instantOf(x509.validTo), text: x509.validTo },
    names: (issuer: ParsedCertificate) => x509.issuer === (issuer as typeof parsed).x509.subject,
    signedBy: (issuer: ParsedCertificate) => {
      try {
        return x509.verify((issuer as typeof parsed).x509.publicKey);
      } catch {
        return false; // a key that cannot have made this kind of signature
      }
    },
    matchesHost: (name: string) =>
      (/^[\d.]+$|:/.test(name) ? x509.checkIP(name) : x509.checkHost(name)) !== undefined,
  };
  return parsed;
}

/** The one CN of a subject as node:crypto prints it: a line for each attribute, control characters escaped. */
function commonNameOf(subject: string): string {
  const names = subject.split("\n").filter((line) => line.startsWith("CN="));
  if (names.length > 1) throw new FormatError("certificate with several common names");
  const name = names[0]?.slice("CN=".length) ?? "";
  if (/\\[0-9A-F]{2}/i.test(name)) throw new FormatError("common name with control characters");
  return name.replace(/\\(.)/g, "$1");
}

function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}

/** "RSA", "secp384r1": to name what was found. */
function kindOf(key: KeyObject): string {
  return key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType?.toUpperCase() ?? "another";
}

/** node:crypto takes any view here; only its types ask for a Buffer. */
function der(bytes: Uint8Array): PrivateKeyInput["key"] {
  return bytes as PrivateKeyInput["key"];
}

/** "Nov 22 18:05:00 2026 GMT" in ms since 1970: a certificate's dates as node:crypto prints them. */
function instantOf(text: string): number {
  const parts = /^(\w{3})\s+(\d+) (\d+):(\d+):(\d+) (\d+) GMT$/.exec(text);
  const month = MONTHS.indexOf(parts?.[1] ?? "");
  if (parts === null || month < 0) throw new FormatError("certificate without a date");
  const [day, hour, minute, second, year] = parts.slice(2).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const shifted = month < 2 ? year - 1 : year; // years that begin in March have their leap day last
  const leapDays =
    Math.floor(shifted / 4) - Math.floor(shifted / 100) + Math.floor(shifted / 400) - 477;
  const days = (year - 1970) * 365 + leapDays + BEFORE_MONTH[month]! + day - 1; // twelve months
  return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000;
}

const WRAP: CipherSpec = { kind: "gcm", key: 32, salt: 4, tag: 16, mac: 0 };
/** ECPrivateKey (RFC 5915 3) of P-256 without its public key: what stands before and after the 32 bytes. */
const P256_SEC1 = Uint8Array.of(0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20);
const P256_SEC1_END = Uint8Array.of(
  ...[0xa0, 0x0a, 0x06, 0x08],
  ...[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
);
/** RFC 8410 7: what stands before the 32 bytes of a private and a public X25519 key. */
const X25519_PKCS8 = Uint8Array.of(
  0x30,
  0x2e,
  0x02,
  0x01,
  0x00,
  0x30,
  0x05,
  0x06,
  0x03,
  0x2b,
  0x65,
  0x6e,
  0x04,
  0x22,
  0x04,
  0x20,
);
const X25519_SPKI = Uint8Array.of(
  0x30,
  0x2a,
  0x30,
  0x05,
  0x06,
  0x03,
  0x2b,
  0x65,
  0x6e,
  0x03,
  0x21,
  0x00,
);
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
