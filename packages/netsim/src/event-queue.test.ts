import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventQueue, type Timed } from "./event-queue.ts";

test("events leave by time, and in the order they were set where times are equal; moved and stopped ones obey", () => {
  const step = fc.record({
    event: fc.nat(20),
    at: fc.nat(9),
    what: fc.constantFrom("set", "set", "set", "stop", "take"),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new EventQueue();
      const events = Array.from({ length: 21 }, (): Timed => ({
        at: 0,
        order: 0,
        place: -1,
        fire() {},
      }));
      let model: { event: Timed; at: number }[] = [];
      const first = (): Timed | undefined => model.toSorted((a, b) => a.at - b.at)[0]?.event; // a stable sort
      for (const { event: number, at, what } of steps) {
        const event = events[number]!; // 0-20
        if (what === "take") {
          const taken = queue.take(at);
          const expected = model.some((each) => each.at <= at) ? first() : undefined;
          assert.equal(taken, expected);
          model = model.filter((each) => each.event !== taken);
        } else {
          model = model.filter((each) => each.event !== event);
          if (what === "set") model.push({ event, at });
          if (what === "set") queue.set(event, at);
          else queue.stop(event);
        }
        assert.equal(queue.size, model.length);
        assert.equal(queue.next, first());
      }
    }),
  );
});
