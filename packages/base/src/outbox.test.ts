import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "./outbox.ts";

const bursts: readonly (readonly number[])[] = [
  [1, 1],
  [3, 1, 2, 4],
  [64, 64, 65, 65],
  [10_000, 4_096, 1, 9_000, 0, 14_904],
];
for (const burst of bursts) {
  test(`an outbox gives everything back in order: in and out by turns ${burst.join(", ")}`, () => {
    const outbox = new Outbox<number>();
    let pushed = 0;
    let taken = 0;
    for (const [i, count] of burst.entries()) {
      for (let n = 0; n < count; n++) {
        if (i % 2 === 0) outbox.push(pushed++);
        else if (taken < pushed) assert.equal(outbox.take(), taken++);
        else assert.equal(outbox.take(), undefined);
      }
      assert.equal(outbox.size, pushed - taken);
    }
    while (taken < pushed) assert.equal(outbox.take(), taken++);
    assert.equal(outbox.take(), undefined);
    outbox.push(-1);
    assert.equal(outbox.take(), -1);
  });
}
