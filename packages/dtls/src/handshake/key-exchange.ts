import { EMPTY, FormatError, Reader, Writer } from "@godwit/base";
import type { KeyExchange } from "../suites.ts";

/**
 * ServerKeyExchange and ClientKeyExchange of the three exchanges:
 *   psk         S: hint<0..2^16-1>, left out without a hint     C: identity<0..2^16-1>                RFC 4279 2
 *   ecdhePsk    S: hint, 03 group(2) point<1..255>              C: identity, point<1..255>            RFC 5489 2
 *   ecdheEcdsa  S: 03 group(2) point<1..255>, scheme(2) signature<0..2^16-1>    C: point<1..255>      RFC 8422 5.4
 */
export type ServerKeyExchange = {
  readonly hint: Uint8Array;
  readonly share: KeyShare | undefined;
  readonly signature: Signature | undefined;
};

export type KeyShare = { readonly group: number; readonly point: Uint8Array };
export type Signature = { readonly scheme: number; readonly signature: Uint8Array };

export function decodeServerKeyExchange(
  exchange: KeyExchange,
  body: Uint8Array,
): ServerKeyExchange {
  const reader = new Reader(body);
  const hint = exchange === "ecdheEcdsa" ? EMPTY : reader.take(reader.u16());
  const share = exchange === "psk" ? undefined : readShare(reader);
  const signature = exchange === "ecdheEcdsa" ? readSignature(reader) : undefined;
  reader.end("ServerKeyExchange");
  return { hint, share, signature };
}

export function encodeServerKeyExchange(
  exchange: KeyExchange,
  message: ServerKeyExchange,
): Uint8Array {
  const writer = new Writer(160);
  if (exchange !== "ecdheEcdsa") writer.prefixed(2, (w) => w.append(message.hint));
  if (message.share !== undefined) writer.append(shareBytes(message.share));
  if (message.signature !== undefined) writeSignature(writer, message.signature);
  return writer.bytes();
}

/** ServerECDHParams: the bytes that the signature covers after both randoms. */
export function shareBytes(share: KeyShare): Uint8Array {
  return new Writer(72)
    .u8(NAMED_CURVE)
    .u16(share.group)
    .prefixed(1, (w) => w.append(share.point))
    .bytes();
}

export type ClientKeyExchange = {
  readonly identity: Uint8Array;
  readonly point: Uint8Array | undefined;
};

export function decodeClientKeyExchange(
  exchange: KeyExchange,
  body: Uint8Array,
): ClientKeyExchange {
  const reader = new Reader(body);
  const identity = exchange === "ecdheEcdsa" ? EMPTY : reader.take(reader.u16());
  if (identity.length > MAX_IDENTITY) throw new FormatError("identity too long");
  const point = exchange === "psk" ? undefined : readPoint(reader);
  reader.end("ClientKeyExchange");
  return { identity, point };
}

export function encodeClientKeyExchange(
  exchange: KeyExchange,
  message: ClientKeyExchange,
): Uint8Array {
  const { identity, point } = message;
  const writer = new Writer(identity.length + 80);
  if (exchange !== "ecdheEcdsa") writer.prefixed(2, (w) => w.append(identity));
  if (point !== undefined) writer.prefixed(1, (w) => w.append(point));
  return writer.bytes();
}

/** CertificateVerify is a signature and nothing else (RFC 5246 7.4.8). */
export function decodeCertificateVerify(body: Uint8Array): Signature {
  const reader = new Reader(body);
  const signature = readSignature(reader);
  reader.end("CertificateVerify");
  return signature;
}

export function encodeCertificateVerify(signature: Signature): Uint8Array {
  const writer = new Writer(80);
  writeSignature(writer, signature);
  return writer.bytes();
}

function readShare(reader: Reader): KeyShare {
  if (reader.u8() !== NAMED_CURVE) throw new FormatError("not a named curve");
  return { group: reader.u16(), point: readPoint(reader) };
}

function readPoint(reader: Reader): Uint8Array {
  const length = reader.u8();
  if (length === 0) throw new FormatError("empty point");
  return reader.take(length);
}

function readSignature(reader: Reader): Signature {
  return { scheme: reader.u16(), signature: reader.take(reader.u16()) };
}

function writeSignature(writer: Writer, { scheme, signature }: Signature): void {
  writer.u16(scheme).prefixed(2, (w) => w.append(signature));
}

const NAMED_CURVE = 3;
/** RFC 4279 5.3 asks for 128 at least; LwM2M for as much. Bounds what a look-up is asked. */
const MAX_IDENTITY = 1_024;
