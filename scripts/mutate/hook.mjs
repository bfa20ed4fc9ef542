// Puts one mutant in the place of its module while a process loads it, and in the processes it starts. Nothing on disk changes.
//
//   NODE_OPTIONS="--import=…/hook.mjs"  MUTANT='{"url": "file:///…/x.js", "start": 10, "end": 12, "instead": "<="}'
import { readFile } from "node:fs/promises";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

const mutant = JSON.parse(process.env.MUTANT ?? "null");

/** Called by Node.js in its thread of hooks. */
export async function load(url, context, next) {
  if (mutant === null || url !== mutant.url) return next(url, context);
  const text = await readFile(new URL(url), "utf8");
  const source = text.slice(0, mutant.start) + mutant.instead + text.slice(mutant.end);
  return { format: "module", shortCircuit: true, source };
}

if (isMainThread && mutant !== null) register(import.meta.url);
