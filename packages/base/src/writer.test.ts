import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError } from "./faults.ts";
import { toHex } from "./hex.ts";
import { Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

type Width = "u8" | "u16" | "u24" | "u32" | "u48" | "u56";
const WIDTHS: readonly (readonly [Width, number])[] = [
  ["u8", 2 ** 8 - 1],
  ["u16", 2 ** 16 - 1],
  ["u24", 2 ** 24 - 1],
  ["u32", 2 ** 32 - 1],
  ["u48", 2 ** 48 - 1],
  ["u56", 2 ** 53 - 1],
];

for (const [width, most] of WIDTHS) {
  test(`${width} takes 0 to ${most} and gives them back`, () => {
    for (const value of [0, 1, Math.floor(most / 3), most - 1, most]) {
      const written = new Writer()[width](value).bytes();
      equal(written.length, Number(width.slice(1)) / 8);
      equal(new Reader(written)[width](), value);
    }
  });

  test(`${width} refuses what it cannot hold, and writes nothing of it`, () => {
    const w = new Writer().u8(7);
    for (const value of [-1, most + 1, 2 ** 53, 0.5, Number.NaN, Infinity, -Infinity, -0.5]) {
      throws(
        () => w[width](value),
        (fault) =>
          fault instanceof UsageError && fault.message === `${value} does not fit ${width}`,
        String(value),
      );
    }
    deepEqual([...w.bytes()], [7]);
  });
}

test("u64 takes 0 to 2^64 - 1 and refuses the rest", () => {
  const most = 2n ** 64n - 1n;
  for (const value of [0n, 1n, 2n ** 53n + 1n, most])
    equal(new Reader(new Writer().u64(value).bytes()).u64(), value);
  for (const value of [-1n, most + 1n]) throws(() => new Writer().u64(value), UsageError);
});

test("integers are big-endian", () => {
  const w = new Writer(1).u8(1).u16(0x0203).u24(0x040506).u32(0x0708090a).u48(0x0b0c0d0e0f10);
  equal(toHex(w.u56(0x11121314151617).bytes()), "0102030405060708090a0b0c0d0e0f1011121314151617");
});

test("u56 reads no number that would not be exact", () => {
  throws(() => new Reader(Uint8Array.of(0x20, 0, 0, 0, 0, 0, 0)).u56(), FormatError);
});
