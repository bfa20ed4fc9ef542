import assert from "node:assert/strict";
import { test } from "node:test";
import { nameAlerts } from "./alert-words.ts";

for (const [why, words] of [
  ["peer's alert 48", "peer's alert 48 (unknown ca)"],
  ["peer's alert 46", "peer's alert 46 (certificate unknown)"],
  ["peer's alert 255", "peer's alert 255"],
  ["no answer", "no answer"],
] as const) {
  test(`RFC 5246 7.2: "${why}" is told as "${words}"`, () => assert.equal(nameAlerts(why), words));
}
