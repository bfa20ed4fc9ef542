export { createPlatform, type Platform, type PlatformOptions } from "./platform.ts";
export { parseCredential } from "./credentials.ts";
export { adminPassword } from "./admin-password.ts";
