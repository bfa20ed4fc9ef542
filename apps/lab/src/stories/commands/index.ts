import type { Command } from "../step.ts";
import { CALM } from "./calm.ts";
import { CREDENTIAL_COMMANDS } from "./credentials.ts";
import { DATA_COMMANDS } from "./data.ts";
import { DEVICE_COMMANDS } from "./device.ts";
import { NETWORK_COMMANDS } from "./network.ts";
import { SERVER_COMMANDS } from "./server.ts";
import { USER_COMMANDS } from "./user.ts";

/** All that can happen in a story. */
export const COMMANDS: readonly Command[] = [
  ...SERVER_COMMANDS,
  ...DEVICE_COMMANDS,
  ...NETWORK_COMMANDS,
  ...USER_COMMANDS,
  ...CREDENTIAL_COMMANDS,
  ...DATA_COMMANDS,
  CALM,
];
