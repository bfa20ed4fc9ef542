import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError, fromUtf8, hex, toHex } from "@godwit/base";
import fc from "fast-check";
import { Code } from "./codes.ts";
import { OptionNumber } from "./option-numbers.ts";
import {
  findOption,
  findString,
  findUint,
  formatPath,
  locationPath,
  opaqueOption,
  parsePath,
  readUint,
  request,
  response,
  sortOptions,
  stringOption,
  uintBytes,
  uintOption,
  uriPath,
  uriQuery,
  withOption,
  withoutOption,
} from "./options.ts";

test("RFC 7252 3.2: a uint is written without leading zeros and read with them", () => {
  const rows: [number, string][] = [
    [0, ""],
    [1, "01"],
    [255, "ff"],
    [256, "0100"],
    [0xffff, "ffff"],
    [0x1_0000, "010000"],
    [0xff_ffff, "ffffff"],
    [0x100_0000, "01000000"],
    [0xffff_ffff, "ffffffff"],
  ];
  for (const [value, bytes] of rows) {
    assert.equal(toHex(uintBytes(value)), bytes);
    assert.equal(readUint(hex(bytes)), value);
    assert.equal(readUint(hex(`0000${bytes}`)), value);
  }
  assert.throws(() => readUint(hex("0100000000")), FormatError);
  for (const value of [-1, 1.5, 2 ** 32, Number.NaN])
    assert.throws(() => uintBytes(value), UsageError);
});

test("a request is built sorted, and reads back what was put in", () => {
  const built = request(Code.POST, {
    path: "/rd/ab",
    query: ["ep=a", "lt=60"],
    contentFormat: 40,
    accept: 0,
    observe: 0,
    options: [uintOption(OptionNumber.Size1, 7), stringOption(OptionNumber.UriHost, "h")],
    payload: "</1/0>",
  });
  assert.deepEqual(
    built.options.map((option) => option.number),
    [3, 6, 11, 11, 12, 15, 15, 17, 60],
  );
  assert.deepEqual(uriPath(built.options), ["rd", "ab"]);
  assert.deepEqual(uriQuery(built.options), ["ep=a", "lt=60"]);
  assert.equal(findUint(built.options, OptionNumber.ContentFormat), 40);
  assert.equal(findUint(built.options, OptionNumber.Accept), 0);
  assert.equal(findString(built.options, OptionNumber.UriHost), "h");
  assert.equal(findUint(built.options, OptionNumber.Block1), undefined);
  assert.equal(fromUtf8(built.payload), "</1/0>");
});

test("a response is built sorted, and reads back what was put in", () => {
  const built = response(Code.Created, {
    locationPath: ["rd", "a b"],
    maxAge: 90,
    contentFormat: 0,
    payload: hex("01"),
  });
  assert.deepEqual(locationPath(built.options), ["rd", "a b"]);
  assert.equal(findUint(built.options, OptionNumber.MaxAge), 90);
  assert.deepEqual(
    built.options.map((option) => option.number),
    [8, 8, 12, 14],
  );
  assert.deepEqual(built.payload, hex("01"));
  assert.deepEqual(response(Code.Changed), { code: 0x44, options: [], payload: hex("") });
});

test("RFC 7252 5.10: a builder refuses what the option cannot hold", () => {
  assert.throws(() => request(Code.GET, { path: `/${"x".repeat(256)}` }), UsageError);
  assert.throws(() => request(Code.GET, { query: ["é".repeat(128)] }), UsageError);
  assert.throws(() => request(Code.GET, { accept: 0x1_0000 }), UsageError);
  assert.throws(() => request(Code.GET, { observe: 0x100_0000 }), UsageError);
  assert.throws(() => response(Code.Content, { contentFormat: -1 }), UsageError);
  assert.equal(uriPath(request(Code.GET, { path: `/${"x".repeat(255)}` }).options)[0]?.length, 255);
});

test("RFC 7252 6.4: a path is its segments, an empty last one included", () => {
  const rows: [string, string[]][] = [
    ["/", []],
    ["", []],
    ["/rd", ["rd"]],
    ["rd/ab", ["rd", "ab"]],
    ["/rd/", ["rd", ""]],
    ["/a%2Fb?c", ["a%2Fb?c"]],
  ];
  for (const [path, segments] of rows) assert.deepEqual(parsePath(path), segments, path);
  assert.equal(formatPath([]), "/");
  assert.equal(formatPath(["rd", "ab"]), "/rd/ab");
});

test("RFC 3629: text that is not UTF-8 is a format error", () => {
  assert.throws(() => uriPath([opaqueOption(OptionNumber.UriPath, hex("ff"))]), FormatError);
});

test("RFC 7252 3.1: adding an option keeps the order of numbers and of equals", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), fc.nat(20), (numbers, added) => {
      const options = sortOptions(numbers.map((number, i) => uintOption(number, i)));
      const before = [...options];
      const more = withOption(options, uintOption(added, 999));
      assert.deepEqual(options, before);
      assert.deepEqual(more, sortOptions([...options, uintOption(added, 999)]));
      assert.equal(findOption(withoutOption(more, added), added), undefined);
      assert.equal(withoutOption(more, added).length, numbers.filter((n) => n !== added).length);
    }),
  );
});
