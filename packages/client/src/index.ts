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
export { psk, type PskSecurity, type Security } from "./security.ts";
