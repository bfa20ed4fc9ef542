import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng } from "@godwit/base";
import { Code, OptionNumber, request, type Request } from "@godwit/coap";
import { RestartReplayGuard, isProofToken, proofId, proofToken } from "./restart-replay-guard.ts";

const update = request(Code.POST, { path: "/rd/a" });
const register = request(Code.POST, { path: "/rd" });
const inDoubt = (): RestartReplayGuard => {
  const guard = new RestartReplayGuard();
  guard.note(1, false);
  return guard;
};

test("a session that is in no doubt is obeyed, and so is one that showed freshness", () => {
  const guard = new RestartReplayGuard();
  assert.equal(guard.judge(1, register, false, 0), "obey");
  guard.note(1, false);
  assert.equal(guard.has(1), true);
  guard.note(1, true);
  assert.equal(guard.has(1), false);
  assert.equal(guard.judge(1, register, false, 0), "obey");
});

test("RFC 9175 2.3: the first request is asked for an Echo, and one that brings it is fresh from then on", () => {
  const guard = inDoubt();
  assert.equal(guard.judge(1, register, false, 0), "ask");
  guard.note(1, false);
  assert.equal(guard.judge(1, register, true, 0), "fresh", "what was said of it is not forgotten");
  assert.equal(guard.judge(1, register, false, 0), "obey");
});

test("a peer without Echo is asked by a request of our own; its answer makes it fresh, and nobody else's", () => {
  const guard = inDoubt();
  guard.judge(1, register, false, 0);
  assert.equal(guard.proved(1, true), false, "nothing was asked yet");
  assert.equal(guard.judge(1, register, false, 1_000), "prove");
  assert.equal(guard.judge(1, register, false, 10_999), "ignore");
  assert.equal(guard.proved(2, true), false);
  assert.equal(guard.proved(1, true), true);
  assert.equal(guard.judge(1, register, false, 11_000), "obey");
  assert.equal(guard.proved(1, true), false, "once is enough");
});

for (const elsewhere of [false, true]) {
  const end = elsewhere ? "dismiss" : "close";
  test(`a peer ${elsewhere ? "elsewhere" : "where it was"} that does not answer within 10 s, or cannot, gets ${end}`, () => {
    for (const silent of [true, false]) {
      const guard = inDoubt();
      if (elsewhere) guard.moved(1, false);
      guard.judge(1, register, false, 0);
      guard.judge(1, register, false, 1_000);
      if (silent) assert.equal(guard.proved(1, false), true);
      assert.equal(guard.judge(1, register, false, silent ? 1_001 : 11_000), end);
      assert.equal(guard.has(1), true);
      assert.equal(guard.proved(1, false), silent ? false : true, "nothing is waited for any more");
    }
  });
}

const bare = (over: Partial<Request>): Request => ({ ...update, ...over });
for (const [what, asked, harmless] of [
  ["a bare Update", update, true],
  ["a GET", request(Code.GET, { path: "/a/b/c" }), true],
  ["a registration", register, false],
  ["an Update with a payload", bare({ payload: hex("00") }), false],
  ["a DELETE", bare({ code: Code.DELETE }), false],
  ["a longer path", request(Code.POST, { path: "/rd/a/b" }), false],
  ["an Update with a query", request(Code.POST, { path: "/rd/a", query: ["lt=1"] }), false],
  [
    "two queries without a path",
    bare({ options: update.options.map((one) => ({ ...one, number: OptionNumber.UriQuery })) }),
    false,
  ],
] as const) {
  test(`${what} ${harmless ? "is obeyed in doubt, but not from elsewhere" : "is not obeyed in doubt"}`, () => {
    assert.equal(inDoubt().judge(1, asked, false, 0), harmless ? "obey" : "ask");
    const guard = inDoubt();
    guard.moved(1, false);
    assert.equal(guard.judge(1, asked, false, 0), "ask");
    guard.moved(1, true);
    assert.equal(guard.judge(1, asked, false, 0), harmless ? "obey" : "prove");
  });
}

test("a session that ended leaves nothing behind: its number is in no doubt, and not elsewhere", () => {
  const guard = inDoubt();
  guard.moved(1, false);
  guard.forget(1);
  assert.equal(guard.has(1), false);
  guard.note(1, false);
  assert.equal(guard.judge(1, update, false, 0), "obey");
});

test("a proof's token has 8 bytes of chance, which tell it from all others, and its number is no operation's", () => {
  const rng = seededRng(1);
  const token = proofToken(rng);
  assert.equal(token.length, 8);
  assert.notDeepEqual(proofToken(rng), token);
  assert.equal(isProofToken(token), true);
  for (const length of [0, 7, 9]) assert.equal(isProofToken(new Uint8Array(length)), false);
  assert.equal(isProofToken(undefined), false);
  assert.equal(proofId(7), -7);
});
