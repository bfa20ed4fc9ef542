import { accessSync, constants } from "node:fs";
import { Device, fileStore, type DeviceEvents } from "@godwit/client";
import { UsageError } from "@godwit/base";
import { formatCode } from "@godwit/coap";
import { makeDirectory } from "@godwit/io";
import { Command, Option } from "commander";
import { nameAlerts } from "./alert-words.ts";
import { deviceServer, directoryName, endpointName, keepAlive, seconds } from "./arguments.ts";
import {
  securityOf,
  securityOptions,
  withoutStrayKey,
  type SecurityOptions,
} from "./device-security.ts";
import { LimitedLog } from "./limited-log.ts";
import { keyLogFile, keyLogWarning, writeKeyLog } from "./key-log.ts";
import { untilStopped } from "./stop.ts";
import { systemWords } from "./system-words.ts";

type Options = SecurityOptions & {
  readonly endpoint: string;
  readonly lifetime: number;
  readonly binding: "U" | "UQ";
  readonly keepAlive: "off" | "auto" | number;
  readonly lwm2m: "1.0" | "1.1" | "1.2";
  readonly state?: string;
  readonly cid: boolean;
  readonly keylog?: string | true;
};

export function deviceCommand(): Command {
  const command = new Command("device")
    .description("run a device with a thermometer, to try a server or a network")
    .requiredOption(
      "--server <uri>",
      "coap://HOST:PORT, or coaps://HOST:PORT with a key or certificate",
      deviceServer("coap", "coaps"),
    )
    .requiredOption("--endpoint <name>", "the endpoint name", endpointName)
    .option("--lifetime <seconds>", "lifetime of the registration", seconds, 300)
    .addOption(
      new Option("--binding <letters>", "U: always listening; UQ: sleeps between its messages")
        .choices(["U", "UQ"])
        .default("U"),
    )
    .option("--keep-alive <how>", "off, auto, or seconds (15 or more)", keepAlive, "off")
    .addOption(
      new Option("--lwm2m <version>", "tried first; a server that refuses is offered lower ones")
        .choices(["1.0", "1.1", "1.2"])
        .default("1.1"),
    );
  for (const option of securityOptions()) command.addOption(option);
  return command
    .option("--cid", "asks for a Connection ID: the session outlives the NAT's memory", false)
    .option(
      "--state <directory>",
      "keeps the registration and the session over a restart",
      directoryName,
    )
    .option(
      "--keylog [file]",
      "for debugging: writes the keys of DTLS to this file, or that of SSLKEYLOGFILE, by which anybody can read all",
    )
    .action(run);
}

async function run(options: Options): Promise<void> {
  const stopping = untilStopped();
  if (options.cid && !options.server.startsWith("coaps:"))
    throw new UsageError("--cid is for coaps://: a Connection ID belongs to DTLS");
  if (options.state !== undefined) checkStateDirectory(options.state);
  const security = securityOf(withoutStrayKey(options));
  const keylog = keyLogFile(options.keylog);
  const device = new Device({
    endpoint: options.endpoint,
    server: options.server,
    lifetime: options.lifetime,
    queueMode: options.binding === "UQ",
    keepAlive: options.keepAlive,
    lwm2m: options.lwm2m,
    ...(security === undefined ? {} : { security, strategy: options.cid ? "cid" : "resume" }),
    ...(options.state === undefined ? {} : { store: fileStore(options.state) }),
    ...(keylog === undefined ? {} : { keyLog: true }),
  });
  let celsius = 21;
  device.add(3303, { 5700: () => celsius, 5701: "Cel", 5605: () => say("extremes reset") });
  say(`${options.endpoint} towards ${options.server}`);
  listen(device);
  if (keylog !== undefined) {
    say(keyLogWarning(keylog));
    device.on("keyLog", ({ line }) => writeKeyLog(keylog, line));
  }
  let weather: NodeJS.Timeout | undefined;
  const stillWaiting = sayWhileSilent(device, options.server);
  try {
    await stopping.during(device.start());
    weather = setInterval(() => {
      celsius = Math.round((celsius + Math.random() - 0.5) * 100) / 100;
      device.changed("/3303/0/5700");
    }, 5_000);
    await stopping.asked;
    say("stopping");
  } finally {
    clearInterval(weather);
    clearTimeout(stillWaiting);
    await device.stop({ deregister: options.state === undefined });
  }
}

/** Retransmissions take minutes before they are given up: people want to know sooner that nobody answers. */
function sayWhileSilent(device: Device, server: string): NodeJS.Timeout {
  const timer = setTimeout(() => {
    const { hostname, port } = new URL(server);
    say(
      `no answer yet: does a server listen at ${hostname}${port === "" ? "" : `:${port}`}, and does its log say anything of us?`,
    );
  }, SILENCE_AFTER);
  for (const sign of [
    "registered",
    "refused",
    "secured",
    "handshakeFailed",
    "unreachable",
  ] as const)
    device.on(sign, () => clearTimeout(timer));
  return timer;
}

/** A state that cannot be written is found out here, not at the first registration. */
function checkStateDirectory(directory: string): void {
  try {
    makeDirectory(directory);
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new Error(`--state ${directory}: ${systemWords(cause)}`, { cause });
  }
}

function listen(device: Device): void {
  const tell = (_fields: unknown, message: string): void => say(message);
  const faults = new LimitedLog({ info: tell, warn: tell, error: tell }); // one may come with each datagram
  const on = <K extends keyof DeviceEvents>(
    name: K,
    words: (event: DeviceEvents[K]) => string,
  ): void => void device.on(name, (event) => say(words(event)));
  on("registered", ({ location, lwm2m }) => `registered at /${location.join("/")}, LwM2M ${lwm2m}`);
  on("updated", ({ keepAlive: kept }) => (kept ? "kept alive" : "updated"));
  on("refused", ({ to, code, diagnostic, retryAt }) => {
    const next = retryAt === undefined ? "for good" : `next attempt in ${left(retryAt)}`;
    return `${to} refused: ${formatCode(code)} ${JSON.stringify(diagnostic)}, ${next}`;
  });
  on("unreachable", ({ why, retryAt }) => {
    const what = SILENCE[why] ?? "no answer";
    return retryAt === undefined ? what : `${what}, next attempt in ${left(retryAt)}`;
  });
  on("exhausted", () => "no answer after all attempts; tried again later");
  let isKnown = false;
  device.on("registered", () => void (isKnown = true));
  device.on("deregistered", () => {
    if (isKnown) say("de-registered");
    isKnown = false;
  });
  on("asleep", () => "asleep");
  on("keepAlive", ({ state, binding, interval }) => {
    if (interval === undefined)
      return "the NAT forgets faster than anything may be sent to keep it from it: no keep-alive";
    const life = `a sign of life every ${Math.round(interval)} s`;
    return state === "unsupported"
      ? `the server cannot help to learn the NAT: ${life}`
      : `NAT binding ${state}: ${binding ?? "unknown"} s, ${life}`;
  });
  on("observation", ({ path, active }) =>
    active ? `observed: /${path.join("/")}` : `no longer observed: /${path.join("/")}`,
  );
  on("note", ({ text }) => text);
  on("written", ({ path }) => `written: ${path}`);
  device.on("fault", ({ fault, path }) => {
    const message = `fault${path === undefined ? "" : ` at ${path}`}: ${fault.message}`;
    faults.write({ level: "error", reason: "fault", source: "us", fields: {}, message });
  });
  on("secured", ({ how }) => HOW[how]);
  on("handshakeStalled", ({ why }) => why);
  on("handshakeFailed", ({ why, retryAt }) =>
    retryAt === undefined
      ? `handshake failed: ${nameAlerts(why)}`
      : `handshake failed: ${nameAlerts(why)}, next attempt in ${left(retryAt)}`,
  );
  on("session", ({ bytes }) => `session so far: ${bytes.out} bytes out, ${bytes.in} in`);
}

/** What is known where it is more than silence. */
const SILENCE: Partial<Record<DeviceEvents["unreachable"]["why"], string>> = {
  unprotected: "the server refuses us without OSCORE: it has other keys for our sender id, or none",
  reset: "the server rejects what we send (RST)",
  badResponse: "the server's answer cannot be understood",
};

/** ms */
const SILENCE_AFTER = 5_000;

const HOW = {
  full: "secured by a full handshake",
  resumed: "secured by resuming the session",
  kept: "secured by the session that was kept",
} as const;

function say(text: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

function left(at: number): string {
  return `${Math.max(0, Math.round((at - Date.now()) / 1_000))} s`;
}
