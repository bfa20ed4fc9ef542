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

test("a reader that waits can leave: return answers it, and what comes later is dropped", async () => {
  const feed = new Feed<string>();
  const waiting = feed.next();
  assert.deepEqual(await feed.return(), { value: undefined, done: true });
  assert.deepEqual(await waiting, { value: undefined, done: true });
  feed.push("late");
  assert.deepEqual(await feed.next(), { value: undefined, done: true });
});

test("a fault is read once, after what was there before it", async () => {
  const feed = new Feed<string>();
  feed.push("a");
  feed.fail(new Error("gone"));
  feed.push("b");
  assert.deepEqual(await feed.next(), { value: "a", done: false });
  await assert.rejects(feed.next(), /gone/);
  assert.deepEqual(await feed.next(), { value: undefined, done: true });
  const two = new Feed<string>();
  const [first, second] = [two.next(), two.next()];
  two.fail(new Error("gone"));
  await assert.rejects(first, /gone/);
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
