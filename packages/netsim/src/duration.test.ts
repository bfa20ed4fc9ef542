import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { milliseconds } from "./duration.ts";

test("durations are ms or words", () => {
  for (const [said, ms] of [
    [1_500, 1_500],
    ["0 ms", 0],
    ["12 s", 12_000],
    ["1 second", 1_000],
    ["31 minutes", 1_860_000],
    ["1.5 h", 5_400_000],
    ["30 days", 2_592_000_000],
    ["2 w", 1_209_600_000],
    ["1 year", 31_536_000_000],
  ] as const)
    assert.equal(milliseconds(said), ms, `${said}`);
});

test("what is no span of time is refused", () => {
  for (const said of ["", "5", "soon", "-1 s", "5 parsecs", -1, Number.NaN])
    assert.throws(() => milliseconds(said), UsageError, `${said}`);
});
