import { type Identity, toHex } from "@godwit/base";
import type { Lookup } from "./credentials.ts";
import { parseCertificate } from "./crypto.ts";
import type { FailureReason } from "./events.ts";
import type { CertificateMessage } from "./handshake/certificate.ts";
import { type Extensions, maxFragmentLength, recordSizeLimit } from "./handshake/extensions.ts";

/** What a handshake wants done. Its datagrams wait in its transport. */
export type HandshakeEffect =
  /** The handshake goes on when the answer comes. */
  | { readonly type: "lookup"; readonly lookup: Lookup }
  /** The peer's Finished verified. Say `confirm` when the association is safe in the store. */
  | { readonly type: "verified" }
  /** The peer has gone silent at a point that says something. The handshake goes on. */
  | { readonly type: "stalled"; readonly why: string }
  | { readonly type: "failed"; readonly why: string; readonly reason: FailureReason };

/** Who the key in a certificate message belongs to. Throws FormatError for bytes that are no certificate. */
export function identityOf(certificate: CertificateMessage): Identity {
  if (certificate.kind === "rpk") return { kind: "rpk", spki: toHex(certificate.spki) };
  const [leaf] = certificate.chain;
  if (leaf === undefined) return { kind: "none" };
  return { kind: "x509", subject: parseCertificate(leaf).commonName };
}

/** The public key that a certificate message shows. */
export function spkiOf(certificate: CertificateMessage): Uint8Array | undefined {
  if (certificate.kind === "rpk") return certificate.spki;
  const [leaf] = certificate.chain;
  return leaf === undefined ? undefined : parseCertificate(leaf).spki;
}

/** Largest plaintext the peer takes, by its extensions. With connection ids the type and the padding count too (RFC 8449 4). */
export function peerLimit(extensions: Extensions, withCid: boolean, padTo: number): number {
  const limit = recordSizeLimit.read(extensions) ?? maxFragmentLength.read(extensions) ?? 2 ** 14;
  return Math.min(limit, 2 ** 14) - (withCid ? padTo : 0);
}
