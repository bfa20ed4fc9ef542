import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError, hex, utf8 } from "@godwit/base";
import { Code, ContentFormat, request, response } from "@godwit/coap";
import { builtInRegistry } from "../definitions/index.ts";
import {
  createRequest,
  deleteRequest,
  discoverRequest,
  executeRequest,
  nodesOf,
  observeRequest,
  readRequest,
  valuesIn,
  writeAttributesRequest,
  writeRequest,
} from "./requests.ts";

const definitions = builtInRegistry().of(new Map());

test("RFC 7252 3.1: an observe request has its options in the order of their numbers, queries and format included", () => {
  const plain = observeRequest([3, 0, 9]);
  assert.deepEqual(plain, request(Code.GET, { path: "/3/0/9", observe: 0 }));
  const full = observeRequest([3, 0, 9], ["pmin=10", "pmax=60"], ContentFormat.SenmlCbor);
  assert.deepEqual(
    full.options.map(({ number }) => number),
    [6, 11, 11, 11, 15, 15, 17],
  );
  assert.deepEqual(
    full,
    request(Code.GET, {
      path: "/3/0/9",
      observe: 0,
      query: ["pmin=10", "pmax=60"],
      accept: ContentFormat.SenmlCbor,
    }),
  );
});

for (const [what, made, code, wanted] of [
  ["read", readRequest([3]), Code.GET, { path: "/3" }],
  ["read in a format", readRequest([3, 0], 11_542), Code.GET, { path: "/3/0", accept: 11_542 }],
  ["discover", discoverRequest([3]), Code.GET, { path: "/3", accept: 40 }],
  [
    "write attributes",
    writeAttributesRequest([3], ["pmin=1", "pmax"]),
    Code.PUT,
    { path: "/3", query: ["pmin=1", "pmax"] },
  ],
  ["execute", executeRequest([3, 0, 4]), Code.POST, { path: "/3/0/4" }],
  [
    "execute with arguments",
    executeRequest([3, 0, 4], "0='a'"),
    Code.POST,
    { path: "/3/0/4", contentFormat: 0, payload: "0='a'" },
  ],
  ["delete an instance", deleteRequest([3, 0]), Code.DELETE, { path: "/3/0" }],
  ["delete a resource instance", deleteRequest([3, 0, 6, 1]), Code.DELETE, { path: "/3/0/6/1" }],
] as const) {
  test(`OMA TS Core 6.3: ${what} is the request of the table`, () => {
    assert.deepEqual(made, request(code, wanted));
  });
}

for (const [what, make, says] of [
  ["a read of nothing", () => readRequest([]), /Read needs an object id/],
  ["a discover of nothing", () => discoverRequest([]), /Discover needs an object id/],
  ["no attribute", () => writeAttributesRequest([3], []), /needs an attribute/],
  ["attributes of nothing", () => writeAttributesRequest([], ["pmin=1"]), /needs an object id/],
  ["an execute of an instance", () => executeRequest([3, 0]), /Execute takes a resource/],
  ["a delete of an object", () => deleteRequest([3]), /Delete takes/],
  ["a delete of a resource", () => deleteRequest([3, 0, 1]), /Delete takes/],
  ["a write of an object", () => writeRequest([3], []), /Write needs an object and an instance id/],
  ["a resource that is no number", () => nodesOf([3, 0], { a: 1 }, definitions), /"a" is no/],
  ["a resource of six digits", () => nodesOf([3, 0], { 123456: 1 }, definitions), /is no resource/],
] as const) {
  test(`${what} is refused with what it takes`, () => {
    assert.throws(make, (fault) => fault instanceof UsageError && says.test(fault.message));
  });
}

test("one resource is written in text or bytes, several in TLV; update is a POST", () => {
  const one = nodesOf([3, 0, 14], "+02", definitions);
  const text = { path: "/3/0/14", contentFormat: ContentFormat.Text, payload: "+02" };
  assert.deepEqual(writeRequest([3, 0, 14], one), request(Code.PUT, text));
  assert.deepEqual(writeRequest([3, 0, 14], one, "update"), request(Code.POST, text));
  const bytes = writeRequest([5, 0, 0], nodesOf([5, 0, 0], hex("0102"), definitions));
  const octets = { contentFormat: ContentFormat.OctetStream, payload: hex("0102") };
  assert.deepEqual(bytes, request(Code.PUT, { path: "/5/0/0", ...octets }));
  const several = nodesOf([1, 0], { 1: 60, 7: "U" }, definitions);
  const tlv = { contentFormat: ContentFormat.Lwm2mTlv, payload: hex("c1013cc10755") };
  assert.deepEqual(writeRequest([1, 0], several), request(Code.PUT, { path: "/1/0", ...tlv }));
  const made = createRequest(1, nodesOf([1], {}, definitions));
  assert.deepEqual(made, request(Code.POST, { path: "/1", contentFormat: 11_542, payload: "" }));
});

for (const [plain, type] of [
  ["a", "string"],
  [true, "boolean"],
  [5n, "integer"],
  [5, "integer"],
  [5.5, "float"],
  [hex("01"), "opaque"],
  [{ object: 3, instance: 0 }, "objlnk"],
] as const) {
  test(`for an object without a definition a ${typeof plain} can be of type ${type}`, () => {
    const [node, ...more] = nodesOf([31_000, 0, 1], plain, definitions);
    assert.deepEqual(node?.path, [31_000, 0, 1]);
    assert.equal(node.value?.type, type);
    assert.deepEqual(more, []);
  });
}

test("a value is of the type that its resource has by the definitions, whatever it looks like", () => {
  const typeOf = (path: readonly number[], plain: number | string) =>
    nodesOf(path, plain, definitions)[0]?.value?.type;
  assert.equal(typeOf([3303, 0, 5601], 20), "float");
  assert.equal(typeOf([3, 0, 13], 1_800_000_000), "time");
  assert.equal(typeOf([3, 0, 6, 1], 1), "integer");
});

test("the values in an answer are those that were asked for; a format that nobody reads has none", () => {
  const answer = (contentFormat: number | undefined, payload: Uint8Array) =>
    response(Code.Content, { ...(contentFormat !== undefined && { contentFormat }), payload });
  const [node] = valuesIn([3, 0, 9], answer(undefined, utf8("87")), definitions) ?? [];
  assert.deepEqual(node, { path: [3, 0, 9], value: { type: "integer", value: 87 } });
  assert.equal(valuesIn([3, 0, 9], answer(40, utf8("</3>")), definitions), undefined);
  assert.equal(valuesIn([], answer(0, utf8("87")), definitions), undefined);
  const tlv = answer(ContentFormat.Lwm2mTlv, hex("c10957"));
  assert.equal(valuesIn([3, 0], tlv, definitions)?.length, 1);
  assert.throws(() => valuesIn([3, 0, 1], tlv, definitions), FormatError);
});
