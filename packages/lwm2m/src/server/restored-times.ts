// Times of an earlier run, read by a clock that may have been set since. What lies in the future was written while the
// clock was ahead: it counts as written now. What is over by a clock that nobody has confirmed yet gets some grace.

import type { Instant } from "@godwit/base";
import type { Operation } from "./operation.ts";

/** An instant that is no later than now. */
export function notAhead(at: Instant, now: Instant): Instant {
  return Math.min(at, now);
}

/** When a lifetime of `lifetime` s ends that was noted to end at `expiresAt`; undefined: never. */
export function restoredExpiry(
  lifetime: number,
  expiresAt: Instant | undefined,
  now: Instant,
  grace: number,
): Instant | undefined {
  if (expiresAt === undefined) return undefined;
  const left = lifetime * 1_000;
  return Math.min(Math.max(expiresAt, now + Math.min(left, grace)), now + Math.max(left, grace));
}

/** An operation that was accepted while the clock was ahead lasts as long from now on as its user wanted. */
export function restoredOperation(operation: Operation, now: Instant): Operation {
  const ahead = operation.createdAt - now;
  if (ahead <= 0) return operation;
  return { ...operation, createdAt: now, expiresAt: operation.expiresAt - ahead };
}
