import assert from "node:assert/strict";
import { test } from "node:test";
import { below, seededRng } from "./rng.ts";
import { hashText } from "./hash.ts";
import { SelfKeyed } from "./self-keyed.ts";

type Item = { readonly key: string; readonly n: number };

for (const [name, hash] of [
  ["spread", (key: string) => hashText(key)],
  ["all alike", () => 7],
  ["at the end of the table", () => 0xffff_ffff],
] as const) {
  test(`a table of values with keys of their own does as a Map does, hashes ${name}`, () => {
    const rng = seededRng(11);
    const table = new SelfKeyed<string, Item>({
      keyOf: ({ key }) => key,
      hash,
      same: (a, b) => a === b,
    });
    const map = new Map<string, Item>();
    const made: Item[] = [];
    for (let n = 0; n < 3_000; n++) {
      const key = `k${below(rng, 90)}`;
      if (rng.float() < 0.55) {
        const item = { key, n };
        made.push(item);
        table.set(item);
        map.set(key, item);
      } else {
        // Some were replaced or are gone already: then nothing happens.
        const item = rng.float() < 0.5 ? map.get(key) : made[below(rng, made.length)];
        if (item === undefined) continue;
        table.delete(item);
        if (map.get(item.key) === item) map.delete(item.key);
      }
      assert.equal(table.size, map.size);
      assert.equal(table.get(key), map.get(key));
    }
    for (let n = 0; n < 90; n++) assert.equal(table.get(`k${n}`), map.get(`k${n}`));
    assert.deepEqual(new Set(table.values()), new Set(map.values()));
  });
}
