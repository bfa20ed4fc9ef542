import assert from "node:assert/strict";
import {
  closeSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { utf8, type StoreChange } from "@godwit/base";
import type { Clock } from "./clock.ts";
import { readCommitCounter } from "./commit-counter.ts";
import { openData, type Data } from "./data.ts";
import { readMark, type Boot } from "./mark.ts";
import { openSqlite } from "./sqlite.ts";
import type { StoreError } from "./store.ts";

async function inDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "godwit-data-"));
  try {
    await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function written(data: Data, ...changes: StoreChange[]): Promise<void> {
  return new Promise((resolve, reject) =>
    data.store.write(changes, (error) => (error === undefined ? resolve() : reject(error))),
  );
}

const put = (key: string): StoreChange => ({ table: "sessions", key, value: utf8("x") });

test("each opening is a generation of its own, and nothing was rolled back", () =>
  inDirectory(async (directory) => {
    for (let generation = 1; generation <= 3; generation++) {
      const data = await openData(directory);
      assert.deepEqual([data.generation, data.rolledBack], [generation, false]);
      await written(data, put(`${generation}`));
      await data.close();
    }
  }));

type Way = {
  readonly name: string;
  readonly rollBack: (directory: string) => Promise<void> | void;
  /** What the refusal says; undefined: the start goes on. */
  readonly refused?: RegExp;
  /** What is said where the start goes on. */
  readonly reason: RegExp;
};

const db = (directory: string): string => join(directory, "godwit.db");
const saved = (directory: string): string => join(directory, "saved.db");

const WAYS: readonly Way[] = [
  {
    name: "the file of an earlier run is put back",
    async rollBack(directory) {
      copyFileSync(db(directory), saved(directory));
      await (await openData(directory)).close();
      copyFileSync(saved(directory), db(directory));
    },
    refused: /godwit\.db is at commit \d+, and commit \d+ was confirmed.*--accept-loss/,
    reason: /commits are missing/,
  },
  {
    name: "a backup made while running is put back, with no start in between",
    async rollBack(directory) {
      const data = await openData(directory);
      await data.store.backup(saved(directory));
      await written(data, put("after the backup"));
      await data.close();
      copyFileSync(saved(directory), db(directory));
    },
    refused: /godwit\.db is at commit \d+, and commit \d+ was confirmed.*--accept-loss/,
    reason: /commits are missing/,
  },
  {
    name: "the mark is gone",
    rollBack: (directory) => rmSync(join(directory, "mark.json")),
    reason: /mark\.json is gone or damaged/,
  },
  {
    name: "the mark is damaged",
    rollBack: (directory) => writeFileSync(join(directory, "mark.json"), '{"generation":'),
    reason: /mark\.json is gone or damaged/,
  },
  {
    name: "the database is gone",
    rollBack: (directory) => rmSync(db(directory)),
    refused: /godwit\.db is gone, and \d+ commits were in it.*--accept-loss/,
    reason: /commits are missing/,
  },
  {
    name: "the whole directory is put back from a copy",
    async rollBack(directory) {
      cpSync(directory, `${directory}.copy`, { recursive: true, preserveTimestamps: true });
      const data = await openData(directory);
      await written(data, put("b"));
      await data.close();
      rmSync(directory, { recursive: true });
      renameSync(`${directory}.copy`, directory);
    },
    reason: /restored copy/,
  },
  {
    name: "a copy is written over the files of the directory",
    async rollBack(directory) {
      cpSync(directory, `${directory}.copy`, { recursive: true });
      const data = await openData(directory);
      await written(data, put("b"));
      await data.close();
      cpSync(`${directory}.copy`, directory, { recursive: true });
      rmSync(`${directory}.copy`, { recursive: true });
    },
    reason: /restored copy/,
  },
];

test("F23: every way to bring back an old store is noticed, until it has been dealt with", async (t) => {
  for (const { name, rollBack, refused, reason } of WAYS) {
    await t.test(name, () =>
      inDirectory(async (directory) => {
        const first = await openData(directory);
        await written(first, put("a"));
        await first.close();
        await rollBack(directory);
        if (refused !== undefined) {
          await assert.rejects(openData(directory), { fault: "loss", message: refused });
          await assert.rejects(openData(directory), { fault: "loss", message: /--accept-loss/ });
        }
        const noticed = await openData(directory, { acceptLoss: refused !== undefined });
        assert.ok(noticed.rolledBack);
        assert.match(noticed.rollbackReason ?? "", reason);
        assert.ok(noticed.generation > first.generation);
        assert.ok(noticed.store.commits > first.store.commits);
        await noticed.close();
        const still = await openData(directory);
        assert.ok(still.rolledBack, "forgotten before it was dealt with");
        assert.match(still.rollbackReason ?? "", reason);
        await written(still, still.rollbackSettled, put("fresh start"));
        await still.close();
        const settled = await openData(directory);
        assert.ok(!settled.rolledBack, settled.rollbackReason);
        await settled.close();
      }),
    );
  }
});

test("a directory that is renamed on its file system is the one it was", () =>
  inDirectory(async (root) => {
    const [here, there] = [join(root, "here"), join(root, "there")];
    const data = await openData(here);
    await written(data, put("a"));
    await data.close();
    renameSync(here, there);
    const moved = await openData(there);
    assert.ok(!moved.rolledBack, moved.rollbackReason);
    await moved.close();
  }));

test("a mark of an earlier version, without identities, is no copy", () =>
  inDirectory(async (directory) => {
    await (await openData(directory)).close();
    const file = join(directory, "mark.json");
    const { generation, commits, instant, skew } = readMark(file)!; // just written
    writeFileSync(file, JSON.stringify({ generation, commits, instant, skew }));
    rmSync(join(directory, "godwit.db.commits"));
    const upgraded = await openData(directory);
    assert.ok(!upgraded.rolledBack, upgraded.rollbackReason);
    await upgraded.close();
    assert.ok(readMark(file)?.mark !== undefined);
  }));

test("a second mark elsewhere notices a volume that was put back as a whole", () =>
  inDirectory(async (directory) => {
    const markFile = join(directory, "elsewhere.json");
    const inner = join(directory, "data");
    await (await openData(inner, { markFile })).close();
    const left = readFileSync(db(inner));
    const marks = readFileSync(join(inner, "mark.json"));
    const counted = readFileSync(join(inner, "godwit.db.commits"));
    const later = await openData(inner, { markFile });
    await written(later, put("a"));
    await later.close();
    // As a snapshot of the volume would do it: no file is another one than it was.
    writeFileSync(db(inner), left);
    writeFileSync(join(inner, "godwit.db.commits"), counted);
    const now = JSON.parse(readFileSync(join(inner, "mark.json"), "utf8")) as { mark: unknown };
    const then = JSON.parse(marks.toString()) as object;
    writeFileSync(join(inner, "mark.json"), JSON.stringify({ ...then, mark: now.mark }));
    await assert.rejects(openData(inner, { markFile }), { fault: "loss" });
    const data = await openData(inner, { markFile, acceptLoss: true });
    assert.ok(data.rolledBack);
    await data.close();
  }));

test("the mark of another data directory is refused and left as it was", () =>
  inDirectory(async (directory) => {
    const markFile = join(directory, "elsewhere.json");
    await (await openData(join(directory, "a"), { markFile })).close();
    await (await openData(join(directory, "b"))).close();
    const before = readFileSync(markFile, "utf8");
    await assert.rejects(openData(join(directory, "b"), { markFile }), {
      message: /elsewhere\.json is the mark of another data directory/,
    });
    assert.equal(readFileSync(markFile, "utf8"), before);
  }));

test("what cannot be is said in words: a mark without its directory, a loss that is accepted where there is none", () =>
  inDirectory(async (directory) => {
    const data = join(directory, "data");
    const markFile = join(directory, "none", "mark");
    await assert.rejects(openData(data, { markFile }), {
      message: /cannot write the mark .*none\/mark: its directory does not exist/,
    });
    const said: string[] = [];
    const all = { acceptLoss: true, onNotice: (text: string) => said.push(text) };
    await (await openData(data, all)).close();
    assert.match(said.join(), /nothing is missing: leave --accept-loss away/);
  }));

test("temporary files of a process that was killed are removed at the next start", () =>
  inDirectory(async (directory) => {
    await (await openData(directory)).close();
    for (const name of ["mark.json.0123456789ab.tmp", "admin-password.00ff00ff00ff.tmp"])
      writeFileSync(join(directory, name), "x");
    writeFileSync(join(directory, "notes.tmp"), "mine");
    await (await openData(directory)).close();
    assert.deepEqual(readdirSync(directory).toSorted(), [
      "godwit.db",
      "godwit.db.commits",
      "mark.json",
      "notes.tmp",
    ]);
  }));

/** What is there while a server runs: another process would be left with these files by its death. */
async function killed(directory: string, into: string): Promise<void> {
  const data = await openData(directory);
  for (let n = 0; n < 5; n++) await written(data, put(`${n}`));
  while (readCommitCounter(join(directory, "godwit.db.commits")) !== data.store.commits)
    await new Promise(setImmediate); // written a moment later, where there are many
  mkdirSync(into);
  for (const name of readdirSync(directory)) copyFileSync(join(directory, name), join(into, name));
  await data.close();
}

/** A copy has other identities: they are made those of the copy, as if it had been written there. */
function own(directory: string): void {
  const file = join(directory, "mark.json");
  const { mark: _mark, database: _database, ...mark } = readMark(file)!; // copied
  writeFileSync(file, JSON.stringify(mark));
}

test("the log of a killed server: lost, cut or damaged it is missed, set aside, and gone on without only if told so", async (t) => {
  const wal = (directory: string): string => `${db(directory)}-wal`;
  const harms: readonly (readonly [string, (directory: string) => void, boolean])[] = [
    ["whole", () => {}, false],
    ["lost", (d) => rmSync(wal(d)), true],
    ["emptied", (d) => truncateSync(wal(d), 0), true],
    ["its header damaged", (d) => scribble(wal(d), 8), true],
    ["a frame in the middle damaged", (d) => scribble(wal(d), statSync(wal(d)).size >> 1), true],
    ["its last frame cut", (d) => truncateSync(wal(d), statSync(wal(d)).size - 100), true],
    ["with an index of nonsense", (d) => writeFileSync(`${db(d)}-shm`, "x".repeat(32_768)), false],
    ["with an empty index", (d) => writeFileSync(`${db(d)}-shm`, ""), false],
  ];
  for (const [name, harm, noticed] of harms) {
    await t.test(name, () =>
      inDirectory(async (root) => {
        const directory = join(root, "killed");
        await killed(join(root, "data"), directory);
        own(directory);
        harm(directory);
        const before = readFileSync(db(directory));
        if (noticed) {
          await assert.rejects(openData(directory), { fault: "loss", message: /set aside as / });
          const aside = readdirSync(directory).find((file) => /set-aside.*Z$/.test(file));
          assert.deepEqual(readFileSync(join(directory, aside ?? "")), before);
        }
        const notices: string[] = [];
        const onNotice = (text: string): number => notices.push(text);
        const data = await openData(directory, { acceptLoss: noticed, onNotice });
        assert.equal(data.rolledBack, noticed, data.rollbackReason);
        if (noticed) assert.match(notices.join(), /missing, and that was accepted.*is kept as/);
        else assert.equal([...data.store.load("sessions")].length, 5);
        await data.close();
        await (await openData(directory)).close();
      }),
    );
  }
});

test("a log that is cut anywhere is missed, or nothing of it is missing", () =>
  inDirectory(async (root) => {
    const whole = join(root, "whole");
    await killed(join(root, "data"), whole);
    own(whole);
    const length = statSync(`${db(whole)}-wal`).size;
    const outcomes = { missed: 0, whole: 0 };
    for (
      let size = 0;
      size <= length;
      size += size === length ? 1 : Math.min(1_999, length - size)
    ) {
      const directory = join(root, `cut-${size}`);
      cpSync(whole, directory, { recursive: true });
      own(directory);
      truncateSync(`${db(directory)}-wal`, size);
      try {
        const data = await openData(directory);
        assert.equal([...data.store.load("sessions")].length, 5, `${size} of ${length}`);
        assert.ok(!data.rolledBack);
        await data.close();
        outcomes.whole += 1;
      } catch (error) {
        assert.equal((error as StoreError).fault, "loss", `${size} of ${length}: ${String(error)}`);
        outcomes.missed += 1;
      }
      rmSync(directory, { recursive: true });
    }
    assert.ok(outcomes.missed > 20 && outcomes.whole >= 1, JSON.stringify(outcomes));
  }));

function scribble(file: string, at: number): void {
  const fd = openSync(file, "r+");
  writeSync(fd, new Uint8Array(64).fill(0xa5), 0, 64, at);
  closeSync(fd);
}

test("F19: the clock goes on over a restart while the wall clock is set, and never back", (t) =>
  inDirectory(async (directory) => {
    t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 }); // a board that wakes in 1970
    const boot = (): undefined => undefined; // the machine was started anew each time
    const first = await openData(directory, { boot });
    const before = first.clock.now();
    t.mock.timers.setTime(1_700_000_000_000); // NTP
    await first.close();
    t.mock.timers.setTime(1_700_000_060_000); // restarted a minute later
    const second = await openData(directory, { boot });
    const gone = second.clock.now() - before;
    assert.ok(gone >= 60_000 && gone < 70_000, `${gone}`);
    assert.ok(Math.abs(second.clock.toWall(second.clock.now()) - 1_700_000_060_000) < 10);
    const last = second.clock.now();
    await second.close();
    t.mock.timers.setTime(2_000_000); // woken without NTP again
    const third = await openData(directory, { boot });
    assert.ok(third.clock.now() >= last && third.clock.now() - last < 10_000);
    await third.close();
  }));

test("F19: one start with a clock that is off moves no deadline, and the next one with the right clock recovers all times", async (t) => {
  const start = Date.UTC(2026, 10, 30);
  for (const off of [2 * DAY, -2 * DAY, 50 * YEAR, -50 * YEAR]) {
    for (const sameRun of [true, false]) {
      const name = `${off / DAY} days off, ${sameRun ? "the machine ran on" : "the machine was off"}`;
      await t.test(name, (t) =>
        inDirectory(async (directory) => {
          t.mock.timers.enable({ apis: ["Date"], now: start });
          let runs = 0;
          /** Opens it `hours` after the start, with a wall clock that is off by `by`. */
          const run = async (hours: number, by: number): Promise<Run> => {
            t.mock.timers.setTime(start + hours * HOUR + by);
            runs += 1;
            const notices: string[] = [];
            const uptime = sameRun ? 1_000_000 + hours * HOUR : 5_000;
            const boot = (): Boot => ({ id: sameRun ? "one" : `${runs}`, uptime });
            const data = await openData(directory, {
              boot,
              onNotice: (text) => notices.push(text),
            });
            await data.close();
            return { clock: data.clock, at: data.clock.now(), said: notices.join("; ") };
          };
          const first = await run(0, 0);
          const wrong = await run(1, off);
          const gone = wrong.at - first.at;
          if (sameRun) near(gone, HOUR);
          // Two days are believed, and said; what cannot be is no time at all.
          else near(gone, off === 2 * DAY ? 2 * DAY + HOUR : 0);
          assert.match(wrong.said, /wall clock/);
          const right = await run(2, 0);
          near(right.clock.toWall(first.at), start);
          near(right.at - first.at, 2 * HOUR);
        }),
      );
    }
  }
});

type Run = { readonly clock: Clock; readonly at: number; readonly said: string };

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 5_000, `${actual} ms, not ${expected}`);
}

/** ms */
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

test("J4: a store whose generation is damaged or gone opens, and no number in it is trusted, once", () =>
  inDirectory(async (directory) => {
    for (const damage of [
      "DELETE FROM \"r:data\" WHERE key = 'generation'",
      "UPDATE \"r:data\" SET value = 5 WHERE key = 'generation'",
      "UPDATE \"r:data\" SET value = x'ff' WHERE key = 'generation'",
      "UPDATE \"r:data\" SET value = x'3178' WHERE key = 'generation'",
      "UPDATE \"r:data\" SET value = 7 WHERE key = 'id'",
    ]) {
      const before = await openData(directory);
      await written(before, put(damage), { table: "data", key: "rolledBack", value: undefined });
      await before.close();
      const db = openSqlite(join(directory, "godwit.db"));
      db.exec(damage);
      db.close();
      const data = await openData(directory);
      assert.ok(data.generation > before.generation, damage);
      assert.equal(data.rolledBack, !damage.includes("'id'"), damage);
      assert.ok([...data.store.load("sessions")].some(({ key }) => key === damage));
      await data.close();
    }
  }));
