import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { checkedRow, isChecked, openRow } from "./checked-row.ts";
import { FormatError } from "./faults.ts";
import { toHex } from "./hex.ts";
import { utf8 } from "./text.ts";

test("CRC-32 as in ISO 3309: the check value of 123456789", () => {
  equal(toHex(checkedRow("", utf8("123456789")).subarray(1, 5)), "cbf43926");
});

test("a row is read back under its key", () => {
  fc.assert(
    fc.property(fc.string(), fc.uint8Array(), (key, body) => {
      const row = checkedRow(key, body);
      ok(isChecked(row));
      deepEqual(openRow(key, row), body);
    }),
  );
});

test("every flipped bit, every prefix and every other key is noticed", () => {
  const row = checkedRow("key", utf8("a body of some bytes"));
  for (let bit = 0; bit < row.length * 8; bit++) {
    const bent = row.slice();
    bent[bit >> 3]! ^= 1 << (bit & 7);
    throws(() => openRow("key", bent), FormatError, `bit ${bit}`);
  }
  for (let n = 0; n < row.length; n++)
    throws(() => openRow("key", row.subarray(0, n)), FormatError);
  for (const key of ["", "kez", "key ", "KEY"]) throws(() => openRow(key, row), FormatError);
});
