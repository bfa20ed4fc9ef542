import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { Code } from "@godwit/coap";
import { Values } from "./values.ts";

const values = (): Values =>
  new Values({ "/3/0/9": 87, "/3303/1/5700": 3.5, "/3303/0/5700": 21.5, "/3303/0/5701": "Cel" });

test("objects and instances are those that hold a value, in order", () => {
  assert.deepEqual(values().objects({ 3: "1.1" }), [
    { id: 3, version: "1.1", instances: [0] },
    { id: 3303, version: undefined, instances: [0, 1] },
  ]);
});

test("a Read gives what lies at or below its path, a Discover its paths", () => {
  assert.deepEqual(values().perform({ type: "read", path: [3303, 0] }), {
    type: "values",
    nodes: [
      { path: [3303, 0, 5700], value: { type: "float", value: 21.5 } },
      { path: [3303, 0, 5701], value: { type: "string", value: "Cel" } },
    ],
  });
  assert.deepEqual(values().perform({ type: "discover", path: [3] }), {
    type: "resources",
    paths: [[3, 0, 9]],
  });
  for (const type of ["read", "discover"] as const) {
    const outcome = values().perform({ type, path: [3303, 2] });
    assert.equal(outcome.type === "refused" && outcome.code, Code.NotFound);
  }
});

test("what is written is read back, executing does nothing, instances stay", () => {
  const own = values();
  const node = { path: [3303, 0, 5701], value: { type: "string", value: "K" } } as const;
  own.perform({ type: "write", mode: "update", path: [3303, 0], nodes: [node] });
  assert.deepEqual(own.perform({ type: "read", path: [3303, 0, 5701] }), {
    type: "values",
    nodes: [node],
  });
  assert.deepEqual(own.perform({ type: "execute", path: [3, 0, 4], args: new Map() }), {
    type: "done",
  });
  assert.equal(own.perform({ type: "delete", path: [3303, 1] }).type, "refused");
});

test("a value that is not defined, or does not fit, is the caller's mistake", () => {
  for (const [path, value] of [
    ["/3/0/999", 1],
    ["/3303/0/5700", "warm"],
  ] as const) {
    assert.throws(() => new Values({ [path]: value }), UsageError);
  }
});
