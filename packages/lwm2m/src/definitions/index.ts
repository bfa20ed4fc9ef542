import { Registry, type ObjectDefinition } from "../definition.ts";
import { DEVICE, DEVICE_1_0, DEVICE_1_1 } from "./device.ts";
import { FIRMWARE, FIRMWARE_1_0, FIRMWARE_1_1 } from "./firmware.ts";
import { SECURITY, SECURITY_1_0, SECURITY_1_1 } from "./security.ts";
import { SERVER, SERVER_1_0, SERVER_1_1 } from "./server.ts";
import { TEMPERATURE, TEMPERATURE_1_0 } from "./temperature.ts";

/** Every object that is built in, in every version. */
export const BUILT_IN: readonly ObjectDefinition[] = [
  SECURITY_1_0,
  SECURITY_1_1,
  SECURITY,
  SERVER_1_0,
  SERVER_1_1,
  SERVER,
  DEVICE_1_0,
  DEVICE_1_1,
  DEVICE,
  FIRMWARE_1_0,
  FIRMWARE_1_1,
  FIRMWARE,
  TEMPERATURE_1_0,
  TEMPERATURE,
];

export function builtInRegistry(): Registry {
  return new Registry(BUILT_IN);
}
