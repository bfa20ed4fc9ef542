import { UsageError, formatAddress } from "@godwit/base";
import { leafOf } from "@godwit/dtls";
import { createPlatform, adminPassword, type Platform } from "@godwit/platform";
import { join } from "node:path";
import { loadMasterKey, openData, type Data, type LoadedMasterKey } from "@godwit/io";
import { Server, holdsSealedRecords, parseAddress, type ShownCertificate } from "@godwit/server";
import { Command, Option } from "commander";
import type { Logger } from "pino";
import {
  directoryName,
  fileName,
  listenAddress,
  listenUdp,
  span,
  webAddress,
} from "./arguments.ts";
import { readCredentials } from "./credential-file.ts";
import { readOption } from "./read-option.ts";
import { readCoapsFiles, type CoapsMaterial } from "./coaps-files.ts";
import { keyLogFile, keyLogWarning, writeKeyLog } from "./key-log.ts";
import {
  STORE_FAILURE_EXIT,
  storeFailureOption,
  untilStoreFails,
  type OnStoreFailure,
} from "./store-failure.ts";
import { untilStopped } from "./stop.ts";
import { LimitedLog } from "./limited-log.ts";
import { openLog } from "./log.ts";
import { logEvents, logGuess } from "./server-log.ts";

type Options = {
  readonly data: string;
  readonly coap: string;
  readonly coaps?: string;
  readonly coapsKey?: string;
  readonly coapsCert?: string;
  readonly coapsCa?: string;
  readonly keylog?: string | true;
  readonly http: string;
  readonly publicUrl?: string;
  readonly nosec: boolean;
  readonly credentials?: string;
  readonly awake?: number;
  readonly mark?: string;
  readonly acceptLoss: boolean;
  readonly onStoreFailure: OnStoreFailure;
  readonly logLevel: string;
};

export function serveCommand(): Command {
  return new Command("serve")
    .description("run the LwM2M server with its REST API and page")
    .addOption(
      new Option("--data <directory>", "where registrations, orders and secrets are kept")
        .default("./godwit-data")
        .env("GODWIT_DATA")
        .argParser(directoryName),
    )
    .addOption(
      new Option(
        "--mark <file>",
        "a second mark, on another volume than the data: notices a volume that was put back as a whole",
      )
        .env("GODWIT_MARK")
        .argParser(fileName),
    )
    .option(
      "--accept-loss",
      "go on, once, without commits that are missing: what is left of the store is kept aside, devices need new keys",
      false,
    )
    .addOption(storeFailureOption())
    .addOption(
      new Option("--coap <host:port>", "plain CoAP; needs --nosec to accept registrations")
        .default("127.0.0.1:5683")
        .env("GODWIT_COAP")
        .argParser(listenUdp),
    )
    .addOption(
      new Option(
        "--coaps [host:port]",
        "CoAP over DTLS, for devices with credentials; off unless given",
      )
        .preset("127.0.0.1:5684")
        .env("GODWIT_COAPS")
        .argParser(listenUdp),
    )
    .addOption(
      new Option(
        "--coaps-key <file>",
        "the server's private key, P-256 in PEM; made at the first start unless given",
      )
        .env("GODWIT_COAPS_KEY_FILE")
        .argParser(fileName),
    )
    .addOption(
      new Option(
        "--coaps-cert <file>",
        "its certificate and the issuers behind it, PEM; without, devices know it by its public key",
      )
        .env("GODWIT_COAPS_CERT_FILE")
        .argParser(fileName),
    )
    .addOption(
      new Option(
        "--coaps-ca <file>",
        "roots that certificates of devices must lead to, PEM; those that are pinned need none",
      )
        .env("GODWIT_COAPS_CA_FILE")
        .argParser(fileName),
    )
    .addOption(
      new Option("--http <host:port>", "REST API and page")
        .default("127.0.0.1:8080")
        .env("GODWIT_HTTP")
        .argParser(listenAddress),
    )
    .addOption(
      new Option(
        "--public-url <url>",
        "where browsers reach the page, if by another name than this machine's: that of a proxy",
      )
        .env("GODWIT_PUBLIC_URL")
        .argParser(webAddress),
    )
    .option("--nosec", "accept devices that prove nothing: for labs, not for the Internet", false)
    .option(
      "--credentials <file>",
      "adds these at the start: a JSON array of what `godwit credentials add` takes",
      fileName,
    )
    .option(
      "--awake <seconds>",
      "how long devices in queue mode listen after their last message; 93 unless given",
      span,
    )
    .option(
      "--keylog [file]",
      "for debugging: writes the keys of DTLS to this file, or that of SSLKEYLOGFILE, by which anybody can read all",
    )
    .addOption(
      new Option("--log-level <level>", "what to log, as JSON lines on standard error")
        .choices(["silent", "error", "warn", "info", "debug"])
        .default("info")
        .env("GODWIT_LOG_LEVEL"),
    )
    .action(serve);
}

async function serve(options: Options): Promise<void> {
  const stopping = untilStopped(); // before anything is opened: who stops us at once is heard too
  const log = openLog(options.logLevel);
  const material = readCoapsFiles(options, Date.now());
  const keylog = keyLogFile(options.keylog);
  const opened: { close(): Promise<void> }[] = [];
  try {
    const opening = open(options, { material, keylog, opened, log });
    const { server, lines } = await stopping.during(opening);
    process.stdout.write(`${lines.join("\n")}\nReady\n`);
    const { deviceCount: registrations, addresses: coap, secureAddresses: coaps } = server;
    log.info({ registrations, coap, coaps }, "ready");
    const failed = untilStoreFails(server, log, options.onStoreFailure);
    const why = await Promise.race([stopping.asked, failed]);
    if (why === "store failed") process.exitCode = STORE_FAILURE_EXIT;
    log.info("stopping");
  } finally {
    // Whatever ended it: what is owed is written, and nothing keeps the process or the store's lock.
    for (const one of opened.toReversed()) await one.close();
  }
}

type Opening = {
  readonly material: CoapsMaterial;
  readonly keylog: string | undefined;
  /** What has to be closed, in the order in which it was opened. */
  readonly opened: { close(): Promise<void> }[];
  readonly log: Logger;
};

/** Opens all that a server needs. Returns it, and what the operator is told. */
async function open(
  options: Options,
  { material, keylog, opened, log }: Opening,
): Promise<{ readonly server: Server; readonly lines: readonly string[] }> {
  const data = await openData(options.data, {
    acceptLoss: options.acceptLoss,
    ...(options.mark === undefined ? {} : { markFile: options.mark }),
    onNotice: (text) => log.warn(text),
  });
  opened.push(data);
  const { password, file, created } = await adminPassword(options.data);
  const isNew = !holdsSealedRecords(data.store);
  const master = loadMasterKey(join(options.data, "master-key"), process.env, isNew);
  for (const warning of material.warnings) log.warn(warning);
  const limited = new LimitedLog(log);
  opened.push({ close: async () => limited.flush() });
  const server = openServer(options, { data, master, material, keylog, limited }, log);
  await server.start();
  opened.push(server);
  if (options.credentials !== undefined) await addCredentials(server, options.credentials, log);
  const { publicUrl } = options;
  const named = publicUrl === undefined ? {} : { publicUrl };
  const auth = { kind: "password", password, ...named } as const;
  const platform = await createPlatform({
    server,
    log,
    auth,
    onWrongPassword: (address) => logGuess(address, limited),
  });
  opened.push(platform);
  const url = await listen(platform, parseAddress(options.http));
  const lines = [
    `CoAP   ${server.addresses.join(" ")}${options.nosec ? "  (NoSec: nothing is proven, nothing is secret)" : ""}`,
    ...(options.coaps === undefined ? [] : [`CoAPs  ${server.secureAddresses.join(" ")}`]),
    ...server.certificates.slice(0, 1).map(describe),
    ...(keylog === undefined ? [] : [keyLogWarning(keylog)]),
    `Page   ${url}`,
    `Data   ${options.data}`,
    created
      ? `The administrator's password was made and is in ${file}`
      : `The administrator's password is in ${file}`,
    ...(master.created
      ? [`A master key was made: keep a copy of ${master.file}, credentials are lost without it`]
      : []),
  ];
  if (!options.nosec && server.credentials().length === 0)
    lines.push(
      "No device can register yet: there are no credentials (godwit credentials), and NoSec is off (--nosec switches it on)",
    );
  return { server, lines };
}

/** By what devices know the server. */
function describe({ chain }: ShownCertificate): string {
  const exported = "`godwit credentials server-key` prints it for devices";
  if (chain.length === 0) return `Key    ${exported}`;
  const { names, fingerprint } = leafOf(chain);
  return `Key    certificate of ${names[0] ?? "nobody"}, sha256:${fingerprint}; ${exported}`;
}

type Opened = {
  readonly data: Data;
  readonly master: LoadedMasterKey;
  readonly material: CoapsMaterial;
  readonly keylog: string | undefined;
  readonly limited: LimitedLog;
};

function openServer(
  options: Options,
  { data, master, material, keylog, limited }: Opened,
  log: Logger,
): Server {
  const { certificates, anchors } = material;
  if (master.exposed) log.warn(`${master.file} can be read by others than its owner`);
  const server = new Server({
    coap: options.coap,
    ...(options.coaps === undefined ? {} : { coaps: options.coaps }),
    dtls: {
      anchors,
      ...(certificates === undefined ? {} : { certificates }),
      ...(keylog === undefined ? {} : { keyLog: true }),
    },
    nosec: options.nosec,
    store: data.store,
    clock: data.clock,
    sealer: master.key,
    ...(data.rolledBack ? { rolledBack: { settled: data.rollbackSettled } } : {}),
    ...(options.awake === undefined ? {} : { tuning: { awakeWindow: options.awake * 1_000 } }),
  });
  logEvents(server, log, limited);
  if (keylog !== undefined) {
    log.warn(keyLogWarning(keylog));
    server.on("keyLog", ({ line }) => writeKeyLog(keylog, line));
  }
  if (data.rollbackReason !== undefined) {
    log.warn(`${data.rollbackReason}; the keys of its sessions are dropped, devices make new ones`);
  }
  return server;
}

/** One whose nonces would repeat is left out: it was revoked or replaced while the server ran, and must not end a start. */
async function addCredentials(server: Server, file: string, log: Logger): Promise<void> {
  const all = readOption("--credentials", file, readCredentials);
  const add = async (one: (typeof all)[number]): Promise<void> => {
    try {
      await server.addCredential(one);
    } catch (fault) {
      if (!(fault instanceof UsageError) || fault.code !== "USED_SECRET") throw fault;
      log.error({ endpoint: one.endpoint }, `--credentials ${file}: left out: ${fault.message}`);
    }
  };
  try {
    await Promise.all(all.map(add)); // few commits for many
  } catch (cause) {
    throw new Error(
      `--credentials ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

type Address = ReturnType<typeof parseAddress>;

async function listen(platform: Platform, { host, port }: Address): Promise<string> {
  try {
    return await platform.listen(host, port);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what = ADVICE.get(code ?? "") ?? message;
    throw new Error(`--http: cannot bind ${formatAddress({ host, port })}: ${what}`, { cause });
  }
}

const ADVICE: ReadonlyMap<string, string> = new Map([
  ["EADDRINUSE", "another program has this port; stop it or choose another port"],
  ["EACCES", "not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE"],
  ["EADDRNOTAVAIL", "this host has no such address; see `ip address` for those it has"],
]);
