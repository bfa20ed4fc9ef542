import { formatAddress } from "@godwit/base";
import { leafOf } from "@godwit/dtls";
import { createPlatform, adminPassword, type Platform } from "@godwit/platform";
import { join } from "node:path";
import { loadMasterKey, openData, type Data, type LoadedMasterKey } from "@godwit/io";
import { Server, holdsSealedRecords, parseAddress, type ShownCertificate } from "@godwit/server";
import { Command, Option } from "commander";
import type { Logger } from "pino";
import { nameAlerts } from "./alert-words.ts";
import { span } from "./arguments.ts";
import { readCredentials } from "./credential-words.ts";
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
import { LogLimit } from "./log-limit.ts";
import { openLog } from "./log.ts";

type Options = {
  readonly data: string;
  readonly coap: string;
  readonly coaps?: string;
  readonly coapsKey?: string;
  readonly coapsCert?: string;
  readonly coapsCa?: string;
  readonly keylog?: string | true;
  readonly http: string;
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
        .env("GODWIT_DATA"),
    )
    .addOption(
      new Option(
        "--mark <file>",
        "a second mark, on another volume than the data: notices a volume that was put back as a whole",
      ).env("GODWIT_MARK"),
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
        .env("GODWIT_COAP"),
    )
    .addOption(
      new Option(
        "--coaps [host:port]",
        "CoAP over DTLS, for devices with credentials; off unless given",
      )
        .preset("127.0.0.1:5684")
        .env("GODWIT_COAPS"),
    )
    .addOption(
      new Option(
        "--coaps-key <file>",
        "the server's private key, P-256 in PEM; made at the first start unless given",
      ).env("GODWIT_COAPS_KEY_FILE"),
    )
    .addOption(
      new Option(
        "--coaps-cert <file>",
        "its certificate and the issuers behind it, PEM; without, devices know it by its public key",
      ).env("GODWIT_COAPS_CERT_FILE"),
    )
    .addOption(
      new Option(
        "--coaps-ca <file>",
        "roots that certificates of devices must lead to, PEM; those that are pinned need none",
      ).env("GODWIT_COAPS_CA_FILE"),
    )
    .addOption(
      new Option("--http <host:port>", "REST API and page")
        .default("127.0.0.1:8080")
        .env("GODWIT_HTTP"),
    )
    .option("--nosec", "accept devices that prove nothing: for labs, not for the Internet", false)
    .option(
      "--credentials <file>",
      "adds these at the start: a JSON array of what `godwit credentials add` takes",
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
  const stopped = untilStopped(); // before anything is opened: who stops us at once is heard too
  const log = openLog(options.logLevel);
  const http = addressOf("--http", options.http);
  addressOf("--coap", options.coap);
  if (options.coaps !== undefined) addressOf("--coaps", options.coaps);
  const material = readCoapsFiles(options, Date.now());
  const keylog = keyLogFile(options.keylog);
  const data = await openData(options.data, {
    acceptLoss: options.acceptLoss,
    ...(options.mark === undefined ? {} : { markFile: options.mark }),
    onNotice: (text) => log.warn(text),
  });
  const opened: { close(): Promise<void> }[] = [data];
  try {
    const { password, file, created } = await adminPassword(options.data);
    const isNew = !holdsSealedRecords(data.store);
    const master = loadMasterKey(join(options.data, "master-key"), process.env, isNew);
    for (const warning of material.warnings) log.warn(warning);
    const server = openServer(options, { data, master, material, keylog }, log);
    await server.start();
    opened.push(server);
    if (options.credentials !== undefined) await addCredentials(server, options.credentials);
    const platform = await createPlatform({
      server,
      log,
      auth: { kind: "password", password },
    });
    opened.push(platform);
    const url = await listen(platform, http);

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
    process.stdout.write(`${lines.join("\n")}\nReady\n`);

    const why = await Promise.race([stopped, untilStoreFails(server, log, options.onStoreFailure)]);
    if (why === "store failed") process.exitCode = STORE_FAILURE_EXIT;
    log.info("stopping");
  } finally {
    // Whatever ended it: what is owed is written, and nothing keeps the process or the store's lock.
    for (const one of opened.toReversed()) await one.close();
  }
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
};

function openServer(
  options: Options,
  { data, master, material, keylog }: Opened,
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
  server.on("note", ({ text }) => log.info(text));
  server.on("fault", ({ fault }) => log.error({ err: fault }, fault.message));
  server.on("registered", ({ device, replaced }) => {
    log.info({ endpoint: device.endpoint, lifetime: device.lifetime, replaced }, "registered");
  });
  server.on("deregistered", (event) => log.info(event, "deregistered"));
  let setAside = 0;
  server.on("quarantined", (record) => {
    setAside += 1;
    if (setAside <= NAMED_RECORDS) log.error(record, "a stored record was set aside");
    else if (setAside === NAMED_RECORDS + 1)
      log.error("more stored records were set aside: GET /api/v1/quarantine shows all");
  });
  const refusals = new LogLimit();
  server.on("refused", ({ code, detail }) => {
    const leftOut = refusals.pass(`${code} ${detail}`);
    if (leftOut === undefined) return;
    log.warn({ code, detail, ...unlessZero({ notLogged: leftOut }) }, "refused");
  });
  server.on("handshakeFailed", ({ address, why, kept }) => {
    const leftOut = refusals.pass(`${address.replace(PORT, "")} ${why}`);
    if (leftOut === undefined) return;
    log.warn(
      { address, why: nameAlerts(why), ...unlessZero({ notLogged: leftOut + kept }) },
      "handshake failed",
    );
  });
  if (keylog !== undefined) {
    log.warn(keyLogWarning(keylog));
    server.on("keyLog", ({ line }) => writeKeyLog(keylog, line));
  }
  if (log.isLevelEnabled("debug")) {
    server.on("updated", ({ device, moved }) => {
      log.debug({ endpoint: device.endpoint, moved }, "updated");
    });
  }
  if (data.rollbackReason !== undefined) {
    log.warn(`${data.rollbackReason}; the keys of its sessions are dropped, devices make new ones`);
  }
  return server;
}

function unlessZero(fields: { readonly notLogged: number }): object {
  return fields.notLogged === 0 ? {} : fields;
}

async function addCredentials(server: Server, file: string): Promise<void> {
  const all = readOption("--credentials", file, readCredentials);
  try {
    await Promise.all(all.map((one) => server.addCredential(one))); // few commits for many
  } catch (cause) {
    throw new Error(
      `--credentials ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

/** Records that a start has set aside and names in the log. */
const NAMED_RECORDS = 100;

type Address = ReturnType<typeof parseAddress>;

function addressOf(option: string, text: string): Address {
  try {
    return parseAddress(text);
  } catch (cause) {
    throw new Error(`${option}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}

async function listen(platform: Platform, { host, port }: Address): Promise<string> {
  try {
    return await platform.listen(host, port);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what = ADVICE.get(code ?? "") ?? message;
    throw new Error(`--http: cannot bind ${formatAddress({ host, port })}: ${what}`, { cause });
  }
}

/** Of an address: a host may try from as many as it likes. */
const PORT = /:\d+$/;
const ADVICE: ReadonlyMap<string, string> = new Map([
  ["EADDRINUSE", "another program has this port; stop it or choose another port"],
  ["EACCES", "not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE"],
  ["EADDRNOTAVAIL", "this host has no such address; see `ip address` for those it has"],
]);
