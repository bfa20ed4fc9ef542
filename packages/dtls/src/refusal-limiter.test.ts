import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger } from "@godwit/base";
import { RefusalLimiter } from "./refusal-limiter.ts";
import { DEFAULT_TUNING } from "./tuning.ts";

const TUNING = {
  ...DEFAULT_TUNING,
  maxRefusalSources: 20,
  refusalsPerSource: 3,
  refusalsPerSecond: 10,
};
const at = (host: string) => ({
  local: { host: "192.0.2.1", port: 5_684 },
  remote: { host, port: 1 },
});

test("maxRefusalSources: no more networks and reasons are remembered, and none after their time", () => {
  const limiter = new RefusalLimiter(TUNING, new Ledger());
  for (let n = 0; n < 1_000; n++) limiter.mayAlert(at(`10.0.${n & 255}.1`), n, n);
  assert.equal(limiter.size, 20);
  limiter.forget(1_000 + TUNING.refusalPeriod);
  assert.equal(limiter.size, 0);
});

test("refusalsPerSource: a network is told so often of one alert in a period, and what is kept back is counted", () => {
  const ledger = new Ledger();
  const limiter = new RefusalLimiter(TUNING, ledger);
  const told = (host: string, now: number, alert = 40) => limiter.mayAlert(at(host), alert, now);
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((n) => told(`203.0.113.${n}`, n * 1_000)),
    [true, true, true, false, false],
  );
  assert.equal(told("203.0.113.9", 5_000, 70), true);
  assert.equal(told("203.0.114.1", 5_000), true);
  assert.equal(told("203.0.113.1", 11_000), true);
  assert.equal(ledger.snapshot().drops["alertsKept"], 2);
});

test("refusalsPerSecond: so many in all", () => {
  const limiter = new RefusalLimiter(TUNING, new Ledger());
  const told = (now: number): number =>
    Array.from({ length: 50 }, (_, n) =>
      limiter.mayAlert(at(`10.${now / 1_000}.${n}.1`), 40, now),
    ).filter(Boolean).length;
  assert.equal(told(0), 10);
  assert.equal(told(1_000), 10);
});
