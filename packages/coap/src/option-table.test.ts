import assert from "node:assert/strict";
import { test } from "node:test";
import { OptionNumber, isCritical, isNoCacheKey, isUnsafe } from "./option-numbers.ts";
import { OPTION_TABLE, checkOptions, optionName, optionSubset } from "./option-table.ts";
import { opaqueOption, stringOption, uintOption } from "./options.ts";

test("RFC 7252 5.10, table 4: critical, unsafe and no-cache-key follow from the number", () => {
  const flags = (number: number) =>
    (isCritical(number) ? "C" : "") +
    (isUnsafe(number) ? "U" : "") +
    (isNoCacheKey(number) ? "N" : "");
  const rows: [number, string][] = [
    [OptionNumber.IfMatch, "C"],
    [OptionNumber.UriHost, "CU"],
    [OptionNumber.ETag, ""],
    [OptionNumber.Observe, "U"],
    [OptionNumber.UriPath, "CU"],
    [OptionNumber.MaxAge, "U"],
    [OptionNumber.Accept, "C"],
    [OptionNumber.Oscore, "C"],
    [OptionNumber.Block2, "CU"],
    [OptionNumber.Size2, "N"],
    [OptionNumber.Size1, "N"],
    [OptionNumber.Echo, "N"],
    [OptionNumber.NoResponse, "U"],
    [OptionNumber.RequestTag, ""],
    [0x1_1c, "N"],
  ];
  for (const [number, expected] of rows) assert.equal(flags(number), expected, optionName(number));
});

test("the table defines every named option once", () => {
  const numbers = Object.values(OptionNumber);
  assert.deepEqual(
    [...OPTION_TABLE.keys()].toSorted((a, b) => a - b),
    numbers,
  );
  for (const { minLength, maxLength, format } of OPTION_TABLE.values()) {
    assert.ok(minLength <= maxLength);
    if (format === "empty") assert.equal(maxLength, 0);
  }
  assert.equal(optionName(OptionNumber.UriPath), "Uri-Path");
  assert.equal(optionName(9999), "option 9999");
});

const path = (text: string) => stringOption(OptionNumber.UriPath, text);

test("RFC 7252 5.4: acceptable options come through as they are", () => {
  const options = [
    uintOption(OptionNumber.Observe, 0),
    path("a"),
    path("a"),
    uintOption(OptionNumber.Accept, 0),
  ];
  const { accepted, refused } = checkOptions(options, OPTION_TABLE);
  assert.equal(accepted, options);
  assert.equal(refused, undefined);
});

test("RFC 7252 5.4: what is not acceptable is dropped if elective, refused if critical", () => {
  const long = opaqueOption(OptionNumber.ETag, new Uint8Array(9));
  const short = opaqueOption(OptionNumber.UriHost, new Uint8Array(0));
  const accept = uintOption(OptionNumber.Accept, 0);
  const age = uintOption(OptionNumber.MaxAge, 9);
  const rows = [
    ["5.4.1 unknown elective", [path("a"), uintOption(9998, 1)], [0], undefined],
    ["5.4.1 unknown critical", [path("a"), uintOption(9999, 1)], [0], 1],
    ["5.4.3 too long, elective", [long, path("a")], [1], undefined],
    ["5.4.3 too short, critical", [short, path("a")], [1], 0],
    ["5.4.5 repeated, elective", [age, age, age], [0], undefined],
    ["5.4.5 repeated, critical", [accept, accept], [0], 1],
    ["the first of several", [path("a"), uintOption(9997, 1), uintOption(9999, 1)], [0], 1],
  ] as const;
  for (const [name, options, kept, offender] of rows) {
    const { accepted, refused } = checkOptions(options, OPTION_TABLE);
    assert.deepEqual(
      accepted,
      kept.map((i) => options[i]),
      name,
    );
    assert.equal(refused, offender === undefined ? undefined : options[offender], name);
  }
});

test("RFC 7252 5.4.1: an option of the table that this side does not understand is unknown", () => {
  const known = optionSubset([OptionNumber.UriPath]);
  const condition = opaqueOption(OptionNumber.IfNoneMatch, new Uint8Array(0));
  const { accepted, refused } = checkOptions([condition, path("a")], known);
  assert.deepEqual(accepted, [path("a")]);
  assert.equal(refused, condition);
});

test("RFC 7252 3.2: a string that is not UTF-8 is not recognized: refused if critical, dropped if elective", () => {
  const wrong = Uint8Array.of(0xff, 0xfe);
  const bad = opaqueOption(OptionNumber.UriPath, wrong);
  const options = [path("a"), bad, opaqueOption(OptionNumber.LocationQuery, wrong)];
  const { accepted, refused } = checkOptions(options, OPTION_TABLE);
  assert.deepEqual(accepted, [path("a")]);
  assert.equal(refused, bad);
});
