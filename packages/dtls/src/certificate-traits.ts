import { FormatError, Reader, fromUtf8, toHex } from "@godwit/base";
import {
  BIT_STRING,
  BOOLEAN,
  EXTENSIONS,
  INTEGER,
  OBJECT_ID,
  OCTET_STRING,
  SEQUENCE,
} from "./der-tags.ts";

/** What the extensions of a certificate say, as far as the chain rules ask (RFC 5280 4.2). */
export type CertificateTraits = {
  /** First byte of keyUsage; undefined where the certificate restricts nothing (4.2.1.3). */
  readonly keyUsage: number | undefined;
  /** Object identifiers of extKeyUsage, such as "1.3.6.1.5.5.7.3.2"; undefined where there is none (4.2.1.12). */
  readonly purposes: readonly string[] | undefined;
  /** How many CAs may stand below this one (4.2.1.9). */
  readonly pathLength: number | undefined;
  /** DNS names and URIs of subjectAltName (4.2.1.6). */
  readonly names: readonly string[];
  /** A critical extension that is not understood, by its object identifier: the certificate must be refused (4.2). */
  readonly unknown: string | undefined;
};

/**
 *   Certificate  SEQUENCE { tbsCertificate, signatureAlgorithm, signature }                              RFC 5280 4.1
 *   tbs          SEQUENCE { [0] version?, serial, signature, issuer, validity, subject, key, [1]?, [2]?, [3] extensions? }
 *   extension    SEQUENCE { OBJECT IDENTIFIER, BOOLEAN critical?, OCTET STRING }
 *
 * Throws FormatError for bytes that are no certificate.
 */
export function readTraits(certificate: Uint8Array): CertificateTraits {
  const traits = { ...NOTHING };
  const reader = new Reader(certificate);
  const tbs = inside(inside(reader, SEQUENCE), SEQUENCE);
  reader.end("the certificate");
  while (tbs.left > 0) {
    const { tag, content } = next(tbs);
    if (tag !== EXTENSIONS) continue;
    const list = inside(content, SEQUENCE);
    while (list.left > 0) readExtension(inside(list, SEQUENCE), traits);
  }
  return traits;
}

type Traits = { -readonly [K in keyof CertificateTraits]: CertificateTraits[K] };

function readExtension(extension: Reader, traits: Traits): void {
  const id = objectId(inside(extension, OBJECT_ID).rest());
  let { tag, content } = next(extension);
  const critical = tag === BOOLEAN && content.u8() !== 0;
  if (tag === BOOLEAN) ({ tag, content } = next(extension));
  if (tag !== OCTET_STRING) throw new FormatError("extension without a value");
  switch (id) {
    case KEY_USAGE: {
      const bits = inside(content, BIT_STRING);
      bits.u8(); // how many bits of the last byte are unused
      traits.keyUsage = bits.left === 0 ? 0 : bits.u8();
      return;
    }
    case EXTENDED_KEY_USAGE: {
      const list = inside(content, SEQUENCE);
      const purposes: string[] = [];
      while (list.left > 0) purposes.push(objectId(inside(list, OBJECT_ID).rest()));
      traits.purposes = purposes;
      return;
    }
    case BASIC_CONSTRAINTS: {
      const fields = inside(content, SEQUENCE);
      while (fields.left > 0) {
        const field = next(fields);
        if (field.tag === INTEGER) traits.pathLength = integer(field.content);
      }
      return;
    }
    case SUBJECT_ALT_NAME: {
      const list = inside(content, SEQUENCE);
      const names: string[] = [];
      while (list.left > 0) {
        const name = next(list);
        if (name.tag === DNS_NAME || name.tag === URI) names.push(fromUtf8(name.content.rest()));
      }
      traits.names = names;
      return;
    }
    default:
      if (critical && !HARMLESS.has(id)) traits.unknown ??= id;
  }
}

/** The next element, whatever it is. */
function next(reader: Reader): { readonly tag: number; readonly content: Reader } {
  const tag = reader.u8();
  const first = reader.u8();
  if (first < 0x80) return { tag, content: new Reader(reader.take(first)) };
  if (first < 0x81 || first > 0x83) throw new FormatError("length of an element of DER");
  let length = 0;
  for (let left = first & 0x7f; left > 0; left--) length = (length << 8) | reader.u8();
  return { tag, content: new Reader(reader.take(length)) };
}

function inside(reader: Reader, wanted: number): Reader {
  const { tag, content } = next(reader);
  if (tag !== wanted) throw new FormatError(`element ${tag} of DER where ${wanted} belongs`);
  return content;
}

/** A count that is small in every certificate that makes sense. */
function integer(content: Reader): number {
  const bytes = content.rest();
  if (bytes.length === 0 || bytes.length > 2 || bytes[0]! > 0x7f) {
    throw new FormatError(`path length ${toHex(bytes)}`); // one or two bytes
  }
  return bytes.reduce((sum, byte) => (sum << 8) | byte, 0);
}

/** "2.5.29.15" (X.690 8.19): the first byte holds two numbers, all others seven bits each. */
function objectId(bytes: Uint8Array): string {
  const numbers: number[] = [];
  let value = 0;
  for (const byte of bytes) {
    if (value >= 2 ** 40) throw new FormatError("object identifier too large");
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (numbers.length === 0) {
      const root = Math.min(Math.floor(value / 40), 2);
      numbers.push(root, value - root * 40);
    } else numbers.push(value);
    value = 0;
  }
  if (bytes.length === 0 || bytes.at(-1)! >= 0x80)
    throw new FormatError("object identifier cut off"); // not empty
  return numbers.join(".");
}

const NOTHING: CertificateTraits = {
  keyUsage: undefined,
  purposes: undefined,
  pathLength: undefined,
  names: [],
  unknown: undefined,
};
const DNS_NAME = 0x82;
const URI = 0x86;
const KEY_USAGE = "2.5.29.15";
const SUBJECT_ALT_NAME = "2.5.29.17";
const BASIC_CONSTRAINTS = "2.5.29.19";
const EXTENDED_KEY_USAGE = "2.5.29.37";
/** Subject and authority key identifier: they only help to find the issuer. */
const HARMLESS: ReadonlySet<string> = new Set(["2.5.29.14", "2.5.29.35"]);
