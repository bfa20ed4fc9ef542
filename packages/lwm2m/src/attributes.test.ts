import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError } from "@godwit/base";
import {
  applyAttributes,
  attributeLinks,
  checkConsistent,
  checkLevel,
  effectiveAttributes,
  formatAttributes,
  parseAttributes,
  type Attributes,
} from "./attributes.ts";

test("OMA Core 7.3: attributes are read, written and taken away", () => {
  const change = parseAttributes(["pmin=10", "pmax=300", "gt=-90.5", "st=1e-1", "epmin"], "1.1");
  assert.deepEqual(change, { pmin: 10, pmax: 300, gt: -90.5, st: 0.1, epmin: null });
  assert.deepEqual(formatAttributes(change), [
    "pmin=10",
    "pmax=300",
    "gt=-90.5",
    "st=0.1",
    "epmin",
  ]);
  const attributes = applyAttributes({ epmin: 5, lt: -100 }, change);
  assert.deepEqual(attributes, { lt: -100, pmin: 10, pmax: 300, gt: -90.5, st: 0.1 });
  assert.deepEqual(attributeLinks(attributes), [
    { name: "pmin", value: "10" },
    { name: "pmax", value: "300" },
    { name: "gt", value: "-90.5" },
    { name: "lt", value: "-100" },
    { name: "st", value: "0.1" },
  ]);
});

test("OMA Core 7.3: what is no attribute is refused", () => {
  for (const [query, version] of [
    [["pmin=-1"], "1.0"],
    [["pmin=1.5"], "1.0"],
    [["pmin="], "1.0"],
    [["pmin=4294967296"], "1.0"],
    [["gt=abc"], "1.0"],
    [["st=-1"], "1.0"],
    [["epmin=1"], "1.0"],
    [["edge=1"], "1.1"],
    [["edge=2"], "1.2"],
    [["con=2"], "1.2"],
    [["hqmax=65536"], "1.2"],
    [["colour=1"], "1.2"],
    [["pmin=1", "pmin=2"], "1.2"],
    [["dim=3"], "1.2"],
    [["toString=1"], "1.2"],
    [["__proto__=1"], "1.2"],
  ] as const) {
    assert.throws(() => parseAttributes(query, version), FormatError, query.join("&"));
  }
});

test("OMA Core 7.3: thresholds belong on numbers, edges on Booleans", () => {
  checkLevel({ gt: 1, pmin: 1 }, [3, 0, 9], "integer");
  checkLevel({ edge: 1 }, [3, 0, 9, 0], "boolean");
  checkLevel({ pmin: 1, con: 1 }, [3], undefined);
  for (const [change, path, type] of [
    [{ gt: 1 }, [3, 0], undefined],
    [{ lt: 1 }, [3, 0, 0], "string"],
    [{ st: null }, [3, 0, 0], "boolean"],
    [{ edge: 1 }, [3, 0, 9], "integer"],
  ] as const) {
    assert.throws(() => checkLevel(change, path, type), FormatError);
  }
});

test("OMA Core 7.3: sets that contradict themselves are refused", () => {
  for (const fine of [
    { lt: 1, gt: 2 },
    { lt: 1, gt: 3, st: 0.5 },
    { epmin: 1, epmax: 2 },
    { pmin: 9, pmax: 1 },
    { st: 100 },
  ])
    checkConsistent(fine);
  for (const wrong of [
    { lt: 2, gt: 2 },
    { lt: 3, gt: 2 },
    { lt: 1, gt: 2, st: 0.5 },
    { epmin: 2, epmax: 2 },
  ]) {
    assert.throws(() => checkConsistent(wrong), FormatError);
  }
});

test("OMA Core 7.3.1: the closest level wins, what lies below does not count", () => {
  const attached = new Map<string, Attributes>([
    ["3", { pmin: 1, pmax: 100, con: 1 }],
    ["3/0", { pmin: 2 }],
    ["3/0/9", { pmin: 3, gt: 50 }],
  ]);
  const at = (path: readonly number[]): Attributes | undefined => attached.get(path.join("/"));
  assert.deepEqual(effectiveAttributes([3, 0, 9], at, { pmax: 7, epmax: 9 }), {
    pmin: 3,
    pmax: 100,
    con: 1,
    gt: 50,
    epmax: 9,
  });
  assert.deepEqual(effectiveAttributes([3, 0], at), { pmin: 2, pmax: 100, con: 1 });
  assert.deepEqual(effectiveAttributes([4], at, { pmin: 5 }), { pmin: 5 });
});

test("OMA Core 7.3.1: a pmax of 0 or below pmin is none", () => {
  for (const [defaults, expected] of [
    [{ pmin: 10, pmax: 5 }, { pmin: 10 }],
    [{ pmax: 0 }, {}],
    [
      { pmin: 10, pmax: 10 },
      { pmin: 10, pmax: 10 },
    ],
  ] as const) {
    assert.deepEqual(
      effectiveAttributes([3], () => undefined, defaults),
      expected,
    );
  }
});

test("random queries end in attributes or FormatError, and what was read prints and reads the same", () => {
  const argument = fc.oneof(
    fc
      .tuple(
        fc.constantFrom("pmin", "pmax", "gt", "lt", "st", "edge", "con", "hqmax"),
        fc.oneof(fc.string({ maxLength: 5 }), fc.float().map(String), fc.nat().map(String)),
      )
      .map(([name, value]) => `${name}=${value}`),
    fc.string({ maxLength: 10 }),
  );
  fc.assert(
    fc.property(fc.array(argument, { maxLength: 5 }), (query) => {
      try {
        const change = parseAttributes(query, "1.2");
        assert.deepEqual(parseAttributes(formatAttributes(change), "1.2"), change);
      } catch (error) {
        assert.ok(error instanceof FormatError, String(error));
      }
    }),
  );
});
