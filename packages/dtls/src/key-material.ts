// Keys and certificates as people have them: PEM, base64 or hex of the DER, or the DER itself. What is wrong is said in
// words that name what is there and what to give instead, and never with the bytes.

import { FormatError, UsageError, base64, equal, hex } from "@godwit/base";
import { type SigningKey, parseCertificate, privateKey, publicKey, exportSpki } from "./crypto.ts";

/** A key or certificates: PEM text, or base64, hex or DER of one. */
export type Material = string | Uint8Array;

/**
 * A P-256 private key in PKCS#8 or SEC 1: PEM text, or hex, base64 or DER of it. `what` names it in messages.
 *
 * @throws UsageError
 */
export function signingKey(from: Material, what = "the key"): SigningKey {
  const [block] = blocksOf(from, what, PRIVATE);
  return within(what, () => privateKey(block ?? new Uint8Array(0)));
}

/**
 * The SubjectPublicKeyInfo (RFC 7250) of a P-256 key: PEM text, or hex, base64 or DER of it.
 *
 * @throws UsageError
 */
export function readPublicKey(from: Material, what = "the public key"): Uint8Array {
  const [block] = blocksOf(from, what, PUBLIC);
  return within(what, () => exportSpki(publicKey(block ?? new Uint8Array(0))));
}

/**
 * Certificates in their order: PEM text with one or more, or hex, base64 or DER of one. They are looked at no further than
 * that they can be read.
 *
 * @throws UsageError
 */
export function readCertificates(from: Material, what = "the certificate"): readonly Uint8Array[] {
  const blocks = blocksOf(from, what, CERTIFICATE);
  for (const block of blocks) within(what, () => parseCertificate(block));
  return blocks;
}

/**
 * What a side shows: the chain, its own certificate first, and the key to that. Throws UsageError where they do not belong
 * together.
 */
export function checkChain(
  chain: readonly Uint8Array[],
  key: SigningKey,
  what = "the certificate",
): void {
  const [own, ...issuers] = chain.map(parseCertificate);
  if (own === undefined) throw new UsageError(`${what}: there is none`);
  if (!equal(own.spki, key.spki)) {
    const order =
      issuers.length > 0 ? ": put its own certificate first, its issuers behind it" : "";
    throw new UsageError(`${what} belongs to another key than the one that is given${order}`);
  }
  for (let at = 0, below = own; at < issuers.length; at++) {
    const issuer = issuers[at]!; // within
    if (!below.signedBy(issuer)) {
      const place = `the ${at === 0 ? "second" : "next"} certificate`;
      throw new UsageError(
        `${what}: ${place} did not issue the one before it; give leaf, then issuers`,
      );
    }
    below = issuer;
  }
}

type Wanted = {
  readonly labels: readonly string[];
  readonly name: string;
};

const CERTIFICATE: Wanted = { labels: ["CERTIFICATE"], name: "a certificate" };
const PUBLIC: Wanted = { labels: ["PUBLIC KEY"], name: "a public key" };
const PRIVATE: Wanted = {
  labels: ["PRIVATE KEY", "EC PRIVATE KEY"],
  name: "a private key",
};

function blocksOf(from: Material, what: string, wanted: Wanted): readonly Uint8Array[] {
  if (typeof from !== "string") {
    if (from[0] !== DASH) return [from];
    return blocksOf(new TextDecoder().decode(from), what, wanted);
  }
  const text = from.trim();
  if (!text.includes("-----BEGIN ")) return [bare(text, what, wanted)];
  const blocks = [...text.matchAll(PEM)].map(([, label = "", body = ""]) => ({ label, body }));
  const found = blocks.filter(({ label }) => wanted.labels.includes(label));
  if (found.length === 0) throw new UsageError(`${what}: ${stranger(blocks[0]?.label, wanted)}`);
  return found.map(({ body }) => {
    if (body.includes("ENCRYPTED")) throw new UsageError(`${what}: ${ENCRYPTED}`);
    try {
      return base64(body);
    } catch {
      throw new UsageError(`${what}: the PEM of ${wanted.name} is damaged`);
    }
  });
}

/** DER in hex or base64. */
function bare(text: string, what: string, wanted: Wanted): Uint8Array {
  const digits = text.replace(/\s+/g, "");
  if (digits === "") throw new UsageError(`${what} is empty: give ${wanted.name} as PEM`);
  if (/^(?:[0-9a-f]{2})+$/i.test(digits)) return hex(digits);
  try {
    return base64(digits);
  } catch {
    throw new UsageError(`${what} is not PEM, base64 or hex: give ${wanted.name} in one of them`);
  }
}

/** Something else was given. */
function stranger(label: string | undefined, wanted: Wanted): string {
  if (label === undefined) return `the PEM is damaged: no end of ${wanted.name}`;
  if (label === "ENCRYPTED PRIVATE KEY") return ENCRYPTED;
  const advice = ADVICE.find(
    ({ is, instead }) => label.endsWith(is) && wanted.labels.includes(instead),
  );
  return `${wanted.name} is wanted, and this is a ${label.toLowerCase()}${advice === undefined ? "" : `: ${advice.words}`}`;
}

function within<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (fault) {
    if (!(fault instanceof FormatError)) throw fault;
    throw new UsageError(`${what}: ${fault.message}`);
  }
}

const PEM = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g;
const DASH = 0x2d;
const ENCRYPTED =
  "the private key is encrypted with a passphrase; `openssl pkcs8 -in FILE -out PLAIN` decrypts it";
const ADVICE = [
  {
    is: "PRIVATE KEY",
    instead: "PUBLIC KEY",
    words: "it stays with its owner; `openssl pkey -in FILE -pubout` prints its public key",
  },
  {
    is: "CERTIFICATE",
    instead: "PUBLIC KEY",
    words: "`openssl x509 -in FILE -noout -pubkey` prints its public key",
  },
] as const;
