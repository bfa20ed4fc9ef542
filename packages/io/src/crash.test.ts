import assert from "node:assert/strict";
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { below, fromUtf8, seededRng } from "@godwit/base";
import { sqliteStore } from "./sqlite-store.ts";

const IO = new URL("./index.js", import.meta.url).href;

/** A child that never fails would write for ever. */
const LIMIT = { timeout: 30_000 };

/** Writes pairs of records for ever, says which were acknowledged, and what went wrong. */
const WRITER = `
  import { writeSync } from "node:fs";
  import { sqliteStore } from ${JSON.stringify(IO)};
  const store = sqliteStore(process.argv[1]);
  const text = new TextEncoder();
  const pad = "x".repeat(Number(process.argv[2]));
  let n = Number(process.argv[3]);
  const more = () => {
    for (let i = 1 + n % 7; i > 0; i--) {
      const k = n++;
      const value = text.encode(k + pad);
      store.write([{ table: "a", key: "k" + k % 50, value }, { table: "b", key: "k" + k % 50, value }], (error) => {
        if (error === undefined) return void writeSync(1, k + "\\n");
        writeSync(1, "failed " + k + " " + error.fault + " " + (store.broken !== undefined) + "\\n");
        process.exit();
      });
    }
    setImmediate(more);
  };
  more();
`;

function run(t: TestContext, script: string, args: readonly string[], shell = ""): Child {
  const node = [process.execPath, "--input-type=module", "-e", script, ...args];
  const command = shell === "" ? node : ["/bin/sh", "-c", `${shell}; exec "$@"`, "sh", ...node];
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  t.signal.addEventListener("abort", () => child.kill("SIGKILL"));
  return child;
}

/** Each record as its number, and that both tables agree: a call is written whole or not at all. */
async function audit(file: string): Promise<Map<string, number>> {
  const store = sqliteStore(file);
  const read = (table: string): Map<string, number> =>
    new Map(
      [...store.load(table)].map(({ key, value }) => [key, Number.parseInt(fromUtf8(value), 10)]),
    );
  const [a, b] = [read("a"), read("b")];
  await store.close();
  assert.deepEqual(a, b);
  return a;
}

test(
  "F17: after kill -9 at any moment every acknowledged write is there, and the lock is free",
  LIMIT,
  async (t) => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    t.diagnostic(`seed ${seed}`);
    const rng = seededRng(seed);
    const directory = mkdtempSync(join(tmpdir(), "godwit-crash-"));
    const file = join(directory, "a.db");
    const acknowledged = new Map<string, number>();
    let from = 0;
    try {
      for (let round = 0; round < 5; round++) {
        const child = run(t, WRITER, [file, "50", `${from}`]);
        let left = 1 + below(rng, 3_000);
        for await (const line of createInterface(child.stdout)) {
          const n = Number(line);
          assert.ok(n >= from, `seed ${seed}: ${line}`);
          acknowledged.set(`k${n % 50}`, n);
          from = n + 1;
          if (--left === 0) child.kill("SIGKILL");
        }
        from += 1_000; // beyond everything the dead one may have written unacknowledged
        const found = await audit(file);
        for (const [key, n] of acknowledged) {
          assert.ok(
            found.get(key)! >= n,
            `seed ${seed}: ${key} is ${found.get(key)}, ${n} promised`,
          );
        }
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

test(
  "F18: a disk that takes no more is reported, and what was acknowledged before is there",
  { ...LIMIT, skip: process.platform === "win32" },
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "godwit-crash-"));
    const file = join(directory, "a.db");
    try {
      const child = run(t, WRITER, [file, "3000", "0"], "ulimit -f 2000"); // 512-byte blocks, or 1024 in some shells
      const acknowledged = new Map<string, number>();
      let failure = "";
      for await (const line of createInterface(child.stdout)) {
        if (line.startsWith("failed")) failure = line;
        else acknowledged.set(`k${Number(line) % 50}`, Number(line));
      }
      assert.match(failure, /^failed \d+ (io|full) false$/);
      assert.ok(acknowledged.size > 0);
      assert.deepEqual(await audit(file), acknowledged);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

test("a second process is told which one holds the store", LIMIT, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-crash-"));
  const file = join(directory, "a.db");
  const store = sqliteStore(file);
  try {
    const child = run(
      t,
      `import { sqliteStore } from ${JSON.stringify(IO)};
       try { sqliteStore(process.argv[1]); console.log("opened"); } catch (e) { console.log(e.message); }`,
      [file],
    );
    const exit = once(child, "exit");
    let said = "";
    for await (const chunk of child.stdout) said += String(chunk);
    await exit;
    assert.equal(said, `${file} is in use by process ${process.pid}; one process at a time\n`);
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

test("F18: a power cut that tears the unconfirmed end of the log costs whole calls and nothing confirmed", async () => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-crash-"));
  const file = join(directory, "a.db");
  const disk: ((error: Error | null) => void)[] = [];
  const store = sqliteStore(file, { sync: (_, done) => disk.push(done) });
  const settled: string[] = [];
  const write = async (key: string): Promise<void> => {
    const value = new Uint8Array(3_000).fill(key.charCodeAt(0));
    store.write(
      [
        { table: "a", key, value },
        { table: "b", key, value },
      ],
      () => settled.push(key),
    );
    while (disk.length === 0) await new Promise(setImmediate);
  };
  const logSize = (): number => statSync(`${file}-wal`).size;
  try {
    await write("confirmed");
    disk.shift()!(null);
    const durable = logSize();
    await write("torn");
    const whole = logSize();
    assert.deepEqual(settled, ["confirmed"]);
    const torn = join(directory, "torn.db");
    let kept = 0;
    for (let size = durable; size <= whole; size += Math.min(997, whole - size || 1)) {
      copyFileSync(file, torn);
      copyFileSync(`${file}-wal`, `${torn}-wal`);
      truncateSync(`${torn}-wal`, size);
      const after = sqliteStore(torn);
      const keys = (table: string): string[] => [...after.load(table)].map(({ key }) => key);
      assert.ok(keys("a").includes("confirmed"), `${size}`);
      assert.deepEqual(keys("a"), keys("b"), `${size}`);
      if (keys("a").includes("torn")) kept += 1;
      else assert.ok(size < whole);
      await after.close();
      rmSync(torn);
    }
    assert.equal(kept, 1);
  } finally {
    disk.shift()?.(null);
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

type Child = ChildProcessByStdio<null, Readable, null>;
