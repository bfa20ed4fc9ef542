import assert from "node:assert/strict";
import test from "node:test";
import { concat, seededRng } from "@godwit/base";
import { blockOption, type Block } from "./block-option.ts";
import { BlockServer, type BlockResult } from "./block-server.ts";
import { Code, formatCode } from "./codes.ts";
import type { Option, Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, findUint, request, response, uintOption } from "./options.ts";
import { findBlock } from "./transfer-options.ts";
import { coapTuning, type CoapTuning } from "./tuning.ts";

const LIFETIME = 247_000;
const bytes = (n: number, value = 0x61): Uint8Array => new Uint8Array(n).fill(value);
const server = (tuning: Partial<CoapTuning> = {}): BlockServer =>
  new BlockServer(coapTuning(tuning), seededRng(1));

/** "1:0/1/16" as RFC 7959 3 writes block options. */
function blocks(text: string): Option[] {
  return text
    .split(" ")
    .filter((part) => part !== "")
    .map((part) => {
      const [which, num, more, size] = part.split(/[:/]/).map(Number);
      const block: Block = { num: num ?? 0, more: more === 1, szx: Math.log2((size ?? 16) / 16) };
      return blockOption(which === 1 ? OptionNumber.Block1 : OptionNumber.Block2, block);
    });
}

function ask(
  code: number,
  text: string,
  payload = bytes(0),
  more: readonly Option[] = [],
): Request {
  return request(code, { path: "/r", payload, options: [...blocks(text), ...more] });
}
const put = (text: string, payload: Uint8Array, more: readonly Option[] = []): Request =>
  ask(Code.PUT, text, payload, more);

/** "2.31 1:0/1/16", or "whole 32" for a body of 32 bytes. */
function seen(result: BlockResult | Response): string {
  if ("kind" in result)
    return result.kind === "whole"
      ? `whole ${result.request.payload.length}`
      : seen(result.response);
  const parts = [formatCode(result.code)];
  for (const [which, number] of [
    [1, OptionNumber.Block1],
    [2, OptionNumber.Block2],
  ] as const) {
    const block = findBlock(result.options, number);
    if (block) parts.push(`${which}:${block.num}/${block.more ? 1 : 0}/${16 << block.szx}`);
  }
  return parts.join(" ");
}

function size1(result: BlockResult): number | undefined {
  return result.kind === "reply"
    ? findUint(result.response.options, OptionNumber.Size1)
    : undefined;
}

test("RFC 7959 figure 7: blocks of an upload are continued, and the last one hands on the whole", () => {
  const s = server();
  assert.equal(seen(s.request(1, put("1:0/1/128", bytes(128, 1)), 0)), "2.31 1:0/1/128");
  assert.equal(seen(s.request(1, put("1:1/1/128", bytes(128, 2)), 0)), "2.31 1:1/1/128");
  const last = put("1:2/0/128", bytes(7, 3));
  const whole = s.request(1, last, 0);
  assert.ok(whole.kind === "whole");
  assert.deepEqual(whole.request.payload, concat(bytes(128, 1), bytes(128, 2), bytes(7, 3)));
  assert.deepEqual(
    whole.request.options.map((o) => o.number),
    [OptionNumber.UriPath],
  );
  assert.equal(seen(s.respond(1, last, response(Code.Changed), 0)), "2.04 1:2/0/128");
  assert.equal(s.bytes, 0);
});

test("of a session that may not upload the first block goes on as it is, nothing is kept, and a later block is of nothing", () => {
  const s = new BlockServer(coapTuning(), seededRng(1), (session) => session !== 1);
  const first = put("1:0/1/128", bytes(128, 1));
  assert.equal(seen(s.request(1, first, 0)), "whole 128");
  assert.deepEqual([s.bodies, s.bytes], [0, 0]);
  assert.equal(seen(s.respond(1, first, response(Code.Forbidden), 0)), "4.03 1:0/0/128");
  assert.equal(seen(s.request(1, put("1:1/0/128", bytes(9, 2)), 0)), "4.08");
  assert.equal(seen(s.request(2, first, 0)), "2.31 1:0/1/128");
});

test("RFC 7959 figure 9: a server that likes smaller blocks says so, and takes them renumbered", () => {
  const s = server({ preferredSzx: 1 });
  assert.equal(seen(s.request(1, put("1:0/1/128", bytes(128, 1)), 0)), "2.31 1:0/1/32");
  assert.equal(seen(s.request(1, put("1:4/1/32", bytes(32, 2)), 0)), "2.31 1:4/1/32");
  assert.equal(seen(s.request(1, put("1:5/0/32", bytes(5, 3)), 0)), "whole 165");
});

for (const [name, request_, outcome] of [
  [
    "2.2: size exponent 7 in Block1",
    put("", bytes(1), [{ number: 27, value: bytes(1, 0x07) }]),
    "4.00",
  ],
  [
    "2.2: size exponent 7 in Block2",
    ask(1, "", bytes(0), [{ number: 23, value: bytes(1, 0x17) }]),
    "4.00",
  ],
  [
    "2.1: a block option of 4 bytes",
    put("", bytes(1), [{ number: 27, value: bytes(4, 1) }]),
    "4.02",
  ],
  ["2.1: two Block1 options", put("1:0/1/16 1:1/1/16", bytes(16)), "4.02"],
  ["2.1: two Block2 options", ask(1, "2:0/0/16 2:1/0/16"), "4.02"],
  ["2.3: M set with too short a payload", put("1:0/1/32", bytes(31)), "4.00"],
  ["2.3: M set with too long a payload", put("1:0/1/32", bytes(33)), "4.00"],
  ["2.3: a last block longer than its size", put("1:0/0/16", bytes(17)), "4.00"],
  ["2.5: a later block of an upload not begun", put("1:1/1/16", bytes(16)), "4.08"],
  ["2.5: the highest block number", put("1:1048575/0/16", bytes(1)), "4.13"],
  ["2.4: a later block of a POST's answer that is not kept", ask(2, "2:1/0/16"), "4.08"],
  ["2.4: a later block of a FETCH without its question", ask(5, "2:1/0/16"), "4.08"],
] as const) {
  test(`RFC 7959 ${name} is answered ${outcome}, and nothing is kept`, () => {
    const s = server();
    const result = s.request(1, request_, 0);
    assert.equal(seen(result).slice(0, 4), outcome);
    assert.deepEqual([s.bodies, s.bytes], [0, 0]);
  });
}

test("RFC 7959 2.5: a gap is 4.08, and the missing block still fits in", () => {
  const s = server();
  s.request(1, put("1:0/1/16", bytes(16, 1)), 0);
  assert.equal(seen(s.request(1, put("1:2/0/16", bytes(3, 3)), 0)), "4.08");
  assert.equal(seen(s.request(1, put("1:1/1/16", bytes(16, 2)), 0)), "2.31 1:1/1/16");
  assert.equal(seen(s.request(1, put("1:2/0/16", bytes(3, 3)), 0)), "whole 35");
});

test("RFC 7959 2.5: a repeated block changes nothing; a different block 0 begins a new body", () => {
  const s = server();
  const first = put("1:0/1/16", bytes(16, 1));
  s.request(1, first, 0);
  s.request(1, put("1:1/1/16", bytes(16, 2)), 0);
  assert.equal(seen(s.request(1, first, 0)), "2.31 1:0/1/16");
  s.request(1, put("1:2/1/16", bytes(16, 3)), 0);
  assert.equal(seen(s.request(1, put("1:0/1/16", bytes(16, 9)), 0)), "2.31 1:0/1/16");
  assert.equal(seen(s.request(1, put("1:3/0/16", bytes(1)), 0)), "4.08");
  const whole = s.request(1, put("1:1/0/16", bytes(1, 8)), 0);
  assert.ok(whole.kind === "whole");
  assert.deepEqual(whole.request.payload, concat(bytes(16, 9), bytes(1, 8)));
});

test("RFC 7959 2.3: blocks of another Content-Format are not joined", () => {
  const s = server();
  s.request(1, put("1:0/1/16", bytes(16), [uintOption(OptionNumber.ContentFormat, 0)]), 0);
  const other = put("1:1/0/16", bytes(16), [uintOption(OptionNumber.ContentFormat, 60)]);
  assert.equal(seen(s.request(1, other, 0)), "4.08");
});

for (const [name, session, more] of [
  ["another session", 2, []],
  ["another Request-Tag", 1, [{ number: OptionNumber.RequestTag, value: bytes(1) }]],
  ["the empty Request-Tag", 1, [{ number: OptionNumber.RequestTag, value: bytes(0) }]],
  ["another query", 1, [{ number: OptionNumber.UriQuery, value: bytes(1) }]],
] as const) {
  test(`RFC 9175 3.3: an upload beside one of ${name} is told apart from it`, () => {
    const s = server();
    s.request(1, put("1:0/1/16", bytes(16, 1)), 0);
    s.request(session, put("1:0/1/16", bytes(16, 2), more), 0);
    for (const [which, options, value] of [
      [session, more, 2],
      [1, [], 1],
    ] as const) {
      const whole = s.request(which, put("1:1/0/16", bytes(4, value), options), 0);
      assert.ok(whole.kind === "whole");
      assert.deepEqual(whole.request.payload, bytes(20, value));
      assert.equal(findOption(whole.request.options, OptionNumber.RequestTag), undefined);
    }
  });
}

test("RFC 7959 2.9.3: Size1 over the limit is refused at the first block, a body that grows past it at that block", () => {
  const s = server({ maxRequestBody: 64 });
  const first = (n: number): BlockResult =>
    s.request(1, put("1:0/1/32", bytes(32), [uintOption(OptionNumber.Size1, n)]), 0);
  const refused = first(65);
  assert.deepEqual([seen(refused), size1(refused)], ["4.13 1:0/1/32", 64]);
  assert.equal(s.bodies, 0);
  assert.equal(seen(first(64)), "2.31 1:0/1/32");
  assert.equal(seen(s.request(1, put("1:1/1/32", bytes(32)), 0)), "2.31 1:1/1/32");
  const grown = s.request(1, put("1:2/0/32", bytes(1)), 0);
  assert.deepEqual([seen(grown), size1(grown)], ["4.13 1:2/0/32", 64]);
  assert.deepEqual([s.bodies, s.bytes], [0, 0]);
});

test("RFC 7959 2.5: what is not gone on with is forgotten 247 s after its last block, then later blocks are 4.08", () => {
  const s = server();
  s.request(1, put("1:0/1/16", bytes(16)), 0);
  s.request(1, put("1:1/1/16", bytes(16)), 100_000);
  assert.equal(s.wakeAt, 100_000 + LIFETIME);
  s.wake(LIFETIME);
  assert.equal(s.bodies, 1);
  s.wake(100_000 + LIFETIME);
  assert.deepEqual([s.bodies, s.bytes, s.wakeAt], [0, 0, undefined]);
  assert.equal(seen(s.request(1, put("1:2/0/16", bytes(1)), 400_000)), "4.08");
});

const tagged = (n: number): Option[] => [{ number: OptionNumber.RequestTag, value: bytes(1, n) }];

test("limit maxPartialBodiesPerSession: a session's newest upload ends its own oldest", () => {
  const s = server({ maxPartialBodiesPerSession: 2 });
  s.request(2, put("1:0/1/16", bytes(16)), 0);
  for (const n of [1, 2, 3]) s.request(1, put("1:0/1/16", bytes(16), tagged(n)), n);
  assert.equal(s.bodies, 3);
  assert.equal(seen(s.request(1, put("1:1/0/16", bytes(1), tagged(1)), 4)), "4.08");
  assert.equal(seen(s.request(1, put("1:1/0/16", bytes(1), tagged(3)), 4)), "whole 17");
  assert.equal(seen(s.request(2, put("1:1/0/16", bytes(1)), 4)), "whole 17");
});

test("limit maxPartialBytesPerSession: one body may not outgrow it, several make room for the newest", () => {
  const s = server({ maxPartialBytesPerSession: 100 });
  s.request(1, put("1:0/1/32", bytes(32), tagged(1)), 0);
  s.request(1, put("1:0/1/32", bytes(32), tagged(2)), 1);
  assert.ok(s.bytes <= 100);
  assert.equal(seen(s.request(1, put("1:1/1/32", bytes(32), tagged(1)), 2)), "4.08");
  assert.equal(seen(s.request(1, put("1:1/1/32", bytes(32), tagged(2)), 2)), "2.31 1:1/1/32");
  assert.equal(seen(s.request(1, put("1:2/1/32", bytes(32), tagged(2)), 2)), "2.31 1:2/1/32");
  assert.equal(s.bytes, 100);
  const over = s.request(1, put("1:3/1/32", bytes(32), tagged(2)), 2);
  assert.deepEqual([seen(over), size1(over)], ["4.13 1:3/1/32", 100]);
  assert.equal(s.bytes, 0);
});

for (const [name, tuning] of [
  ["maxPartialBodies", { maxPartialBodies: 2 }],
  ["maxPartialBytes", { maxPartialBytes: 64 }],
] as const) {
  test(`limit ${name}: another session waits (5.03 with Max-Age), and those under way go on`, () => {
    const s = server(tuning);
    s.request(1, put("1:0/1/16", bytes(16)), 0);
    s.request(2, put("1:0/1/16", bytes(16)), 7_000);
    const wait = s.request(3, put("1:0/1/16", bytes(16)), 7_000);
    assert.equal(seen(wait), "5.03");
    const maxAge = wait.kind === "reply" ? findUint(wait.response.options, OptionNumber.MaxAge) : 0;
    assert.ok(maxAge !== undefined && maxAge >= 240 && maxAge < 256, `Max-Age ${maxAge}`);
    assert.equal(seen(s.request(1, put("1:1/0/16", bytes(1)), 7_000)), "whole 17");
    assert.equal(seen(s.request(3, put("1:0/1/16", bytes(16)), 7_000)), "2.31 1:0/1/16");
  });
}

test("limit maxPartialBytes in mid-transfer: the upload that needs more gets 5.03 and frees what it held", () => {
  const s = server({ maxPartialBytes: 64 });
  s.request(1, put("1:0/1/16", bytes(16)), 0);
  s.request(2, put("1:0/1/16", bytes(16)), 0);
  s.request(1, put("1:1/1/16", bytes(16)), 0);
  assert.equal(seen(s.request(1, put("1:2/1/16", bytes(16)), 0)), "5.03");
  assert.deepEqual([s.bodies, s.bytes], [1, 32]);
});

test("RFC 7959 figure 2: a long answer goes out in blocks with ETag, and Size2 in the first", () => {
  const s = server({ preferredSzx: 3 });
  const original = ask(Code.GET, "");
  assert.equal(seen(s.request(1, original, 0)), "whole 0");
  const first = s.respond(1, original, response(Code.Content, { payload: bytes(300) }), 0);
  assert.equal(seen(first), "2.05 2:0/1/128");
  assert.equal(findUint(first.options, OptionNumber.Size2), 300);
  const tag = findOption(first.options, OptionNumber.ETag);
  assert.equal(tag?.value.length, 4);
  const second = s.request(1, ask(Code.GET, "2:1/0/128"), 0);
  assert.equal(seen(second), "2.05 2:1/1/128");
  assert.ok(second.kind === "reply");
  assert.deepEqual(findOption(second.response.options, OptionNumber.ETag), tag);
  assert.equal(findOption(second.response.options, OptionNumber.Size2), undefined);
  assert.equal(seen(s.request(1, ask(Code.GET, "2:2/0/128"), 0)), "2.05 2:2/0/128");
  assert.equal(s.bodies, 0);
});

for (const [name, text, limit, first] of [
  ["early negotiation", "2:0/0/64", undefined, "2.05 2:0/1/64"],
  ["a larger wish than ours", "2:0/0/1024", undefined, "2.05 2:0/1/256"],
  ["a limit below the wish", "2:0/0/256", 130, "2.05 2:0/1/128"],
  ["a limit below the smallest block", "", 5, "2.05 2:0/1/16"],
  ["no wish", "", undefined, "2.05 2:0/1/256"],
] as const) {
  test(`RFC 7959 2.4: ${name} settles the block size`, () => {
    const s = server({ preferredSzx: 4 });
    const answer = response(Code.Content, { payload: bytes(1_000) });
    assert.equal(seen(s.respond(1, ask(Code.GET, text), answer, 0, limit)), first);
  });
}

test("RFC 7959 figure 4: a client that wants smaller blocks late gets them, from where it is", () => {
  const s = server({ preferredSzx: 3 });
  s.respond(1, ask(Code.GET, ""), response(Code.Content, { payload: bytes(200) }), 0);
  assert.equal(seen(s.request(1, ask(Code.GET, "2:2/0/64"), 0)), "2.05 2:2/1/64");
  assert.equal(seen(s.request(1, ask(Code.GET, "2:1/0/128"), 0)), "2.05 2:1/0/128");
});

test("RFC 7959 2.4: a block past the end is 4.02, kept or not, and does not end the transfer", () => {
  const s = server({ preferredSzx: 0 });
  const answer = response(Code.Content, { payload: bytes(40) });
  s.respond(1, ask(Code.GET, ""), answer, 0);
  for (const num of [3, 1_048_575])
    assert.equal(seen(s.request(1, ask(Code.GET, `2:${num}/0/16`), 0)), "4.02");
  assert.equal(s.bodies, 1);
  assert.equal(seen(s.respond(2, ask(Code.GET, "2:3/0/16"), answer, 0)), "4.02");
});

test("RFC 7959 2.4: without the kept answer a GET asks the application anew, and gets the block it wants", () => {
  const s = server();
  const later = ask(Code.GET, "2:2/0/16", bytes(0), [uintOption(OptionNumber.Observe, 0)]);
  const whole = s.request(1, later, 0);
  assert.ok(whole.kind === "whole");
  assert.deepEqual(
    whole.request.options.map((o) => o.number),
    [OptionNumber.UriPath],
  );
  const answer = response(Code.Content, { payload: concat(bytes(32, 1), bytes(20, 2)) });
  const block = s.respond(1, later, answer, 0);
  assert.equal(seen(block), "2.05 2:2/1/16");
  assert.deepEqual(block.payload, bytes(16, 2));
  assert.equal(seen(s.request(1, ask(Code.GET, "2:3/0/16"), 0)), "2.05 2:3/0/16");
  assert.equal(seen(s.respond(1, later, response(Code.NotFound), 0)), "4.04");
  assert.equal(seen(s.respond(1, later, response(Code.Valid), 0)), "2.03");
});

test("limit of kept answers: without room nothing of others is ended, and a GET is served all the same", () => {
  const s = server({ maxPartialBodies: 1, preferredSzx: 0 });
  const answer = response(Code.Content, { payload: bytes(40) });
  s.respond(1, ask(Code.GET, ""), answer, 0);
  assert.equal(seen(s.respond(2, ask(Code.GET, ""), answer, 0)), "2.05 2:0/1/16");
  assert.equal(s.bodies, 1);
  assert.equal(seen(s.request(1, ask(Code.GET, "2:1/0/16"), 0)), "2.05 2:1/1/16");
  assert.equal(seen(s.request(2, ask(Code.GET, "2:1/0/16"), 0)), "whole 0");
});

test("RFC 7959 figure 11: upload and long answer in one operation, in every session its own", () => {
  const s = server();
  for (const session of [1, 2]) {
    const post = (text: string, payload = bytes(0)): Request => ask(Code.POST, text, payload);
    assert.equal(seen(s.request(session, post("1:0/1/32", bytes(32)), 0)), "2.31 1:0/1/32");
    const last = post("1:1/0/32 2:0/0/64", bytes(9));
    assert.equal(seen(s.request(session, last, 0)), "whole 41");
    const answer = response(Code.Changed, { payload: bytes(100, session) });
    assert.equal(seen(s.respond(session, last, answer, 0)), "2.04 1:1/0/32 2:0/1/64");
  }
  for (const session of [2, 1]) {
    const rest = s.request(session, ask(Code.POST, "2:1/0/64"), 0);
    assert.equal(seen(rest), "2.04 2:1/0/64");
    assert.ok(rest.kind === "reply");
    assert.deepEqual(rest.response.payload, bytes(36, session));
  }
});

test("RFC 8132 2.1: answers to FETCHes that differ in their payload are told apart", () => {
  const s = server({ preferredSzx: 0 });
  for (const value of [1, 2])
    s.respond(
      1,
      ask(Code.FETCH, "", bytes(2, value)),
      response(Code.Content, { payload: bytes(40, value) }),
      0,
    );
  for (const value of [1, 2]) {
    const block = s.request(1, ask(Code.FETCH, "2:1/0/16", bytes(2, value)), 0);
    assert.ok(block.kind === "reply");
    assert.deepEqual(block.response.payload, bytes(16, value));
  }
});

test("RFC 7959 2.6: a notification's first block carries Observe, the rest comes without", () => {
  const s = server({ preferredSzx: 0 });
  const observed = ask(Code.GET, "", bytes(0), [uintOption(OptionNumber.Observe, 0)]);
  const state = response(Code.Content, {
    payload: bytes(20),
    options: [uintOption(OptionNumber.Observe, 9)],
  });
  assert.equal(findUint(s.respond(1, observed, state, 0).options, OptionNumber.Observe), 9);
  const rest = s.request(1, ask(Code.GET, "2:1/0/16"), 0);
  assert.ok(rest.kind === "reply");
  assert.equal(seen(rest), "2.05 2:1/0/16");
  assert.equal(findOption(rest.response.options, OptionNumber.Observe), undefined);
});

test("sessions: what moved goes on in the new one within its limits, what closed is gone", () => {
  const s = server({ maxPartialBodiesPerSession: 2 });
  s.request(1, put("1:0/1/16", bytes(16, 1)), 0);
  s.request(1, put("1:0/1/16", bytes(16, 2), tagged(2)), 10);
  s.request(2, put("1:0/1/16", bytes(16, 3)), 20);
  s.moved(1, 2);
  assert.equal(s.bodies, 2);
  assert.equal(s.wakeAt, LIFETIME);
  const whole = s.request(2, put("1:1/0/16", bytes(1, 1)), 30);
  assert.ok(whole.kind === "whole");
  assert.deepEqual(whole.request.payload, bytes(17, 1));
  s.closed(2);
  assert.deepEqual([s.bodies, s.bytes, s.wakeAt], [0, 0, undefined]);
});

test("an answer with more blocks than 20 bits can number is 5.00 instead of a wrong one", () => {
  const s = server();
  const huge = response(Code.Content, { payload: new Uint8Array(16 * 0x10_0000 + 1) });
  assert.equal(seen(s.respond(1, ask(Code.GET, "2:0/0/16"), huge, 0)), "5.00");
  assert.equal(seen(s.respond(1, ask(Code.GET, "2:0/0/32"), huge, 0)), "2.05 2:0/1/32");
});
