import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ReplayWindow } from "./replay-window.ts";

test("the window agrees with a set of numbers, for every size, gap and order", () => {
  const gap = fc.constantFrom(1, 1, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 2 ** 32, 2 ** 40);
  const step = fc.record({ gap, back: fc.integer({ min: 0, max: 140 }), forward: fc.boolean() });
  const size = fc.constantFrom(32, 64, 96, 128);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), size, (steps, size) => {
      const window = new ReplayWindow(size);
      const seen = new Set<number>();
      let top = -1;
      for (const { gap, back, forward } of steps) {
        const n = forward ? Math.max(top, 0) + gap : Math.max(0, top - back);
        const expected = n > top || (n > top - size && !seen.has(n));
        assert.equal(window.fresh(n), expected, `${n} after ${top}`);
        if (!expected) continue;
        assert.equal(window.accept(n), n > top);
        seen.add(n);
        top = Math.max(top, n);
        assert.equal(window.top, top);
        assert.ok(!window.fresh(n));
      }
    }),
  );
});

test("a jump of 2^32 or more forgets all below it", () => {
  for (const jump of [2 ** 32, 2 ** 32 + 1, 2 ** 37, 2 ** 47]) {
    const window = new ReplayWindow(64);
    for (let n = 0; n < 64; n++) assert.ok(window.accept(n));
    assert.ok(window.accept(63 + jump));
    for (let back = 1; back < 64; back++) assert.ok(window.fresh(63 + jump - back), `${back}`);
  }
});

test("a raised window knows nothing at or below its edge", () => {
  for (const size of [32, 64]) {
    const window = new ReplayWindow(size);
    window.raise(100);
    for (const n of [0, 100 - size, 100 - size + 1, 99, 100]) assert.ok(!window.fresh(n), `${n}`);
    assert.ok(window.accept(101));
    assert.ok(!window.fresh(100));
  }
});

test("a shift by exactly 32, 64 or 96 moves whole words and nothing else", () => {
  for (const by of [32, 64, 96]) {
    for (const size of [64, 96, 128]) {
      const window = new ReplayWindow(size);
      const seen = new Set<number>();
      for (let n = 0; n < size; n += 1 + (n % 3)) seen.add(n).add(size - 1); // gaps of one and two, and the top
      for (const n of seen) window.accept(n);
      const top = size - 1 + by;
      window.accept(top);
      for (let n = top - size + 1; n < top; n++) {
        assert.equal(window.fresh(n), !seen.has(n), `${n}, size ${size}, by ${by}`);
      }
    }
  }
});

test("RFC 6347 4.1.2.6: a number as far back as the window is long is too old, and marking it changes nothing", () => {
  for (const size of [32, 64, 96]) {
    const window = new ReplayWindow(size);
    window.accept(500);
    assert.equal(window.fresh(500 - size + 1), true);
    assert.equal(window.fresh(500 - size), false);
    assert.equal(window.accept(500 - size), false);
    for (let n = 500 - size + 1; n < 500; n++) assert.ok(window.fresh(n), `${n}, size ${size}`);
  }
});

test("a new window has accepted nothing, 0 included, and is 64 numbers long", () => {
  const window = new ReplayWindow();
  assert.equal(window.top, -1);
  assert.ok(window.fresh(0));
  assert.equal(window.accept(0), true);
  assert.equal(window.top, 0);
  assert.equal(window.fresh(0), false);
  window.accept(64);
  assert.equal(window.fresh(1), true);
  assert.equal(window.fresh(0), false);
  window.accept(65);
  assert.equal(window.fresh(1), false);
});

test("a window raised to a number below its top keeps the top and forgets all below", () => {
  const window = new ReplayWindow(96);
  window.accept(200);
  window.raise(150);
  assert.equal(window.top, 200);
  for (let n = 105; n <= 200; n++) assert.equal(window.fresh(n), false, `${n}`);
});

test("RFC 6347 4.1.2.6: nothing is forgotten within the window, whatever it moves by", () => {
  for (const size of [32, 64, 96, 128]) {
    for (let by = 1; by <= size; by++) {
      const window = new ReplayWindow(size);
      for (let top = 0; top <= 4 * size; top += by) {
        window.accept(top);
        for (let n = Math.max(0, top - size + 1); n <= top; n++)
          assert.equal(window.fresh(n), n % by !== 0, `${n}, top ${top}, size ${size}, by ${by}`);
      }
    }
  }
});
