import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { base64, fromBase64, toBase64 } from "./base64.ts";
import { FormatError } from "./faults.ts";
import { utf8 } from "./text.ts";

for (const [plain, encoded] of [
  ["", ""],
  ["f", "Zg=="],
  ["fo", "Zm8="],
  ["foo", "Zm9v"],
  ["foob", "Zm9vYg=="],
  ["fooba", "Zm9vYmE="],
  ["foobar", "Zm9vYmFy"],
] as const) {
  test(`RFC 4648 10: "${plain}" is "${encoded}"`, () => {
    assert.equal(toBase64(utf8(plain)), encoded);
    assert.deepEqual(base64(encoded), utf8(plain));
  });
}

for (const text of ["Zg", "Zg=", "Zg===", "Z===", "Zm9v!", "Zh==", "Zm9=", "====", "Zg==Zg=="]) {
  test(`"${text}" is no base64`, () => {
    assert.throws(() => base64(text), FormatError);
  });
}

test("any bytes come back from their base64, lines and spaces or not", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString("base64"));
      assert.deepEqual(base64(text.replace(/(.{64})/g, "$1\r\n ")), bytes);
    }),
  );
});

test("RFC 4648 4-5: Base64 is the inverse of itself, in either alphabet, padded or not", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const text = toBase64(bytes);
      assert.equal(text, Buffer.from(bytes).toString("base64"));
      assert.deepEqual([...fromBase64(text)], [...bytes]);
      const url = text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
      assert.deepEqual([...fromBase64(url)], [...bytes]);
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 30 }), (text) => {
      try {
        fromBase64(text);
      } catch (error) {
        assert.ok(error instanceof FormatError);
      }
    }),
  );
});
