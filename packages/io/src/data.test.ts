import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { utf8, type StoreChange } from "@godwit/base";
import { openData, type Data } from "./data.ts";

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

test("F23: every way to bring back an old store is noticed, until it has been dealt with", async (t) => {
  const db = (directory: string): string => join(directory, "godwit.db");
  const saved = (directory: string): string => join(directory, "saved.db");
  const ways: [string, (directory: string) => Promise<void>][] = [
    [
      "the file of an earlier run is put back",
      async (directory) => {
        copyFileSync(db(directory), saved(directory));
        await (await openData(directory)).close();
        copyFileSync(saved(directory), db(directory));
      },
    ],
    [
      "a backup made while running is put back, with no start in between",
      async (directory) => {
        const data = await openData(directory);
        data.store.backup(saved(directory));
        await written(data, put("after the backup"));
        await data.close();
        copyFileSync(saved(directory), db(directory));
      },
    ],
    ["the mark is gone", (directory) => Promise.resolve(rmSync(join(directory, "mark.json")))],
    [
      "the mark is damaged",
      (directory) => Promise.resolve(writeFileSync(join(directory, "mark.json"), '{"generation":')),
    ],
    ["the database is gone", (directory) => Promise.resolve(rmSync(db(directory)))],
  ];
  for (const [way, rollBack] of ways) {
    await t.test(way, () =>
      inDirectory(async (directory) => {
        const first = await openData(directory);
        await written(first, put("a"));
        await first.close();
        await rollBack(directory);
        const noticed = await openData(directory);
        assert.ok(noticed.rolledBack);
        assert.ok(noticed.generation > first.generation);
        await noticed.close();
        const still = await openData(directory);
        assert.ok(still.rolledBack, "forgotten before it was dealt with");
        await written(still, still.rollbackSettled, put("fresh start"));
        await still.close();
        const settled = await openData(directory);
        assert.ok(!settled.rolledBack);
        await settled.close();
      }),
    );
  }
});

test("a mark that lags, as after kill -9, is no rollback", () =>
  inDirectory(async (directory) => {
    const mark = join(directory, "mark.json");
    await (await openData(directory)).close();
    const data = await openData(directory);
    copyFileSync(mark, join(directory, "lagging"));
    for (let n = 0; n < 5; n++) await written(data, put(`${n}`));
    await data.close();
    copyFileSync(join(directory, "lagging"), mark);
    const again = await openData(directory);
    assert.ok(!again.rolledBack);
    await again.close();
  }));

test("the mark may be kept elsewhere", () =>
  inDirectory(async (directory) => {
    const markFile = join(directory, "elsewhere.json");
    const inner = join(directory, "data");
    await (await openData(inner, { markFile })).close();
    copyFileSync(join(inner, "godwit.db"), join(directory, "old.db"));
    await (await openData(inner, { markFile })).close();
    rmSync(inner, { recursive: true });
    await (await openData(inner)).close();
    copyFileSync(join(directory, "old.db"), join(inner, "godwit.db"));
    const data = await openData(inner, { markFile });
    assert.ok(data.rolledBack);
    await data.close();
  }));

test("F19: the clock goes on over a restart while the wall clock is set, and never back", (t) =>
  inDirectory(async (directory) => {
    t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 }); // a board that wakes in 1970
    const first = await openData(directory);
    const before = first.clock.now();
    t.mock.timers.setTime(1_700_000_000_000); // NTP
    await first.close();
    t.mock.timers.setTime(1_700_000_060_000); // restarted a minute later
    const second = await openData(directory);
    const gone = second.clock.now() - before;
    assert.ok(gone >= 60_000 && gone < 70_000, `${gone}`);
    assert.ok(Math.abs(second.clock.toWall(second.clock.now()) - 1_700_000_060_000) < 10);
    const last = second.clock.now();
    await second.close();
    t.mock.timers.setTime(2_000_000); // woken without NTP again
    const third = await openData(directory);
    assert.ok(third.clock.now() >= last && third.clock.now() - last < 10_000);
    await third.close();
  }));
