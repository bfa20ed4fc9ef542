import {
  FormatError,
  Reader,
  UsageError,
  Writer,
  equalSecret,
  fromUtf8,
  hex,
  toHex,
  unreachable,
  utf8,
  type Identity,
} from "@godwit/base";
import { endpointFault } from "../registration.ts";

/** By what an endpoint proves that it is the one. Secrets are in here: never log it, never send it out. */
export type Credential =
  | {
      readonly kind: "psk";
      readonly endpoint: string;
      /** As the device sends it (RFC 4279); at most 128 bytes. */
      readonly identity: string;
      readonly key: Uint8Array;
    }
  | {
      readonly kind: "oscore";
      readonly endpoint: string;
      /** Ours, and the device's: its Sender ID is our Recipient ID (RFC 8613 3.1). */
      readonly senderId: Uint8Array;
      readonly recipientId: Uint8Array;
      readonly masterSecret: Uint8Array;
      readonly masterSalt?: Uint8Array | undefined;
      readonly idContext?: Uint8Array | undefined;
      /** COSE algorithm; 10 (AES-CCM-16-64-128) unless given. */
      readonly aead?: number | undefined;
      readonly hkdf?: "sha256" | "sha384" | "sha512" | undefined;
      /** `fixed`: one context for all time; `negotiated`: Appendix B.2 at first use; `both`: as the device likes. */
      readonly derivation: "fixed" | "negotiated" | "both";
    }
  /** The device's raw public key, a SubjectPublicKeyInfo (RFC 7250). */
  | { readonly kind: "rpk"; readonly endpoint: string; readonly spki: Uint8Array }
  /** A name in the device's certificate, common name or subjectAltName, under a root that the server trusts. */
  | { readonly kind: "x509"; readonly endpoint: string; readonly name: string }
  /** The device's certificate itself, whoever issued it, by its SHA-256. */
  | { readonly kind: "x509"; readonly endpoint: string; readonly fingerprint: Uint8Array };

/** What may be shown of a credential. */
export type CredentialView = {
  readonly id: string;
  readonly kind: Credential["kind"];
  readonly endpoint: string;
  /** The public part: PSK identity, OSCORE Recipient ID (hex), public key (hex), name, or "sha256:" and a fingerprint. */
  readonly subject: string;
  /** Its record is damaged or missing: its endpoint is locked until it is added again or removed. */
  readonly unreadable?: true;
};

/** Names the credential: its kind and its public part. Two with the same id cannot be told apart on the wire. */
export function credentialId(credential: Credential): string {
  return `${credential.kind}:${subjectOf(credential)}`;
}

export function viewCredential(credential: Credential): CredentialView {
  const { kind, endpoint } = credential;
  return { id: credentialId(credential), kind, endpoint, subject: subjectOf(credential) };
}

/** The id of the credential that proves this identity. */
export function credentialIdOf(identity: Identity): string | undefined {
  switch (identity.kind) {
    case "none":
      return undefined;
    case "psk":
      return `psk:${identity.identity}`;
    case "oscore":
      return `oscore:${identity.senderId}${identity.idContext === undefined ? "" : `@${identity.idContext}`}`;
    case "rpk":
      return `rpk:${identity.spki}`;
    case "x509":
      return `x509:${identity.subject}`;
    default:
      return unreachable(identity);
  }
}

/** Who a peer is that proved this credential. Of OSCORE `senderId` is the device's, in hex. */
export function identityOf(credential: Credential): Identity {
  switch (credential.kind) {
    case "psk":
      return { kind: "psk", identity: credential.identity };
    case "oscore":
      return {
        kind: "oscore",
        senderId: toHex(credential.recipientId),
        idContext: credential.idContext && toHex(credential.idContext),
      };
    case "rpk":
      return { kind: "rpk", spki: toHex(credential.spki) };
    case "x509":
      return { kind: "x509", subject: subjectOf(credential) };
    default:
      return unreachable(credential);
  }
}

/** @throws UsageError that names what cannot be */
export function checkCredential(credential: Credential): void {
  const fault = endpointFault(credential.endpoint);
  if (fault !== undefined) throw new UsageError(fault.replace(/^ep/, "the endpoint name"));
  switch (credential.kind) {
    case "psk":
      within("the PSK identity", utf8(credential.identity).length, 1, MAX_IDENTITY);
      within("the PSK", credential.key.length, MIN_PSK, MAX_PSK);
      return;
    case "oscore":
      within("the Sender ID", credential.senderId.length, 0, MAX_ID);
      within("the Recipient ID", credential.recipientId.length, 0, MAX_ID);
      within("the Master Secret", credential.masterSecret.length, MIN_SECRET, MAX_SECRET);
      within("the Master Salt", credential.masterSalt?.length ?? 0, 0, MAX_SECRET);
      within("the ID Context", credential.idContext?.length ?? 0, 0, MAX_ID_CONTEXT);
      if (toHex(credential.senderId) === toHex(credential.recipientId)) {
        throw new UsageError("Sender ID and Recipient ID must differ");
      }
      return;
    case "rpk":
      within("the public key", credential.spki.length, 1, MAX_KEY);
      return;
    case "x509":
      if ("fingerprint" in credential) {
        within("the fingerprint", credential.fingerprint.length, SHA256, SHA256);
        return;
      }
      within("the name", utf8(credential.name).length, 1, MAX_IDENTITY);
      if (credential.name.startsWith(BY_FINGERPRINT)) {
        throw new UsageError(`a name cannot begin with ${BY_FINGERPRINT}: give it as fingerprint`);
      }
      return;
    default:
      unreachable(credential);
  }
}

/** Whether both are the same to the last byte. */
export function sameCredential(a: Credential, b: Credential): boolean {
  return equalSecret(encodeCredential(a), encodeCredential(b));
}

/** The record as it is sealed and stored. */
export function encodeCredential(credential: Credential): Uint8Array {
  const w = new Writer(128).u8(LAYOUT).u8(KINDS.indexOf(credential.kind));
  text(w, credential.endpoint);
  switch (credential.kind) {
    case "psk":
      text(w, credential.identity);
      bytes(w, credential.key);
      break;
    case "oscore":
      for (const part of [credential.senderId, credential.recipientId, credential.masterSecret]) {
        bytes(w, part);
      }
      optional(w, credential.masterSalt);
      optional(w, credential.idContext);
      w.u32(credential.aead ?? 0);
      w.u8(HKDFS.indexOf(credential.hkdf ?? "sha256"));
      w.u8(DERIVATIONS.indexOf(credential.derivation));
      break;
    case "rpk":
      bytes(w, credential.spki);
      break;
    case "x509":
      text(w, subjectOf(credential));
      break;
    default:
      unreachable(credential);
  }
  return w.bytes();
}

/** @throws FormatError */
export function decodeCredential(record: Uint8Array): Credential {
  const r = new Reader(record);
  if (r.u8() !== LAYOUT) throw new FormatError("credential record of an unknown layout");
  const kind = KINDS[r.u8()];
  const endpoint = readText(r);
  const credential = readRest(r, kind, endpoint);
  r.end("the credential record");
  return credential;
}

function readRest(r: Reader, kind: Credential["kind"] | undefined, endpoint: string): Credential {
  switch (kind) {
    case "psk":
      return { kind, endpoint, identity: readText(r), key: readBytes(r) };
    case "oscore":
      return {
        kind,
        endpoint,
        senderId: readBytes(r),
        recipientId: readBytes(r),
        masterSecret: readBytes(r),
        masterSalt: readOptional(r),
        idContext: readOptional(r),
        aead: r.u32() || undefined,
        hkdf: HKDFS[r.u8()],
        derivation: DERIVATIONS[r.u8()] ?? "both",
      };
    case "rpk":
      return { kind, endpoint, spki: readBytes(r) };
    case "x509":
      return certificateCredential(endpoint, readText(r));
    case undefined:
      throw new FormatError("credential record of an unknown kind");
    default:
      return unreachable(kind);
  }
}

/** How a certificate is named that is known by itself and not by what is written in it. `fingerprint`: SHA-256, hex. */
export function certificateSubject(fingerprint: string): string {
  return `${BY_FINGERPRINT}${fingerprint}`;
}

function certificateCredential(endpoint: string, subject: string): Credential {
  if (!subject.startsWith(BY_FINGERPRINT)) return { kind: "x509", endpoint, name: subject };
  const digits = subject.slice(BY_FINGERPRINT.length);
  if (!/^[0-9a-f]{64}$/.test(digits)) throw new FormatError("fingerprint of another length");
  return { kind: "x509", endpoint, fingerprint: hex(digits) };
}

function subjectOf(credential: Credential): string {
  switch (credential.kind) {
    case "psk":
      return credential.identity;
    case "oscore": {
      const { recipientId, idContext } = credential;
      return `${toHex(recipientId)}${idContext === undefined ? "" : `@${toHex(idContext)}`}`;
    }
    case "rpk":
      return toHex(credential.spki);
    case "x509":
      return "fingerprint" in credential
        ? certificateSubject(toHex(credential.fingerprint))
        : credential.name;
    default:
      return unreachable(credential);
  }
}

function within(what: string, length: number, from: number, to: number): void {
  if (length >= from && length <= to) return;
  throw new UsageError(`${what} has ${length} bytes; ${from} to ${to} are possible`);
}

function text(w: Writer, value: string): void {
  bytes(w, utf8(value));
}

function bytes(w: Writer, value: Uint8Array): void {
  w.prefixed(2, (inner) => inner.append(value));
}

function optional(w: Writer, value: Uint8Array | undefined): void {
  w.u8(value === undefined ? 0 : 1);
  if (value !== undefined) bytes(w, value);
}

function readText(r: Reader): string {
  return fromUtf8(readBytes(r));
}

function readBytes(r: Reader): Uint8Array {
  return r.take(r.u16()).slice();
}

function readOptional(r: Reader): Uint8Array | undefined {
  return r.u8() === 1 ? readBytes(r) : undefined;
}

const LAYOUT = 1;
const KINDS: readonly Credential["kind"][] = ["psk", "oscore", "rpk", "x509"];
const HKDFS = ["sha256", "sha384", "sha512"] as const;
const DERIVATIONS = ["fixed", "negotiated", "both"] as const;
/** OMA TS Transport 5.2: identity up to 128 bytes, key up to 64. */
const MAX_IDENTITY = 128;
const MIN_PSK = 8;
const MAX_PSK = 64;
const MAX_ID = 7;
const MIN_SECRET = 8;
const MAX_SECRET = 64;
const MAX_ID_CONTEXT = 32;
const MAX_KEY = 600;
const SHA256 = 32;
const BY_FINGERPRINT = "sha256:";
