// One run of some test files in a process of its own.
import { spawn } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";

const HOOK = new URL("hook.mjs", import.meta.url).href;
const REPORTER = fileURLToPath(new URL("bail.mjs", import.meta.url));
const ASK = fileURLToPath(new URL("ask.mjs", import.meta.url));
const running = new Set();

// What a test started ends with it: each run is a process group of its own.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
  process.on(signal, () => {
    for (const pid of running) kill(pid);
    process.exit(130);
  });

/** @returns `{ ok, by, file, took }`: `by` is the test that failed first, `file` the one of `files` that it stands in. */
export function ask(files, { mutant, patience, coverage }) {
  const env = { ...process.env };
  if (mutant !== undefined) {
    const { js, start, end, instead } = mutant;
    env.MUTANT = JSON.stringify({ url: pathToFileURL(js).href, start, end, instead });
    env.NODE_OPTIONS = `--import=${HOOK}`;
  }
  if (coverage !== undefined) env.NODE_V8_COVERAGE = coverage;
  return new Promise((resolve) => {
    const began = performance.now();
    const line = ["--max-old-space-size=1024", `--test-reporter=${REPORTER}`, ASK, ...files];
    const child = spawn(process.execPath, line, {
      env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    running.add(child.pid);
    let said = "";
    const hear = (chunk) => (said = (said + chunk).slice(-10_000));
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      kill(child.pid);
    }, patience);
    child.on("exit", () => kill(child.pid)); // a failed test may leave processes behind
    child.on("close", (code) => {
      clearTimeout(timer);
      running.delete(child.pid);
      const by =
        /^killed by: (.*)$/m.exec(said)?.[1] ?? said.trim().split("\n").at(-1)?.slice(0, 120);
      const took = performance.now() - began;
      // As in `files`: node:test says where the test was written, as a path or an address.
      const at = /^in: (.*)$/m.exec(said)?.[1] ?? "";
      const file = files.find((name) => at.endsWith(`/${name}`));
      resolve({ ok: code === 0 && !late, by: late ? "a test that does not end" : by, file, took });
    });
  });
}

function kill(group) {
  try {
    process.kill(-group, "SIGKILL");
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}
