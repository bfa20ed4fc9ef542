import type { ClientSetup } from "./client-handshake.ts";
import { ECDSA_SHA256, ExtensionType } from "./codes.ts";
import { certificateTypeOf } from "./handshake/certificate.ts";
import {
  type Extension,
  certificateTypes,
  connectionId,
  ecPointFormats,
  flag,
  maxFragmentLength,
  namedGroups,
  recordSizeLimit,
  serverName,
  signatureAlgorithms,
  supportedGroups,
} from "./handshake/extensions.ts";
import { needsEncryptThenMac } from "./suites.ts";

/** What a ClientHello offers; `ticket`: of the session to resume, empty if there is none. */
export function offeredExtensions(setup: ClientSetup, ticket: Uint8Array): Extension[] {
  const { tuning, suites, credentials, connectionId: cid } = setup;
  const extensions: Extension[] = [];
  if (setup.serverName !== "") extensions.push(serverName.write(setup.serverName));
  extensions.push(flag(ExtensionType.extendedMasterSecret));
  if (suites.some((suite) => needsEncryptThenMac(suite.cipher))) {
    extensions.push(flag(ExtensionType.encryptThenMac));
  }
  if (suites.some((suite) => suite.exchange !== "psk")) {
    extensions.push(supportedGroups.write(namedGroups), ecPointFormats.write());
  }
  if (credentials.kind === "certificate") {
    extensions.push(signatureAlgorithms.write([ECDSA_SHA256]));
    const { certificate, serverCertificates } = credentials;
    if (certificate !== undefined && certificate.kind !== "x509") {
      const types = [certificateTypeOf(certificate.kind)];
      extensions.push(certificateTypes.write(ExtensionType.clientCertificateType, types));
    }
    if (serverCertificates.some((kind) => kind !== "x509")) {
      const types = serverCertificates.map(certificateTypeOf);
      extensions.push(certificateTypes.write(ExtensionType.serverCertificateType, types));
    }
  }
  if (cid !== undefined) {
    extensions.push(connectionId.write(cid));
    if (setup.routability) extensions.push(flag(ExtensionType.returnRoutabilityCheck));
  }
  if (tuning.recordSizeLimit > 0) extensions.push(recordSizeLimit.write(tuning.recordSizeLimit));
  if (tuning.maxFragmentLength > 0) {
    extensions.push(maxFragmentLength.write(tuning.maxFragmentLength));
  }
  if (setup.tickets || ticket.length > 0) {
    extensions.push({ type: ExtensionType.sessionTicket, body: ticket });
  }
  return extensions;
}
