// Which test file reaches which place of the code, measured once: a mutant is shown only to the tests that run it.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ask } from "./process.mjs";

export const CACHE = "node_modules/.cache/mutate";
const FILE = `${CACHE}/coverage.json`;
/** Tests beside those of the packages: OSCORE and LwM2M meet only here, and in virtual time. */
const MORE = ["apps/lab/dist/simulation"];

/**
 * Rows `{ test, took, reached }` by test file; `reached` has the V8 ranges `[start, end, count]` of each target file, a list
 * for each process that the test started.
 * Measured anew where the test file changed, or a target that it reaches.
 */
export async function measureCoverage(targets) {
  mkdirSync(CACHE, { recursive: true });
  const old = existsSync(FILE) ? JSON.parse(readFileSync(FILE, "utf8")) : {};
  const codes = Object.fromEntries(targets.map((js) => [js, digestOf([readFileSync(js, "utf8")])]));
  const tests = testFiles();
  const rows = {};
  let fresh = 0;
  for (const { file, text } of tests) {
    const digest = digestOf([text, ...targets]);
    const row = old[file];
    // Where a target changed, the places in it did.
    if (
      row?.digest === digest &&
      Object.keys(row.reached).every((js) => row.codes[js] === codes[js])
    ) {
      rows[file] = row;
      continue;
    }
    if (fresh === 0) console.log("measuring which tests reach what");
    rows[file] = { ...(await measure(file, digest, targets)), codes };
    if (++fresh % 25 !== 0) continue;
    console.log(`${fresh} test files measured`);
    writeFileSync(FILE, JSON.stringify({ ...old, ...rows }));
  }
  writeFileSync(FILE, JSON.stringify(rows));
  return Object.values(rows);
}

/** The test files that run the place `at` of a file: those beside it first, then the quick ones. */
export function testsReaching(rows, js, at) {
  const own = js.replace(/\.js$/, ".test.js");
  return rows
    .filter(({ reached }) => reached[js]?.some((ranges) => runs(ranges, at)) === true)
    .toSorted((a, b) => Number(b.test === own) - Number(a.test === own) || a.took - b.took);
}

/** `ranges`: what one process ran. The innermost that holds the place has the count of it. */
function runs(ranges, at) {
  let best;
  for (const range of ranges)
    if (range[0] <= at && at < range[1])
      if (best === undefined || range[1] - range[0] <= best[1] - best[0]) best = range;
  return best !== undefined && best[2] > 0;
}

async function measure(test, digest, targets) {
  const folder = mkdtempSync(join(tmpdir(), "godwit-mutate-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove); // also where a signal ends it
  try {
    const { ok, by, took } = await ask([test], { patience: 300_000, coverage: folder });
    if (!ok) throw new Error(`${test} fails without a mutant: ${by}`);
    const reached = {};
    for (const name of readdirSync(folder)) {
      for (const { url, functions } of JSON.parse(readFileSync(join(folder, name), "utf8"))
        .result) {
        if (!url.startsWith("file:")) continue;
        const js = targets.find((target) => fileURLToPath(url).endsWith(`/${target}`));
        if (js === undefined) continue;
        const ranges = functions.flatMap((one) => one.ranges);
        reached[js] ??= [];
        reached[js].push(
          ranges.map(({ startOffset, endOffset, count }) => [
            startOffset,
            endOffset,
            Math.min(count, 1),
          ]),
        );
      }
    }
    return { test, digest, took, reached };
  } finally {
    remove();
    process.off("exit", remove);
  }
}

function testFiles() {
  const tests = [];
  const folders = readdirSync("packages").map((pkg) => `packages/${pkg}/dist`);
  for (const folder of [...folders, ...MORE]) {
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted()) {
      const file = `${folder}/${name}`;
      // A file of a test that was taken away may still lie in dist.
      const source = file.replace("/dist/", "/src/").replace(/\.js$/, ".ts");
      if (name.endsWith(".test.js") && existsSync(source))
        tests.push({ file, text: readFileSync(file, "utf8") });
    }
  }
  return tests;
}

function digestOf(texts) {
  const hash = createHash("sha256");
  for (const text of texts) hash.update(text).update("\0");
  return hash.digest("hex");
}
