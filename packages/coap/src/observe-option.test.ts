import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, hex } from "@godwit/base";
import { OptionNumber } from "./option-numbers.ts";
import { findObserve, isNewer, observeOption } from "./observe-option.ts";
import { opaqueOption } from "./options.ts";

test("RFC 7641 3.4: a notification is newer by 24-bit serial arithmetic or after 128 seconds", () => {
  const rows: [number, number, number, number, boolean][] = [
    [1, 0, 2, 0, true],
    [2, 0, 1, 0, false],
    [5, 0, 5, 0, false],
    [0xff_ffff, 0, 0, 0, true],
    [0, 0, 0xff_ffff, 0, false],
    [0, 0, 0x7f_ffff, 0, true],
    [0, 0, 0x80_0000, 0, false],
    [0x80_0000, 0, 0, 0, false],
    [0x80_0001, 0, 0, 0, true],
    [2, 0, 1, 128_000, false],
    [2, 0, 1, 128_001, true],
    [5, 1_000, 5, 129_001, true],
  ];
  for (const [v1, t1, v2, t2, newer] of rows)
    assert.equal(isNewer(v1, t1, v2, t2), newer, `${v1}@${t1} -> ${v2}@${t2}`);
  assert.equal(isNewer(2, 0, 1, 11, 10), true, "with a span of the caller's");
});

test("RFC 7641 2: the value is 24 bits of the sequence number", () => {
  assert.deepEqual(observeOption(0), { number: 6, value: hex("") });
  assert.deepEqual(observeOption(0x1_0000_0001), { number: 6, value: hex("01") });
  assert.equal(findObserve([observeOption(0xab_cdef)]), 0xab_cdef);
  assert.equal(findObserve([observeOption(0)]), 0);
  assert.equal(findObserve([]), undefined);
  assert.equal(findObserve([opaqueOption(OptionNumber.Observe, hex("00000001"))]), undefined);
  for (const value of [-1, 0.5]) assert.throws(() => observeOption(value), UsageError);
});
