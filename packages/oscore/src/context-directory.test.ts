import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Association } from "./association.ts";
import { ContextDirectory } from "./context-directory.ts";

function association(session: number, recipientId: string): Association {
  const input = { senderId: hex("53"), recipientId: hex(recipientId), masterSecret: hex("0011") };
  return new Association(session, { input, derivation: "fixed", initiates: false }, undefined, 64);
}

test("those who share a kid are found in the order they came, whoever of them leaves", () => {
  for (const leaves of [1, 2, 3]) {
    const directory = new ContextDirectory();
    const all = [1, 2, 3].map((session) => association(session, "43"));
    for (const one of all) directory.add(one);
    directory.add(association(4, "4300"));
    assert.deepEqual(directory.sharing(hex("43")), all);
    const gone = all[leaves - 1]!; // three
    directory.remove(gone);
    const left = all.filter((one) => one !== gone);
    assert.deepEqual(directory.sharing(hex("43")), left);
    assert.equal(directory.find(leaves), undefined);
    for (const one of left) directory.remove(one);
    assert.deepEqual(directory.sharing(hex("43")), []);
    assert.equal(directory.sharing(hex("4300")).length, 1);
    assert.equal(directory.size, 1);
  }
});

test("ten thousand kids that count up are found each by its own, the empty one too", () => {
  const directory = new ContextDirectory();
  const kid = (n: number): string => n.toString(16).padStart(6, "0");
  for (let n = 0; n < 10_000; n++) directory.add(association(n, kid(n)));
  directory.add(association(10_000, ""));
  for (let n = 0; n < 10_000; n++) {
    const found = directory.sharing(hex(kid(n)));
    assert.deepEqual(
      found.map(({ session }) => session),
      [n],
    );
  }
  assert.equal(directory.sharing(hex(""))[0]?.session, 10_000);
  assert.throws(() => directory.add(association(5, "aa")), /there already/);
});
