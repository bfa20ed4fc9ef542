import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ACKNOWLEDGED,
  ANSWERED,
  PENDING,
  RESET,
  ReplyCache,
  SessionReplies,
  messageHash,
} from "./reply-cache.ts";
import { coapTuning, exchangeLifetime, nonLifetime } from "./tuning.ts";

const tuning = coapTuning();
const reply = Uint8Array.of(0x61, 0x44, 1, 2, 3);
const bytesOf = (n: number, length: number) => new Uint8Array(length).map((_, i) => (n + i) & 0xff);

test("RFC 7252 4.5: a message is known by session, id and bytes, with what was said to it", () => {
  const cache = new ReplyCache(tuning);
  const [a, b] = [new SessionReplies(1), new SessionReplies(2)];
  cache.add(a, 7, 99, true, false, 5, 0);
  const place = cache.find(a, 7, 99, 10);
  assert.equal(cache.state(place), PENDING);
  assert.equal(cache.exchange(place), 5);
  assert.equal(cache.find(b, 7, 99, 10), -1);
  assert.equal(cache.find(a, 8, 99, 10), -1);
  assert.equal(cache.find(a, 7, 98, 10), -1);
  cache.settle(a, 7, 99, ANSWERED, reply, 10);
  assert.equal(cache.state(place), ANSWERED);
  assert.deepEqual(cache.reply(place), reply);
});

for (const [name, confirmable, lifetime] of [
  ["CON for EXCHANGE_LIFETIME", true, exchangeLifetime(tuning)],
  ["NON for NON_LIFETIME", false, nonLifetime(tuning)],
] as const) {
  test(`RFC 7252 4.5: remembers a ${name}, and not longer`, () => {
    const cache = new ReplyCache(tuning);
    const session = new SessionReplies(1);
    cache.add(session, 1, 1, confirmable, false, 0, 1_000);
    assert.notEqual(cache.find(session, 1, 1, 1_000 + lifetime - 1), -1);
    assert.equal(cache.find(session, 1, 1, 1_000 + lifetime), -1);
    cache.expire(1_000 + lifetime);
    assert.equal(cache.size, 0);
    assert.equal(session.count, 0);
  });
}

for (const length of [0, 1, 31, 32, 33, 64, 1_152, 65_507]) {
  test(`an answer of ${length} bytes comes back as it went in`, () => {
    const cache = new ReplyCache(tuning);
    const session = new SessionReplies(1);
    for (let mid = 0; mid < 20; mid++) {
      cache.add(session, mid, mid, true, false, 0, 0);
      cache.settle(session, mid, mid, ANSWERED, bytesOf(mid, length), 0);
    }
    for (let mid = Math.max(0, 20 - Math.floor(524_288 / (length + 32))); mid < 20; mid++) {
      const place = cache.find(session, mid, mid, 1);
      assert.deepEqual(cache.reply(place), bytesOf(mid, length));
    }
    assert.ok(session.bytes <= tuning.maxReplyBytesPerSession);
  });
}

test("tuning.maxRepliesPerSession: the oldest of the greedy session goes, the other session keeps all", () => {
  const cache = new ReplyCache(coapTuning({ maxRepliesPerSession: 10 }));
  const [greedy, modest] = [new SessionReplies(1), new SessionReplies(2)];
  cache.add(modest, 1, 1, true, false, 0, 0);
  for (let mid = 0; mid < 1_000; mid++) cache.add(greedy, mid, 1, true, false, 0, 0);
  assert.equal(greedy.count, 10);
  assert.equal(cache.find(greedy, 989, 1, 1), -1);
  assert.notEqual(cache.find(greedy, 990, 1, 1), -1);
  assert.notEqual(cache.find(modest, 1, 1, 1), -1);
});

test("tuning.maxReplyBytesPerSession: the oldest answers of the session go", () => {
  const cache = new ReplyCache(coapTuning({ maxReplyBytesPerSession: 320 }));
  const session = new SessionReplies(1);
  for (let mid = 0; mid < 100; mid++) {
    cache.add(session, mid, 1, true, false, 0, 0);
    cache.settle(session, mid, 1, ANSWERED, reply, 0);
  }
  assert.equal(session.bytes, 320);
  assert.equal(cache.size, 10);
});

test("tuning.maxReplies and maxReplyBytes: over all sessions the oldest go first", () => {
  const cache = new ReplyCache(coapTuning({ maxReplies: 50, maxReplyBytes: 960 }));
  const sessions = Array.from({ length: 500 }, (_, i) => new SessionReplies(i));
  for (const session of sessions) {
    cache.add(session, 1, 1, true, false, 0, 0);
    assert.ok(cache.size <= 50);
    cache.settle(session, 1, 1, ANSWERED, reply, 0);
    assert.ok(cache.replyBytes <= 960);
  }
  assert.equal(cache.size, 30);
  assert.equal(cache.find(sessions[469]!, 1, 1, 1), -1); // there are 500
  assert.notEqual(cache.find(sessions[470]!, 1, 1, 1), -1);
});

test("70 000 messages of one session are all told apart while the limits allow, across the end of the id space", () => {
  const cache = new ReplyCache(coapTuning({ maxRepliesPerSession: 100_000 }));
  const session = new SessionReplies(1);
  for (let n = 0; n < 70_000; n++) cache.add(session, n & 0xffff, n, true, false, n, 0);
  assert.equal(cache.size, 70_000);
  for (let n = 0; n < 70_000; n += 7)
    assert.equal(cache.exchange(cache.find(session, n & 0xffff, n, 1)), n);
});

test("at most 150 bytes of memory per remembered exchange with a small answer", () => {
  const cache = new ReplyCache(coapTuning());
  const count = 200_000;
  const sessions = Array.from({ length: 1_000 }, (_, i) => new SessionReplies(i));
  for (let n = 0; n < count; n++) {
    const session = sessions[n % 1_000]!; // there are 1 000
    const mid = Math.floor(n / 1_000);
    cache.add(session, mid, n, true, false, n, 0);
    cache.settle(session, mid, n, ANSWERED, reply, 0);
  }
  assert.equal(cache.size, count);
  assert.ok(cache.byteLength / count <= 150, `${cache.byteLength / count} bytes`);
  cache.expire(exchangeLifetime(tuning));
  assert.ok(cache.byteLength < 100_000, "memory is given back");
});

test("spoofed exchanges, ten times as many as the limit holds, stay within the limits and their memory", () => {
  const limits = { maxReplies: 20_000, maxReplyBytes: 20_000 * 32 };
  const cache = new ReplyCache(coapTuning(limits));
  let most = 0;
  for (let n = 0; n < 200_000; n++) {
    const session = new SessionReplies(n);
    cache.add(session, n & 0xffff, n, n % 3 > 0, false, n, n / 100);
    cache.settle(session, n & 0xffff, n, ANSWERED, reply, n / 100);
    if (n % 10_000 === 0) most = Math.max(most, cache.byteLength);
  }
  assert.equal(cache.size, limits.maxReplies);
  assert.ok(most <= limits.maxReplies * 2 * 150);
});

test("absorb: what came in one session counts as having come in the other, but not over what is there", () => {
  const cache = new ReplyCache(tuning);
  const [from, into] = [new SessionReplies(1), new SessionReplies(2)];
  cache.add(into, 5, 5, true, false, 0, 0);
  cache.settle(into, 5, 5, ANSWERED, reply, 0);
  cache.add(from, 5, 5, true, false, 0, 1);
  cache.add(from, 6, 6, true, false, 0, 2);
  cache.settle(from, 6, 6, ACKNOWLEDGED, undefined, 2);
  cache.add(from, 7, 7, true, false, 0, 3);
  cache.settle(from, 7, 7, ANSWERED, reply, 3);
  cache.absorb(into, from, 4);
  assert.equal(from.count, 0);
  assert.equal(from.bytes, 0);
  assert.equal(into.count, 3);
  assert.equal(into.bytes, 64);
  assert.equal(cache.state(cache.find(into, 5, 5, 4)), ANSWERED);
  assert.equal(cache.state(cache.find(into, 6, 6, 4)), ACKNOWLEDGED);
  assert.deepEqual(cache.reply(cache.find(into, 7, 7, 4)), reply);
  cache.closed(into);
  assert.equal(cache.size, 0);
  assert.equal(into.bytes, 0);
});

test("tuning.maxUnsafeKept: an old answer to the same bytes of an unsafe method is found for unsafeLifetime", () => {
  const cache = new ReplyCache(coapTuning({ maxUnsafeKept: 2, unsafeLifetime: 1_000_000 }));
  const [session, other] = [new SessionReplies(1), new SessionReplies(2)];
  for (const mid of [1, 2, 3, 4]) {
    cache.add(session, mid, mid, true, mid !== 4, 0, 0);
    cache.settle(session, mid, mid, ANSWERED, reply, 0);
  }
  cache.add(session, 5, 5, true, true, 0, 0);
  cache.settle(session, 5, 5, RESET, undefined, 0);
  const later = exchangeLifetime(tuning);
  cache.expire(later);
  assert.equal(cache.kept(session.session, 1, 1, later), undefined, "the oldest of three went");
  assert.deepEqual(cache.kept(session.session, 2, 2, later), reply);
  assert.deepEqual(cache.kept(session.session, 3, 3, later), reply);
  assert.equal(cache.kept(session.session, 4, 4, later), undefined, "a safe method is not kept");
  assert.equal(cache.kept(session.session, 5, 5, later), undefined);
  assert.equal(cache.kept(other.session, 3, 3, later), undefined);
  assert.equal(cache.kept(session.session, 3, 3, later + 1_000_000), undefined);
  cache.closed(session);
  assert.equal(cache.kept(session.session, 3, 3, later), undefined);
});

test("FNV-1a: the published value of the empty string and of 'a', 'foobar'", () => {
  assert.equal(messageHash(new Uint8Array(0)), 0x811c9dc5);
  assert.equal(messageHash(Uint8Array.of(0x61)), 0xe40c292c);
  assert.equal(messageHash(Buffer.from("foobar")), 0xbf9cf968);
});
