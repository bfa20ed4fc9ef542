import { equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError, UsageError } from "./faults.ts";
import { Reader } from "./reader.ts";
import { ReservedCounter } from "./reserved-counter.ts";
import { SERIALS_PER_SLOT, slotOf } from "./slot.ts";
import { Writer } from "./writer.ts";

const KIND = { kind: "session", stride: 8 };

test("numbers begin at the first serial of the slot and say which slot it is", () => {
  const counter = new ReservedCounter({ ...KIND, slot: 255 });
  const first = counter.next()!; // a fresh counter has numbers
  equal(first, 255 * SERIALS_PER_SLOT + 1);
  equal(slotOf(first), 255);
  equal(slotOf(new ReservedCounter(KIND).next()!), 0);
});

test("a counter that gave nothing out wants nothing written", () => {
  equal(new ReservedCounter(KIND).reservation(), undefined);
});

test("each write carries the bound until one of them is durable, then none until half of the stride is used", () => {
  const counter = new ReservedCounter(KIND);
  counter.next();
  const [one, two] = [counter.reservation(), counter.reservation()];
  equal(new Reader(one!.value!).u56(), 10);
  equal(new Reader(two!.value!).u56(), 10);
  counter.reserved(false);
  counter.reserved(true);
  equal(counter.reservation(), undefined);
  for (let i = 0; i < 5; i++) counter.next();
  equal(new Reader(counter.reservation()!.value!).u56(), 18);
  equal(counter.reservation(), undefined, "one is under way, and nothing is uncovered");
});

test("a bound that is reserved at the start covers what follows", () => {
  const counter = new ReservedCounter(KIND);
  equal(new Reader(counter.reserve().value!).u56(), 9);
  counter.reserved(true);
  for (let i = 0; i < 4; i++) counter.next();
  equal(counter.reservation(), undefined);
  counter.next();
  equal(new Reader(counter.reservation()!.value!).u56(), 17);
});

test("after a crash it goes on at the bound; rows with higher numbers push it further", () => {
  const row = reservedRow(3);
  const counter = new ReservedCounter(KIND);
  counter.restore(row);
  equal(counter.reservation(), undefined, "nothing was given out yet");
  equal(counter.next(), 12);
  counter.passed(40);
  counter.passed(SERIALS_PER_SLOT + 99);
  equal(counter.next(), 41);
  counter.skip(1_000);
  equal(counter.next(), 1_042);
});

test("at the end of the range there are no more numbers, and it stays so over a restart", () => {
  const counter = new ReservedCounter({ ...KIND, first: 5, last: 6 });
  equal(counter.next(), 5);
  equal(counter.next(), 6);
  equal(counter.next(), undefined);
  const row = counter.reservation()!.value!;
  counter.reserved(true);
  equal(counter.reservation(), undefined);
  const again = new ReservedCounter({ ...KIND, first: 5, last: 6 });
  again.restore(row);
  equal(again.next(), undefined);
});

test("a row that is none of this counter is refused", () => {
  const counter = new ReservedCounter({ ...KIND, first: 100, last: 200 });
  const own = new ReservedCounter({ ...KIND, first: 100, last: 200 }).reserve().value!;
  const longer = Uint8Array.of(...own, 0);
  for (const row of [reservedRow(1), new Uint8Array(3), new Uint8Array(8), own.subarray(1), longer])
    throws(() => counter.restore(row), FormatError);
  throws(() => counter.reserved(true), UsageError);
  throws(() => new ReservedCounter({ kind: "x", slot: 256 }), UsageError);
  throws(() => new ReservedCounter({ kind: "x", first: 9, last: 8 }), UsageError);
});

test("wherever a crash strikes and whichever writes fail, no number of a durable row is given out again", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constant("row" as const) },
    { weight: 3, arbitrary: fc.constant("number" as const) },
    { weight: 4, arbitrary: fc.constant("ok" as const) },
    { weight: 1, arbitrary: fc.constant("refused" as const) },
    { weight: 1, arbitrary: fc.constant("crash" as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      let counter = new ReservedCounter(KIND);
      let stored: Uint8Array | undefined;
      const durable = new Set<number>();
      let writes: { id: number; bound: Uint8Array | undefined }[] = [];
      for (const one of steps) {
        if (one === "number") counter.next();
        if (one === "row") {
          const id = counter.next()!; // far from the end
          ok(!durable.has(id), `${id} was given out before`);
          writes.push({ id, bound: counter.reservation()?.value });
        }
        if (one === "ok" || one === "refused") {
          const write = writes.shift();
          if (write === undefined) continue;
          if (one === "ok") {
            durable.add(write.id);
            stored = write.bound ?? stored;
          }
          if (write.bound !== undefined) counter.reserved(one === "ok");
        }
        if (one === "crash") {
          writes = [];
          counter = new ReservedCounter(KIND);
          if (stored !== undefined) counter.restore(stored);
        }
      }
    }),
  );
});

test("the next number is told before it is given out, and rows and skips never go beyond the range", () => {
  const counter = new ReservedCounter({ ...KIND, slot: 2, first: 5, last: 20 });
  const base = 2 * SERIALS_PER_SLOT;
  equal(counter.key, "2/session");
  equal(counter.ahead, base + 5);
  counter.passed(base + 4);
  equal(counter.ahead, base + 5, "below it");
  counter.passed(base + 5);
  equal(counter.ahead, base + 6);
  counter.passed(base + 21);
  equal(counter.ahead, base + 6, "beyond the range");
  counter.passed(base + 20);
  equal(counter.ahead, base + 21);
  equal(counter.next(), undefined);
  const other = new ReservedCounter({ ...KIND, first: 5, last: 20 });
  other.skip(100);
  equal(other.ahead, 21);
  equal(new Reader(other.reserve().value!).u56(), 21, "no bound beyond the end");
});

test("ranges and slots end where they say", () => {
  const widest = new ReservedCounter({ kind: "x", slot: 255, first: SERIALS_PER_SLOT - 1 });
  equal(widest.next(), 256 * SERIALS_PER_SLOT - 1);
  equal(widest.next(), undefined);
  for (const options of [
    { slot: -1 },
    { slot: 256 },
    { slot: 0.5 },
    { first: -1 },
    { last: SERIALS_PER_SLOT },
    { first: 3, last: 2 },
  ])
    throws(() => new ReservedCounter({ kind: "x", ...options }), UsageError);
  equal(new ReservedCounter({ kind: "x", first: 3, last: 3 }).next(), 3);
});

test("a bound is taken from a row where it is within the range, its end included", () => {
  const row = (bound: number): Uint8Array => new Writer(7).u56(bound).bytes();
  for (const [bound, isGood] of [
    [4, false],
    [5, true],
    [21, true],
    [22, false],
  ] as const) {
    const counter = new ReservedCounter({ ...KIND, first: 5, last: 20 });
    if (isGood) counter.restore(row(bound));
    else throws(() => counter.restore(row(bound)), FormatError);
    equal(counter.ahead, isGood ? bound : 5);
  }
});

test("4 096 numbers are reserved at once unless told otherwise, and a refused write covers none", () => {
  const counter = new ReservedCounter({ kind: "x" });
  equal(new Reader(counter.reserve().value!).u56(), 4_097);
  counter.reserved(false);
  counter.next();
  equal(new Reader(counter.reservation()!.value!).u56(), 4_098, "nothing is covered yet");
  counter.reserved(true);
  equal(counter.reservation(), undefined);
});

function reservedRow(numbers: number): Uint8Array {
  const counter = new ReservedCounter(KIND);
  for (let i = 0; i < numbers; i++) counter.next();
  return counter.reservation()!.value!;
}
