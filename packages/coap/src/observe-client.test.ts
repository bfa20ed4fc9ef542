import assert from "node:assert/strict";
import test from "node:test";
import { seededRng } from "@godwit/base";
import { Code } from "./codes.ts";
import { ObservationOrder, registerAgainAt } from "./observe-client.ts";
import { response } from "./options.ts";
import { coapTuning } from "./tuning.ts";

for (const [name, first, second, after, newer] of [
  ["the next value", 1, 2, 0, true],
  ["the same value", 7, 7, 0, false],
  ["an older value", 7, 6, 0, false],
  ["a value just under half the circle ahead", 0, 0x7f_ffff, 0, true],
  ["a value half the circle ahead", 0, 0x80_0000, 0, false],
  ["a value past the wrap", 0xff_ffff, 0, 0, true],
  ["a value from before the wrap", 0, 0xff_ffff, 0, false],
  ["an older value after exactly 128 s", 7, 6, 128_000, false],
  ["an older value after more than 128 s", 7, 6, 128_001, true],
] as const) {
  test(`RFC 7641 3.4: ${name} is ${newer ? "newer" : "not newer"}`, () => {
    const order = new ObservationOrder(coapTuning());
    assert.equal(order.newer(first, 1_000), true);
    assert.equal(order.newer(second, 1_000 + after), newer);
  });
}

test("RFC 7641 3.4: a late notification does not move the order back", () => {
  const order = new ObservationOrder(coapTuning());
  assert.deepEqual(
    [10, 12, 11, 12, 13].map((value, i) => order.newer(value, i)),
    [true, true, false, false, true],
  );
});

for (const [name, maxAge, seconds] of [
  ["without Max-Age", undefined, 60],
  ["with Max-Age 0", 0, 0],
  ["with Max-Age 300", 300, 300],
] as const) {
  test(`RFC 7641 3.3.1: ${name} one registers again 5 to 15 s after ${seconds} s`, () => {
    const rng = seededRng(4);
    const freshest = response(Code.Content, maxAge === undefined ? {} : { maxAge });
    const waits = Array.from({ length: 200 }, () => registerAgainAt(freshest, 500, rng) - 500);
    const [low, high] = [seconds * 1_000 + 5_000, seconds * 1_000 + 15_000];
    assert.ok(waits.every((wait) => wait >= low && wait < high));
    assert.ok(Math.max(...waits) - Math.min(...waits) > 8_000, "spread");
  });
}
