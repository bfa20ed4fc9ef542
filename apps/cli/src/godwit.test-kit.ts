// The command itself, to its end.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export type Ended = { readonly code: number | null; readonly said: string; readonly wrote: string };

/** Runs `godwit` with these words until it ends; killed after `patience` ms. `said` is its standard error. */
export async function godwit(words: readonly string[], patience = 20_000): Promise<Ended> {
  const child = spawn(process.execPath, [GODWIT, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  let [said, wrote] = ["", ""];
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stdout.on("data", (chunk: Buffer) => (wrote += chunk.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), patience);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return { code, said, wrote };
}

const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
