import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FormatError, UsageError, concat, hex, seededRng, toHex } from "@godwit/base";
import fc from "fast-check";
import {
  decodeOscoreOption,
  decodePiv,
  encodeOscoreOption,
  encodePiv,
  kidAt,
  scanOscoreOption,
} from "./oscore-option.ts";

const { optionExamples: examples } = JSON.parse(
  readFileSync(new URL("../src/vectors/rfc8613.json", import.meta.url), "utf8"),
) as {
  optionExamples: {
    id: string;
    partialIv: string | null;
    kid: string | null;
    kidContext: string | null;
    option: string;
  }[];
};

test("RFC 8613 6.3: the examples, both ways", () => {
  for (const { id, partialIv, kid, kidContext, option } of examples) {
    const fields = {
      piv: partialIv === null ? undefined : hex(partialIv),
      kid: kid === null ? undefined : hex(kid),
      kidContext: kidContext === null ? undefined : hex(kidContext),
    };
    assert.equal(toHex(encodeOscoreOption(fields)), option, id);
    assert.deepEqual(decodeOscoreOption(hex(option)), fields, id);
  }
});

test("RFC 8613 6.1: every legal form survives decoding and encoding, and the other way round", () => {
  const bytes = (maxLength: number) => fc.option(fc.uint8Array({ maxLength }), { nil: undefined });
  const piv = fc.option(fc.integer({ min: 0, max: 2 ** 40 - 1 }).map(encodePiv), {
    nil: undefined,
  });
  fc.assert(
    fc.property(piv, bytes(255), bytes(7), (piv, kidContext, kid) => {
      const option = { piv, kidContext, kid };
      const value = encodeOscoreOption(option);
      assert.deepEqual(decodeOscoreOption(value), option);
      assert.deepEqual(encodeOscoreOption(decodeOscoreOption(value)), value);
    }),
  );
});

test("RFC 8613 6.1: the kid alone is the kid of the whole, for any bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (value) => {
      const option = scanOscoreOption(value);
      if (typeof option === "string") return;
      const at = kidAt(value, 0, value.length);
      const { kid, piv } = option;
      assert.deepEqual(
        at < 0 ? undefined : value.subarray(at),
        piv === undefined ? undefined : kid,
      );
    }),
    { numRuns: 2_000 },
  );
});

test("RFC 8613 6.1: the kid begins behind the Partial IV and the kid context", () => {
  for (const piv of ["", "05", "0102030405"])
    for (const context of ["", "07", "0708090a"])
      for (const kid of ["", "0b", "0c0d0e"]) {
        const option = {
          piv: piv === "" ? undefined : hex(piv),
          kidContext: context === "" ? undefined : hex(context),
          kid: hex(kid),
        };
        const value = encodeOscoreOption(option);
        const around = concat(hex("ffff"), value);
        const wanted = piv === "" ? -1 : around.length - kid.length / 2; // no request goes without
        assert.equal(kidAt(around, 2, value.length), wanted);
      }
});

test("RFC 8613 6.1: what no sender may send is refused", () => {
  const rows: [string, string][] = [
    ["00", "an explicit zero flag byte"],
    ["2001", "reserved bit 5"],
    ["4001", "reserved bit 6"],
    ["8001", "reserved bit 7"],
    ["06010203040506", "Partial IV of 6 bytes"],
    ["0701020304050607", "Partial IV of 7 bytes"],
    ["020014", "Partial IV with a leading zero"],
    ["01", "Partial IV missing"],
    ["0501020304", "Partial IV short"],
    ["10", "kid context length missing"],
    ["1900ff41", "kid context longer than the option"],
    ["1003aabb", "kid context short by one"],
    ["010500", "a byte more without kid"],
    ["1001aabb", "a byte more behind the kid context"],
  ];
  for (const [value, why] of rows)
    assert.throws(() => decodeOscoreOption(hex(value)), FormatError, why);
});

test("RFC 8613 6.1: an empty kid and an empty kid context are fields like others", () => {
  assert.deepEqual(decodeOscoreOption(hex("08")), {
    piv: undefined,
    kidContext: undefined,
    kid: hex(""),
  });
  assert.deepEqual(decodeOscoreOption(hex("1000")), {
    piv: undefined,
    kidContext: hex(""),
    kid: undefined,
  });
});

test("RFC 8613 6.1: a prefix of a value that ends inside a field of fixed length is refused", () => {
  for (const value of ["0501020304 05", "190948 1011121314151617 43", "1105 08 1011121314151617"]) {
    const whole = hex(value);
    const flags = whole[0]!;
    const n = flags & 0x07;
    const fixed = 1 + n + ((flags & 0x10) === 0 ? 0 : 1 + whole[1 + n]!);
    for (let end = 1; end < fixed && end < whole.length; end++)
      assert.throws(
        () => decodeOscoreOption(whole.subarray(0, end)),
        FormatError,
        `${value}/${end}`,
      );
  }
});

test("random bytes are an option or a FormatError", () => {
  const rng = seededRng(8613);
  for (let i = 0; i < 5_000; i++) {
    const value = rng.bytes(Math.floor(rng.float() * 20));
    try {
      assert.deepEqual(encodeOscoreOption(decodeOscoreOption(value)), value);
    } catch (error) {
      assert.ok(error instanceof FormatError, String(error));
    }
  }
});

test("RFC 8613 5: a sequence number has the shortest Partial IV", () => {
  const rows: [number, string][] = [
    [0, "00"],
    [1, "01"],
    [255, "ff"],
    [256, "0100"],
    [65_535, "ffff"],
    [65_536, "010000"],
    [2 ** 24, "01000000"],
    [2 ** 32 - 1, "ffffffff"],
    [2 ** 32, "0100000000"],
    [2 ** 40 - 1, "ffffffffff"],
  ];
  for (const [sequence, piv] of rows) {
    assert.equal(toHex(encodePiv(sequence)), piv);
    assert.equal(decodePiv(hex(piv)), sequence);
  }
});

test("what cannot be said is the caller's fault", () => {
  const base = { piv: undefined, kidContext: undefined, kid: undefined };
  for (const option of [
    { ...base, piv: hex("") },
    { ...base, piv: hex("010203040506") },
    { ...base, piv: hex("0001") },
    { ...base, kidContext: new Uint8Array(256) },
  ])
    assert.throws(() => encodeOscoreOption(option), UsageError);
});
