import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "@godwit/base";
import { fromLatin1, hashLatin1, isLatin1, latin1 } from "./latin1.ts";

test("bytes and their text are one key: the same hash, and equal to each other only", () => {
  const rng = seededRng(6);
  for (let length = 0; length < 40; length++) {
    const bytes = rng.bytes(length);
    const text = latin1(bytes);
    assert.deepEqual(fromLatin1(text), bytes);
    assert.equal(hashLatin1(text), hashLatin1(bytes));
    assert.ok(isLatin1(text, bytes));
    assert.ok(!isLatin1(`${text}x`, bytes));
    if (length === 0) continue;
    bytes[length - 1]! ^= 1; // the last
    assert.ok(!isLatin1(text, bytes));
    if (length <= 4) assert.notEqual(hashLatin1(text), hashLatin1(bytes));
  }
});

test("up to four bytes, ids of one length never share a hash", () => {
  const hashes = new Set<number>();
  for (let a = 0; a < 256; a++) {
    for (let b = 0; b < 256; b++) hashes.add(hashLatin1(Uint8Array.of(b, 7, 7, a)));
  }
  assert.equal(hashes.size, 65_536);
});
