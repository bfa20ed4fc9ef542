// Every strategy through a real Linux NAT: `npm run nat`.
//
//   --modes random,…   random, preserve, noinref, cgn (all)
//   --phase SECONDS    before and after the blow (180)
//   --seed N           of the gaps between readings
//   --short            the mode random, 70 s a phase
//   --json
//
// A mapping lives 10 s (one way) or 15 s (both ways), a reading is made each 25 to 40 s. Between the two phases the server
// is killed with SIGKILL while the NAT reboots and gets another public address. Wanted: every reading arrives with every
// strategy, every operation ends and is carried out once, Connection ID and OSCORE need no handshake and no new keys.
// Where network namespaces are not allowed it says so and ends with 0, but with 1 if CI is set.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MODES, NatNetwork, obstacle } from "./network.mjs";
import { STRATEGIES } from "./strategies.mjs";

const { values } = parseArgs({
  options: {
    modes: { type: "string" },
    phase: { type: "string" },
    seed: { type: "string" },
    short: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const modes = (values.modes ?? (values.short ? "random" : Object.keys(MODES).join())).split(",");
const unknown = modes.find((mode) => !Object.hasOwn(MODES, mode));
if (unknown !== undefined)
  throw new Error(`--modes: ${unknown} is none of ${Object.keys(MODES).join(", ")}`);
const phase = 1_000 * Number(values.phase ?? (values.short ? 70 : 180));
if (!(phase > 0)) throw new Error("--phase: a number of seconds");
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));

const why = obstacle();
if (why !== undefined) {
  console.log(`skipped: ${why}`);
  process.exit(process.env.CI === undefined ? 0 : 1);
}
const began = performance.now();
const results = await Promise.all(modes.map((mode, i) => trial(mode, seed + i)));
if (values.json) console.log(JSON.stringify({ seed, phase: phase / 1_000, results }));
else for (const result of results) print(result);
const verdicts = results.flatMap(({ faults }) => Object.values(faults));
const failed = verdicts.filter((faults) => faults.length > 0).length;
console.log(`seed ${seed}, ${Math.round((performance.now() - began) / 1_000)} s`);
console.log(`${verdicts.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function trial(mode, ownSeed) {
  const options = {
    tag: `gw${process.pid}-${mode}`,
    mode,
    phase,
    oneWay: 10,
    bothWays: 15,
    seed: ownSeed,
  };
  const network = new NatNetwork(options);
  try {
    network.up();
    const script = fileURLToPath(new URL("trial.mjs", import.meta.url));
    const line = ["netns", "exec", network.name("server"), process.execPath, script];
    const child = spawn("ip", [...line, JSON.stringify(options)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let out = "";
    for await (const chunk of child.stdout) out += chunk;
    const result = JSON.parse(out || '{"rows":[],"trouble":["the trial ended early"]}');
    return { mode, made: 0, ...result, faults: faultsOf(result) };
  } finally {
    network.down();
  }
}

/** By strategy: what is not as wanted. */
function faultsOf({ rows }) {
  const faults = {};
  for (const name of Object.keys(STRATEGIES)) {
    const row = rows.find((one) => one.name === name);
    const list = (faults[name] = []);
    if (row === undefined) {
      list.push("no result");
      continue;
    }
    if (row.missing.length > 0) list.push(`readings ${row.missing.join(", ")} never arrived`);
    if (row.unended.length > 0) list.push(`operations: ${row.unended.join("; ")}`);
    if (row.executed !== row.executions)
      list.push(`executed ${row.executed} times, asked ${row.executions} times`);
    const { full, resumed } = row.device?.handshakes ?? {};
    if (STRATEGIES[name].once && full + resumed > (STRATEGIES[name].scheme === "coaps" ? 1 : 0))
      list.push(`handshakes: ${full} full, ${resumed} resumed`);
  }
  return faults;
}

function print({ mode, made, rows, trouble, faults }) {
  console.log(`${mode} (${MODES[mode]}): ${made} readings made`);
  for (const row of rows) {
    const { full, resumed } = row.device?.handshakes ?? {};
    const ok = faults[row.name].length === 0;
    console.log(
      `  ${ok ? "ok  " : "FAIL"} ${row.name.padEnd(11)} ${row.arrived} arrived, ${row.operations} operations, ` +
        `${row.registrations} registrations, handshakes ${full} + ${resumed}, ${row.device?.bytes.total} bytes`,
    );
    for (const fault of faults[row.name]) console.log(`         ${fault}`);
  }
  if (Object.values(faults).some((list) => list.length > 0))
    for (const line of trouble) console.log(`         ${line}`);
}
