import type {
  Certificate,
  ServerCredentials,
  Suite,
  DtlsTuning,
  Verdict,
  Lookup,
} from "@godwit/dtls";
import { judgeChain, leafOf, type Leaf } from "@godwit/dtls";
import { FormatError, toHex, type Identity, type Instant } from "@godwit/base";
import type { CredentialBook } from "./credential-book.ts";
import { certificateSubject } from "./credential.ts";

/** What the server needs beside the credentials of its devices to speak DTLS. */
export type ServerDtlsOptions = {
  /** Our UDP port on which DTLS is spoken, and nothing else. */
  readonly port: number;
  /** What the server shows in the certificate suites: at most one of each kind. Without any only PSK is spoken. */
  readonly certificates?: readonly Certificate[];
  /** Roots, DER, that certificates of devices must lead to; without any only pinned certificates let a device in. */
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

export function serverCredentials({ certificates = [] }: ServerDtlsOptions): ServerCredentials {
  // Both kinds are taken wherever one can be shown: why a device may not in is told it by the verdict, and logged.
  return {
    psk: true,
    certificates,
    clientCertificates: certificates.length > 0 ? ["rpk", "x509"] : [],
  };
}

/**
 * Whether a peer that has proven its key may in: its credential must be one that we have. A certificate is known by its
 * fingerprint, then whoever issued it, or by one of its names, then under a root of ours.
 */
export function judgePeer(
  lookup: Exclude<Lookup, { kind: "psk" }>,
  book: CredentialBook,
  { anchors = [], wall = (at) => at }: ServerDtlsOptions,
  now: Instant,
): Verdict {
  if (lookup.kind === "resume") {
    const { identity, generation } = lookup;
    if (book.vouches(identity, generation) === "good") return { ok: true, generation };
    return refuse("the session's credential is gone");
  }
  const { certificate } = lookup;
  if (certificate.kind === "rpk") {
    const generation = book.generationOf(lookup.identity);
    if (generation !== undefined) return { ok: true, generation };
    return refuse(`no credential has the public key ${toHex(certificate.spki)}`);
  }
  return judgeCertificate(certificate.chain, book, anchors, wall(now));
}

function judgeCertificate(
  chain: readonly Uint8Array[],
  book: CredentialBook,
  anchors: readonly Uint8Array[],
  wall: Instant,
): Verdict {
  const [leaf] = chain;
  if (leaf === undefined) return refuse("no certificate");
  let shown: Leaf;
  try {
    shown = leafOf(chain);
  } catch (fault) {
    if (!(fault instanceof FormatError)) throw fault;
    return refuse(`certificate unreadable: ${fault.message}`);
  }
  const named = certificateSubject(shown.fingerprint);
  const pinned = known(named, book);
  const verdict = judgeChain(chain, {
    anchors: pinned === undefined ? anchors : [leaf],
    wall,
    purpose: "client",
  });
  if (!verdict.ok) {
    const roots = anchors.length === 0 ? "no root is trusted, and " : "";
    return { ...verdict, why: `${verdict.why} (${roots}${named} is no credential's)` };
  }
  const until = shown.validTo.at; // when the session is not resumed any more, and the certificate is looked at again
  if (pinned !== undefined) return welcome(pinned, until, book);
  // A name that looks like a fingerprint stands for nothing but itself.
  const names = shown.names.filter((name) => !name.startsWith("sha256:"));
  for (const name of names) {
    const identity = known(name, book);
    if (identity !== undefined) return welcome(identity, until, book);
  }
  const list = names
    .slice(0, SHOWN_NAMES)
    .map((name) => JSON.stringify(name.slice(0, SHOWN_LETTERS)));
  return refuse(
    `wrong name: no credential has ${list.join(" or ") || "an empty name"}, nor ${named}`,
  );
}

/** The identity of a certificate by this name, if there is a credential for it. */
function known(subject: string, book: CredentialBook): Identity | undefined {
  const identity: Identity = { kind: "x509", subject };
  return book.endpointOf(identity) === undefined ? undefined : identity;
}

function welcome(identity: Identity, until: Instant, book: CredentialBook): Verdict {
  return { ok: true, identity, until, generation: book.generationOf(identity) ?? 0 };
}

function refuse(why: string): Verdict {
  return { ok: false, why, alert: ACCESS_DENIED };
}

/** RFC 5246 7.2. */
const ACCESS_DENIED = 49;
/** Of a certificate's names, in a refusal. */
const SHOWN_NAMES = 3;
const SHOWN_LETTERS = 64;
