export { SelfTestError, USAGE_ERROR_CODES, UsageError, type UsageErrorCode } from "@godwit/base";
export {
  SOCKET_ERROR_CODES,
  STORE_ERROR_CODES,
  SocketError,
  StoreError,
  TimeoutError,
} from "@godwit/io";
export { roots, rpkCredential, shown, x509Credential } from "./certificates.ts";
export type { Material } from "@godwit/dtls";
export { RemoteDevice } from "./device.ts";
export type { Events } from "./events.ts";
export {
  DEVICE_ERROR_CODES,
  DeviceError,
  SERVER_ERROR_CODES,
  ServerError,
  codeOfFailed,
  type DeviceErrorCode,
  type ServerErrorCode,
} from "./faults.ts";
export { MasterKeyError, holdsSealedRecords } from "./master-key-check.ts";
export type { ObservationLoop } from "./observation-loop.ts";
export {
  parseAddress,
  type ObserveOptions,
  type OrderOptions,
  type ServerOptions,
  type WaitOptions,
  type WriteOptions,
} from "./options.ts";
export { oscoreProtection } from "./oscore.ts";
export type { ReadValue, Reading } from "./reading.ts";
export { refusalReasons } from "./refusal-words.ts";
export { sourceOf, type RefusalCount, type RefusalView, type RefusedFor } from "./refusals.ts";
export { Server, type ShownCertificate } from "./server.ts";
export type { Answer, DeviceView, PathValue, Task } from "./task.ts";
