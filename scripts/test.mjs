// The tests: walk the sources, import the compiled twin. Without an argument everything, the packages in one process and the
// apps in another beside it; `node scripts/test.mjs coap/` runs a part, `packages/` those without the apps.
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { before } from "node:test";

const want = process.argv[2];
if (want === undefined) await both();
else await part(want);

/** In one process: a test is quick, starting a process is not. */
async function part(text) {
  let found = 0;
  // No test begins before all files are there: one that began in the middle of its own would miss what stands below it.
  let begin;
  const all = new Promise((resolve) => (begin = resolve));
  before(() => all);
  for (const room of ["packages", "apps"]) {
    for (const pkg of readdirSync(room)) {
      for (const file of readdirSync(`${room}/${pkg}/src`, { recursive: true, encoding: "utf8" })) {
        if (!file.endsWith(".test.ts") || !`${room}/${pkg}/${file}`.includes(text)) continue;
        found += 1;
        await import(`../${room}/${pkg}/dist/${file.replace(/\.ts$/, ".js")}`);
      }
    }
  }
  if (found > 0) return begin();
  console.error(
    `no test file has "${text}" in its name: write packages/coap/reply-cache, coap/ or flows`,
  );
  process.exit(2);
}

async function both() {
  const results = await Promise.all([run("packages/"), run("apps/")]);
  const sums = [0, 0, 0];
  for (const { counts } of results) for (const [i, count] of counts.entries()) sums[i] += count;
  console.log(`${sums[0]} passed, ${sums[1]} failed, ${sums[2]} skipped`);
  process.exit(results.every(({ code }) => code === 0) ? 0 : 1);
}

/** Says what went wrong as it comes, and its counts at the end. */
function run(text) {
  return new Promise((resolve) => {
    const line = [...process.execArgv, process.argv[1], text];
    const child = spawn(process.execPath, line, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
      process.stdout.write(chunk);
    });
    child.on("close", (code) => {
      const counts = /(\d+) passed, (\d+) failed, (\d+) skipped\s*$/
        .exec(said)
        ?.slice(1)
        .map(Number);
      resolve({ code: counts === undefined ? 1 : code, counts: counts ?? [0, 1, 0] });
    });
  });
}
