import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Tickets } from "./tickets.ts";

test("what was given comes back once under its number, in whatever order, as from a Map", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9), { maxLength: 1_000 }), (steps) => {
      const tickets = new Tickets<string>();
      const map = new Map<number, string>();
      let given = 0;
      for (const step of steps) {
        if (step < 5) {
          const number = tickets.give(`${++given}`);
          assert.equal(number, given);
          map.set(number, `${given}`);
        } else {
          const number = given - (step - 6);
          assert.equal(tickets.take(number), map.get(number));
          map.delete(number);
        }
        assert.equal(tickets.size, map.size);
      }
    }),
  );
});

test("a million that are answered leave no room taken, and one that waits long loses nothing", () => {
  const tickets = new Tickets<number>();
  const waits = tickets.give(-1);
  for (let n = 0; n < 5_000; n++) assert.equal(tickets.take(tickets.give(n)), n);
  assert.equal(tickets.take(waits), -1);
  for (let n = 0; n < 1_000_000; n++) tickets.take(tickets.give(n));
  assert.equal(tickets.size, 0);
  assert.equal(tickets.take(waits), undefined);
  assert.equal(tickets.take(0), undefined);
});
