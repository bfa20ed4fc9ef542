import assert from "node:assert/strict";
import test from "node:test";
import { UsageError, concat } from "@godwit/base";
import { blockOption } from "./block-option.ts";
import { BlockTransfer, type BlockStep, type BlockTransferOptions } from "./block-client.ts";
import { Code, formatCode } from "./codes.ts";
import type { Option, Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, findUint, opaqueOption, request, response, uintOption } from "./options.ts";
import { findBlock } from "./transfer-options.ts";
import { coapTuning, type CoapTuning } from "./tuning.ts";

const bytes = (n: number, value = 0x61): Uint8Array => new Uint8Array(n).fill(value);

/** "1:0/1/16" as RFC 7959 3 writes block options. */
function blocks(text: string): Option[] {
  return text
    .split(" ")
    .filter((part) => part !== "")
    .map((part) => {
      const [which, num, more, size] = part.split(/[:/]/).map(Number);
      return blockOption(which === 1 ? OptionNumber.Block1 : OptionNumber.Block2, {
        num: num ?? 0,
        more: more === 1,
        szx: Math.log2((size ?? 16) / 16),
      });
    });
}

/** "2.05 2:0/1/128": the payload fills the block where M is set, and else has `length` bytes. */
function answer(text: string, length = 0, more: readonly Option[] = []): Response {
  const [code = "", ...rest] = text.split(" ");
  const own = blocks(rest.join(" "));
  const options = [...own, ...more];
  const block2 = findBlock(own, OptionNumber.Block2);
  const payload = bytes(block2?.more === true ? 16 << block2.szx : length);
  const [group, detail] = code.split(".").map(Number);
  return response(((group ?? 0) << 5) | (detail ?? 0), { payload, options });
}

/** "1:0/1/16" of a request, "whole" without block options; "done 2.05 300", "failed reason". */
function seen(step: BlockStep | Request | undefined): string {
  if (step === undefined) return "nothing";
  if ("kind" in step) {
    if (step.kind === "failed") return `failed ${step.reason}`;
    if (step.kind === "next") return seen(step.request);
    return `done ${formatCode(step.response.code)} ${step.response.payload.length}`;
  }
  const parts = [];
  for (const [which, number] of [
    [1, OptionNumber.Block1],
    [2, OptionNumber.Block2],
  ] as const) {
    const block = findBlock(step.options, number);
    if (block) parts.push(`${which}:${block.num}/${block.more ? 1 : 0}/${16 << block.szx}`);
  }
  return parts.join(" ") || "whole";
}

const transfer = (
  asked: Request,
  tuning: Partial<CoapTuning> = {},
  options: BlockTransferOptions = {},
): BlockTransfer => new BlockTransfer(asked, coapTuning(tuning), options);

const get = (text = ""): Request => request(Code.GET, { path: "/r", options: blocks(text) });
const send = (code: number, n: number, more: readonly Option[] = []): Request =>
  request(code, { path: "/r", payload: bytes(n), options: more });
const size1 = (n: number): Option[] => [uintOption(OptionNumber.Size1, n)];
const etag = (n: number): Option[] => [opaqueOption(OptionNumber.ETag, bytes(2, n))];
const numbers = (message: Request | Response): number[] => message.options.map((o) => o.number);
const nextOf = (step: BlockStep): Request => {
  assert.ok(step.kind === "next", seen(step));
  return step.request;
};

const conversations: readonly (readonly [
  string,
  Request,
  number,
  string,
  ...(readonly [Response, string])[],
])[] = [
  [
    "figure 2: a simple GET",
    get(),
    6,
    "whole",
    [answer("2.05 2:0/1/128"), "2:1/0/128"],
    [answer("2.05 2:1/1/128"), "2:2/0/128"],
    [answer("2.05 2:2/0/128", 44), "done 2.05 300"],
  ],
  [
    "figure 3: early negotiation",
    get("2:0/0/64"),
    6,
    "2:0/0/64",
    [answer("2.05 2:0/1/64"), "2:1/0/64"],
    [answer("2.05 2:1/0/64", 1), "done 2.05 65"],
  ],
  [
    "figure 4: late negotiation",
    get(),
    2,
    "whole",
    [answer("2.05 2:0/1/128"), "2:2/0/64"],
    [answer("2.05 2:2/1/64"), "2:3/0/64"],
    [answer("2.05 2:3/0/64", 64), "done 2.05 256"],
  ],
  [
    "2.4: a server that gives less than was asked for",
    get("2:0/0/256"),
    6,
    "2:0/0/256",
    [answer("2.05 2:0/1/64"), "2:1/0/64"],
    [answer("2.05 2:1/0/64", 3), "done 2.05 67"],
  ],
  [
    "2.4: a server that turns to smaller blocks",
    get(),
    6,
    "whole",
    [answer("2.05 2:0/1/64"), "2:1/0/64"],
    [answer("2.05 2:2/1/32"), "2:3/0/32"],
    [answer("2.05 2:3/0/32", 0), "done 2.05 96"],
  ],
  [
    "2.4: an answer that is whole after all",
    get(),
    6,
    "whole",
    [answer("2.05 2:0/1/64"), "2:1/0/64"],
    [answer("2.05", 70), "done 2.05 70"],
  ],
  [
    "2.4: an error in the middle is the outcome",
    get(),
    6,
    "whole",
    [answer("2.05 2:0/1/64"), "2:1/0/64"],
    [answer("4.04", 5), "done 4.04 5"],
  ],
  [
    "2.4: a block that was not asked for",
    get(),
    6,
    "whole",
    [answer("2.05 2:0/1/64"), "2:1/0/64"],
    [answer("2.05 2:2/0/64", 3), "failed badResponse"],
  ],
  [
    "2.4: a first block that is not the first",
    get(),
    6,
    "whole",
    [answer("2.05 2:1/1/64"), "failed badResponse"],
  ],
  [
    "2.3: a block with M that is not full",
    get(),
    6,
    "whole",
    [{ ...answer("2.05 2:0/1/64"), payload: bytes(63) }, "failed badResponse"],
  ],
  [
    "2.3: an empty block with M",
    get(),
    6,
    "whole",
    [{ ...answer("2.05 2:0/1/16"), payload: bytes(0) }, "failed badResponse"],
  ],
  [
    "2.2: size exponent 7",
    get(),
    6,
    "whole",
    [
      answer("2.05", 9, [{ number: OptionNumber.Block2, value: bytes(1, 0x0f) }]),
      "failed badResponse",
    ],
  ],
  [
    "2.9.1: 2.31 to a request without blocks",
    get(),
    6,
    "whole",
    [answer("2.31"), "failed badResponse"],
  ],
  [
    "figure 7: a simple PUT",
    send(Code.PUT, 300),
    3,
    "1:0/1/128",
    [answer("2.31 1:0/1/128"), "1:1/1/128"],
    [answer("2.31 1:1/1/128"), "1:2/0/128"],
    [answer("2.04 1:2/0/128"), "done 2.04 0"],
  ],
  [
    "figure 8: a server that acts on each block",
    send(Code.PUT, 300),
    3,
    "1:0/1/128",
    [answer("2.04 1:0/0/128"), "1:1/1/128"],
    [answer("2.04 1:1/0/128"), "1:2/0/128"],
    [answer("2.04 1:2/0/128"), "done 2.04 0"],
  ],
  [
    "figure 9: a server that wants smaller blocks",
    send(Code.PUT, 200),
    3,
    "1:0/1/128",
    [answer("2.31 1:0/1/32"), "1:4/1/32"],
    [answer("2.31 1:4/1/32"), "1:5/1/32"],
    [answer("2.31 1:5/1/32"), "1:6/0/32"],
    [answer("2.04 1:6/0/32"), "done 2.04 0"],
  ],
  [
    "figure 11: both bodies in blocks",
    send(Code.POST, 130, blocks("2:0/0/64")),
    3,
    "1:0/1/128",
    [answer("2.31 1:0/1/128"), "1:1/0/128 2:0/0/64"],
    [answer("2.04 1:1/0/128 2:0/1/64"), "2:1/0/64"],
    [answer("2.04 2:1/0/64", 2), "done 2.04 66"],
  ],
  [
    "2.5: an acknowledgement of another block",
    send(Code.PUT, 200),
    3,
    "1:0/1/128",
    [answer("2.31 1:1/1/128"), "failed badResponse"],
  ],
  [
    "2.5: 2.31 to the last block",
    send(Code.PUT, 20),
    0,
    "1:0/1/16",
    [answer("2.31 1:0/1/16"), "1:1/0/16"],
    [answer("2.31 1:1/0/16"), "failed badResponse"],
  ],
  [
    "2.3: a success without Block1 ends it",
    send(Code.PUT, 40),
    0,
    "1:0/1/16",
    [answer("2.04"), "done 2.04 0"],
  ],
  [
    "2.3: an error ends it",
    send(Code.PUT, 40),
    0,
    "1:0/1/16",
    [answer("4.03 1:0/1/16"), "done 4.03 0"],
  ],
  [
    "2.9.3: 4.13 with smaller blocks is a hint",
    send(Code.PUT, 200),
    6,
    "whole",
    [answer("4.13 1:0/0/64"), "1:0/1/64"],
    [answer("4.13 1:0/1/32"), "1:0/1/32"],
    [answer("4.13 1:0/1/32"), "done 4.13 0"],
  ],
  [
    "2.9.3: 4.13 without Block1 is a hint to use it",
    send(Code.PUT, 200),
    6,
    "whole",
    [answer("4.13"), "1:0/1/128"],
    [answer("2.31 1:0/1/128"), "1:1/0/128"],
  ],
  [
    "2.9.3: 4.13 with a Size1 that the body exceeds is final",
    send(Code.PUT, 200),
    6,
    "whole",
    [answer("4.13 1:0/0/16", 0, size1(199)), "done 4.13 0"],
  ],
  [
    "2.9.3: 4.13 to what cannot be divided is final",
    send(Code.PUT, 16),
    6,
    "whole",
    [answer("4.13"), "done 4.13 0"],
  ],
  [
    "2.9.2: 4.08 begins an idempotent upload again, twice",
    send(Code.PUT, 20),
    0,
    "1:0/1/16",
    [answer("2.31 1:0/1/16"), "1:1/0/16"],
    [answer("4.08"), "1:0/1/16"],
    [answer("4.08"), "1:0/1/16"],
    [answer("4.08"), "done 4.08 0"],
  ],
  [
    "2.9.2: 4.08 in the middle of a POST begins it again",
    send(Code.POST, 40),
    0,
    "1:0/1/16",
    [answer("2.31 1:0/1/16"), "1:1/1/16"],
    [answer("4.08"), "1:0/1/16"],
  ],
  [
    "2.9.2: 4.08 to the last block of a POST is final: it may have been carried out",
    send(Code.POST, 20),
    0,
    "1:0/1/16",
    [answer("2.31 1:0/1/16"), "1:1/0/16"],
    [answer("4.08"), "done 4.08 0"],
  ],
];

for (const [name, asked, preferredSzx, first, ...exchanges] of conversations) {
  test(`RFC 7959 ${name}`, () => {
    const t = transfer(asked, { preferredSzx });
    assert.deepEqual(
      [seen(t.first()), ...exchanges.map(([heard]) => seen(t.handle(heard)))],
      [first, ...exchanges.map(([, said]) => said)],
    );
  });
}

test("RFC 7959 4, 2.10: Size1 and If-None-Match go with block 0 alone, Observe with the last", () => {
  const t = transfer(
    send(Code.FETCH, 40, [
      { number: OptionNumber.IfNoneMatch, value: bytes(0) },
      uintOption(OptionNumber.Observe, 0),
    ]),
    { preferredSzx: 0 },
    { requestTag: bytes(1) },
  );
  const { IfNoneMatch, Observe, UriPath, Block1, Size1, RequestTag } = OptionNumber;
  const first = t.first();
  assert.deepEqual(numbers(first), [IfNoneMatch, UriPath, Block1, Size1, RequestTag]);
  assert.equal(findUint(first.options, Size1), 40);
  const second = nextOf(t.handle(answer("2.31 1:0/1/16")));
  assert.deepEqual(numbers(second), [UriPath, Block1, RequestTag]);
  const third = nextOf(t.handle(answer("2.31 1:1/1/16")));
  assert.deepEqual(numbers(third), [Observe, UriPath, Block1, RequestTag]);
  assert.deepEqual(concat(first.payload, second.payload, third.payload), bytes(40));
});

for (const [name, asked, szx, payload, tag] of [
  ["of a GET without payload", get(), 6, 0, false],
  ["of a FETCH with its question", send(Code.FETCH, 9), 6, 9, false],
  [
    "of a FETCH whose question went in blocks without it, and with the Request-Tag",
    send(Code.FETCH, 20),
    0,
    0,
    true,
  ],
  ["of a POST without its payload", send(Code.POST, 9), 6, 0, false],
] as const) {
  test(`RFC 7959 2.7: the further blocks ${name}`, () => {
    const t = transfer(asked, { preferredSzx: szx }, { requestTag: bytes(0) });
    t.first();
    if (t.sending) t.handle(answer("2.31 1:0/1/16"));
    const further = nextOf(t.handle(answer("2.05 2:0/1/16")));
    assert.equal(seen(further), "2:1/0/16");
    assert.equal(further.payload.length, payload);
    assert.equal(findOption(further.options, OptionNumber.RequestTag) !== undefined, tag);
  });
}

test("RFC 9175 3.4: a request that fits costs no Request-Tag", () => {
  const asked = send(Code.PUT, 16);
  assert.equal(transfer(asked, { preferredSzx: 0 }, { requestTag: bytes(1) }).first(), asked);
});

test("RFC 7959 2.6: a notification's other blocks are fetched without Observe, and the joined one has it", () => {
  const observed = request(Code.GET, { path: "/r", observe: 0 });
  const t = transfer(observed);
  const notification = answer("2.05 2:0/1/16", 0, [
    ...etag(1),
    uintOption(OptionNumber.Observe, 77),
  ]);
  const further = nextOf(t.handle(notification));
  assert.deepEqual(numbers(further), [OptionNumber.UriPath, OptionNumber.Block2]);
  // It changes before it is whole: the fresh GET does not register again.
  const again = nextOf(t.handle(answer("2.05 2:1/0/16", 3, etag(2))));
  assert.deepEqual(numbers(again), [OptionNumber.UriPath, OptionNumber.Block2]);
  assert.equal(seen(again), "2:0/0/16");
  t.handle(answer("2.05 2:0/1/16", 0, etag(2)));
  const step = t.handle(answer("2.05 2:1/0/16", 4, etag(2)));
  assert.ok(step.kind === "done");
  assert.equal(step.response.payload.length, 20);
  assert.deepEqual(numbers(step.response), [OptionNumber.ETag, OptionNumber.Observe]);
  assert.equal(findUint(step.response.options, OptionNumber.Observe), 77);
});

for (const [name, code, second, outcome] of [
  ["another ETag in a GET", Code.GET, answer("2.05 2:1/0/16", 3, etag(2)), "2:0/0/16"],
  ["no ETag any more in a GET", Code.GET, answer("2.05 2:1/0/16", 3), "2:0/0/16"],
  [
    "another Content-Format in a GET",
    Code.GET,
    answer("2.05 2:1/0/16", 3, [...etag(1), uintOption(12, 0)]),
    "2:0/0/16",
  ],
  ["another success in a GET", Code.GET, answer("2.04 2:1/0/16", 3, etag(1)), "2:0/0/16"],
  [
    "another ETag in a POST's answer",
    Code.POST,
    answer("2.05 2:1/0/16", 3, etag(2)),
    "failed bodyChanged",
  ],
] as const) {
  test(`RFC 7959 2.4: ${name} is another body: never joined`, () => {
    const t = transfer(request(code, { path: "/r" }));
    t.first();
    t.handle(answer("2.05 2:0/1/16", 0, etag(1)));
    assert.equal(seen(t.handle(second)), outcome);
  });
}

test("limit maxResponseBody: an answer that grows past it, or says so by Size2, is given up", () => {
  const t = transfer(get(), { maxResponseBody: 40 });
  t.first();
  t.handle(answer("2.05 2:0/1/16"));
  t.handle(answer("2.05 2:1/1/16"));
  assert.equal(seen(t.handle(answer("2.05 2:2/0/16", 9))), "failed tooLarge");
  const told = transfer(get(), { maxResponseBody: 40 });
  told.first();
  const size2 = [uintOption(OptionNumber.Size2, 41)];
  assert.equal(seen(told.handle(answer("2.05 2:0/1/16", 0, size2))), "failed tooLarge");
});

test("limit of 20 bits: a body with more blocks than can be numbered is not begun in such blocks", () => {
  const t = transfer(send(Code.PUT, 16 * 0x10_0000 + 1), { preferredSzx: 1 });
  t.first();
  assert.equal(seen(t.handle(answer("2.31 1:0/1/16"))), "failed tooLarge");
  const s = transfer(send(Code.PUT, 16 * 0x10_0000 + 1), { preferredSzx: 1 });
  assert.equal(s.smaller(), undefined);
});

test("RFC 7959 2.5: a path that does not carry a request may carry it in smaller blocks, from where it is", () => {
  const t = transfer(send(Code.PUT, 300), { preferredSzx: 6 });
  assert.equal(seen(t.first()), "whole");
  assert.equal(seen(t.smaller()), "1:0/1/256");
  assert.equal(seen(t.smaller()), "1:0/1/128");
  assert.equal(seen(t.handle(answer("2.31 1:0/1/128"))), "1:1/1/128");
  assert.equal(seen(t.smaller()), "1:2/1/64");
  for (const said of ["1:4/1/32", "1:8/1/16", "nothing"]) assert.equal(seen(t.smaller()), said);
  const g = transfer(get());
  g.first();
  assert.equal(seen(g.smaller()), "2:0/0/512");
  g.handle(answer("2.05 2:0/1/512"));
  assert.equal(seen(g.smaller()), "2:2/0/256");
});

test("RFC 7959 2: a caller who moves single blocks by himself gets each answer as it is", () => {
  for (const asked of [get("2:3/0/16"), send(Code.PUT, 16, blocks("1:0/1/16"))]) {
    const t = transfer(asked);
    const reply = answer("2.05 2:3/1/16");
    assert.equal(t.first(), asked);
    assert.deepEqual(t.handle(reply), { kind: "done", response: reply });
    assert.equal(t.smaller(), undefined);
  }
});

test("a request of our own with a malformed Block2 option is a UsageError", () => {
  const options = [{ number: OptionNumber.Block2, value: bytes(4) }];
  assert.throws(() => transfer(request(Code.GET, { options })), UsageError);
});
