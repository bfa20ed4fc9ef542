import assert from "node:assert/strict";
import { test } from "node:test";
import { Arena } from "./arena.ts";

test("places never overlap, whatever their sizes, and what is too long has an array of its own", () => {
  const arena = new Arena(64);
  const sizes = [1, 0, 16, 16, 16, 16, 17, 64, 200, 3, 15, 16, 16, 16, 1];
  const places = sizes.map((n) => arena.take(n));
  places.forEach((place, i) => place.fill(i));
  places.forEach((place, i) => {
    assert.equal(place.length, sizes[i]);
    assert.ok(place.every((byte) => byte === i));
    assert.ok(place.buffer.byteLength <= Math.max(64, place.length));
  });
});

test("a copy is one", () => {
  const arena = new Arena(64);
  const bytes = Uint8Array.of(1, 2, 3);
  const copy = arena.copy(bytes);
  const part = arena.copy(bytes, 2);
  bytes.fill(9);
  assert.deepEqual([...copy, ...part], [1, 2, 3, 1, 2]);
});
