export { Device, type DeviceEvents, type DeviceOptions, type SessionView } from "./device.ts";
export {
  OSCORE_RECORD,
  oscore,
  parseOscore,
  oscoreProtection,
  type OscoreOptions,
  type OscoreSecurity,
} from "./oscore.ts";
export { fileStore, type DeviceStore } from "./device-store.ts";
export type { Resource, Resources, Source } from "./object-tree.ts";
export type { Material } from "@godwit/dtls";
export {
  rpk,
  x509,
  type CertificateSecurity,
  type RpkOptions,
  type ServerTrust,
  type X509Options,
} from "./certificates.ts";
export { psk, type DtlsSecurity, type PskSecurity, type Security } from "./security.ts";
