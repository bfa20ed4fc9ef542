import assert from "node:assert/strict";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromUtf8, utf8, type StoreChange } from "@godwit/base";
import { backUpData, restoreData } from "./backup.ts";
import { openData, type Data } from "./data.ts";

const NOW = Date.UTC(2026, 10, 30, 12);

async function inRoot(act: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "godwit-backup-"));
  const alive = setInterval(() => {}, 1_000); // timers of an open directory keep no process
  try {
    await act(root);
  } finally {
    clearInterval(alive);
    rmSync(root, { recursive: true, force: true });
  }
}

function written(data: Data, ...changes: StoreChange[]): Promise<void> {
  return new Promise((resolve, reject) =>
    data.store.write(changes, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

const put = (key: string, value = key, table = "t"): StoreChange => ({
  table,
  key,
  value: utf8(value),
});

function content(data: Data, table = "t"): Record<string, string> {
  const rows = [...data.store.load(table)].map(({ key, value }) => [key, fromUtf8(value)] as const);
  return Object.fromEntries(rows);
}

function restored(
  from: string,
  directory: string,
  drop: readonly string[] = [],
): ReturnType<typeof restoreData> {
  return restoreData({ from, directory, drop, admit: () => Promise.resolve() });
}

test("a backup of a stopped and of a running directory is one file that restores what was committed", () =>
  inRoot(async (root) => {
    const directory = join(root, "data");
    const data = await openData(directory);
    await written(data, put("a"), put("key", "1", "numbers"));
    const running = await backUpData(directory, join(root, "backups/"), NOW);
    assert.equal(running.file, join(root, "backups/godwit-2026-11-30T12-00-00-000Z.db"));
    assert.ok(running.fromRunningServer);
    await written(data, put("b"));
    await data.close();
    const stopped = await backUpData(directory, join(root, "stopped.db"), NOW);
    assert.ok(!stopped.fromRunningServer);
    for (const { file } of [running, stopped]) assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(root, "backups")), ["godwit-2026-11-30T12-00-00-000Z.db"]);
    assert.ok(!readdirSync(directory).some((name) => name.startsWith("backup-")));
    for (const [from, expected] of [
      [join(root, "backups"), { a: "a" }],
      [join(root, "stopped.db"), { a: "a", b: "b" }],
    ] as const) {
      const into = join(root, `into-${Object.keys(expected).length}`);
      const { madeAt, replaced } = await restored(from, into, ["numbers", "no such table"]);
      assert.deepEqual([madeAt, replaced], ["2026-11-30T12:00:00.000Z", undefined]);
      const again = await openData(into);
      assert.match(again.rollbackReason ?? "", /restored from a backup of 2026-11-30T12/);
      assert.deepEqual(content(again), expected);
      assert.deepEqual(content(again, "numbers"), {});
      await again.close();
    }
  }));

test("a backup that is made while a server writes has whole calls only, and those that were confirmed before", () =>
  inRoot(async (root) => {
    const directory = join(root, "data");
    const data = await openData(directory);
    const pad = "x".repeat(3_000);
    const pair = (n: number): StoreChange[] => [
      put(`${n}`, `${n}${pad}`),
      put(`${n}`, `${n}${pad}`, "u"),
    ];
    for (let n = 0; n < 300; n++) data.store.write(pair(n), () => {});
    await data.store.flush();
    let n = 300;
    let done = false;
    const more = (): void => {
      if (done) return;
      data.store.write(pair(n % 700), () => setImmediate(more));
      n += 1;
    };
    more();
    const { file } = await backUpData(directory, join(root, "b.db"), NOW);
    done = true;
    await data.close();
    const into = join(root, "into");
    await restored(file, into);
    const copy = await openData(into);
    const [t, u] = [content(copy), content(copy, "u")];
    assert.deepEqual(t, u);
    for (let i = 0; i < 300; i++) assert.ok(`${i}` in t, `${i}`);
    assert.ok(n > 300, "nothing was written meanwhile");
    await copy.close();
  }));

test("a directory that was copied as it stood, with its log, restores what was committed", () =>
  inRoot(async (root) => {
    const directory = join(root, "data");
    const data = await openData(directory);
    await written(data, put("a"));
    cpSync(directory, join(root, "copied"), { recursive: true });
    await data.close();
    const { source } = await restored(join(root, "copied"), join(root, "into"));
    assert.equal(source, join(root, "copied/godwit.db"));
    const again = await openData(join(root, "into"));
    assert.deepEqual(content(again), { a: "a" });
    await again.close();
  }));

test("a restore keeps the store that was there, also one that cannot be read, and a second mark does not stop the start", () =>
  inRoot(async (root) => {
    const [directory, markFile] = [join(root, "data"), join(root, "mark")];
    const data = await openData(directory, { markFile });
    await written(data, put("a"));
    const { file } = await backUpData(directory, join(root, "b.db"), NOW);
    await written(data, put("b"));
    await data.close();
    writeFileSync(join(directory, "godwit.db"), "damaged beyond recognition".repeat(1_000));
    const { replaced } = await restored(file, directory);
    assert.match(readFileSync(replaced ?? "", "latin1"), /^damaged beyond/);
    const again = await openData(directory, { markFile });
    assert.deepEqual(content(again), { a: "a" });
    assert.ok(again.rolledBack);
    await written(again, again.rollbackSettled);
    await again.close();
    const settled = await openData(directory, { markFile });
    assert.ok(!settled.rolledBack, settled.rollbackReason);
    await settled.close();
  }));

test("what stands in the way of a backup or a restore is said, and nothing has changed", () =>
  inRoot(async (root) => {
    const directory = join(root, "data");
    const data = await openData(directory);
    await written(data, put("a"));
    const good = (await backUpData(directory, join(root, "good.db"), NOW)).file;
    const damaged = join(root, "damaged.db");
    copyFileSync(good, damaged);
    writeFileSync(damaged, readFileSync(good).fill(0xa5, 5_000));
    writeFileSync(join(root, "diary"), "this is a diary".repeat(1_000));
    mkdirSync(join(root, "empty"));
    mkdirSync(join(root, "both"));
    for (const name of ["godwit.db", "godwit-2026-11-30T12-00-00-000Z.db"])
      copyFileSync(good, join(root, "both", name));
    const fresh = join(root, "fresh");
    const cases: readonly (readonly [RegExp, () => Promise<unknown>])[] = [
      [
        /good\.db exists already; nothing was written over it/,
        () => backUpData(directory, good, NOW),
      ],
      [
        /data\/godwit-.*Z\.db is in the data directory: name a place outside it/,
        () => backUpData(directory, directory, NOW),
      ],
      [
        /both holds a store \(godwit\.db\) and backups \(godwit-2026-.*\): name the file that you mean/,
        () => restored(join(root, "both"), fresh),
      ],
      [/empty is no data directory/, () => backUpData(join(root, "empty"), join(root, "x"), NOW)],
      [/data is in use by a server: stop it first/, () => restored(good, directory)],
      [/none: there is no such file/, () => restored(join(root, "none"), fresh)],
      [/empty holds no backup/, () => restored(join(root, "empty"), fresh)],
      [/diary is not a Godwit store/, () => restored(join(root, "diary"), fresh)],
      [/damaged/, () => restored(damaged, fresh)],
      [
        /the wrong key/,
        () =>
          restoreData({
            from: good,
            directory: fresh,
            drop: [],
            admit: () => Promise.reject(new Error("the wrong key")),
          }),
      ],
    ];
    for (const [words, act] of cases) await assert.rejects(act, { message: words });
    assert.ok(!existsSync(join(fresh, "godwit.db")));
    assert.deepEqual(content(data), { a: "a" });
    await data.close();
    const left = readdirSync(root).toSorted();
    assert.deepEqual(left, ["both", "damaged.db", "data", "diary", "empty", "fresh", "good.db"]);
    assert.deepEqual(readdirSync(fresh), []);
  }));

test("what a server that was killed left of a backup is removed at its next start", () =>
  inRoot(async (root) => {
    const directory = join(root, "data");
    await (await openData(directory)).close();
    for (const state of ["partial", "ready", "failed"])
      writeFileSync(join(directory, `backup-0123456789ab.${state}`), "x");
    await (await openData(directory)).close();
    assert.ok(!readdirSync(directory).some((name) => name.startsWith("backup-")));
  }));
