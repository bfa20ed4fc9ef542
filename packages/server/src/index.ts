export { roots, rpkCredential, shown, x509Credential } from "./certificates.ts";
export type { Material } from "@godwit/dtls";
export { RemoteDevice, type ObserveOptions, type ReadValue, type Reading } from "./device.ts";
export type { Events } from "./events.ts";
export { DeviceError } from "./faults.ts";
export { MasterKeyError, holdsSealedRecords } from "./master-key-check.ts";
export { oscoreProtection } from "./oscore.ts";
export {
  Server,
  parseAddress,
  type OrderOptions,
  type ServerOptions,
  type ShownCertificate,
} from "./server.ts";
export type { Answer, DeviceView, PathValue, Task } from "./task.ts";
