import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { Registry, impliedVersion } from "./definition.ts";
import { BUILT_IN, builtInRegistry } from "./definitions/index.ts";

const registry = builtInRegistry();

test("OMA registry: objects are found by id and version, else by the nearest minor version", () => {
  assert.equal(registry.object(1, "1.0")?.resources.length, 9);
  assert.equal(registry.object(1, "1.1")?.resources.length, 24);
  assert.equal(registry.object(1)?.version, "1.2");
  assert.equal(registry.object(1, "1.7")?.version, "1.2");
  assert.equal(registry.object(1, "2.0"), undefined);
  assert.equal(registry.object(4_711), undefined);
  assert.deepEqual(
    [
      ...[undefined, "1.0", "1.1"].map(
        (version) => registry.object(3303, version)?.resources.length,
      ),
    ],
    [12, 7, 12],
  );
});

test("OMA registry: versions differ where the registry says so", () => {
  assert.equal(registry.resource(1, 13, "1.1")?.operations, "");
  assert.equal(registry.resource(1, 13, "1.2")?.operations, "R");
  assert.deepEqual(registry.resource(3, 11, "1.0")?.range, { from: 0, to: 8 });
  assert.equal(registry.resource(5, 10, "1.0"), undefined);
  assert.equal(registry.resource(3, 7, "1.0")?.units, "mV");
  assert.equal(registry.of(new Map([[1, "1.0"]])).resource(1, 9), undefined);
  assert.equal(
    registry.of(new Map([[1, "1.1"]])).resource(1, 9)?.name,
    "Bootstrap-Request Trigger",
  );
});

test("OMA Core E.1: security is never read", () => {
  assert.equal(registry.object(0)?.hidden, true);
  assert.ok(registry.object(0)?.resources.every(({ operations }) => operations === ""));
});

test("OMA Core 7.2: executables have no type, everything else has", () => {
  for (const object of BUILT_IN) {
    for (const resource of object.resources) {
      assert.equal(
        resource.type === "none",
        resource.operations === "E",
        `${object.id}/${resource.id}`,
      );
    }
  }
});

test("OMA Core table 6.2.2: what a missing ver means depends on the LwM2M version", () => {
  for (const [object, in10, in11, in12] of [
    [1, "1.0", "1.1", "1.2"],
    [2, "1.0", "1.0", "1.1"],
    [3, "1.0", "1.1", "1.2"],
    [4, "1.0", "1.2", "1.3"],
    [5, "1.0", "1.0", "1.1"],
    [21, "1.0", "1.0", "2.0"],
    [3303, "1.0", "1.0", "1.0"],
  ] as const) {
    assert.deepEqual(
      [impliedVersion(object, "1.0"), impliedVersion(object, "1.1"), impliedVersion(object, "1.2")],
      [in10, in11, in12],
    );
  }
});

test("a version defined twice is a mistake", () => {
  assert.throws(() => new Registry([...BUILT_IN, BUILT_IN[0]!]), UsageError); // there is a first
});
