import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, seededRng } from "@godwit/base";
import { blockOption } from "../block-option.ts";
import { Code, formatCode } from "../codes.ts";
import type { Message, Request, Response } from "../message.ts";
import { findObserve } from "../observe-option.ts";
import { OptionNumber } from "../option-numbers.ts";
import { findOption, findString, findUint, request, response } from "../options.ts";
import { findBlock } from "../transfer-options.ts";
import { HERE, LOST, Pair, type Handler } from "./pair.test-kit.ts";

// ETSI CoAP plugtest cases TD_COAP_BLOCK_01 to 06, and fault F28 (abandoned, interleaved, huge bodies).

const body = (n: number, salt = 0): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (i * 31 + (i >> 8) * 7 + salt) & 0xff);
const LARGE = body(1_700);
const content = (payload: Uint8Array): Response => response(Code.Content, { payload });
const early = (szx: number) => [blockOption(OptionNumber.Block2, { num: 0, more: false, szx })];
const get = (szx?: number): Request =>
  request(Code.GET, { path: "/large", options: szx === undefined ? [] : early(szx) });

/** The path counts as proven: these cases are not about amplification. */
const PROVEN = { amplificationFactor: 10_000 };

/** "0.01 2:0/0/64": code and block options as RFC 7959 3 writes them. */
function line({ code, options }: Message): string {
  const parts = [formatCode(code)];
  for (const [which, number] of [
    [1, OptionNumber.Block1],
    [2, OptionNumber.Block2],
  ] as const) {
    const block = findBlock(options, number);
    if (block) parts.push(`${which}:${block.num}/${block.more ? 1 : 0}/${16 << block.szx}`);
  }
  return parts.join(" ");
}

const lines = (pair: Pair, from: "client" | "server"): string[] => pair.messages(from).map(line);

/** Runs one request, and gives its answer. */
function converse(pair: Pair, asked: Request): Response {
  const id = pair.ask(asked);
  pair.run();
  const [answer, ...more] = pair.responses(id);
  assert.ok(answer, `failed: ${pair.failure(id)}`);
  assert.equal(more.length, 0);
  return answer;
}

/** Every other message answers the one before it, piggybacked: one exchange per block. */
function assertLockstep(pair: Pair): void {
  pair.wire.forEach(({ from }, i) => assert.equal(from, i % 2 === 0 ? "client" : "server"));
}

test("TD_COAP_BLOCK_01: GET of a large resource, early negotiation", () => {
  const pair = new Pair(() => content(LARGE), { tuning: PROVEN });
  assert.deepEqual(converse(pair, get(5)).payload, LARGE);
  assert.deepEqual(lines(pair, "client"), [
    "0.01 2:0/0/512",
    "0.01 2:1/0/512",
    "0.01 2:2/0/512",
    "0.01 2:3/0/512",
  ]);
  assert.deepEqual(lines(pair, "server"), [
    "2.05 2:0/1/512",
    "2.05 2:1/1/512",
    "2.05 2:2/1/512",
    "2.05 2:3/0/512",
  ]);
  assert.equal(
    findUint(pair.messages("server")[0]?.options ?? [], OptionNumber.Size2),
    LARGE.length,
  );
  const tags = pair.messages("server").map((m) => findOption(m.options, OptionNumber.ETag)?.value);
  assert.ok(tags.every((tag) => tag !== undefined));
  assert.equal(new Set(tags.map(String)).size, 1);
  assert.equal(pair.executed, 1);
  assertLockstep(pair);
});

test("TD_COAP_BLOCK_02: GET of a large resource, late negotiation", () => {
  const pair = new Pair(() => content(LARGE), {
    tuning: { ...PROVEN, preferredSzx: 4 },
    serverTuning: { ...PROVEN, preferredSzx: 5 },
  });
  assert.deepEqual(converse(pair, get()).payload, LARGE);
  assert.deepEqual(lines(pair, "client"), [
    "0.01",
    ...[2, 3, 4, 5, 6].map((n) => `0.01 2:${n}/0/256`),
  ]);
  assert.deepEqual(lines(pair, "server").slice(0, 2), ["2.05 2:0/1/512", "2.05 2:2/1/256"]);
  assert.equal(lines(pair, "server").at(-1), "2.05 2:6/0/256");
  assert.equal(pair.executed, 1);
  assertLockstep(pair);
});

test("TD_COAP_BLOCK_03: PUT of a large resource", () => {
  let stored: Uint8Array | undefined;
  const pair = new Pair(
    ({ request: { payload } }) => {
      stored = Uint8Array.from(payload);
      return response(Code.Changed);
    },
    { tuning: { ...PROVEN, preferredSzx: 5 } },
  );
  const put = request(Code.PUT, { path: "/large-update", contentFormat: 42, payload: LARGE });
  assert.equal(converse(pair, put).code, Code.Changed);
  assert.deepEqual(stored, LARGE);
  assert.deepEqual(lines(pair, "client"), [
    "0.03 1:0/1/512",
    "0.03 1:1/1/512",
    "0.03 1:2/1/512",
    "0.03 1:3/0/512",
  ]);
  assert.deepEqual(lines(pair, "server"), [
    "2.31 1:0/1/512",
    "2.31 1:1/1/512",
    "2.31 1:2/1/512",
    "2.04 1:3/0/512",
  ]);
  assert.deepEqual(
    pair.messages("client").map((m) => findUint(m.options, OptionNumber.Size1)),
    [LARGE.length, undefined, undefined, undefined],
  );
  assert.ok(
    pair
      .messages("client")
      .every((m) => findOption(m.options, OptionNumber.RequestTag) === undefined),
  );
  assertLockstep(pair);
});

test("TD_COAP_BLOCK_04: POST creates a large resource", () => {
  const pair = new Pair(() => response(Code.Created, { locationPath: "/large-create/1" }), {
    tuning: { ...PROVEN, preferredSzx: 6 },
  });
  const answer = converse(pair, request(Code.POST, { path: "/large-create", payload: LARGE }));
  assert.equal(answer.code, Code.Created);
  assert.equal(findString(answer.options, OptionNumber.LocationPath), "large-create");
  assert.deepEqual(lines(pair, "client"), ["0.02 1:0/1/1024", "0.02 1:1/0/1024"]);
  assert.deepEqual(lines(pair, "server"), ["2.31 1:0/1/1024", "2.01 1:1/0/1024"]);
});

test("TD_COAP_BLOCK_05: POST with a large body both ways", () => {
  const pair = new Pair(
    ({ request: { payload } }) => response(Code.Changed, { payload: payload.toReversed() }),
    {
      tuning: { ...PROVEN, preferredSzx: 6 },
    },
  );
  const answer = converse(pair, request(Code.POST, { path: "/large-post", payload: LARGE }));
  assert.deepEqual(answer.payload, LARGE.toReversed());
  assert.deepEqual(lines(pair, "client"), [
    "0.02 1:0/1/1024",
    "0.02 1:1/0/1024",
    "0.02 2:1/0/1024",
  ]);
  assert.deepEqual(lines(pair, "server"), [
    "2.31 1:0/1/1024",
    "2.04 1:1/0/1024 2:0/1/1024",
    "2.04 2:1/0/1024",
  ]);
  assert.equal(pair.executed, 1);
});

test("TD_COAP_BLOCK_06: GET with early negotiation of 16-byte blocks", () => {
  const pair = new Pair(() => content(body(100)), { tuning: PROVEN });
  assert.deepEqual(converse(pair, get(0)).payload, body(100));
  assert.deepEqual(
    lines(pair, "client"),
    [0, 1, 2, 3, 4, 5, 6].map((n) => `0.01 2:${n}/0/16`),
  );
  assert.equal(lines(pair, "server").at(-1), "2.05 2:6/0/16");
});

test("RFC 7959 2.6: notifications come in blocks of the size the registration asked for, and out whole", () => {
  let state = body(300, 1);
  let observed = 0;
  const answer: Handler = ({ request: asked, exchange }) => {
    const observe = findObserve(asked.options);
    if (observe === 0) observed = exchange;
    return {
      ...response(Code.Content, { payload: state }),
      options: observe === 0 ? [{ number: OptionNumber.Observe, value: new Uint8Array(0) }] : [],
    };
  };
  const pair = new Pair(answer, { tuning: PROVEN });
  const id = pair.ask(request(Code.GET, { path: "/large", observe: 0, options: early(3) }));
  pair.run(10_000);
  for (const salt of [2, 3]) {
    state = body(300, salt);
    pair.handle("server", { type: "notify", exchange: observed, response: content(state) });
    pair.run(10_000);
  }
  assert.deepEqual(
    pair.responses(id).map((r) => r.payload),
    [1, 2, 3].map((salt) => body(300, salt)),
  );
  const first = pair.messages("server").filter((m) => findObserve(m.options) !== undefined);
  assert.deepEqual(first.map(line), ["2.05 2:0/1/128", "2.05 2:0/1/128", "2.05 2:0/1/128"]);
  const further = pair
    .messages("client")
    .slice(1)
    .filter((m) => m.code === Code.GET);
  assert.ok(further.length === 6 && further.every((m) => findObserve(m.options) === undefined));
});

test("F28: through loss, delay and duplicates every body arrives whole and once, or the request fails", () => {
  let whole = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const rng = seededRng(seed);
    const up = body(Math.floor(rng.float() * 3_000), seed);
    const down = body(Math.floor(rng.float() * 3_000), seed + 1);
    const bodies: Uint8Array[] = [];
    const pair = new Pair(
      ({ request: { payload } }) => {
        bodies.push(Uint8Array.from(payload));
        return response(Code.Changed, { payload: down });
      },
      {
        seed,
        tuning: { ...PROVEN, preferredSzx: seed % 7 },
        serverTuning: { ...PROVEN, preferredSzx: (seed * 3) % 7 },
      },
    );
    pair.network = () => ({
      copies: rng.float() < 0.15 ? 0 : rng.float() < 0.2 ? 2 : 1,
      delay: rng.float() * 900,
    });
    const id = pair.ask(request(Code.POST, { path: "/a", payload: up }));
    pair.run(3_600_000);
    for (const one of bodies) assert.deepEqual(one, up, `seed ${seed}`);
    assert.ok(bodies.length <= 1, `seed ${seed}: carried out ${bodies.length} times`);
    const [answer] = pair.responses(id);
    if (answer === undefined) assert.ok(pair.failure(id), `seed ${seed}`);
    else {
      assert.deepEqual(answer.payload, down, `seed ${seed}`);
      whole++;
    }
  }
  assert.ok(whole >= 50, `${whole} of 60`);
});

test("F28: an upload that its client abandons leaves nothing behind after 247 s", () => {
  const pair = new Pair(() => response(Code.Changed), { tuning: { ...PROVEN, preferredSzx: 0 } });
  pair.network = (from, _, n) => (from === "client" && n > 6 ? LOST : HERE);
  const id = pair.ask(request(Code.PUT, { path: "/a", payload: body(200) }));
  pair.run(3_600_000);
  assert.equal(pair.failure(id), "timeout");
  assert.equal(pair.executed, 0);
  // Begun again by the caller, it goes through from its first block.
  pair.network = () => HERE;
  assert.equal(
    converse(pair, request(Code.PUT, { path: "/a", payload: body(200) })).code,
    Code.Changed,
  );
  assert.equal(pair.executed, 1);
});

test("F28: uploads to one resource that run at the same time stay apart by their Request-Tags", () => {
  const bodies: Uint8Array[] = [];
  const pair = new Pair(
    ({ request: { payload } }) => {
      bodies.push(Uint8Array.from(payload));
      return response(Code.Changed);
    },
    { tuning: { ...PROVEN, preferredSzx: 1, nstart: 3 } },
  );
  const ids = [1, 2, 3].map((salt) =>
    pair.ask(request(Code.PUT, { path: "/a", payload: body(90, salt) })),
  );
  pair.run();
  for (const id of ids) assert.equal(pair.responses(id)[0]?.code, Code.Changed, pair.failure(id));
  assert.deepEqual(
    bodies.map((one) => one[0]).toSorted((a, b) => (a ?? 0) - (b ?? 0)),
    [1, 2, 3].map((salt) => body(1, salt)[0]),
  );
  for (const one of bodies) assert.deepEqual(one, body(90, one[0]));
  const tags = pair.messages("client").map((m) => findOption(m.options, OptionNumber.RequestTag));
  assert.equal(new Set(tags.map((tag) => tag && String(tag.value))).size, 3);
});

test("F28: a body over the limit is refused at its first block by Size1, and the peer learns the limit", () => {
  const pair = new Pair(() => response(Code.Changed), {
    tuning: { ...PROVEN, maxRequestBody: 4_096 },
  });
  const answer = converse(pair, request(Code.PUT, { path: "/a", payload: body(4_097) }));
  assert.equal(answer.code, Code.RequestEntityTooLarge);
  assert.equal(findUint(answer.options, OptionNumber.Size1), 4_096);
  assert.equal(pair.wire.length, 2);
  assert.equal(
    converse(pair, request(Code.PUT, { path: "/a", payload: body(4_096) })).code,
    Code.Changed,
  );
});

test("RFC 7252 11.3: an unproven path gets a long answer only after it has shown that it is there", () => {
  const pair = new Pair(() => content(LARGE));
  assert.deepEqual(converse(pair, get()).payload, LARGE);
  assert.equal(lines(pair, "server")[0], "4.01");
  assert.deepEqual(
    concat(
      ...pair
        .messages("server")
        .slice(1)
        .map((m) => m.payload),
    ),
    LARGE,
  );
});
