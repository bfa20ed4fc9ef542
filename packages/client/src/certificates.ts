import { isIP } from "node:net";
import {
  UsageError,
  checkOptions,
  equal,
  oneOf,
  required,
  text,
  type Instant,
  type Rules,
} from "@godwit/base";
import {
  SUITES,
  checkChain,
  judgeChain,
  judgeServer,
  readCertificates,
  readPublicKey,
  signingKey,
  type Certificate,
  type CertificateUsage,
  type ChainRules,
  type Material,
} from "@godwit/dtls";
import type { ClientDtlsOptions } from "@godwit/lwm2m";
import { MATERIAL } from "./options.ts";

export type RpkOptions = {
  /** The device's private key: P-256, PKCS#8 or SEC 1. */
  readonly key: Material;
  /** The server's public key (SubjectPublicKeyInfo), by which alone the server is known. */
  readonly serverPublicKey: Material;
};

export type X509Options = {
  /** The device's certificate, its issuers behind it. */
  readonly certificate: Material;
  readonly key: Material;
  /** Roots that the server's certificate must lead to. */
  readonly ca?: Material;
  /** Server Public Key, resource 4 of the Security object: what it is for, `usage` says. */
  readonly serverCertificate?: Material;
  /**
   * Certificate Usage, resource 15. 3 (the default): the server shows `serverCertificate` itself. 2: that is the one root.
   * 1: it is the server's certificate, and leads to a root of `ca`. 0: it is a CA on the way to a root of `ca`.
   */
  readonly usage?: 0 | 1 | 2 | 3;
  /** Instead of a certificate the server shows its bare public key: this one. */
  readonly serverPublicKey?: Material;
  /** SNI, resource 14, and the name that the server's certificate must be for; that of the server's address unless given. */
  readonly serverName?: string;
};

/** How a server is known that shows a public key or a certificate. */
export type ServerTrust =
  | { readonly kind: "publicKey"; readonly spki: Uint8Array }
  | {
      readonly kind: "certificate";
      readonly anchors: readonly Uint8Array[];
      readonly usage: CertificateUsage | undefined;
      readonly serverName: string | undefined;
    };

/** See `rpk` and `x509`. */
export type CertificateSecurity = {
  readonly kind: "rpk" | "x509";
  readonly shown: Certificate;
  readonly server: ServerTrust;
};

/**
 * Raw public keys (RFC 7250, Security mode 1), for DTLS on "coaps://".
 *
 * @throws UsageError that says what is wrong with them
 */
export function rpk(options: RpkOptions): CertificateSecurity {
  checkOptions("rpk()", options, RPK_RULES);
  const { key, serverPublicKey } = options;
  const shown: Certificate = { kind: "rpk", key: signingKey(key) };
  const spki = readPublicKey(serverPublicKey, "serverPublicKey");
  if (equal(spki, shown.key.spki)) {
    throw new UsageError("serverPublicKey is the device's own: give the server's");
  }
  return { kind: "rpk", shown, server: { kind: "publicKey", spki } };
}

/**
 * X.509 certificates (Security mode 2), for DTLS on "coaps://".
 *
 * @throws UsageError that says what is wrong with them, or that nothing says which server to trust
 */
export function x509(options: X509Options): CertificateSecurity {
  checkOptions("x509()", options, X509_RULES);
  const chain = readCertificates(options.certificate);
  const key = signingKey(options.key);
  checkChain(chain, key);
  const shown: Certificate = { kind: "x509", key, chain };
  return { kind: "x509", shown, server: trustOf(options) };
}

function trustOf(options: X509Options): ServerTrust {
  const { ca, serverCertificate, serverPublicKey, serverName } = options;
  if (serverPublicKey !== undefined) {
    if (ca !== undefined || serverCertificate !== undefined || options.usage !== undefined) {
      throw new UsageError("a server is known by serverPublicKey, or by certificates: not by both");
    }
    return { kind: "publicKey", spki: readPublicKey(serverPublicKey, "serverPublicKey") };
  }
  const anchors = ca === undefined ? [] : readCertificates(ca, "ca");
  const kind = "certificate";
  if (serverCertificate === undefined) {
    if (options.usage !== undefined) {
      throw new UsageError(`usage ${options.usage} says what serverCertificate is for: give one`);
    }
    if (ca === undefined) {
      throw new UsageError(
        "nothing says which server to trust: give ca, serverCertificate or serverPublicKey",
      );
    }
    return { kind, anchors, usage: undefined, serverName };
  }
  const usage = options.usage ?? 3;
  if (usage < 2 && ca === undefined) {
    throw new UsageError(`usage ${usage} asks for a way to a trusted root: give ca, too`);
  }
  if (usage >= 2 && ca !== undefined) {
    throw new UsageError(
      `usage ${usage} trusts serverCertificate alone: leave out ca, or give usage 0 or 1`,
    );
  }
  const [certificate, ...others] = readCertificates(serverCertificate, "serverCertificate");
  if (certificate === undefined || (others.length > 0 && usage !== 3)) {
    throw new UsageError(`serverCertificate with usage ${usage} is one certificate, not several`);
  }
  return { kind, anchors, usage: { usage, certificate }, serverName };
}

/** What a device's stack takes as `dtls` for such a security. `host`: the server's, a name or an address. */
export function certificateDtls(
  { shown, server }: CertificateSecurity,
  host: string,
): Pick<ClientDtlsOptions, "credentials" | "judge" | "suites" | "serverName"> {
  const name = (server.kind === "certificate" ? server.serverName : undefined) ?? host;
  return {
    credentials: {
      kind: "certificate",
      certificate: shown,
      serverCertificates: [server.kind === "publicKey" ? "rpk" : "x509"],
    },
    suites: SUITES.filter(({ exchange }) => exchange === "ecdheEcdsa"),
    // RFC 6066 3: names only. A server of bare keys has one of them.
    ...(server.kind === "certificate" && isIP(name) === 0 ? { serverName: name } : {}),
    judge: ({ certificate }, now) => judge(certificate, server, name, now),
  };
}

function judge(
  certificate: CertificateMessage,
  server: ServerTrust,
  name: string,
  now: Instant,
): ReturnType<NonNullable<ClientDtlsOptions["judge"]>> {
  if (server.kind === "publicKey") {
    if (certificate.kind === "rpk" && equal(certificate.spki, server.spki)) return { ok: true };
    return { ok: false, why: "the server has another public key than the one that was configured" };
  }
  if (certificate.kind !== "x509") return { ok: false, why: "the server shows no certificate" };
  const { anchors, usage } = server;
  const rules: ChainRules = { anchors, wall: now, name, purpose: "server" };
  return usage === undefined
    ? judgeChain(certificate.chain, rules)
    : judgeServer(certificate.chain, rules, usage);
}

const RPK_RULES: Rules<RpkOptions> = {
  key: required(MATERIAL),
  serverPublicKey: required(MATERIAL),
};
const X509_RULES: Rules<X509Options> = {
  certificate: required(MATERIAL),
  key: required(MATERIAL),
  ca: MATERIAL,
  serverCertificate: MATERIAL,
  usage: oneOf(0, 1, 2, 3),
  serverPublicKey: MATERIAL,
  serverName: text(1, 255),
};

type CertificateMessage = Parameters<NonNullable<ClientDtlsOptions["judge"]>>[0]["certificate"];
