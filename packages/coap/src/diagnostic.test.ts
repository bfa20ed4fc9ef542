import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, fromUtf8 } from "@godwit/base";
import fc from "fast-check";
import { DIAGNOSTIC_LIMIT, diagnostic } from "./diagnostic.ts";

test("RFC 7252 5.5.2: a diagnostic payload is UTF-8, cut between characters", () => {
  const rows: [string, number, string][] = [
    ["Uri-Path too long", 64, "Uri-Path too long"],
    ["Uri-Path", 3, "Uri"],
    ["aé", 2, "a"],
    ["aé", 3, "aé"],
    ["€€", 5, "€"],
    ["😀", 3, ""],
    ["x", 0, ""],
  ];
  for (const [text, limit, cut] of rows) assert.equal(fromUtf8(diagnostic(text, limit)), cut);
  assert.equal(diagnostic("x".repeat(1_000)).length, DIAGNOSTIC_LIMIT);
  assert.throws(() => diagnostic("x", -1), UsageError);
});

test("a diagnostic payload never exceeds its limit and is always UTF-8 that begins the text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.nat(20), (text, limit) => {
      const bytes = diagnostic(text, limit);
      assert.ok(bytes.length <= limit);
      assert.ok(text.startsWith(fromUtf8(bytes)));
    }),
  );
});
