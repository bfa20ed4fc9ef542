import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng, toHex } from "@godwit/base";
import type { Fragment } from "./handshake/header.ts";
import { Reassembly } from "./reassembly.ts";

const TUNING = { maxMessage: 1_000, maxAhead: 3, maxBytes: 2_000, maxPieces: 8 };
const BODY = seededRng(3).bytes(100);

function piece(from: number, to: number, over: Partial<Fragment> = {}): Fragment {
  const body = BODY.subarray(from, to);
  return { type: 11, length: BODY.length, messageSeq: 0, offset: from, body, ...over };
}

test("RFC 6347 4.2.3: fragments in any order, overlapping or repeated, make the message", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const rng = seededRng(seed);
    const parts = new Reassembly(0, { ...TUNING, maxPieces: 100, maxBytes: 100_000 });
    for (let n = 0; n < 3_000 && parts.next === 0; n++) {
      const from = Math.floor(rng.float() * 100);
      const to = Math.min(100, from + 1 + Math.floor(rng.float() * 20));
      assert.equal(parts.add(piece(from, to), 0), "kept");
      const message = parts.take();
      if (message !== undefined) assert.equal(toHex(message.body), toHex(BODY), `seed ${seed}`);
    }
    assert.equal(parts.next, 1, `seed ${seed}`);
    assert.equal(parts.bytes, 0);
  }
});

test("RFC 6347 4.2.3: a message of one-byte fragments in order is put together", () => {
  const parts = new Reassembly(0, TUNING);
  for (let at = 0; at < 100; at++) parts.add(piece(at, at + 1), 0);
  assert.equal(toHex(parts.take()?.body ?? BODY.subarray(1)), toHex(BODY));
});

for (const [what, second, outcome] of [
  ["another length (CVE-2026-33846)", piece(50, 60, { length: 200 }), "contradicts"],
  ["another type (CVE-2026-42009)", piece(50, 60, { type: 12 }), "contradicts"],
  ["other bytes where they overlap", piece(5, 15, { body: new Uint8Array(10) }), "contradicts"],
  ["the same bytes where they overlap", piece(5, 15), "kept"],
  ["a message too far ahead (tinydtls 273)", piece(0, 5, { messageSeq: 4 }), "tooFar"],
  ["the last message kept ahead", piece(0, 5, { messageSeq: 3 }), "kept"],
  [
    "a claim of 16 MB (CVE-2014-3506)",
    piece(0, 5, { messageSeq: 1, length: 2 ** 24 - 1 }),
    "tooLong",
  ],
] as const) {
  test(`a fragment with ${what}: ${outcome}`, () => {
    const parts = new Reassembly(0, TUNING);
    assert.equal(parts.add(piece(0, 10), 0), "kept");
    const before = parts.bytes;
    assert.equal(parts.add(second, 0), outcome);
    if (outcome === "contradicts") assert.equal(parts.bytes, second.body.length, "the newer stays");
    else if (outcome !== "kept") assert.equal(parts.bytes, before);
  });
}

test("a fragment of another epoch does not join (CVE-2021-42141)", () => {
  const parts = new Reassembly(0, TUNING);
  parts.add(piece(0, 50), 0);
  assert.equal(parts.add(piece(50, 100), 1), "contradicts");
  assert.equal(parts.bytes, 50, "what is sealed takes the place of what is not");
  assert.equal(parts.add(piece(0, 50), 0), "contradicts");
  assert.equal(parts.bytes, 50, "and keeps it");
  assert.equal(parts.add(piece(0, 50), 1), "kept");
  assert.equal(parts.take()?.epoch, 1);
});

test("a forged fragment of a message that is to come does not keep the true one out", () => {
  const parts = new Reassembly(0, TUNING);
  parts.add(piece(0, 12, { type: 0, length: 12, messageSeq: 1 }), 0);
  parts.add(piece(0, 100, { messageSeq: 1 }), 0);
  parts.add(piece(0, 100), 0);
  assert.deepEqual([parts.take()?.body.length, parts.take()?.body.length], [100, 100]);
  assert.equal(parts.bytes, 0);
});

test("bytes are held only as they come, and never more than the limit", () => {
  const parts = new Reassembly(0, TUNING);
  parts.add(piece(0, 1, { length: 1_000 }), 0);
  assert.equal(parts.bytes, 1);
  const big = new Uint8Array(900);
  for (let seq = 1; seq <= 2; seq++) {
    const fragment = { type: 11, length: 1_000, messageSeq: seq, offset: 0, body: big };
    assert.equal(parts.add(fragment, 0), "kept");
  }
  const more = { type: 11, length: 1_000, messageSeq: 3, offset: 0, body: big };
  assert.equal(parts.add(more, 0), "full");
  assert.ok(parts.bytes <= TUNING.maxBytes);
});

test("gaps are counted: a message of crumbs is refused, its runs stay", () => {
  const parts = new Reassembly(0, TUNING);
  for (let i = 0; i < 8; i++) assert.equal(parts.add(piece(i * 4, i * 4 + 1), 0), "kept");
  assert.equal(parts.add(piece(60, 61), 0), "full");
  assert.equal(parts.add(piece(0, 100), 0), "kept");
  assert.notEqual(parts.take(), undefined);
});

test("a message taken before is known again", () => {
  const parts = new Reassembly(5, TUNING);
  assert.equal(parts.add(piece(0, 100, { messageSeq: 4 }), 0), "repeated");
  assert.equal(parts.add(piece(0, 100, { messageSeq: 5 }), 0), "kept");
  assert.equal(parts.take()?.messageSeq, 5);
  assert.equal(parts.add(piece(0, 1, { messageSeq: 5 }), 0), "repeated");
});
