import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError, UsageError, fromUtf8, utf8 } from "@godwit/base";
import { decodeText, encodeText, formatValue, parseValue, plainDecimal } from "./text.ts";
import { inRange, sameValue, valueOf, type Value, type ValueType } from "./value.ts";

const VALUES: readonly [Value, string][] = [
  [{ type: "string", value: "Übung" }, "Übung"],
  [{ type: "string", value: "" }, ""],
  [{ type: "integer", value: -5 }, "-5"],
  [{ type: "integer", value: -(1n << 63n) }, "-9223372036854775808"],
  [{ type: "unsigned", value: (1n << 64n) - 1n }, "18446744073709551615"],
  [{ type: "time", value: 1_783_612_800 }, "1783612800"],
  [{ type: "float", value: 21.5 }, "21.5"],
  [{ type: "float", value: 1e-7 }, "0.0000001"],
  [{ type: "float", value: -1.25e21 }, "-1250000000000000000000"],
  [{ type: "boolean", value: true }, "1"],
  [{ type: "opaque", value: Uint8Array.of(1, 2, 3, 4) }, "AQIDBA=="],
  [{ type: "objlnk", value: { object: 3303, instance: 1 } }, "3303:1"],
  [{ type: "corelnk", value: "</3/0>" }, "</3/0>"],
];

test("OMA Core appendix C: values have one text each", () => {
  for (const [value, text] of VALUES) {
    assert.equal(fromUtf8(encodeText(value)), text);
    assert.ok(sameValue(decodeText(utf8(text), value.type), value), text);
  }
});

test("OMA Core appendix C: text of another type is refused", () => {
  for (const [type, text] of [
    ["integer", ""],
    ["integer", "1.5"],
    ["integer", "0x10"],
    ["integer", " 1"],
    ["integer", "9223372036854775808"],
    ["integer", "1".repeat(1_000)],
    ["unsigned", "-1"],
    ["unsigned", "18446744073709551616"],
    ["time", "now"],
    ["float", ""],
    ["float", "NaN"],
    ["float", "Infinity"],
    ["float", "1,5"],
    ["float", "1e999"],
    ["float", "."],
    ["float", "0x1"],
    ["boolean", "true"],
    ["boolean", ""],
    ["boolean", "2"],
    ["opaque", "A"],
    ["opaque", "A==="],
    ["opaque", "AQI" + "!"],
    ["opaque", "AB"],
    ["opaque", "AQ="],
    ["objlnk", "3"],
    ["objlnk", "65536:0"],
    ["objlnk", "3:0:1"],
    ["objlnk", "a:b"],
    ["none", ""],
  ] as const satisfies readonly (readonly [ValueType, string])[]) {
    assert.throws(() => parseValue(text, type), FormatError, `${type} "${text}"`);
  }
  assert.throws(() => decodeText(Uint8Array.of(0xff), "string"), FormatError);
});

test("OMA Core 11: the null link is read in both its forms", () => {
  assert.deepEqual(parseValue("FFFF:FFFF", "objlnk"), parseValue("65535:65535", "objlnk"));
});

test("numbers of 64 bits and floats keep every digit through text", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), (n) => {
      const value = valueOf("integer", n);
      assert.ok(sameValue(parseValue(formatValue(value), "integer"), value));
    }),
  );
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (n) => {
      const text = plainDecimal(n);
      assert.doesNotMatch(text, /e/i);
      assert.equal(Number(text) === n || Object.is(Number(text), n), true, text);
    }),
  );
});

test("a value that does not fit its type is our caller's mistake", () => {
  for (const [type, plain] of [
    ["string", 1],
    ["integer", 1.5],
    ["integer", 1n << 63n],
    ["integer", 2 ** 53],
    ["unsigned", -1],
    ["float", NaN],
    ["boolean", 1],
    ["opaque", "AQ=="],
    ["objlnk", { object: 65_536, instance: 0 }],
    ["none", 0],
  ] as const) {
    assert.throws(() => valueOf(type, plain), UsageError, type);
  }
});

test("OMA Core D.1: ranges bound numbers, and octets of strings and opaque values", () => {
  for (const [value, range, fits] of [
    [{ type: "integer", value: 100 }, { from: 0, to: 100 }, true],
    [{ type: "integer", value: 101 }, { from: 0, to: 100 }, false],
    [{ type: "integer", value: -1n }, { from: 0, to: 100 }, false],
    [{ type: "float", value: 0.5 }, { from: 0, to: 1 }, true],
    [{ type: "string", value: "ü" }, { from: 0, to: 1 }, false],
    [{ type: "string", value: "😀" }, { from: 4, to: 4 }, true],
    [{ type: "opaque", value: new Uint8Array(16) }, { oneOf: [16, 32, 48] }, true],
    [{ type: "opaque", value: new Uint8Array(17) }, { oneOf: [16, 32, 48] }, false],
    [{ type: "boolean", value: true }, { from: 5, to: 6 }, true],
  ] as const satisfies readonly (readonly [Value, object, boolean])[]) {
    assert.equal(inRange(value, range), fits);
  }
});
