// The strangers: which of them are here, and how each is started. `install.sh` brings them.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const PEERS = at("../../.peers");
const NODE_LIB = `${PEERS}/npm/node_modules`;
const JAVA = `${PEERS}/java`;
const POM = `${JAVA}/pom.xml`;
const require = createRequire(import.meta.url);

/** Our program over tinydtls. */
export const TINYDTLS = `${PEERS}/tinydtls/tinydtls`;
/** Our program over pion's DTLS. */
export const PION = `${PEERS}/go/pion-dtls`;
export const PYTHON = `${PEERS}/python/bin/python`;
export const script = (name) => at(`peers/${name}`);

/** Where the coap-client and coap-server of a libcoap with OSCORE are, which no registry has in a build for this system. */
const LIBCOAP_OSCORE = process.env.GODWIT_LIBCOAP_OSCORE_BIN;
export const libcoapOscore = (program) => join(LIBCOAP_OSCORE ?? "", program);

/** Finds a peer: its version, or why it is not here. */
const FINDERS = {
  libcoap: () => libcoap("notls"),
  "libcoap-openssl": () => libcoap("openssl"),
  "libcoap-gnutls": () => libcoap("gnutls"),
  "libcoap-oscore"() {
    if (LIBCOAP_OSCORE === undefined)
      throw new NotPackaged("no packaged build; GODWIT_LIBCOAP_OSCORE_BIN may say where one is");
    const { stderr } = spawnSync(libcoapOscore("coap-client"), UTF8);
    if (stderr?.includes("(Have OSCORE)") !== true)
      throw new NotPackaged(`no coap-client with OSCORE in ${LIBCOAP_OSCORE}`);
    return / v([\d.]+)/.exec(stderr)[1];
  },
  openssl: () => /OpenSSL ([\d.]+)/.exec(execFileSync("openssl", ["version"], UTF8))[1],
  gnutls() {
    for (const name of ["gnutls-cli", "gnutls-serv"])
      if (!found(name)) throw new Error(`${name} is missing`);
    return /gnutls-cli ([\d.]+)/.exec(execFileSync("gnutls-cli", ["--version"], UTF8))[1];
  },
  tinydtls() {
    if (!existsSync(TINYDTLS)) throw new Error("not built");
    const config = readFileSync(`${PEERS}/tinydtls/sources/dtls_config.h`, "utf8");
    return /PACKAGE_VERSION "([\d.]+)"/.exec(config)[1];
  },
  pion() {
    if (!existsSync(PION)) throw new Error("not built");
    return execFileSync(PION, ["version"], UTF8).trim();
  },
  aiocoap: () =>
    execFileSync(PYTHON, ["-c", "import aiocoap.meta as m; print(m.version)"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim(),
  godwit: () => require("../../apps/cli/package.json").version,
  "npm coap": () => require("coap/package.json").version,
  leshan() {
    if (!existsSync(`${JAVA}/classes/LeshanServer.class`)) throw new Error("not compiled");
    return /leshan-client-cf<\/artifactId>\s*<version>([^<]+)/.exec(readFileSync(POM, "utf8"))[1];
  },
  californium() {
    if (!existsSync(`${JAVA}/classes/CaliforniumOscore.class`)) throw new Error("not compiled");
    const jar = readdirSync(`${JAVA}/lib`).find((name) => name.startsWith("cf-oscore-"));
    return /^cf-oscore-(.*)\.jar$/.exec(jar)[1];
  },
  "node-lib": () =>
    JSON.parse(readFileSync(`${NODE_LIB}/lwm2m-node-lib/package.json`, "utf8")).version,
};

/** Debian's libcoap, by the TLS library it is built with. */
function libcoap(build) {
  const [client, server] = [`coap-client-${build}`, `coap-server-${build}`];
  if (!found(client) || !found(server)) throw new Error(`${client} or ${server} is missing`);
  return / v([\d.]+)/.exec(spawnSync(client, UTF8).stderr)[1];
}

const UTF8 = { encoding: "utf8" };

function found(command) {
  return spawnSync("sh", ["-c", `command -v ${command}`], UTF8).stdout.trim() !== "";
}

/** A peer that `install.sh` cannot bring: its cases are skipped, in CI too. */
class NotPackaged extends Error {}

/** @returns {{ version: string } | { missing: string, packaged: boolean }} */
export function findPeer(name) {
  try {
    return { version: FINDERS[name]() };
  } catch (fault) {
    const missing = String(fault.message).split("\n")[0];
    return { missing, packaged: !(fault instanceof NotPackaged) };
  }
}

/** Starts one of our programs over the libraries of Leshan, which bring Californium. */
export function startJava(bench, program, ...args) {
  return bench.start("java", [
    "-XX:TieredStopAtLevel=1",
    "-Xmx128m",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-cp",
    `${JAVA}/classes:${JAVA}/lib/*`,
    program,
    ...args.map(String),
  ]);
}

/** Starts one of our programs over lwm2m-node-lib. */
export function startNodeLib(bench, program, ...args) {
  return bench.start(
    process.execPath,
    ["--no-warnings", script(`node-lib-${program}.cjs`), ...args.map(String)],
    { NODE_PATH: NODE_LIB },
  );
}
