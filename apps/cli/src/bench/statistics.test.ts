import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCpu, parseRss } from "./proc.ts";
import { medianInterval, percentiles, spread } from "./statistics.ts";
import { formatTable } from "./table.ts";
import { whole } from "./table.ts";

const spreads: readonly (readonly [readonly number[], number, number, number])[] = [
  [[5], 5, 5, 5],
  [[3, 1, 2], 2, 1, 3],
  [[10, 2, 4, 1], 3, 1, 10],
  [[9, 10, 100], 10, 9, 100],
];
for (const [values, median, min, max] of spreads) {
  test(`the median of ${values.join(", ")} is ${median}`, () => {
    assert.deepEqual(spread(values), { median, min, max });
  });
}

test("no rounds have no median", () => {
  assert.throws(() => spread([]), RangeError);
});

test("percentiles are values that were measured, by nearest rank", () => {
  const values = Float64Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.deepEqual(percentiles(values, [0, 50, 99, 100]), [1, 50, 99, 100]);
  assert.deepEqual(percentiles(Float64Array.of(7), [50, 99]), [7, 7]);
  assert.deepEqual(percentiles(new Float64Array(0), [50]), [0]);
});

test("the processor time of /proc/PID/stat is found behind a name with spaces and brackets", () => {
  const rest = "S 1 2 3 0 -1 4194560 1 0 0 0 123 77 5 6 20 0 11 0 100 1000 200";
  assert.equal(parseCpu(`42 (a) b (c) ${rest}`), 2);
  assert.throws(() => parseCpu("42 (cut) S 1 2"), /not a line/);
});

test("the resident memory of /proc/PID/status comes in bytes", () => {
  assert.equal(parseRss("Name:\tnode\nVmHWM:\t  9 kB\nVmRSS:\t    2048 kB\n"), 2_097_152);
  assert.throws(() => parseRss("Name:\tgone\n"), /VmRSS/);
});

test("a table has its texts to the left and its figures to the right", () => {
  const rows = [
    ["get", "a", "1"],
    ["update", "bc", "10 000"],
  ];
  assert.equal(
    formatTable(["test", "by", "n"], rows),
    ["test    by       n", "get     a        1", "update  bc  10 000"].join("\n"),
  );
});

test("thousands are told apart", () => {
  assert.deepEqual([0, 999, 1_000, 1_234_567.4].map(whole), ["0", "999", "1 000", "1 234 567"]);
});

test("the interval of a median is the narrowest pair of order statistics that covers it with 95 %", () => {
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => n - i);
  for (const [n, low, high] of [
    [5, 1, 5],
    [6, 1, 6],
    [9, 2, 8],
    [11, 2, 10],
    [21, 6, 16],
  ] as const) {
    assert.deepEqual(medianInterval(upTo(n)), [low, high], String(n));
  }
  assert.throws(() => medianInterval([]), RangeError);
});
