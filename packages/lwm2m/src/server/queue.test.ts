import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Queue } from "./queue.ts";

test("a queue lets its items out in the order they came, wherever others left", () => {
  const step = fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 9 }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const queue = new Queue<number>();
      const model: number[] = [];
      for (const [adds, item] of steps) {
        if (adds) {
          queue.add(item);
          if (!model.includes(item)) model.push(item);
        } else {
          queue.delete(item);
          if (model.includes(item)) model.splice(model.indexOf(item), 1);
        }
        assert.deepEqual([queue.first, queue.size], [model[0], model.length]);
      }
    }),
  );
});
