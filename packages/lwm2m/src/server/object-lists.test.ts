import assert from "node:assert/strict";
import { test } from "node:test";
import { parseObjectList } from "../object-list.ts";
import { ObjectLists } from "./object-lists.ts";

test("equal lists are one in memory, others are not", () => {
  const lists = new ObjectLists(10);
  const [a, b, c] = ["</1/0>,</3/0>", "</1/0>,</3/0>", "</1/0>,</3>;ver=1.1,</3/0>"].map((text) =>
    lists.shared(parseObjectList(text)),
  );
  assert.equal(a, b);
  assert.notEqual(a, c);
  assert.deepEqual(b, parseObjectList("</1/0>,</3/0>"));
});

test("tuning.maxSharedLists: one list more makes the oldest be forgotten; long ones are nobody else's", () => {
  const lists = new ObjectLists(3);
  for (let object = 10_000; object < 10_050; object++) {
    lists.shared(parseObjectList(`</${object}/0>`));
    assert.ok(lists.size <= 3);
  }
  const long = Array.from({ length: 200 }, (_, n) => `</${10_000 + n}/0>`).join(",");
  const [one, other] = [1, 2].map(() => lists.shared(parseObjectList(long)));
  assert.notEqual(one, other);
  assert.equal(lists.size, 3);
});
