// Changes the compiled code in small ways, one at a time, and asks whether a test notices: `npm run mutate`.
//
//   --count N     how many mutants, drawn evenly over the areas (700)
//   --seed N      of the draw (1)
//   --only TEXT   mutants whose name contains it
//   --list        names them and ends
//   --workers N   (2)
//
// A mutant that no test notices must stand in scripts/mutate/survivors.json, by its name, with the reason why it changes
// nothing that anybody could see. Fails where fewer than 90 % are noticed, or a survivor has no reason.
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { below, seededRng } from "../../packages/base/dist/index.js";
import { mutantsOf } from "./mutants.mjs";
import { TARGETS } from "./targets.mjs";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "700" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    workers: { type: "string", default: "2" },
    list: { type: "boolean", default: false },
  },
});
/** ms; a mutant that makes a test run for ever is noticed, too. Times what the same part takes without a mutant. */
const PATIENCE = { least: 20_000, times: 6 };
const WANTED = 0.9;

const survivors = JSON.parse(readFileSync(new URL("survivors.json", import.meta.url), "utf8"));
const files = new Map();
const all = TARGETS.flatMap(({ area, file, tests }) => {
  const js = file.replace("/src/", "/dist/").replace(/\.ts$/, ".js");
  const { text, mutants } = mutantsOf(js, file);
  files.set(js, text);
  return mutants.map((mutant) => ({ ...mutant, area, js, file, tests }));
});
const chosen =
  values.only === undefined
    ? draw(all, Number(values.count))
    : all.filter(({ name }) => name.includes(values.only));
if (values.list) {
  for (const { name, line } of chosen) console.log(`${name}  [line ${line}]`);
  process.exit(0);
}
console.log(
  `${chosen.length} of ${all.length} mutants in ${TARGETS.length} files, seed ${values.seed}`,
);

const began = performance.now();
const baseline = new Map();
const queue = [...chosen.entries()];
const results = [];
await Promise.all(Array.from({ length: Number(values.workers) }, work));
report();

async function work() {
  const tree = mkdtempSync(join(tmpdir(), "godwit-mutate-"));
  try {
    for (const part of [
      "packages",
      "apps",
      "scripts",
      "docs",
      "node_modules",
      "package.json",
      "README.md",
      "CHANGELOG.md",
    ])
      if (existsSync(part))
        cpSync(part, join(tree, part), { recursive: true, verbatimSymlinks: true });
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const [index, mutant] = next;
      results[index] = { ...mutant, ...(await judge(tree, mutant)) };
      progress();
    }
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

/** Runs the parts of the tests until one fails. */
async function judge(tree, { js, start, end, instead, tests }) {
  const text = files.get(js);
  const place = join(tree, js);
  for (const part of tests) {
    if (!baseline.has(part)) baseline.set(part, measure(tree, part));
    const { took } = await baseline.get(part);
    writeFileSync(place, text.slice(0, start) + instead + text.slice(end));
    const { ok, by } = await run(tree, part, Math.max(PATIENCE.least, PATIENCE.times * took));
    writeFileSync(place, text);
    if (!ok) return { noticed: true, by: `${part}: ${by}` };
  }
  return { noticed: false, by: undefined };
}

async function measure(tree, part) {
  const at = performance.now();
  const { ok, by } = await run(tree, part, 600_000);
  if (!ok) throw new Error(`${part} fails without a mutant: ${by}`);
  return { took: performance.now() - at };
}

function run(tree, part, patience) {
  return new Promise((resolve) => {
    const line = [
      "--max-old-space-size=2048",
      "--test-reporter=./scripts/mutate/bail.mjs",
      "scripts/test.mjs",
      part,
    ];
    const child = spawn(process.execPath, line, {
      cwd: tree,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let said = "";
    child.stdout.on("data", (chunk) => (said += chunk));
    child.stderr.on("data", (chunk) => (said += chunk));
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL"); // with what it started
    }, patience);
    child.on("close", (code) => {
      clearTimeout(timer);
      const by =
        /^killed by: (.*)$/m.exec(said)?.[1] ?? said.trim().split("\n").at(-1)?.slice(0, 120);
      resolve({ ok: code === 0, by: late ? "a test that does not end" : by });
    });
  });
}

/** Evenly over the areas, and within one at random. */
function draw(mutants, count) {
  const rng = seededRng(Number(values.seed));
  const areas =
    Map.groupBy === undefined ? group(mutants) : Map.groupBy(mutants, ({ area }) => area);
  const picked = [];
  const pools = [...areas.values()].map((pool) => [...pool]);
  while (picked.length < count && pools.some((pool) => pool.length > 0)) {
    for (const pool of pools) {
      if (picked.length >= count || pool.length === 0) continue;
      picked.push(...pool.splice(below(rng, pool.length), 1));
    }
  }
  return picked;
}

function group(mutants) {
  const areas = new Map();
  for (const mutant of mutants) areas.set(mutant.area, [...(areas.get(mutant.area) ?? []), mutant]);
  return areas;
}

function progress() {
  const done = results.filter(Boolean);
  if (done.length % 25 !== 0) return;
  const lived = done.filter(({ noticed }) => !noticed).length;
  console.log(
    `${done.length} done, ${lived} survived, ${Math.round((performance.now() - began) / 1_000)} s`,
  );
}

function report() {
  const lived = results.filter(({ noticed }) => !noticed);
  const unexplained = lived.filter(({ name }) => survivors[name] === undefined);
  for (const { name, line, file } of unexplained)
    console.log(`survived without a reason: ${name}  [${file}:${line}]`);
  const noticedByName = results.filter(
    ({ name, noticed }) => noticed && survivors[name] !== undefined,
  );
  for (const { name, by } of noticedByName)
    console.log(`has a reason, yet is noticed: ${name} (${by})`);
  for (const [area, rows] of group(results)) {
    const killed = rows.filter(({ noticed }) => noticed).length;
    console.log(`${area.padEnd(22)} ${killed} of ${rows.length} noticed`);
  }
  const rate = 1 - lived.length / results.length;
  console.log(
    `${(100 * rate).toFixed(1)} % noticed (wanted: ${100 * WANTED} %); ${lived.length} survived, ${unexplained.length} of them without a reason; ${Math.round((performance.now() - began) / 1_000)} s`,
  );
  const failed = (rate < WANTED ? 1 : 0) + unexplained.length;
  console.log(`${results.length - lived.length} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
