import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError } from "@godwit/base";
import {
  comparePaths,
  formatNodePath,
  isWithin,
  nodePath,
  parseNodePath,
  parseRoot,
  segmentsOfPath,
  withoutRoot,
} from "./node-path.ts";

test("OMA Core 7.2: paths of one to four ids are read and printed", () => {
  for (const [text, path] of [
    ["/", []],
    ["/3", [3]],
    ["/3303/0", [3303, 0]],
    ["/3303/0/5700", [3303, 0, 5700]],
    ["/65534/65534/65534/65534", [65_534, 65_534, 65_534, 65_534]],
  ] as const) {
    assert.deepEqual(parseNodePath(text), path);
    assert.equal(formatNodePath(path), text);
  }
});

test("OMA Core 7.2: what is no path is refused", () => {
  for (const text of [
    "",
    "3",
    "3/0",
    "/3/",
    "//3",
    "/65535",
    "/03",
    "/-1",
    "/+1",
    "/1e3",
    "/3/0/0/0/0",
    "/a",
    "/3/0 ",
    "/ 3",
    "/٣",
    "/99999",
    "/100000",
    `/${"1".repeat(5_000)}`,
  ]) {
    assert.throws(() => parseNodePath(text), FormatError, text);
  }
  assert.throws(() => nodePath(65_535), UsageError);
  assert.throws(() => nodePath(1, 2, 3, 4, 5), UsageError);
  assert.throws(() => nodePath(1.5), UsageError);
});

test("OMA Core 6.2.1: an alternate path has no numeric segment", () => {
  assert.deepEqual(parseRoot("/lwm2m"), ["lwm2m"]);
  assert.deepEqual(parseRoot("/a/b"), ["a", "b"]);
  assert.deepEqual(parseRoot("/"), []);
  for (const text of ["/3", "/lwm2m/3", "lwm2m", "/a//b", "/a/", "/..", `/${"a".repeat(64)}`]) {
    assert.throws(() => parseRoot(text), FormatError, text);
  }
  assert.deepEqual(segmentsOfPath([3, 0], ["lwm2m"]), ["lwm2m", "3", "0"]);
  assert.deepEqual(withoutRoot(["lwm2m", "3"], ["lwm2m"]), ["3"]);
  assert.deepEqual(withoutRoot(["3"], []), ["3"]);
  assert.equal(withoutRoot(["3"], ["lwm2m"]), undefined);
});

test("paths order by ids with parents first, and know their ancestors", () => {
  const sorted = [[3, 0, 10], [3], [3, 0, 9, 1], [3, 0], [3, 0, 9], [1]].toSorted(comparePaths);
  assert.deepEqual(sorted, [[1], [3], [3, 0], [3, 0, 9], [3, 0, 9, 1], [3, 0, 10]]);
  assert.ok(isWithin([3, 0, 9], [3, 0]));
  assert.ok(isWithin([3, 0], []));
  assert.ok(!isWithin([3], [3, 0]));
  assert.ok(!isWithin([31, 0], [3]));
});
