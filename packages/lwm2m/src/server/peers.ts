import type {
  Certificate,
  ServerCredentials,
  Suite,
  DtlsTuning,
  Verdict,
  Lookup,
} from "@godwit/dtls";
import { judgeChain } from "@godwit/dtls";
import type { Instant } from "@godwit/base";
import type { CredentialBook } from "./credential-book.ts";

/** What the server needs beside the credentials of its devices to speak DTLS. */
export type ServerDtlsOptions = {
  /** Our UDP port on which DTLS is spoken, and nothing else. */
  readonly port: number;
  /** What the server shows in the certificate suites: at most one of each kind. Without any only PSK is spoken. */
  readonly certificates?: readonly Certificate[];
  /** Roots, DER, that certificates of devices must lead to; without any no device comes in by certificate. */
  readonly anchors?: readonly Uint8Array[];
  readonly tuning?: Partial<DtlsTuning>;
  readonly suites?: readonly Suite[];
  /** Byte 0 of every connection id; random unless given. */
  readonly nodeId?: number;
  /** Gives tickets (RFC 5077) to clients that ask for them. */
  readonly tickets?: boolean;
  /** What the wall clock says at an instant, for the validity of certificates; the instant itself unless given. */
  readonly wall?: (now: Instant) => number;
  /** Puts out `keyLog` lines, with which anybody can read everything. For debugging only. */
  readonly keyLog?: boolean;
};

export function serverCredentials({
  certificates = [],
  anchors = [],
}: ServerDtlsOptions): ServerCredentials {
  const some = certificates.length > 0;
  return {
    psk: true,
    certificates,
    clientCertificates: [
      ...(some ? (["rpk"] as const) : []),
      ...(some && anchors.length > 0 ? (["x509"] as const) : []),
    ],
  };
}

/** Whether a peer that has proven its key may in: its credential must be one that we have. */
export function judgePeer(
  lookup: Exclude<Lookup, { kind: "psk" }>,
  book: CredentialBook,
  { anchors = [], wall = (at) => at }: ServerDtlsOptions,
  now: Instant,
): Verdict {
  if (book.endpointOf(lookup.identity) === undefined) {
    return { ok: false, why: "credential of no endpoint", alert: ACCESS_DENIED };
  }
  if (lookup.kind === "resume" || lookup.certificate.kind === "rpk") return { ok: true };
  return judgeChain(lookup.certificate.chain, { anchors, wall: wall(now) });
}

/** RFC 5246 7.2. */
const ACCESS_DENIED = 49;
