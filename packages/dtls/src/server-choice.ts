import { CertificateType, ECDSA_SHA256, ExtensionType, Group } from "./codes.ts";
import type { Certificate } from "./credentials.ts";
import { certificateTypeOf } from "./handshake/certificate.ts";
import type { ClientHello } from "./handshake/client-hello.ts";
import {
  certificateTypes,
  hasFlag,
  namedGroups,
  signatureAlgorithms,
  supportedGroups,
} from "./handshake/extensions.ts";
import type { ServerSetup } from "./server-handshake.ts";
import { type Suite, needsEncryptThenMac } from "./suites.ts";

/** Our preference among what both sides can do. */
export function chooseSuite(
  setup: Pick<ServerSetup, "credentials" | "suites">,
  hello: ClientHello,
): { readonly suite: Suite; readonly certificate: Certificate | undefined } | undefined {
  const { credentials, suites } = setup;
  const { extensions } = hello;
  const group = groupFor(hello);
  for (const suite of suites) {
    if (!hello.suites.includes(suite.id)) continue;
    if (needsEncryptThenMac(suite.cipher) && !hasFlag(extensions, ExtensionType.encryptThenMac)) {
      continue;
    }
    if (suite.exchange !== "psk" && group === undefined) continue;
    if (suite.exchange !== "ecdheEcdsa") {
      if (credentials.psk) return { suite, certificate: undefined };
      continue;
    }
    const schemes = signatureAlgorithms.read(extensions) ?? [];
    if (!schemes.includes(ECDSA_SHA256)) continue;
    const kinds = certificateTypes.read(extensions, ExtensionType.serverCertificateType) ?? [
      CertificateType.x509,
    ];
    const certificate = best(kinds, credentials.certificates);
    if (certificate === undefined) continue;
    if (credentials.clientCertificates.length > 0 && clientKindFor(setup, hello) === undefined) {
      continue;
    }
    return { suite, certificate };
  }
  return undefined;
}

/** The kind of certificate to ask the client for. */
export function clientKindFor(
  setup: Pick<ServerSetup, "credentials">,
  hello: ClientHello,
): "rpk" | "x509" | undefined {
  const kinds = certificateTypes.read(hello.extensions, ExtensionType.clientCertificateType) ?? [
    CertificateType.x509,
  ];
  return setup.credentials.clientCertificates.find((kind) =>
    kinds.includes(certificateTypeOf(kind)),
  );
}

/** The group for the key agreement, if we have one in common. */
export function groupFor(hello: ClientHello): number | undefined {
  // RFC 8422 4: a client that names no groups leaves the choice to us.
  const offered = supportedGroups.read(hello.extensions) ?? [Group.secp256r1];
  return namedGroups.find((group) => offered.includes(group));
}

/** What we can show of what the client takes, by the client's preference (RFC 7250 4.1). */
function best(
  kinds: readonly number[],
  certificates: readonly Certificate[],
): Certificate | undefined {
  for (const kind of kinds) {
    const found = certificates.find((one) => certificateTypeOf(one.kind) === kind);
    if (found !== undefined) return found;
  }
  return undefined;
}
