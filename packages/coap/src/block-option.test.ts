import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError, hex, toHex } from "@godwit/base";
import fc from "fast-check";
import {
  MAX_BLOCK_NUM,
  blockOffset,
  blockOption,
  blockSize,
  decodeBlock,
  encodeBlock,
  szxFor,
  type Block,
} from "./block-option.ts";
import { OptionNumber } from "./option-numbers.ts";

test("RFC 7959 2.2: NUM takes 4, 12 or 20 bits, M and SZX the low four", () => {
  const rows: [string, Block][] = [
    ["", { num: 0, more: false, szx: 0 }],
    ["02", { num: 0, more: false, szx: 2 }],
    ["0a", { num: 0, more: true, szx: 2 }],
    ["f6", { num: 15, more: false, szx: 6 }],
    ["0106", { num: 16, more: false, szx: 6 }],
    ["fffe", { num: 4095, more: true, szx: 6 }],
    ["010006", { num: 4096, more: false, szx: 6 }],
    ["fffffe", { num: MAX_BLOCK_NUM, more: true, szx: 6 }],
  ];
  for (const [bytes, block] of rows) {
    assert.deepEqual(decodeBlock(hex(bytes)), block);
    assert.equal(toHex(encodeBlock(block)), bytes);
  }
  assert.deepEqual(decodeBlock(hex("000016")), { num: 1, more: false, szx: 6 }, "leading zeros");
  assert.deepEqual(blockOption(OptionNumber.Block1, rows[1]![1]), { number: 27, value: hex("02") });
});

test("RFC 7959 2.2: size exponent 7 and more than 3 bytes are format errors", () => {
  for (const bytes of ["07", "0f", "ffff", "ffffff", "00000006", "0000000000"])
    assert.throws(() => decodeBlock(hex(bytes)), FormatError, bytes);
});

test("RFC 7959 2.2: a size of 2^(SZX + 4)", () => {
  for (let szx = 0; szx <= 6; szx++) {
    assert.equal(blockSize(szx), 2 ** (szx + 4));
    assert.equal(szxFor(blockSize(szx)), szx);
    assert.equal(szxFor(blockSize(szx) + 1), szx);
    assert.equal(szxFor(2 * blockSize(szx) - 1), szx);
  }
  assert.equal(szxFor(65_536), 6);
  assert.equal(szxFor(Number.POSITIVE_INFINITY), 6);
  assert.equal(blockOffset({ num: MAX_BLOCK_NUM, more: false, szx: 6 }), 1_073_740_800);
});

test("a block out of range is our caller's mistake", () => {
  const rows: Block[] = [
    { num: -1, more: false, szx: 0 },
    { num: MAX_BLOCK_NUM + 1, more: false, szx: 0 },
    { num: 0.5, more: false, szx: 0 },
    { num: 0, more: false, szx: 7 },
    { num: 0, more: false, szx: -1 },
  ];
  for (const block of rows) assert.throws(() => encodeBlock(block), UsageError);
  assert.throws(() => blockSize(7), UsageError);
  assert.throws(() => szxFor(15), UsageError);
  assert.throws(() => szxFor(Number.NaN), UsageError);
});

test("RFC 7959 2.2: writing and reading are inverse", () => {
  const block = fc.record(
    { num: fc.nat(MAX_BLOCK_NUM), more: fc.boolean(), szx: fc.nat(6) },
    { noNullPrototype: true },
  );
  fc.assert(fc.property(block, (b) => assert.deepEqual(decodeBlock(encodeBlock(b)), b)));
});

test("random bytes are a block or a FormatError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5 }), (bytes) => {
      try {
        const block = decodeBlock(bytes);
        assert.deepEqual(decodeBlock(encodeBlock(block)), block);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
        assert.ok(bytes.length > 3 || (bytes.at(-1)! & 7) === 7);
      }
    }),
  );
});
