// Random stories of a server, its devices, their NAT, operators and users: `npm run stories -- --seeds 40`. docs/stories.md
//
//   --seeds N         how many stories, one a seed (40)
//   --from S          the first seed (1)
//   --seed S          plays one again and prints its steps
//   --steps N         steps of a story at least (60)
//   --only STRATEGY   one device of this strategy in each story: udp, queue, resume, cid, oscore, oscore-b2
//   --date DATE       the day on which the worlds begin (today); a story is the same only on the same day
//   --shrink SECONDS  spent at most on making a story that breaks a rule shorter (120)
//   --tolerate REGEX  breaches that are passed over, such as "^rows": to look behind a fault that is known
//   --jobs N          processes (2)
//   --real            2 stories of 25 steps with real processes instead: `godwit serve`, `godwit device`, kill -9
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { STRATEGIES } from "../apps/lab/dist/stories/strategies.js";
import { Counts } from "./stories/table.mjs";

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    steps: { type: "string", default: "60" },
    only: { type: "string" },
    date: { type: "string", default: new Date().toISOString().slice(0, 10) },
    shrink: { type: "string", default: "120" },
    tolerate: { type: "string" },
    jobs: { type: "string", default: "2" },
    real: { type: "boolean", default: false },
  },
});
const whole = (name, least = 1) => {
  const n = Number(values[name]);
  if (!Number.isSafeInteger(n) || n < least)
    fail(`--${name} ${values[name]} is no whole number of at least ${least}`);
  return n;
};
function fail(why) {
  console.error(why);
  process.exit(2);
}
if (values.only !== undefined && !STRATEGIES.includes(values.only))
  fail(`--only ${values.only} is no strategy: ${STRATEGIES.join(", ")}`);
const start = Date.parse(`${values.date}T00:00:00Z`);
if (Number.isNaN(start)) fail(`--date ${values.date} is no day: write YYYY-MM-DD`);

/** Failures that are shown before the rest is left alone. */
const ENOUGH = 5;
/** Of the steps of each strategy. */
const RARE = 0.01;
const replay = values.seed !== undefined;
const first = replay ? whole("seed", 0) : whole("from", 0);
const seeds = replay ? 1 : values.seeds === undefined ? 40 : whole("seeds");
const order = {
  start,
  steps: whole("steps"),
  shrinkFor: whole("shrink") * 1_000,
  ...(values.only !== undefined && { only: values.only }),
  ...(values.tolerate !== undefined && { tolerate: values.tolerate }),
};

if (values.real) {
  const { playReal } = await import("./stories/real/play.mjs");
  const stories = replay || values.seeds !== undefined ? seeds : 2;
  const passed = await playReal({
    first,
    seeds: stories,
    steps: values.steps === "60" ? 25 : whole("steps"),
  });
  process.exitCode = passed ? 0 : 1;
} else await playAll();

async function playAll() {
  const began = performance.now();
  const counts = new Counts();
  const told = { stories: 0, steps: 0, failures: 0 };
  let next = first;
  const shortest = { steps: Infinity };
  await Promise.all(
    Array.from({ length: Math.min(whole("jobs"), seeds) }, async () => {
      const worker = fork(fileURLToPath(new URL("./stories/worker.mjs", import.meta.url)), {
        execArgv: ["--enable-source-maps"],
      });
      while (next < first + seeds && told.failures < ENOUGH) {
        const result = await ask(worker, { ...order, seed: next++ });
        told.stories += 1;
        told.steps += result.steps.length;
        counts.add(result);
        if (result.failure === undefined)
          shortest.steps = Math.min(shortest.steps, result.steps.length);
        else told.failures += 1;
        show(result);
      }
      worker.disconnect();
    }),
  );
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  if (!replay) console.log(`\n${counts.table()}\n`);
  console.log(
    `${told.stories} stories, ${told.steps} steps, ${told.failures} broke a rule, ${seconds} s, worlds of ${values.date}`,
  );
  let bad = told.failures > 0;
  if (shortest.steps < order.steps) {
    console.log(`a story had ${shortest.steps} steps only`);
    bad = true;
  }
  if (seeds >= 40 && told.failures === 0)
    for (const line of counts.rare(RARE)) {
      console.log(line);
      bad = true;
    }
  process.exitCode = bad ? 1 : 0;
}

function ask(worker, task) {
  return new Promise((resolve, reject) => {
    const ended = (code) =>
      reject(new Error(`the process of seed ${task.seed} ended with ${code}`));
    worker.once("exit", ended);
    worker.once("message", (result) => {
      worker.off("exit", ended);
      resolve(result);
    });
    worker.send(task);
  });
}

function show({ seed, ms, strategies, steps, lines, failure }) {
  if (failure === undefined) {
    if (replay) console.log(lines.join("\n"));
    return;
  }
  const only = values.only === undefined ? "" : ` --only ${values.only}`;
  console.log(
    `\nseed ${seed} (${strategies.join(", ")}) broke a rule in step ${steps.length}, ${(ms / 1_000).toFixed(1)} s`,
  );
  console.log(`  ${failure.first}`);
  if (replay) console.log(lines.map((line) => `    ${line}`).join("\n"));
  console.log(
    `  shortest of ${failure.played} tried, ${failure.lines.length} steps with ${failure.strategies.join(", ")}: ${failure.message}`,
  );
  console.log(failure.lines.map((line) => `    ${line}`).join("\n"));
  console.log(
    `  again: npm run stories -- --seed ${seed} --date ${values.date}${only} --steps ${order.steps}`,
  );
}
