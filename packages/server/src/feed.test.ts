import assert from "node:assert/strict";
import { test } from "node:test";
import { Feed } from "./feed.ts";

test("F34: a reader that is slow or dead keeps nobody waiting: the oldest items go, the newest are there when it reads", async () => {
  const feed = new Feed<number>(3);
  for (let n = 1; n <= 1_000_000; n++) feed.push(n);
  feed.end();
  feed.push(0);
  const read: number[] = [];
  for await (const item of feed) read.push(item);
  assert.deepEqual(read, [999_998, 999_999, 1_000_000]);
});

test("a reader that waits is woken by the next item, and ends with the feed", async () => {
  const feed = new Feed<string>();
  const reader = feed[Symbol.asyncIterator]();
  const first = reader.next();
  feed.push("a");
  assert.deepEqual(await first, { value: "a", done: false });
  const second = reader.next();
  feed.end();
  assert.deepEqual(await second, { value: undefined, done: true });
});

test("a feed that fails gives what came before, then the error", async () => {
  const feed = new Feed<string>();
  feed.push("a");
  feed.fail(new Error("gone"));
  feed.fail(new Error("again"));
  feed.push("b");
  const reader = feed[Symbol.asyncIterator]();
  assert.equal((await reader.next()).value, "a");
  await assert.rejects(reader.next(), { message: "gone" });
});
