// Fails when a package imports sideways, upward, or an undeclared name.
import { readdirSync, readFileSync } from "node:fs";

const FLOORS = [
  ["base"],
  ["coap", "dtls", "netsim"],
  ["oscore", "lwm2m"],
  ["io"],
  ["server", "client"],
  ["gateway"],
  ["platform", "lab"],
  ["cli"],
];
const floorOf = new Map(
  FLOORS.flatMap((names, floor) => names.map((name) => [`@godwit/${name}`, floor])),
);
const faults = [];

for (const room of ["packages", "apps"]) {
  for (const dir of readdirSync(room)) {
    const {
      name,
      dependencies = {},
      devDependencies = {},
    } = JSON.parse(readFileSync(`${room}/${dir}/package.json`, "utf8"));
    if (!floorOf.has(name)) faults.push(`${name}: give it a floor`);
    for (const file of readdirSync(`${room}/${dir}/src`, { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".ts")) continue;
      const text = readFileSync(`${room}/${dir}/src/${file}`, "utf8");
      const isTest = file.endsWith(".test.ts");
      for (const [, spec] of text.matchAll(/\b(?:from|import\()\s*"(@godwit\/[^"]+)"/g)) {
        const allowed = isTest ? { ...dependencies, ...devDependencies } : dependencies;
        const fault = importFault(name, spec, allowed, isTest);
        if (fault) faults.push(`${room}/${dir}/src/${file}: ${spec} ${fault}`);
      }
    }
  }
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length ? 1 : 0;

function importFault(importer, spec, dependencies, isTest) {
  if (spec.split("/").length > 2) return "is a deep import";
  if (!floorOf.has(spec)) return "is on no floor";
  if (isTest && spec === "@godwit/netsim") return undefined;
  if (!(spec in dependencies)) return "is not in dependencies";
  if (!(floorOf.get(spec) < floorOf.get(importer))) return "is not below";
  return undefined;
}
