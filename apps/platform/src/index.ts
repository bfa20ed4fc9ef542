export { createPlatform, type Platform, type PlatformOptions } from "./platform.ts";
export { adminPassword } from "./admin-password.ts";
