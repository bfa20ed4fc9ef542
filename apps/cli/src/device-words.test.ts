import assert from "node:assert/strict";
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

// What `godwit device` says where nobody answers, and to a reader that leaves.

const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));

test("a device that nobody answers says so within seconds", () =>
  unanswered(async (child) => {
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (line.includes("no answer yet")) break;
    }
    assert.match(lines.at(-1) ?? "", /no answer yet: does a server listen at 127\.0\.0\.1:\d+/);
  }));

test("a device whose reader leaves, as head does, ends without a word", () =>
  unanswered(async (child) => {
    let faults = "";
    child.stderr.on("data", (chunk: Buffer) => (faults += chunk.toString()));
    await once(child.stdout, "data");
    child.stdout.destroy();
    const [code] = (await once(child, "close")) as [number | null]; // its next line meets nobody
    assert.deepEqual([code, faults], [0, ""]);
  }));

/** A device that speaks to a socket of ours, which says nothing. */
async function unanswered(
  meet: (child: ChildProcessByStdio<null, Readable, Readable>) => Promise<void>,
): Promise<void> {
  const deaf = createSocket("udp4");
  deaf.bind(0, "127.0.0.1");
  await once(deaf, "listening");
  const server = `coap://127.0.0.1:${deaf.address().port}`;
  const child = spawn(process.execPath, [GODWIT, "device", "--endpoint", "e", "--server", server], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  try {
    await meet(child);
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    deaf.close();
  }
}
