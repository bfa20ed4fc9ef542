// `godwit device` whose state directory was damaged while it was off: the real command against a real server.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Served } from "./crash/served.test-kit.ts";
import { godwit } from "./godwit.test-kit.ts";

const LIMIT = { timeout: 120_000 };
const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
const KEY = "000102030405060708090a0b0c0d0e0f";
const FILES = ["device.json", "records.json", "session-key"] as const;
const TEMPORARY = "device.json.0123456789ab.tmp";
const OSCORE = { senderId: "01", recipientId: "02", masterSecret: KEY };

type Life = { readonly registered: boolean; readonly said: readonly string[] };

/** One life of a device, killed once the server has answered its Register or Update. */
async function live(words: readonly string[]): Promise<Life> {
  const child = spawn(process.execPath, [GODWIT, "device", ...words], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk.toString()));
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  let registered = false;
  for await (const line of createInterface(child.stdout)) {
    said.push(line);
    if (!/^\S+ (?:registered|updated)/.test(line)) continue;
    registered = true;
    break;
  }
  // What it wrote last is on the disk in a moment.
  await new Promise((done) => setTimeout(done, 200));
  child.kill("SIGKILL");
  clearTimeout(timer);
  if (child.exitCode === null && child.signalCode === null) await once(child, "close");
  return { registered, said };
}

const HARMS: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
  ["empty", () => Buffer.alloc(0)],
  ["one byte", (bytes) => bytes.subarray(0, 1)],
  ["half", (bytes) => bytes.subarray(0, bytes.length >> 1)],
  ["all but one byte", (bytes) => bytes.subarray(0, -1)],
  ["zeros", (bytes) => Buffer.alloc(bytes.length)],
];

for (const kind of ["dtls", "oscore"] as const) {
  test(
    `a device of ${kind} whose files were cut or emptied while it was off registers again`,
    LIMIT,
    async () => {
      const root = mkdtempSync(join(tmpdir(), "godwit-state-"));
      const served = await Served.start({ data: join(root, "data"), dtls: true, nosec: false });
      try {
        const mirrored = { ...OSCORE, senderId: "02", recipientId: "01" };
        const credential =
          kind === "dtls"
            ? { kind: "psk", endpoint: "dev", identity: "dev", key: KEY }
            : { kind: "oscore", endpoint: "dev", ...mirrored };
        await served.call("POST", "/api/v1/credentials", credential);
        const file = join(root, "oscore.json");
        writeFileSync(file, JSON.stringify(OSCORE));
        const state = join(root, "state");
        const words = ["--endpoint", "dev", "--state", state];
        if (kind === "oscore") words.push("--server", served.server, "--oscore", file);
        else {
          words.push("--server", `coaps://127.0.0.1:${served.ports.coaps}`, "--cid");
          words.push("--psk-identity", "dev", "--psk-key", KEY);
        }
        assert.ok((await live(words)).registered);
        writeFileSync(join(state, TEMPORARY), "{");
        for (const name of FILES) {
          for (const [harm, make] of HARMS) {
            const path = join(state, name);
            if (!readdirSync(state).includes(name)) continue; // OSCORE seals no session
            writeFileSync(path, make(readFileSync(path)));
            const { registered, said } = await live(words);
            assert.ok(registered, `${name}, ${harm}: ${said.join("\n")}`);
          }
        }
        const left = readdirSync(state);
        assert.ok(!left.includes(TEMPORARY), "left by a device that was killed");
        assert.ok(left.some((name) => name.startsWith("records.json.damaged-")));
      } finally {
        await served.end("SIGKILL");
        rmSync(root, { recursive: true, force: true });
      }
    },
  );
}

test(
  "a device with a fixed OSCORE context and damaged numbers says in one line what to do, and ends",
  LIMIT,
  async () => {
    const root = mkdtempSync(join(tmpdir(), "godwit-state-"));
    try {
      const file = join(root, "oscore.json");
      writeFileSync(file, JSON.stringify({ ...OSCORE, derivation: "fixed" }));
      writeFileSync(join(root, "records.json"), '{"layout":2');
      const words = ["--server", "coap://127.0.0.1:9", "--endpoint", "dev", "--oscore", file];
      const { code, said } = await godwit(["device", ...words, "--state", root]);
      assert.equal(code, 1);
      assert.match(said, /^godwit: [^\n]*records\.json is damaged[^\n]*new master secret[^\n]*\n$/);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
);
