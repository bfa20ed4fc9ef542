// Changes the compiled code in small ways, one at a time, and asks whether a test of the packages notices: `npm run mutate`.
//
//   --count N     how many mutants, drawn evenly over the areas (700)
//   --seed N      of the draw (1)
//   --area TEXT   only areas whose name contains it
//   --only TEXT   every mutant whose name contains it, instead of a draw
//   --slice K/N   the K-th of N parts of the draw: a long run in several calls
//   --list        names the mutants and ends
//   --report      sums up what earlier calls found, runs nothing
//   --fresh       forgets what earlier calls found
//   --thorough    asks also the tests that are far from a mutant; without it a mutant has 15 s of tests
//   --workers N   (2)
//
// A mutant is shown to the test files that reach its place, quick ones first, until one fails. What was found is kept in
// node_modules/.cache/mutate: a noticed mutant is not tried again until its file changes. A mutant that no test notices must
// stand in scripts/mutate/survivors.json, by its name, with the reason why it changes nothing that anybody could see. Fails
// where fewer than 90 % are noticed, or a survivor has no reason.
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { CACHE, measureCoverage, testsReaching } from "./coverage.mjs";
import { mutantsOf } from "./mutants.mjs";
import { ask } from "./process.mjs";
import { TARGETS } from "./targets.mjs";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "700" },
    seed: { type: "string", default: "1" },
    area: { type: "string", default: "" },
    only: { type: "string" },
    slice: { type: "string", default: "1/1" },
    workers: { type: "string", default: "2" },
    list: { type: "boolean", default: false },
    report: { type: "boolean", default: false },
    fresh: { type: "boolean", default: false },
    thorough: { type: "boolean", default: false },
  },
});
/** ms; a mutant that makes a test run for ever is noticed, too. Times what the same tests take without a mutant. */
const PATIENCE = { least: 10_000, times: 8 };
/** ms: the tests of one process after the first, which is alone. */
const BATCH = 3_000;
/** ms of tests for one mutant, those in front of the order; `--thorough` asks all. A test that comes too late notices nothing. */
const BUDGET = values.thorough ? Infinity : 15_000;
const WANTED = 0.9;
const RESULTS = `${CACHE}/results.jsonl`;

const survivors = JSON.parse(readFileSync(new URL("survivors.json", import.meta.url), "utf8"));
const all = TARGETS.flatMap(({ area, file }) => {
  const js = compiled(file);
  const { text, mutants } = mutantsOf(js, file);
  const digest = digestOf(text);
  return mutants.map((mutant) => ({ ...mutant, area, js, file, digest }));
});
for (const name of Object.keys(survivors))
  if (!all.some((mutant) => mutant.name === name))
    console.log(`has a reason, yet does not exist: ${name}`);

const drawn = slice(
  values.only === undefined
    ? draw(
        all.filter(({ area }) => area.includes(values.area)),
        Number(values.count),
      )
    : all.filter(({ name }) => name.includes(values.only)),
);
if (values.list) {
  for (const { name, line } of drawn) console.log(`${name}  [line ${line}]`);
  process.exit(0);
}
console.log(
  `${drawn.length} of ${all.length} mutants in ${TARGETS.length} files, seed ${values.seed}`,
);
mkdirSync(CACHE, { recursive: true });
if (values.fresh) rmSync(RESULTS, { force: true });
const known = readResults();
if (!values.report) await judgeAll();
report();

async function judgeAll() {
  const coverage = await measureCoverage(TARGETS.map(({ file }) => compiled(file)));
  const kills = new Map();
  const queue = drawn.filter(({ name, digest }) => known.get(key(name, digest))?.noticed !== true);
  const count = queue.length;
  const began = performance.now();
  let done = 0;
  let lived = 0;
  await Promise.all(
    Array.from({ length: Number(values.workers) }, async () => {
      for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
        const at = performance.now();
        const verdict = await judge(mutant, coverage, kills);
        const { name, digest, file, line } = mutant;
        const row = { name, digest, ...verdict, took: Math.round(performance.now() - at) };
        known.set(key(name, digest), row);
        appendFileSync(RESULTS, `${JSON.stringify(row)}\n`);
        done += 1;
        if (!verdict.noticed) {
          lived += 1;
          if (survivors[name] === undefined) console.log(`  survived: ${name}  [${file}:${line}]`);
        }
        if (done % 20 === 0 || done === count) {
          const s = (performance.now() - began) / 1_000;
          console.log(
            `${done} of ${count} done, ${lived} survived, ${Math.round(s)} s, ${(s / done).toFixed(2)} s each`,
          );
        }
      }
    }),
  );
}

/** The test that noticed most mutants of this file comes first, by itself; then the others in few processes. */
async function judge(mutant, coverage, kills) {
  const tests = testsReaching(coverage, mutant.js, mutant.reachedAt);
  const worth = ({ test, took }) => ((kills.get(`${mutant.js} ${test}`) ?? 0) + 0.3) / (took + 100);
  const ordered = tests.toSorted((a, b) => worth(b) - worth(a));
  const own = ordered.findIndex(({ test }) => test === mutant.js.replace(/\.js$/, ".test.js"));
  if (own > 0) ordered.unshift(...ordered.splice(own, 1));
  let spent = 0;
  for (const batch of batches(ordered)) {
    if (spent > BUDGET) break;
    const took = batch.reduce((sum, row) => sum + row.took, 0);
    const patience = Math.max(PATIENCE.least, PATIENCE.times * took);
    spent += took;
    const { ok, by, file } = await ask(
      batch.map(({ test }) => test),
      { mutant, patience },
    );
    if (ok) continue;
    const id = `${mutant.js} ${file ?? batch[0].test}`;
    kills.set(id, (kills.get(id) ?? 0) + 1);
    return { noticed: true, by };
  }
  return { noticed: false, tests: tests.length };
}

function batches(rows) {
  const found = [];
  let sum = Infinity;
  for (const row of rows) {
    if (sum + row.took > BATCH || found.length === 1) {
      found.push([]);
      sum = 0;
    }
    found.at(-1).push(row);
    sum += row.took;
  }
  return found;
}

/** Evenly over the areas. Each mutant has its own lot, so that a change of the code leaves the others drawn. */
function draw(mutants, count) {
  const pools = [...group(mutants).values()].map((pool) =>
    pool
      .map((mutant) => ({ mutant, lot: digestOf(`${values.seed} ${mutant.name}`) }))
      .toSorted((a, b) => (a.lot < b.lot ? -1 : 1))
      .map(({ mutant }) => mutant),
  );
  const picked = [];
  for (let i = 0; picked.length < count && pools.some((pool) => i < pool.length); i++)
    for (const pool of pools) if (i < pool.length && picked.length < count) picked.push(pool[i]);
  return picked;
}

function slice(mutants) {
  const [, k, n] = /^(\d+)\/(\d+)$/.exec(values.slice)?.map(Number) ?? [];
  if (!(k >= 1 && k <= n)) {
    console.error(`--slice ${values.slice}: write 1/4 to 4/4`);
    process.exit(2);
  }
  return mutants.filter((_, i) => i % n === k - 1);
}

function group(mutants) {
  const areas = new Map();
  for (const mutant of mutants) areas.set(mutant.area, [...(areas.get(mutant.area) ?? []), mutant]);
  return areas;
}

function readResults() {
  const found = new Map();
  if (!existsSync(RESULTS)) return found;
  for (const line of readFileSync(RESULTS, "utf8").split("\n")) {
    if (line === "") continue;
    const row = JSON.parse(line);
    found.set(key(row.name, row.digest), row);
  }
  return found;
}

function report() {
  const results = drawn.flatMap((mutant) => {
    const row = known.get(key(mutant.name, mutant.digest));
    return row === undefined ? [] : [{ ...mutant, ...row }];
  });
  const lived = results.filter(({ noticed }) => !noticed);
  const unexplained = lived.filter(({ name }) => survivors[name] === undefined);
  for (const { name, line, file } of unexplained)
    console.log(`survived without a reason: ${name}  [${file}:${line}]`);
  for (const { name, noticed, by } of results)
    if (noticed && survivors[name] !== undefined)
      console.log(`has a reason, yet is noticed: ${name} (${by})`);
  for (const [area, rows] of group(results)) {
    const killed = rows.filter(({ noticed }) => noticed).length;
    const s = rows.reduce((sum, { took }) => sum + took, 0) / rows.length / 1_000;
    const percent = ((100 * killed) / rows.length).toFixed(0);
    console.log(
      `${area.padEnd(22)} ${killed} of ${rows.length} noticed (${percent} %), ${s.toFixed(2)} s each`,
    );
  }
  const open = drawn.length - results.length;
  if (open > 0) console.log(`${open} of ${drawn.length} not tried yet`);
  const rate = results.length === 0 ? 0 : 1 - lived.length / results.length;
  console.log(
    `${(100 * rate).toFixed(1)} % noticed (wanted: ${100 * WANTED} %); ${lived.length} survived, ${unexplained.length} of them without a reason`,
  );
  const failed = (rate < WANTED ? 1 : 0) + unexplained.length;
  console.log(`${results.length - lived.length} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

function compiled(file) {
  return file.replace("/src/", "/dist/").replace(/\.ts$/, ".js");
}

function key(name, digest) {
  return `${digest} ${name}`;
}

function digestOf(text) {
  return createHash("sha256").update(text).digest("hex");
}
