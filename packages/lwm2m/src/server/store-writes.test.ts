import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng, type StoreChange, type StoreOutput } from "@godwit/base";
import { TABLES } from "@godwit/dtls";
import { Numbers } from "./numbers.ts";
import { SESSION_TABLE } from "./path-records.ts";
import { StoreWrites } from "./store-writes.ts";

/** Writes to a store that refuses while it is told to. */
class Bench {
  readonly writes: StoreWrites;
  readonly rows = new Map<string, boolean>();
  refuses = false;
  now = Date.UTC(2026, 10, 30);
  readonly #asked: StoreOutput[] = [];

  constructor() {
    this.writes = new StoreWrites(new Numbers(seededRng(7)), (output) => this.#asked.push(output));
  }

  /** `takes`: which of the writes that wait, in their order. */
  answer(takes: (n: number) => boolean = () => !this.refuses): void {
    for (const [n, { ticket, changes }] of this.#asked.splice(0).entries()) {
      const ok = takes(n);
      if (ok)
        for (const { table, key, value } of changes)
          if (value === undefined) this.rows.delete(`${table} ${key}`);
          else this.rows.set(`${table} ${key}`, true);
      this.writes.stored({ type: "stored", ticket, ok }, this.now);
    }
  }

  later(): void {
    this.now += 10_000;
    this.writes.wake(this.now);
    this.answer();
  }
}

const put = (table: string, key: string): StoreChange => ({ table, key, value: hex("01") });
const gone = (table: string, key: string): StoreChange => ({ table, key, value: undefined });

test("what a full disk refused of sessions that ended, or are elsewhere, is written once it has room", () => {
  const bench = new Bench();
  bench.writes.write([put(TABLES.association, "1"), put(SESSION_TABLE, "2")]);
  bench.answer();
  bench.refuses = true;
  bench.writes.write([gone(TABLES.association, "1")]);
  bench.writes.writeAs(1, [gone(SESSION_TABLE, "2"), put(SESSION_TABLE, "3"), put("touch", "a")]);
  bench.answer();
  assert.notEqual(bench.writes.wakeAt, undefined);
  bench.later();
  assert.equal(bench.rows.size, 2, "it is full still");
  bench.refuses = false;
  bench.later();
  assert.deepEqual(
    [...bench.rows.keys()],
    [`${SESSION_TABLE} 3`],
    "the server's own row is its own care",
  );
  assert.equal(bench.writes.wakeAt, undefined);
});

test("what is written of a row meanwhile counts, not what was refused before", () => {
  const bench = new Bench();
  bench.refuses = true;
  bench.writes.write([gone(SESSION_TABLE, "1")]);
  bench.writes.insist([gone("oscore", "2"), gone("data", "rolledBack")]);
  bench.answer();
  bench.refuses = false;
  bench.writes.write([put(SESSION_TABLE, "1"), put("oscore", "2"), put("data", "rolledBack")]);
  bench.answer();
  bench.later();
  assert.equal(bench.rows.size, 3);
});

test("what the store refused as well does not count instead: what it was to replace is still written", () => {
  const bench = new Bench();
  bench.writes.write([put("oscore", "2"), put("data", "rolledBack")]);
  bench.answer();
  bench.refuses = true;
  bench.writes.insist([gone("oscore", "2"), gone("data", "rolledBack")]);
  bench.answer();
  bench.writes.write([put("oscore", "2")]); // new keys, which are not taken
  bench.answer();
  bench.later();
  bench.refuses = false;
  bench.later();
  assert.equal(bench.rows.size, 0, "the old record is not believed");
  assert.equal(bench.writes.wakeAt, undefined);
});

test("of two newer changes of a row one that is taken is enough", () => {
  for (const taken of [0, 1]) {
    const bench = new Bench();
    bench.refuses = true;
    bench.writes.insist([gone("oscore", "2")]);
    bench.answer();
    for (let n = 0; n < 2; n++) bench.writes.write([put("oscore", "2")]);
    bench.answer((n) => n === taken);
    bench.refuses = false;
    bench.later();
    assert.deepEqual([...bench.rows.keys()], ["oscore 2"]);
  }
});

test("what is insisted on is written as a whole, however often it was refused", () => {
  const bench = new Bench();
  bench.refuses = true;
  bench.writes.insist([put("oscore", "2"), put("data", "x")]);
  bench.answer();
  bench.later();
  bench.later();
  assert.equal(bench.rows.size, 0);
  bench.refuses = false;
  bench.later();
  assert.equal(bench.rows.size, 2);
});
