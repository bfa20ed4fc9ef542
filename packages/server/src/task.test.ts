import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Code, response } from "@godwit/coap";
import { builtInRegistry } from "@godwit/lwm2m";
import { answerOf, type PathValue } from "./task.ts";

const definitions = builtInRegistry().of(new Map());

function valuesOf(path: readonly number[], tlv: string): readonly PathValue[] | undefined {
  const answer = answerOf(
    path,
    response(Code.Content, { contentFormat: 11_542, payload: hex(tlv) }),
    definitions,
  );
  assert.equal(answer.fault, undefined);
  return JSON.parse(JSON.stringify(answer.values)) as readonly PathValue[];
}

test("what JSON has no number for is told apart from what is empty", () => {
  for (const [what, path, tlv, value] of [
    ["NaN", [3303, 0, 5700], "e416447fc00000", { type: "float", value: "NaN" }],
    ["Infinity", [3303, 0, 5700], "e416447f800000", { type: "float", value: "Infinity" }],
    ["-Infinity", [3303, 0, 5700], "e41644ff800000", { type: "float", value: "-Infinity" }],
    ["a number", [3303, 0, 5700], "e4164441a80000", { type: "float", value: 21 }],
    ["an empty multiple resource", [3, 0, 11], "800b", { value: null }],
  ] as const) {
    assert.deepEqual(valuesOf(path, tlv), [{ path: `/${path.join("/")}`, ...value }], what);
  }
});
