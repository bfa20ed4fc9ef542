import assert from "node:assert/strict";
import { test } from "node:test";
import type { Operation } from "./operation.ts";
import { notAhead, restoredExpiry, restoredOperation } from "./restored-times.ts";

const NOW = Date.UTC(2026, 10, 30);
const GRACE = 300_000;
const DAY = 86_400_000;

test("F19: a lifetime that was noted by a clock that was off ends within its length from now, and not before the grace", () => {
  const cases: readonly [number, number | undefined, number | undefined][] = [
    [300, NOW + 200_000, NOW + GRACE], // after a restart devices get the grace
    [60, NOW - DAY, NOW + 60_000],
    [86_400, NOW + 2_000_000, NOW + 2_000_000],
    [86_400, NOW - 50 * 365 * DAY, NOW + GRACE],
    [300, NOW + 2 * DAY, NOW + GRACE],
    [86_400, NOW + 50 * 365 * DAY, NOW + DAY],
    [0, undefined, undefined],
  ];
  for (const [lifetime, expiresAt, expected] of cases)
    assert.equal(
      restoredExpiry(lifetime, expiresAt, NOW, GRACE),
      expected,
      `${lifetime} ${expiresAt}`,
    );
  assert.equal(notAhead(NOW + 1, NOW), NOW);
  assert.equal(notAhead(NOW - 1, NOW), NOW - 1);
});

test("F19: an operation that was accepted while the clock was ahead waits as long as its user wanted", () => {
  const operation = (createdAt: number, expiresAt: number): Operation =>
    ({ createdAt, expiresAt }) as Operation;
  const ahead = restoredOperation(operation(NOW + 2 * DAY, NOW + 3 * DAY), NOW);
  assert.deepEqual([ahead.createdAt, ahead.expiresAt], [NOW, NOW + DAY]);
  const past = operation(NOW - 5, NOW + 5);
  assert.equal(restoredOperation(past, NOW), past);
});
