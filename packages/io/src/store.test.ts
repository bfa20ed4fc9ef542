import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { UsageError, utf8, type StoreChange } from "@godwit/base";
import { memoryStore } from "./memory-store.ts";
import { openSqlite } from "./sqlite.ts";
import { sqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";
import { StoreError, type Store, type StoreFault } from "./store.ts";

const put = (key: string, value = "v", table = "t"): StoreChange => ({
  table,
  key,
  value: utf8(value),
});
const remove = (key: string, table = "t"): StoreChange => ({ table, key, value: undefined });

function content(store: Store, table = "t"): Record<string, string> {
  const all = [...store.load(table)].map(({ key, value }) => [key, Buffer.from(value).toString()]);
  return Object.fromEntries(all.sort(([a = ""], [b = ""]) => (a < b ? -1 : 1))) as Record<
    string,
    string
  >;
}

function written(store: Store, ...changes: StoreChange[]): Promise<void> {
  return new Promise((resolve, reject) =>
    store.write(changes, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

async function inDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "godwit-store-"));
  try {
    await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function fault(expected: StoreFault, message = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.fault, expected);
    assert.match(error.message, message);
    return true;
  };
}

const kinds: [string, (file: string) => Store][] = [
  ["memory", () => memoryStore()],
  ["sqlite", (file) => sqliteStore(file)],
];

for (const [kind, open] of kinds) {
  test(`${kind}: what was written is loaded, table by table`, () =>
    inDirectory(async (directory) => {
      const store = open(join(directory, "a.db"));
      await written(store, put("a", "1"), put("b", "2"), put("a", "other table", "u"));
      await written(store, put("a", "3"), remove("b"), remove("never there"));
      assert.deepEqual(content(store), { a: "3" });
      assert.deepEqual(content(store, "u"), { a: "other table" });
      assert.deepEqual(content(store, "unknown"), {});
      await store.close();
    }));

  test(`${kind}: answers come in the order of the calls, never before write has returned`, () =>
    inDirectory(async (directory) => {
      const store = open(join(directory, "a.db"));
      const order: number[] = [];
      for (let i = 0; i < 50; i++) store.write([put("same", `${i}`)], () => order.push(i));
      assert.deepEqual(order, []);
      await store.flush();
      assert.deepEqual(order, [...Array(50).keys()]);
      assert.deepEqual(content(store), { same: "49" });
      await store.close();
    }));

  test(`${kind}: a value that is a window into a larger array is written as that window`, () =>
    inDirectory(async (directory) => {
      const store = open(join(directory, "a.db"));
      await written(store, { table: "t", key: "k", value: utf8("xxhelloxx").subarray(2, 7) });
      await written(store, { table: "t", key: "empty", value: new Uint8Array(0) });
      assert.deepEqual(content(store), { empty: "", k: "hello" });
      await store.close();
    }));

  test(`${kind}: after close every write is refused, and closing twice does no harm`, () =>
    inDirectory(async (directory) => {
      const store = open(join(directory, "a.db"));
      let answered = false;
      store.write([put("before")], () => (answered = true));
      await Promise.all([store.close(), store.close()]);
      assert.ok(answered);
      await assert.rejects(written(store, put("after")), fault("closed"));
    }));
}

test("sqlite: records survive closing and opening", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "deep", "a.db");
    const first = sqliteStore(file);
    const all = Array.from({ length: 137 }, (_, i) => put(`k${i}`, `${i}`));
    await written(first, ...all);
    await first.close();
    const second = sqliteStore(file);
    assert.equal(Object.keys(content(second)).length, 137);
    assert.equal(content(second)["k99"], "99");
    await second.close();
  }));

test("sqlite: keys from devices may hold any character", () =>
  inDirectory(async (directory) => {
    const keys = [
      "",
      "\0",
      "\u0001",
      "a\0b",
      "a\u00010b",
      "\u00011",
      "ü€😀",
      "x".repeat(5_000),
      "'\"%",
    ];
    const store = sqliteStore(join(directory, "a.db"));
    await written(store, ...keys.map((key) => put(key, key)));
    const read = [...store.load("t")].map(({ key, value }) => [key, Buffer.from(value).toString()]);
    assert.deepEqual(new Set(read.map(([key]) => key)), new Set(keys));
    for (const [key, value] of read) assert.equal(key, value);
    await written(store, ...keys.map((key) => remove(key)));
    assert.deepEqual(content(store), {});
    await store.close();
  }));

test("sqlite: writes of one turn are one group, and what comes while the disk works is the next", () =>
  inDirectory(async (directory) => {
    const disk: ((error: Error | null) => void)[] = [];
    const store = sqliteStore(join(directory, "a.db"), { sync: (_, done) => disk.push(done) });
    const answers: string[] = [];
    const write = (key: string): void => store.write([put(key)], () => answers.push(key));
    write("a");
    write("b");
    await turn();
    write("c");
    write("d");
    await turn();
    assert.deepEqual([answers.length, disk.length, store.counters.groups], [0, 1, 1]);
    disk.shift()!(null);
    assert.deepEqual(answers, ["a", "b"]);
    await turn();
    assert.deepEqual([disk.length, store.counters.groups], [1, 2]);
    disk.shift()!(null);
    assert.deepEqual(answers, ["a", "b", "c", "d"]);
    await store.close();
  }));

test("sqlite: the commit counter counts what the disk has confirmed", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "a.db");
    const store = sqliteStore(file);
    const start = store.commits;
    await written(store, put("a"));
    await written(store, put("b"));
    assert.equal(store.commits, start + 2);
    await store.close();
    const again = sqliteStore(file);
    assert.ok(again.commits > start + 2);
    await again.close();
  }));

test("F18 sqlite: a full disk refuses the group, keeps what was there, and may pass", () =>
  inDirectory(async (directory) => {
    const store = sqliteStore(join(directory, "a.db"), { maxBytes: 400_000 });
    await written(store, put("kept", "1"));
    const big = { table: "t", key: "big", value: new Uint8Array(900_000) };
    const results = await Promise.allSettled([written(store, put("x")), written(store, big)]);
    assert.ok(results.every(({ status }) => status === "rejected"));
    await assert.rejects(written(store, big), fault("full"));
    assert.deepEqual(content(store), { kept: "1" });
    assert.equal(store.broken, undefined);
    await written(store, put("small", "2"));
    assert.deepEqual(content(store), { kept: "1", small: "2" });
    await store.close();
  }));

test("F18 sqlite: after a disk that did not confirm, nothing is promised any more", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "a.db");
    let failing = false;
    const options: SqliteStoreOptions = {
      sync: (_, done) => setImmediate(() => done(failing ? new Error("EIO: i/o error") : null)),
    };
    const store = sqliteStore(file, options);
    await written(store, put("a"));
    const confirmed = store.commits;
    failing = true;
    await assert.rejects(
      written(store, put("b")),
      fault("io", /did not confirm.*EIO.*opened again/),
    );
    failing = false;
    await assert.rejects(written(store, put("c")), fault("io"));
    assert.equal(store.broken?.fault, "io");
    assert.equal(store.commits, confirmed);
    await store.close();
    const again = sqliteStore(file);
    assert.equal(content(again)["a"], "v");
    assert.equal(content(again)["c"], undefined);
    await again.close();
  }));

test("sqlite: a call SQLite cannot take fails alone", () =>
  inDirectory(async (directory) => {
    const store = sqliteStore(join(directory, "a.db"));
    const bad = { table: "t", key: "bad", value: {} as unknown as Uint8Array };
    const results = await Promise.allSettled([
      written(store, put("before")),
      written(store, put("with the bad one"), bad),
      written(store, put("after")),
      written(store, put("T", "v", "T")),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled", "rejected"],
    );
    assert.deepEqual(Object.keys(content(store)), ["after", "before"]);
    await store.close();
  }));

test("sqlite: at the limit of waiting bytes a write is refused in its place", () =>
  inDirectory(async (directory) => {
    const store = sqliteStore(join(directory, "a.db"), { queueBytes: 1_000 });
    const answers: string[] = [];
    const write = (key: string, size: number): void =>
      store.write([{ table: "t", key, value: new Uint8Array(size) }], (error) =>
        answers.push(`${key} ${error?.fault ?? "ok"}`),
      );
    write("a", 500);
    write("b", 500);
    write("c", 100);
    await store.flush();
    assert.deepEqual(answers, ["a ok", "b busy", "c ok"]);
    await written(store, put("d"));
    await store.close();
  }));

test("sqlite: a table name that is none is the caller's mistake", () =>
  inDirectory(async (directory) => {
    const store = sqliteStore(join(directory, "a.db"));
    for (const table of ["", 'a"b', "a b", "x".repeat(101), "1a"]) {
      assert.throws(() => store.write([put("k", "v", table)], () => {}), UsageError);
    }
    await store.close();
  }));

test("sqlite: files are for their owner alone", () =>
  inDirectory(async (directory) => {
    const store = sqliteStore(join(directory, "data", "a.db"));
    await written(store, put("k"));
    const mode = (file: string): number => statSync(file).mode & 0o777;
    assert.equal(mode(join(directory, "data")), 0o700);
    for (const file of readdirSync(join(directory, "data"))) {
      assert.equal(mode(join(directory, "data", file)), 0o600, file);
    }
    await store.close();
  }));

test("sqlite: a second opening is refused and names the process that holds it", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "a.db");
    const store = sqliteStore(file);
    assert.throws(() => sqliteStore(file), fault("locked", new RegExp(`process ${process.pid}`)));
    await written(store, put("k"));
    await store.close();
    await sqliteStore(file).close();
  }));

test("sqlite: a file that is not ours is refused and left as it is", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "notes.db");
    writeFileSync(file, "not a database at all, just some notes. ".repeat(100));
    assert.throws(() => sqliteStore(file), fault("foreign", /not a Godwit store/));
    assert.equal(statSync(file).size, 4_000);
    const other = join(directory, "other.db");
    const db = openSqlite(other);
    db.exec("CREATE TABLE addresses (a)");
    db.close();
    assert.throws(() => sqliteStore(other), fault("foreign"));
    mkdirSync(join(directory, "folder"));
    assert.throws(() => sqliteStore(join(directory, "folder")), fault("io"));
  }));

test("J4: sqlite: a row whose value is no blob is read as one without a byte, and the rest as it is", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "a.db");
    const store = sqliteStore(file);
    for (const key of ["number", "real", "text", "whole"]) await written(store, put(key, "1"));
    await store.close();
    const db = openSqlite(file);
    for (const [key, value] of Object.entries({ number: "5", real: "1.5", text: "'abc'" }))
      db.exec(`UPDATE "r:t" SET value = ${value} WHERE key = '${key}'`);
    db.close();
    const again = sqliteStore(file);
    const rows = [...again.load("t")].map(({ key, value }) => [key, value.length]);
    assert.deepEqual(Object.fromEntries(rows), { number: 0, real: 0, text: 0, whole: 1 });
    await again.close();
  }));

test("sqlite: a file of a later version is refused", () =>
  inDirectory(async (directory) => {
    const file = join(directory, "a.db");
    await sqliteStore(file).close();
    const db = openSqlite(file);
    db.exec("PRAGMA user_version = 99");
    db.close();
    assert.throws(() => sqliteStore(file), fault("newer", /schema 99.*upgrade/));
  }));

test("sqlite: a backup is a store of its own", () =>
  inDirectory(async (directory) => {
    const store = sqliteStore(join(directory, "a.db"));
    await written(store, put("k", "1"));
    await store.backup(join(directory, "b.db"));
    await written(store, put("k", "2"));
    await store.close();
    const copy = sqliteStore(join(directory, "b.db"));
    assert.deepEqual(content(copy), { k: "1" });
    await copy.close();
  }));

test("memory: a crash at every write point leaves exactly what was acknowledged, or one more", async () => {
  for (const kind of ["crash", "crashAfter"] as const) {
    for (let point = 0; point < 5; point++) {
      const store = memoryStore({ fault: (n) => (n === point ? kind : undefined) });
      const answered: string[] = [];
      for (let i = 0; i < 5; i++) store.write([put(`${i}`)], () => answered.push(`${i}`));
      await turn();
      assert.equal(answered.length, point);
      assert.ok(store.crashed);
      const left = Object.keys(content(store.survivors()));
      assert.deepEqual(left, kind === "crash" ? answered : [...answered, `${point}`]);
    }
  }
});

test("memory: an injected error writes nothing of its call and leaves the rest", async () => {
  const store = memoryStore({ fault: (n) => (n === 1 ? "full" : undefined) });
  await written(store, put("a"));
  await assert.rejects(written(store, put("b"), put("c")), fault("full"));
  await written(store, put("d"));
  assert.deepEqual(Object.keys(content(store)), ["a", "d"]);
});

test("memory: told to commit, it waits for it", async () => {
  const store = memoryStore({ commit: "told" });
  let done = false;
  store.write([put("a")], () => (done = true));
  await turn();
  assert.ok(!done);
  assert.deepEqual(content(store), {});
  store.commit();
  assert.ok(done);
  assert.deepEqual(content(store.survivors()), { a: "v" });
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
