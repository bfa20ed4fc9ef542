import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError, UsageError, Writer, concat, hex, toHex, utf8 } from "@godwit/base";
import { ContentFormat } from "@godwit/coap";
import { decodeNodes, encodeNodes, valueFormat } from "./value-format.ts";
import { builtInRegistry } from "./definitions/index.ts";
import type { NodePath } from "./node-path.ts";
import { MAX_NODES, decodeTlv, decodeValue, encodeTlv, encodeValue } from "./tlv.ts";
import { valueOf, type ValueNode, type ValueType } from "./value.ts";

const definitions = builtInRegistry().of(new Map());
const string = (path: NodePath, value: string): ValueNode => ({
  path,
  value: { type: "string", value },
});
const integer = (path: NodePath, value: number): ValueNode => ({
  path,
  value: { type: "integer", value },
});

/** The Device example of OMA TS Core 7.4.3, its lengths put right, and the shapes around it. */
const VECTORS: readonly { path: NodePath; bytes: string; nodes: readonly ValueNode[] }[] = [
  {
    path: [3, 0],
    bytes: `c8 00 14 ${toHex(utf8("Open Mobile Alliance"))} 86 06 41 00 01 41 01 05 88 07 08 42 00 0ed8 42 01 1388 c1 09 64`,
    nodes: [
      string([3, 0, 0], "Open Mobile Alliance"),
      integer([3, 0, 6, 0], 1),
      integer([3, 0, 6, 1], 5),
      integer([3, 0, 7, 0], 3_800),
      integer([3, 0, 7, 1], 5_000),
      integer([3, 0, 9], 100),
    ],
  },
  { path: [3, 0, 9], bytes: "c1 09 64", nodes: [integer([3, 0, 9], 100)] },
  { path: [3, 0, 11], bytes: "83 0b 41 00 00", nodes: [integer([3, 0, 11, 0], 0)] },
  { path: [3, 0, 11, 0], bytes: "41 00 00", nodes: [integer([3, 0, 11, 0], 0)] },
  { path: [3, 0, 11], bytes: "80 0b", nodes: [{ path: [3, 0, 11], value: undefined }] },
  {
    path: [3303],
    bytes: "08 00 0d e4 1644 41ac0000 e3 1645 43656c 00 01",
    nodes: [
      { path: [3303, 0, 5700], value: { type: "float", value: 21.5 } },
      string([3303, 0, 5701], "Cel"),
      { path: [3303, 1], value: undefined },
    ],
  },
];

test("OMA Core 7.4.3: vectors read and write", () => {
  for (const { path, bytes, nodes } of VECTORS) {
    assert.deepEqual(decodeTlv(path, hex(bytes), definitions), nodes);
    assert.equal(toHex(encodeTlv(path, nodes)), bytes.replaceAll(" ", ""));
  }
});

test("OMA Core 7.4.3: every prefix of a vector and every vector with a byte more is refused", () => {
  for (const { path, bytes, nodes } of VECTORS) {
    const whole = hex(bytes);
    for (let n = 1; n < whole.length; n++) {
      let read: readonly ValueNode[] | undefined;
      try {
        read = decodeTlv(path, whole.subarray(0, n), definitions);
      } catch (error) {
        assert.ok(error instanceof FormatError);
      }
      // A sequence may end after any of its entries: then it is shorter, never wrong.
      if (read !== undefined) assert.deepEqual(read, nodes.slice(0, read.length));
    }
    assert.throws(
      () => decodeTlv(path, concat(whole, Uint8Array.of(0xc1)), definitions),
      FormatError,
    );
  }
});

test("OMA Core 7.4.3: length fields of 0, 8, 16 and 24 bits, ids of 8 and 16", () => {
  for (const [size, header] of [
    [7, "e7 abcd"],
    [8, "e8 abcd 08"],
    [255, "e8 abcd ff"],
    [256, "f0 abcd 0100"],
    [65_535, "f0 abcd ffff"],
    [65_536, "f8 abcd 010000"],
  ] as const) {
    const path = [3303, 0, 0xabcd];
    const nodes: ValueNode[] = [{ path, value: { type: "opaque", value: new Uint8Array(size) } }];
    const bytes = encodeTlv(path, nodes);
    assert.equal(toHex(bytes.subarray(0, bytes.length - size)), header.replaceAll(" ", ""));
    assert.deepEqual(decodeTlv(path, bytes, definitions), nodes);
  }
  // Bits 2-0 mean nothing next to a length field.
  assert.deepEqual(decodeTlv([3, 0, 9], hex("cf 09 01 64"), definitions), [
    integer([3, 0, 9], 100),
  ]);
});

test("OMA Core 7.4.3: instances without a wrapper get id 0 where there is one, else none yet", () => {
  assert.deepEqual(decodeTlv([3], hex("c1 09 64"), definitions), [integer([3, 0, 9], 100)]);
  const create = hex("e1 1645 43");
  const nodes = decodeTlv([3303], create, definitions);
  assert.deepEqual(nodes, [string([3303, 65_535, 5701], "C")]);
  assert.deepEqual(encodeTlv([3303], nodes), create);
});

test("OMA Core 7.4.3: an instance wrapped for its own path is read", () => {
  assert.deepEqual(decodeTlv([3, 0], hex("03 00 c1 09 64"), definitions), [
    integer([3, 0, 9], 100),
  ]);
});

test("OMA Core 7.4.3: what does not belong is refused", () => {
  for (const [why, path, bytes] of [
    ["another resource", [3, 0, 9], "c1 0a 64"],
    ["another instance", [3, 0], "03 01 c1 09 64"],
    ["another resource instance", [3, 0, 11, 0], "41 01 00"],
    ["a resource twice", [3, 0], "c1 09 64 c1 09 64"],
    ["a resource instance twice", [3, 0, 11], "86 0b 41 00 00 41 00 00"],
    ["an instance twice", [3303], "00 01 00 01"],
    ["instance in instance", [3303], "02 00 00 01"],
    ["resource in multiple resource", [3, 0, 11], "83 0b c1 00 00"],
    ["multiple in multiple", [3, 0, 11], "82 0b 80 01"],
    ["resource instance at object level", [3], "41 00 00"],
    ["resource instance in an instance", [3, 0], "41 00 00"],
    ["resource instance inside an instance TLV", [3303], "03 00 41 00 00"],
    ["integer of 3 bytes", [3, 0, 9], "c3 09 000064"],
    ["empty integer", [3, 0, 9], "c0 09"],
    ["reserved id", [3303], "20 ffff"],
    ["float of 3 bytes", [3303, 0, 5700], "e3 1644 000000"],
    ["executable with a value", [3, 0, 4], "c1 04 00"],
    ["Boolean 2", [1, 0, 6], "c1 06 02"],
    ["Boolean of 2 bytes", [1, 0, 6], "c2 06 0000"],
    ["link of 3 bytes", [1, 0, 10], "c3 0a 000000"],
    ["link of 5 bytes", [1, 0, 10], "c5 0a 0000000000"],
    ["the root", [], ""],
  ] as const) {
    assert.throws(() => decodeTlv(path, hex(bytes), definitions), FormatError, why);
  }
});

test("whole numbers take 1, 2, 4 or 8 bytes and lose nothing", () => {
  for (const [type, value, bytes] of [
    ["integer", 0, "00"],
    ["integer", -1, "ff"],
    ["integer", 127, "7f"],
    ["integer", 128, "0080"],
    ["integer", -128, "80"],
    ["integer", -129, "ff7f"],
    ["integer", 32_768, "00008000"],
    ["integer", -32_769, "ffff7fff"],
    ["integer", 2_147_483_648, "0000000080000000"],
    ["integer", -2_147_483_649, "ffffffff7fffffff"],
    ["integer", (1n << 63n) - 1n, "7fffffffffffffff"],
    ["integer", -(1n << 63n), "8000000000000000"],
    ["unsigned", 255, "ff"],
    ["unsigned", 256, "0100"],
    ["unsigned", 4_294_967_295, "ffffffff"],
    ["unsigned", 4_294_967_296, "0000000100000000"],
    ["unsigned", (1n << 64n) - 1n, "ffffffffffffffff"],
    ["time", 1_783_612_800, "6a4fc580"],
    ["float", 0.5, "3f000000"],
    ["float", 0.1, "3fb999999999999a"],
  ] as const satisfies readonly (readonly [ValueType, number | bigint, string])[]) {
    const encoded = encodeValue(valueOf(type, value));
    assert.equal(toHex(encoded), bytes, `${value}`);
    assert.deepEqual(decodeValue(encoded, type), { type, value });
  }
});

test("OMA Core appendix C: a Boolean is one byte, 0 or 1", () => {
  for (const [value, bytes] of [
    [false, "00"],
    [true, "01"],
  ] as const) {
    assert.equal(toHex(encodeValue({ type: "boolean", value })), bytes);
    assert.deepEqual(decodeValue(hex(bytes), "boolean"), { type: "boolean", value });
  }
});

test("a resource that no definition names is opaque", () => {
  assert.deepEqual(decodeTlv([9_999, 0], hex("c2 07 abcd"), definitions), [
    { path: [9_999, 0, 7], value: { type: "opaque", value: hex("abcd") } },
  ]);
});

test("one payload holds so many values and no more", () => {
  const many = (n: number): Uint8Array => {
    const w = new Writer();
    for (let id = 0; id < n; id++) w.u8(0xe1).u16(id).u8(0);
    return w.bytes();
  };
  assert.equal(decodeTlv([9_999, 0], many(MAX_NODES), definitions).length, MAX_NODES);
  assert.throws(() => decodeTlv([9_999, 0], many(MAX_NODES + 1), definitions), FormatError);
});

test("random bytes end in values or FormatError, and what was read is written and read the same", () => {
  const paths: readonly NodePath[] = [
    [3],
    [3, 0],
    [3, 0, 11],
    [3, 0, 11, 0],
    [3303],
    [3303, 0],
    [1, 0],
    [1, 0, 10],
  ];
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.uint8Array({ maxLength: 48 }), (path, bytes) => {
      let nodes: readonly ValueNode[];
      try {
        nodes = decodeTlv(path, bytes, definitions);
      } catch (error) {
        assert.ok(error instanceof FormatError);
        return;
      }
      if (nodes.some((node) => !path.every((id, i) => node.path[i] === id))) assert.fail("outside");
      assert.deepEqual(decodeTlv(path, encodeTlv(path, nodes), definitions), nodes);
    }),
    { numRuns: 2_000 },
  );
});

test("an instance that is empty is written as one, also where it was asked for itself", () => {
  const nodes = [{ path: [1, 0], value: undefined }];
  for (const path of [[1], [1, 0]]) {
    assert.deepEqual(toHex(encodeTlv(path, nodes)), "0000");
    assert.deepEqual(decodeTlv(path, encodeTlv(path, nodes), definitions), nodes);
  }
});

test("encoding refuses nodes from elsewhere", () => {
  assert.throws(() => encodeTlv([3, 0], [integer([3, 1, 9], 1)]), UsageError);
  assert.throws(() => encodeTlv([], [integer([3, 1, 9], 1)]), UsageError);
  assert.throws(
    () => encodeTlv([3, 0], [integer([3, 0, 9], 1), integer([3, 0, 9], 2)]),
    UsageError,
  );
});

test("the formats say what they can hold", () => {
  const leaf = [integer([3, 0, 9], 87)];
  const opaque: ValueNode[] = [{ path: [5, 0, 0], value: { type: "opaque", value: hex("00ff") } }];
  for (const [format, path, nodes, fits] of [
    [ContentFormat.Text, [3, 0, 9], leaf, true],
    [ContentFormat.Text, [3, 0], leaf, false],
    [ContentFormat.OctetStream, [3, 0, 9], leaf, false],
    [ContentFormat.OctetStream, [5, 0, 0], opaque, true],
    [ContentFormat.OldLwm2mTlv, [3, 0], leaf, true],
    [ContentFormat.Lwm2mTlv, [], leaf, false],
  ] as const) {
    assert.equal(valueFormat(format)?.fits(path, nodes), fits, `${format} ${path.join("/")}`);
    if (fits) {
      assert.deepEqual(
        decodeNodes(format, path, encodeNodes(format, path, nodes), definitions),
        nodes,
      );
    } else {
      assert.throws(() => encodeNodes(format, path, nodes), UsageError);
    }
  }
  assert.equal(valueFormat(65_000), undefined);
  assert.throws(() => encodeNodes(65_000, [3], []), UsageError);
  assert.throws(
    () => decodeNodes(ContentFormat.OctetStream, [3, 0, 9], hex("00"), definitions),
    FormatError,
  );
  assert.throws(() => decodeNodes(ContentFormat.Text, [3, 0], hex("30"), definitions), FormatError);
});

for (const [type, value] of [
  ["unsigned", -1],
  ["unsigned", -1n],
  ["unsigned", 1n << 64n],
  ["integer", 1n << 63n],
  ["integer", -(1n << 63n) - 1n],
  ["time", 1n << 63n],
] as const) {
  test(`OMA TS Core C: ${value} as ${type} does not fit, and is refused by name`, () => {
    assert.throws(
      () => encodeValue({ type, value }),
      new RegExp(`^UsageError: ${value} does not fit`),
    );
  });
}
