import { FormatError, Reader, Writer } from "@godwit/base";
import { CertificateType } from "../codes.ts";

/**
 *   X.509   certificate_list<0..2^24-1> of ASN.1Cert<1..2^24-1>, the end entity's first      RFC 5246 7.4.2
 *   RPK     ASN.1_subjectPublicKeyInfo<1..2^24-1>, no list around it                        RFC 7250 3
 */
export type CertificateMessage =
  | { readonly kind: "x509"; readonly chain: readonly Uint8Array[] }
  | { readonly kind: "rpk"; readonly spki: Uint8Array };

/** The number of a kind of certificate (RFC 7250 3). */
export function certificateTypeOf(kind: "rpk" | "x509"): number {
  return kind === "rpk" ? CertificateType.rawPublicKey : CertificateType.x509;
}

/** The kind by its number; X.509 where nothing was said. */
export function certificateKind(type: number | undefined): "rpk" | "x509" {
  return type === CertificateType.rawPublicKey ? "rpk" : "x509";
}

export function decodeCertificate(kind: "x509" | "rpk", body: Uint8Array): CertificateMessage {
  const reader = new Reader(body);
  if (kind === "rpk") {
    const spki = reader.take(reader.u24());
    reader.end("public key");
    return { kind, spki };
  }
  const list = reader.sub(reader.u24());
  reader.end("certificates");
  const chain: Uint8Array[] = [];
  while (list.left > 0) {
    if (chain.length === MAX_CHAIN)
      throw new FormatError(`chain too long: more than ${MAX_CHAIN} certificates`);
    const length = list.u24();
    if (length === 0) throw new FormatError("empty certificate");
    chain.push(list.take(length));
  }
  return { kind, chain };
}

export function encodeCertificate(message: CertificateMessage): Uint8Array {
  const writer = new Writer(512);
  if (message.kind === "rpk") {
    return writer.prefixed(3, (w) => w.append(message.spki)).bytes();
  }
  return writer
    .prefixed(3, (w) => {
      for (const certificate of message.chain) w.prefixed(3, (c) => c.append(certificate));
    })
    .bytes();
}

/**
 * CertificateRequest: types<1..255> schemes<2..> authorities<0..2^16-1>                  RFC 5246 7.4.4
 * The authorities are passed over: our client has one certificate to show.
 */
export type CertificateRequest = {
  readonly types: readonly number[];
  readonly schemes: readonly number[];
  readonly authorities: Uint8Array;
};

export function decodeCertificateRequest(body: Uint8Array): CertificateRequest {
  const reader = new Reader(body);
  const types = [...reader.take(reader.u8())];
  const list = reader.sub(reader.u16());
  const schemes: number[] = [];
  while (list.left > 0) schemes.push(list.u16());
  const authorities = reader.take(reader.u16());
  reader.end("CertificateRequest");
  return { types, schemes, authorities };
}

export function encodeCertificateRequest(request: CertificateRequest): Uint8Array {
  return new Writer(32)
    .prefixed(1, (w) => request.types.forEach((type) => w.u8(type)))
    .prefixed(2, (w) => request.schemes.forEach((scheme) => w.u16(scheme)))
    .prefixed(2, (w) => w.append(request.authorities))
    .bytes();
}

/** ClientCertificateType ecdsa_sign (RFC 8422 5.5). */
export const ECDSA_SIGN = 64;
/** A device's chain has two or three; more only costs the verifier. */
const MAX_CHAIN = 8;
