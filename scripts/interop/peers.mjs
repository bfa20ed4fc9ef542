// The strangers: which of them are here, and how each is started. `install.sh` brings them.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const PEERS = at("../../.peers");
const NODE_LIB = `${PEERS}/npm/node_modules`;
const JAVA = `${PEERS}/java`;
const POM = `${JAVA}/pom.xml`;
const require = createRequire(import.meta.url);

export const PYTHON = `${PEERS}/python/bin/python`;
export const script = (name) => at(`peers/${name}`);

/** Finds a peer: its version, or why it is not here. */
const FINDERS = {
  libcoap() {
    const [client, server] = ["coap-client-notls", "coap-server-notls"].map((name) =>
      spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim(),
    );
    if (!client || !server) throw new Error("coap-client-notls or coap-server-notls is missing");
    return / v([\d.]+)/.exec(spawnSync(client, { encoding: "utf8" }).stderr)[1];
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
  "node-lib": () =>
    JSON.parse(readFileSync(`${NODE_LIB}/lwm2m-node-lib/package.json`, "utf8")).version,
};

/** @returns {{ version: string } | { missing: string }} */
export function findPeer(name) {
  try {
    return { version: FINDERS[name]() };
  } catch (fault) {
    return { missing: String(fault.message).split("\n")[0] };
  }
}

/** Starts one of our programs over Leshan's libraries. */
export function startLeshan(bench, program, ...args) {
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
