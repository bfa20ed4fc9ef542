export { SelfTestError, USAGE_ERROR_CODES, UsageError, type UsageErrorCode } from "@godwit/base";
export {
  SOCKET_ERROR_CODES,
  STORE_ERROR_CODES,
  SocketError,
  StoreError,
  TimeoutError,
} from "@godwit/io";
/** "4.03" for the number 0x83: what events have as `code`. */
export { formatCode } from "@godwit/coap";
export { Device } from "./device.ts";
export type { DeviceEvents, SessionView } from "./events.ts";
export { START_ERROR_CODES, StartError, type FaultSource, type StartErrorCode } from "./faults.ts";
export type { DeviceOptions, StartOptions, StopOptions } from "./options.ts";
export type { DeviceLimits } from "./tuning.ts";
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
