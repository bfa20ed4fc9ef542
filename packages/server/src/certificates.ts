import { UsageError, hex } from "@godwit/base";
import {
  checkChain,
  leafOf,
  readCertificates,
  readPublicKey,
  signingKey,
  type Certificate,
  type Material,
} from "@godwit/dtls";
import type { Credential } from "@godwit/lwm2m";

/**
 * What a server shows to devices, for `dtls.certificates`: the public key of `key` (P-256), and with `certificate` also that,
 * its issuers behind it.
 *
 * @throws UsageError that says what is wrong with them
 */
export function shown(own: {
  readonly key: Material;
  readonly certificate?: Material;
}): readonly Certificate[] {
  const key = signingKey(own.key);
  const bare: Certificate = { kind: "rpk", key };
  if (own.certificate === undefined) return [bare];
  const chain = readCertificates(own.certificate);
  checkChain(chain, key);
  return [{ kind: "x509", key, chain }, bare];
}

/** Roots that certificates of devices must lead to, for `dtls.anchors`. @throws UsageError */
export function roots(certificates: Material): readonly Uint8Array[] {
  return readCertificates(certificates, "the roots");
}

/** The credential of a device with a raw public key. @throws UsageError that says what is wrong with it */
export function rpkCredential(endpoint: string, publicKey: Material): Credential {
  return { kind: "rpk", endpoint, spki: readPublicKey(publicKey, "publicKey") };
}

/**
 * The credential of a device with a certificate: pinned by itself or by its SHA-256 (as tools print it), or known by a name
 * in it, under a root that the server trusts; the endpoint's name unless given.
 *
 * @throws UsageError that says what is wrong with it
 */
export function x509Credential(
  endpoint: string,
  how:
    | { readonly name?: string }
    | { readonly certificate: Material }
    | { readonly fingerprint: string } = {},
): Credential {
  const kind = "x509";
  if ("certificate" in how) {
    const leaf = leafOf(readCertificates(how.certificate, "certificate"));
    readPublicKey(leaf.publicKey, "certificate"); // of a kind that can prove itself here
    return { kind, endpoint, fingerprint: hex(leaf.fingerprint) };
  }
  if ("fingerprint" in how) return { kind, endpoint, fingerprint: sha256Of(how.fingerprint) };
  return { kind, endpoint, name: how.name ?? endpoint };
}

/** "SHA256:" or "sha256 Fingerprint=" before it, colons in it, or neither. */
function sha256Of(text: string): Uint8Array {
  const digits = text
    .trim()
    .replace(/^sha-?256(?: fingerprint)?[:=]/i, "")
    .replace(/[:\s]/g, "");
  if (/^[0-9a-f]{64}$/i.test(digits)) return hex(digits);
  throw new UsageError(
    "fingerprint is the SHA-256 of the certificate, 64 hex digits, as `openssl x509 -noout -fingerprint -sha256 -in FILE` prints it",
  );
}
