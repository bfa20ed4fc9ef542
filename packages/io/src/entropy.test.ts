import assert from "node:assert/strict";
import { test } from "node:test";
import { systemRng } from "./entropy.ts";

test("bytes are fresh, of the length asked, and their owner's alone", () => {
  const rng = systemRng();
  const seen = new Set<string>();
  for (const n of [0, 1, 16, 511, 512, 513, 4_096, 5_000, 100_000]) {
    const bytes = rng.bytes(n);
    assert.equal(bytes.length, n);
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
  }
  for (let i = 0; i < 5_000; i++) {
    const bytes = rng.bytes(16);
    assert.equal(bytes.buffer.byteLength, 16);
    seen.add(Buffer.from(bytes).toString("hex"));
  }
  assert.equal(seen.size, 5_000);
});

test("floats fill [0, 1) evenly", () => {
  const rng = systemRng();
  const tenths = Array<number>(10).fill(0);
  for (let i = 0; i < 20_000; i++) {
    const x = rng.float();
    assert.ok(x >= 0 && x < 1);
    tenths[Math.floor(x * 10)]! += 1; // ten places for [0, 10)
  }
  // 2000 each, standard deviation 42: eight of them are never seen by chance.
  for (const count of tenths) assert.ok(Math.abs(count - 2_000) < 340, tenths.join());
});
