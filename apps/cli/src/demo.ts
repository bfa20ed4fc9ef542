import { UsageError } from "@godwit/base";
import { DemoFleet } from "@godwit/lab";
import { createPlatform, type Platform } from "@godwit/platform";
import { Server, parseAddress } from "@godwit/server";
import { Command, InvalidArgumentError, Option } from "commander";
import { listenAddress, listenUdp } from "./arguments.ts";
import { onFreePort } from "./free-port.ts";
import { LimitedLog } from "./limited-log.ts";
import { openLog } from "./log.ts";
import { watchTemperatures } from "./operator.ts";
import { logEvents } from "./server-log.ts";
import { untilStopped } from "./stop.ts";

type Options = { readonly coap: string; readonly http: string; readonly speed: number };

export function demoCommand(): Command {
  return new Command("demo")
    .description("a server with six simulated devices behind a simulated NAT, on this machine only")
    .addOption(
      new Option("--http <host:port>", "the page; the next free port if it is taken")
        .default("127.0.0.1:8080")
        .argParser(listenAddress),
    )
    .addOption(
      new Option("--coap <host:port>", "the server; the next free port if it is taken")
        .default("127.0.0.1:5683")
        .argParser(listenUdp),
    )
    .addOption(
      new Option("--speed <factor>", "how much faster than ours the devices' time runs")
        .default(1)
        .argParser(factor)
        .hideHelp(),
    )
    .action(demo);
}

async function demo({ coap, http, speed }: Options): Promise<void> {
  const stopping = untilStopped();
  if (!isLoopback(parseAddress(http).host))
    throw new UsageError(
      "--http: a demo has no password; give it an address of this machine alone, such as 127.0.0.1:8080",
    );
  const opened: { close(): unknown }[] = [];
  try {
    const lines = await stopping.during(open({ coap, http, speed }, opened));
    process.stdout.write(`${lines.join("\n")}\nReady\n`);
    await stopping.asked;
  } finally {
    for (const one of opened.toReversed()) await one.close();
  }
}

/** Opens all of it. Returns what is said about it. */
async function open(
  { coap, http, speed }: Options,
  opened: { close(): unknown }[],
): Promise<readonly string[]> {
  const log = openLog("warn");
  const server = await startServer(parseAddress(coap), speed);
  opened.push(server);
  logEvents(server, log, new LimitedLog(log));
  const [address = ""] = server.addresses;
  const [secureAddress = ""] = server.secureAddresses;
  const fleet = new DemoFleet({
    server: parseAddress(address),
    secureServer: parseAddress(secureAddress),
    speed,
    step: STEP / speed,
  });
  const page = await openPage(parseAddress(http), () =>
    createPlatform({ server, log, auth: { kind: "open" }, simulation: () => fleet.simulation() }),
  );
  opened.push(page.platform);
  for (const credential of fleet.credentials) await server.addCredential(credential);
  fleet.start();
  opened.push(fleet);
  opened.push({ close: watchTemperatures(server, fleet.endpoints, READ_EVERY / speed) });
  return [
    `CoAP   ${address}  (NoSec and OSCORE, this machine only)`,
    `CoAPs  ${secureAddress}  (DTLS)`,
    `Page   ${page.url}`,
    "",
    "Six thermometers stand behind a simulated NAT that forgets a silent device after 30 s.",
    "demo-oscore protects what it says, demo-dtls-cid and demo-dtls-resume by DTLS; the others prove nothing.",
    "Watch the NAT column: a read that meets a forgotten mapping waits, and is answered after the device's next word.",
  ];
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** A server whose times fit devices that live faster than we do. */
async function startServer(
  { host, port }: { readonly host: string; readonly port: number },
  speed: number,
): Promise<Server> {
  return await onFreePort(port, async (free) => {
    const own = host.includes(":") ? `[${host}]` : host;
    const server = new Server({
      coap: `${own}:${free}`,
      coaps: `${own}:0`,
      nosec: true,
      sealer: IN_CLEAR,
      tuning: {
        awakeWindow: AWAKE / speed,
        trustedBinding: TRUSTED / speed,
        shortestBinding: 10_000 / speed,
      },
      coapTuning: { ackTimeout: 2_000 / speed },
    });
    await server.start();
    return server;
  });
}

async function openPage(
  { host, port }: { readonly host: string; readonly port: number },
  create: () => Promise<Platform>,
): Promise<{ readonly platform: Platform; readonly url: string }> {
  return await onFreePort(port, async (free) => {
    const platform = await create();
    try {
      const url = await platform.listen(host, free);
      if (free !== port) process.stdout.write(`Port ${port} is taken: the page is on ${free}\n`);
      return { platform, url };
    } catch (fault) {
      await platform.close();
      throw fault;
    }
  });
}

function factor(text: string): number {
  const value = Number(text);
  if (!(value >= 0.1 && value <= 100)) throw new InvalidArgumentError("a factor from 0.1 to 100");
  return value;
}

/** Nothing is stored. */
const IN_CLEAR = { seal: (secret: Uint8Array) => secret, open: (sealed: Uint8Array) => sealed };
/** ms; as long as the sleeping device listens, less the way to it. */
const AWAKE = 9_000;
const TRUSTED = 25_000;
/** Longer than the NAT remembers: one that is asked more often is held open by the answers. */
const READ_EVERY = 40_000;
const STEP = 50;
