import assert from "node:assert/strict";
import { test } from "node:test";
import { hashBytes, hashText } from "./hash.ts";
import { utf8 } from "./text.ts";

// From the test suite of the hash's authors (draft-eastlake-fnv, Appendix C).
for (const [text, hash] of [
  ["", 0x811c9dc5],
  ["a", 0xe40c292c],
  ["foobar", 0xbf9cf968],
] as const) {
  test(`FNV-1a of "${text}", alone and behind other bytes`, () => {
    assert.equal(hashBytes(utf8(text)) >>> 0, hash);
    assert.equal(hashBytes(utf8(`behind ${text}`), 7) >>> 0, hash);
  });
}

test("texts that differ in a letter, in order or in the seed have other hashes", () => {
  const hashes = [hashText("ab"), hashText("ba"), hashText("ac"), hashText("ab", 1)];
  assert.equal(new Set(hashes).size, 4);
});
