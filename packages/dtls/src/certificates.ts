import { FormatError, equal } from "@godwit/base";
import { Alert } from "./codes.ts";
import type { Verdict } from "./credentials.ts";
import { type ParsedCertificate, parseCertificate, publicKey } from "./crypto.ts";

export type ChainRules = {
  /** Roots that are trusted, DER. */
  readonly anchors: readonly Uint8Array[];
  /** Wall clock in ms since 1970: certificates expire by the calendar. */
  readonly wall: number;
  /** Host name or address that the leaf must be for; not checked without. */
  readonly name?: string;
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

/** The way from the leaf to an anchor, or why there is none. */
function buildPath(
  chain: readonly Uint8Array[],
  rules: ChainRules,
): { readonly certificates: readonly ParsedCertificate[] } | Refused {
  let parsed: ParsedCertificate[];
  try {
    parsed = chain.map(parseCertificate);
    for (const { spki } of parsed) publicKey(spki);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    return refuse(Alert.badCertificate, `certificate unreadable: ${error.message}`);
  }
  const anchors = rules.anchors.map(parseCertificate);
  let current = parsed[0];
  if (current === undefined) return refuse(Alert.badCertificate, "no certificate");
  if (rules.name !== undefined && !current.matchesHost(rules.name)) {
    return refuse(Alert.badCertificate, `certificate is not for ${rules.name}`);
  }
  const certificates = [current];
  for (;;) {
    const { validFrom, validTo } = current;
    if (rules.wall < validFrom)
      return refuse(Alert.certificateExpired, "certificate not yet valid");
    if (rules.wall > validTo) return refuse(Alert.certificateExpired, "certificate expired");
    const { raw } = current;
    if (anchors.some((anchor) => equal(anchor.raw, raw))) return { certificates };
    const subject: ParsedCertificate = current;
    const anchor = anchors.find((candidate) => subject.issuedBy(candidate));
    const issuer: ParsedCertificate | undefined =
      anchor ??
      parsed.find((candidate) => !certificates.includes(candidate) && subject.issuedBy(candidate));
    if (issuer === undefined) return refuse(Alert.unknownCa, "no way to a trusted root");
    if (!issuer.isCa) return refuse(Alert.badCertificate, "issuer is no CA");
    certificates.push(issuer);
    current = issuer;
  }
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
