import assert from "node:assert/strict";
import { isUtf8 as nodeIsUtf8 } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError, UsageError } from "./faults.ts";
import { fromUtf8, isUtf8, utf8 } from "./text.ts";

test("RFC 3629 4: what is UTF-8 is told as Node tells it, for any bytes and for bent text", () => {
  const text = fc.string({ unit: "binary" }).map(utf8);
  const bent = fc.tuple(text, fc.nat(), fc.nat(255)).map(([bytes, at, value]) => {
    const copy = Uint8Array.from(bytes);
    if (copy.length > 0) copy[at % copy.length] = value;
    return copy;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 24 }), text, bent), (bytes) => {
      assert.equal(isUtf8(bytes), nodeIsUtf8(bytes));
    }),
    { numRuns: 3_000 },
  );
});

test("every sequence of two bytes, and every edge of three and four, is judged alike", () => {
  for (let a = 0; a < 256; a++)
    for (let b = 0; b < 256; b++) {
      for (const tail of [[], [0x7f], [0x80], [0xbf], [0xc0], [0x80, 0x80], [0xbf, 0xbf]]) {
        const bytes = Uint8Array.of(a, b, ...tail);
        assert.equal(isUtf8(bytes), nodeIsUtf8(bytes), `${a} ${b} ${tail.join(" ")}`);
      }
    }
});

test("text comes back as it was, with U+FFFD and a byte order mark in it; anything else is a FormatError", () => {
  for (const text of [
    "",
    "rd",
    "\ufeff\ufffd",
    "Ä".repeat(40),
    "€ and 😀, for longer than a name",
  ]) {
    assert.equal(fromUtf8(utf8(text)), text);
    const cut = utf8(`${text}😀`).subarray(0, -1);
    assert.throws(() => fromUtf8(cut), FormatError);
  }
});

test("half a surrogate pair is refused: in UTF-8 two such texts would be one", () => {
  for (const text of ["\ud800", "a\udfffb", "\udc00\ud800", "é\ud83d"])
    assert.throws(() => utf8(text), UsageError, JSON.stringify(text));
  for (const text of ["", "abc", "é", "😀", "\ud83d\ude00"])
    assert.equal(fromUtf8(utf8(text)), text);
});
