import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError } from "./faults.ts";

test("a FormatError is an Error with a name and a message, and without a stack", () => {
  class Refusal extends FormatError {
    readonly alert: number = 40;
  }
  for (const error of [new FormatError("ends early"), new Refusal("ends early")]) {
    assert.ok(error instanceof FormatError && error instanceof Error);
    assert.equal(error.stack, undefined);
    assert.equal(error.message, "ends early");
    assert.equal(String(error), "FormatError: ends early");
  }
  assert.equal(new Refusal("").alert, 40);
});

test("a UsageError says where our caller was wrong", () => {
  assert.match(new UsageError("no port").stack ?? "", /faults\.test/);
});
