import { FormatError, equal } from "@godwit/base";
import { Alert } from "./codes.ts";
import type { Verdict } from "./credentials.ts";
import {
  type CertificateDate,
  type ParsedCertificate,
  parseCertificate,
  publicKey,
} from "./crypto.ts";

export type ChainRules = {
  /** Roots that are trusted, DER. */
  readonly anchors: readonly Uint8Array[];
  /** Wall clock in ms since 1970: certificates expire by the calendar. */
  readonly wall: number;
  /** Host name or address that the leaf must be for; not checked without. */
  readonly name?: string;
  /** What the leaf is shown for: where it names its purposes, this must be one of them. */
  readonly purpose?: "server" | "client";
};

/**
 * LwM2M Security object, resource 15, by the numbers of RFC 6698 2.1.1:
 *   0 CA constraint         to a root of ours, and `certificate` is one of the issuers on the way
 *   1 service constraint    to a root of ours, and `certificate` is the leaf
 *   2 trust anchor          `certificate` is the one root
 *   3 domain-issued         `certificate` is the leaf, and nothing else is asked
 */
export type CertificateUsage = {
  readonly usage: 0 | 1 | 2 | 3;
  readonly certificate: Uint8Array;
};

/** A certificate as its holder is told from others by it. */
export type Leaf = {
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  /** Common name, and DNS names and URIs of subjectAltName. Anybody can write what he likes here: judge the chain first. */
  readonly names: readonly string[];
  /** Its SubjectPublicKeyInfo, of whatever kind. */
  readonly publicKey: Uint8Array;
  readonly validFrom: CertificateDate;
  readonly validTo: CertificateDate;
};

/** Whether a chain, leaf first, leads to an anchor (RFC 5280 6 as far as devices use it). Throws nothing for what the peer sent. */
export function judgeChain(chain: readonly Uint8Array[], rules: ChainRules): Verdict {
  const path = buildPath(chain, rules);
  return "why" in path ? path : { ok: true };
}

/** Judges a server's chain by the usage that was configured for it. */
export function judgeServer(
  chain: readonly Uint8Array[],
  rules: ChainRules,
  { usage, certificate }: CertificateUsage,
): Verdict {
  const [leaf] = chain;
  const isLeaf = leaf !== undefined && equal(leaf, certificate);
  if (usage === 3) return isLeaf ? { ok: true } : MISMATCH;
  if (usage === 2) return judgeChain(chain, { ...rules, anchors: [certificate] });
  const path = buildPath(chain, rules);
  if ("why" in path) return path;
  if (usage === 1) return isLeaf ? { ok: true } : MISMATCH;
  const issuers = path.certificates.slice(1);
  return issuers.some(({ raw }) => equal(raw, certificate)) ? { ok: true } : MISMATCH;
}

/** Who a chain's first certificate says it is for. Throws FormatError if there is none that can be read. */
export function leafOf(chain: readonly Uint8Array[]): Leaf {
  const [leaf] = chain;
  if (leaf === undefined) throw new FormatError("no certificate");
  const { fingerprint, commonName, traits, spki, validFrom, validTo } = parseCertificate(leaf);
  const names = [commonName, ...traits.names].filter((name) => name !== "");
  return { fingerprint, names, publicKey: spki, validFrom, validTo };
}

/** The way from the leaf to an anchor, or why there is none. */
function buildPath(
  chain: readonly Uint8Array[],
  rules: ChainRules,
): { readonly certificates: readonly ParsedCertificate[] } | Refused {
  let parsed: ParsedCertificate[];
  try {
    parsed = chain.map(parseCertificate);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return refuse(Alert.badCertificate, `certificate unreadable: ${error.message}`);
  }
  const anchors = rules.anchors.map(parseAnchor);
  const leaf = parsed[0];
  if (leaf === undefined) return refuse(Alert.badCertificate, "no certificate");
  const unusable = keyFault(leaf);
  if (unusable !== undefined) return refuse(Alert.unsupportedCertificate, unusable);
  if (rules.name !== undefined && !leaf.matchesHost(rules.name)) {
    return refuse(Alert.badCertificate, `certificate is not for ${rules.name}`);
  }
  const misused = misuse(leaf, rules);
  if (misused !== undefined) return refuse(Alert.unsupportedCertificate, misused);
  const certificates = [leaf];
  const trusted = (one: ParsedCertificate): boolean =>
    anchors.some((anchor) => equal(anchor.raw, one.raw));
  for (let current = leaf; ;) {
    const fault = flaw(current, current === leaf ? "certificate" : "issuer's certificate", rules);
    if (fault !== undefined) return fault;
    if (trusted(current)) return { certificates };
    const foreign = keyFault(current);
    if (foreign !== undefined) return refuse(Alert.unsupportedCertificate, foreign);
    const subject = current;
    const named = [...anchors, ...parsed.filter((one) => !certificates.includes(one))].filter(
      (candidate) => subject.names(candidate),
    );
    if (named.length === 0) return refuse(Alert.unknownCa, UNKNOWN_ISSUER);
    const issuer = named.find((candidate) => subject.signedBy(candidate));
    if (issuer === undefined) return refuse(Alert.badCertificate, BAD_SIGNATURE);
    if (!issuer.isCa) return refuse(Alert.badCertificate, "wrong usage: issuer is no CA");
    const { pathLength } = issuer.traits;
    const between = certificates.length - 1;
    if (pathLength !== undefined && between > pathLength) {
      return refuse(
        Alert.badCertificate,
        `chain too long: ${between} CAs below one that allows ${pathLength}`,
      );
    }
    certificates.push(issuer);
    current = issuer;
  }
}

/** Roots are the same at each handshake, and there may be a hundred. */
function parseAnchor(der: Uint8Array): ParsedCertificate {
  const known = PARSED_ANCHORS.get(der);
  if (known !== undefined) return known;
  const parsed = parseCertificate(der);
  PARSED_ANCHORS.set(der, parsed);
  return parsed;
}

/** What is wrong with a certificate wherever it stands in a chain. */
function flaw(
  certificate: ParsedCertificate,
  what: string,
  rules: ChainRules,
): Refused | undefined {
  const { validFrom, validTo, traits } = certificate;
  if (rules.wall < validFrom.at) {
    return refuse(Alert.certificateExpired, `${what} not yet valid, but from ${validFrom.text} on`);
  }
  if (rules.wall > validTo.at) {
    return refuse(Alert.certificateExpired, `${what} expired on ${validTo.text}`);
  }
  if (traits.unknown === undefined) return undefined;
  const why = `${what} has the critical extension ${traits.unknown}, which is not known here`;
  return refuse(Alert.unsupportedCertificate, why);
}

/** A key of another kind than this stack verifies with; those of roots are only used by `signedBy`. */
function keyFault({ spki }: ParsedCertificate): string | undefined {
  try {
    publicKey(spki);
    return undefined;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return `wrong key type: ${error.message}`;
  }
}

/** Why the leaf may not be used as it is, if it may not (RFC 5280 4.2.1.3, 4.2.1.12). */
function misuse({ traits }: ParsedCertificate, { purpose }: ChainRules): string | undefined {
  const { keyUsage, purposes } = traits;
  if (keyUsage !== undefined && (keyUsage & DIGITAL_SIGNATURE) === 0) {
    return "wrong usage: the certificate's key is not for signatures";
  }
  if (purpose === undefined || purposes === undefined) return undefined;
  if (purposes.includes(PURPOSES[purpose]) || purposes.includes(ANY_PURPOSE)) return undefined;
  return `wrong usage: the certificate is not for a ${purpose}`;
}

type Refused = Extract<Verdict, { ok: false }>;

function refuse(alert: number, why: string): Refused {
  return { ok: false, alert, why };
}

const MISMATCH: Verdict = {
  ok: false,
  alert: Alert.certificateUnknown,
  why: "not the certificate that was configured",
};
const PARSED_ANCHORS = new WeakMap<Uint8Array, ParsedCertificate>();
const UNKNOWN_ISSUER = "unknown issuer: no way to a trusted root";
const BAD_SIGNATURE = "bad signature: the issuer that the certificate names did not make it";
const DIGITAL_SIGNATURE = 0x80;
const PURPOSES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;
const ANY_PURPOSE = "2.5.29.37.0";
