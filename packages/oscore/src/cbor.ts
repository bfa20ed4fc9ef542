import { UsageError, concat, fits, utf8 } from "@godwit/base";

// The few shapes of CBOR (RFC 8949) that OSCORE needs, written by hand because they are made for every message.

/**
 * HKDF's info: `[id, id_context, alg_aead, type, L]` (RFC 8613 3.2.1). No ID Context is nil, an empty one is h'': other
 * keys.
 */
export function keyInfo(
  id: Uint8Array,
  idContext: Uint8Array | undefined,
  aead: number,
  type: "Key" | "IV",
  length: number,
): Uint8Array {
  return concat(
    ARRAY_OF_5,
    byteString(id),
    idContext === undefined ? NIL : byteString(idContext),
    integer(aead),
    head(TEXT, type.length),
    utf8(type),
    integer(length),
  );
}

/** `Encrypt0` structure around the external AAD of a request and its responses (RFC 8613 5.4). No option is of class I. */
export function additionalData(aead: number, kid: Uint8Array, piv: Uint8Array): Uint8Array {
  const length = 6 + (aead < 24 ? 1 : 2) + kid.length + piv.length; // below 24: a kid has at most 7 bytes, a PIV 5
  const out = new Uint8Array(ENCRYPT0.length + 1 + length);
  out.set(ENCRYPT0);
  let at = ENCRYPT0.length;
  out[at++] = BYTES | length;
  out[at++] = 0x85;
  out[at++] = 0x01; // oscore_version
  out[at++] = 0x81;
  at = writeHead(out, at, UNSIGNED, aead);
  out[at++] = BYTES | kid.length;
  for (let i = 0; i < kid.length; i++) out[at++] = kid[i]!; // i < length
  out[at++] = BYTES | piv.length;
  for (let i = 0; i < piv.length; i++) out[at++] = piv[i]!; // i < length
  out[at] = BYTES;
  return out;
}

/** A byte string with its head: how Appendix B.2 of RFC 8613 wraps its nonces. */
export function byteString(bytes: Uint8Array): Uint8Array {
  return concat(head(BYTES, bytes.length), bytes);
}

/** The content of a byte string that covers `bytes` exactly, undefined if they are no such thing. */
export function unwrapByteString(bytes: Uint8Array): Uint8Array | undefined {
  const first = bytes[0];
  if (first === undefined || first >>> 5 !== BYTES >>> 5) return undefined;
  const short = first & 0x1f;
  if (short < 24) return bytes.length === 1 + short ? bytes.subarray(1) : undefined;
  if (short !== 24 || bytes.length < 2) return undefined;
  const length = bytes[1]!; // there are two
  return length >= 24 && bytes.length === 2 + length ? bytes.subarray(2) : undefined; // shortest form only
}

function integer(value: number): Uint8Array {
  return value < 0 ? head(NEGATIVE, -1 - value) : head(UNSIGNED, value);
}

function head(major: number, value: number): Uint8Array {
  const out = new Uint8Array(value < 24 ? 1 : value < 0x100 ? 2 : 3);
  writeHead(out, 0, major, value);
  return out;
}

function writeHead(out: Uint8Array, at: number, major: number, value: number): number {
  if (!fits(value, 2 ** 16)) throw new UsageError(`${value} is no number that OSCORE writes`);
  if (value < 24) {
    out[at++] = major | value;
  } else if (value < 0x100) {
    out[at++] = major | 24;
    out[at++] = value;
  } else {
    out[at++] = major | 25;
    out[at++] = value >>> 8;
    out[at++] = value;
  }
  return at;
}

const UNSIGNED = 0x00;
const NEGATIVE = 0x20;
const BYTES = 0x40;
const TEXT = 0x60;
const ARRAY_OF_5 = Uint8Array.of(0x85);
const NIL = Uint8Array.of(0xf6);
/** `83 68 "Encrypt0" 40`: array, context, empty protected header. */
const ENCRYPT0 = concat(Uint8Array.of(0x83, 0x68), utf8("Encrypt0"), Uint8Array.of(0x40));
