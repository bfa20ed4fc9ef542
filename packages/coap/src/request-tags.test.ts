import assert from "node:assert/strict";
import test from "node:test";
import { seededRng, toHex } from "@godwit/base";
import { Code } from "./codes.ts";
import { request } from "./options.ts";
import { RequestTags } from "./request-tags.ts";

const put = (path: string) => request(Code.PUT, { path });

test("RFC 9175 3.5: uploads that follow each other and are concluded need no Request-Tag", () => {
  const tags = new RequestTags(seededRng(1));
  for (let i = 0; i < 5; i++) {
    const lease = tags.take(1, put("/a"));
    assert.equal(lease.tag, undefined);
    tags.release(lease, true);
    assert.equal(tags.held(1), 0);
  }
});

test("RFC 9175 3.5.2: concurrent ones get the shortest values not in use; other resources and sessions none", () => {
  const tags = new RequestTags(seededRng(1));
  const leases = [1, 2, 3, 4].map(() => tags.take(1, put("/a")));
  assert.deepEqual(
    leases.map(({ tag }) => tag && toHex(tag)),
    [undefined, "", "02", "03"],
  );
  assert.equal(tags.take(1, put("/b")).tag, undefined);
  assert.equal(tags.take(2, put("/a")).tag, undefined);
  tags.release(leases[1]!, true); // four were taken
  assert.equal(toHex(tags.take(1, put("/a")).tag ?? Uint8Array.of(9)), "");
});

test("RFC 9175 3.5.1: the value of an upload that was not concluded is not used again until the session ends", () => {
  const tags = new RequestTags(seededRng(1));
  tags.release(tags.take(1, put("/a")), false);
  const next = tags.take(1, put("/a"));
  assert.equal(next.tag?.length, 0);
  tags.release(next, true);
  assert.equal(tags.take(1, put("/a")).tag?.length, 0);
  tags.closed(1);
  assert.equal(tags.take(1, put("/a")).tag, undefined);
});

test("RFC 9175 3.4: past 16 operations, and past 256 values of one, tags are random and nothing more is kept", () => {
  const tags = new RequestTags(seededRng(1));
  for (let i = 0; i < 16; i++) tags.release(tags.take(1, put(`/${i}`)), false);
  const more = tags.take(1, put("/more"));
  assert.equal(more.tag?.length, 8);
  tags.release(more, true);
  assert.equal(tags.held(1), 16);
  const seen = new Set<string>();
  for (let i = 0; i < 400; i++) seen.add(toHex(tags.take(1, put("/0")).tag ?? Uint8Array.of()));
  assert.equal(seen.size, 400);
  assert.ok([...seen].filter((tag) => tag.length === 16).length === 400 - 255);
});
