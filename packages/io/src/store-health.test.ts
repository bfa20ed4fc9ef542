import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromUtf8, utf8, type StoreChange } from "@godwit/base";
import { memoryStore } from "./memory-store.ts";
import { sqliteStore, type SqliteStore } from "./sqlite-store.ts";
import type { StoreHealth } from "./store-health.ts";
import { StoreError, refusalWords, type Store } from "./store.ts";

const put = (key: string, bytes = 1): StoreChange => ({
  table: "t",
  key,
  value: new Uint8Array(bytes),
});

function write(store: Store, ...changes: StoreChange[]): Promise<StoreError | undefined> {
  return new Promise((resolve) => store.write(changes, resolve));
}

async function withStore(
  options: Parameters<typeof sqliteStore>[1],
  act: (store: SqliteStore, told: StoreHealth[]) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "godwit-health-"));
  const store = sqliteStore(join(directory, "a.db"), options);
  const told: StoreHealth[] = [];
  store.meter.onChange = (health) => told.push(health);
  try {
    await act(store, told);
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

test("F18: a full disk is told once, and by itself when it takes a write again", () =>
  withStore({ maxBytes: 400_000 }, async (store, told) => {
    assert.equal(await write(store, put("a")), undefined);
    for (let i = 0; i < 5; i++) {
      const error = await write(store, put("big", 900_000));
      assert.equal(error && refusalWords(error), "the disk is full");
    }
    assert.deepEqual(
      told.map(({ state }) => state),
      ["failing"],
    );
    assert.ok(store.health.state === "failing" && store.health.refused === 5);
    const alive = setInterval(() => {}, 1_000); // the store's own timer keeps no process
    await new Promise<void>((done) => {
      store.meter.onChange = ({ state }) => state === "working" && done();
    });
    clearInterval(alive);
    assert.deepEqual(
      [...store.load("t")].map(({ key }) => key),
      ["a"],
    );
  }));

test("F18: what one caller did wrong is no failure of the disk", () =>
  withStore({}, async (store, told) => {
    const bad = { table: "t", key: "bad", value: {} as unknown as Uint8Array };
    assert.equal((await write(store, bad))?.fault, "refused");
    assert.deepEqual(told, []);
  }));

test("F18: a disk that does not confirm breaks the store for good: told once, with what was refused since", async () => {
  let failing = false;
  const sync = (_fd: number, done: (error: Error | null) => void): void => {
    setImmediate(() => done(failing ? new Error("EIO: i/o error") : null));
  };
  await withStore({ sync }, async (store, told) => {
    failing = true;
    await write(store, put("a"));
    failing = false;
    await write(store, put("b"));
    assert.deepEqual(
      told.map(({ state }) => state),
      ["broken"],
    );
    assert.ok(store.health.state === "broken" && store.health.refused === 2);
    assert.match(store.health.error.message, /did not confirm.*EIO/);
  });
});

test("F18: a store that is broken from outside refuses what waits and what comes", () =>
  withStore({}, async (store, told) => {
    const waiting = write(store, put("a"));
    store.break(new StoreError("gone", "the directory was deleted"));
    for (const error of [await waiting, await write(store, put("b"))])
      assert.equal(error?.fault, "gone");
    assert.equal(told.at(-1)?.state, "broken");
  }));

test("memory: a disk that is full, read-only or failing refuses until it is well, and a record can be damaged", async () => {
  const store = memoryStore();
  const told: string[] = [];
  store.meter.onChange = ({ state }) => told.push(state);
  await write(store, { table: "t", key: "a", value: utf8("text") });
  for (const disk of ["full", "readonly", "io"] as const) {
    store.disk = disk;
    assert.equal((await write(store, put("b")))?.fault, disk);
  }
  store.disk = "well";
  assert.equal(await write(store, put("b")), undefined);
  assert.deepEqual(told, ["failing", "failing", "failing", "working"]);
  const copy = store.survivors();
  assert.ok(store.damage("t", "a", "cut", 2));
  assert.ok(!store.damage("t", "none"));
  const a = (one: Store): string | undefined => {
    const found = [...one.load("t")].find(({ key }) => key === "a");
    return found && fromUtf8(found.value);
  };
  assert.deepEqual([a(store), a(copy)], ["te", "text"]);
  assert.ok(copy.damage("t", "a"));
  assert.notEqual([...copy.load("t")].find(({ key }) => key === "a")?.value[3], "t".charCodeAt(0));
  assert.deepEqual(store.keys("t"), ["a", "b"]);
});
