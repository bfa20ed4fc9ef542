import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { EMPTY, FormatError, UsageError, concat, hex, toHex } from "@godwit/base";
import fc from "fast-check";
import { Code, formatCode } from "./codes.ts";
import {
  MessageFormatError,
  decodeMessage,
  encodeMessage,
  type MessageFormatReason,
} from "./message-codec.ts";
import { ACK, CON, NON, RST, type Message, type MessageType } from "./message.ts";
import { decodeBody, encodeBody, optionAt } from "./options-codec.ts";
import { findOption, uriPath } from "./options.ts";

type Captures = {
  readonly captures: readonly {
    readonly name: string;
    readonly messages: readonly { readonly hex: string }[];
  }[];
};

const captures = (
  JSON.parse(
    readFileSync(new URL("../src/vectors/coap-plain.json", import.meta.url), "utf8"),
  ) as Captures
).captures.map(({ name, messages }) => ({ name, messages: messages.map((m) => hex(m.hex)) }));

/** RFC 7252 appendix A, and one of each form of length. */
const EXAMPLES: [string, Uint8Array][] = [
  ["figure 16, GET", hex("40 01 7d34 bb 74656d7065726174757265")],
  ["figure 16, 2.05", hex("60 45 7d34 ff 32322e3320 43")],
  ["figure 17, token 0x20", hex("41 01 7d35 20 bb 74656d7065726174757265")],
  ["ping", hex("40 00 1234")],
  ["pong", hex("70 00 1234")],
  ["delta 13", hex("50 01 0001 d0 00")],
  ["delta 268", hex("50 01 0001 d0 ff")],
  ["delta 269", hex("50 01 0001 e0 0000")],
  ["delta 65535", hex("50 01 0001 e0 fef2")],
  ["length 13", hex("50 01 0001 2d 00 00112233445566778899aabbcc")],
  ["length 268", concat(hex("50 01 0001 1d ff"), new Uint8Array(268))],
  ["length 269", concat(hex("50 01 0001 1e 0000"), new Uint8Array(269))],
  ["delta and length 13", hex("50 01 0001 dd 0100 00112233445566778899aabbcc")],
  ["ff inside an option value", hex("40 01 0001 b3 ffffff 01 ff")],
];

const VECTORS = [...EXAMPLES.map(([, bytes]) => bytes), ...captures.flatMap((c) => c.messages)];

/** What {@link decodeMessage} makes of bytes: canonical bytes or the reason against them. Anything else thrown fails. */
function outcome(bytes: Uint8Array, maxTokenLength?: number): Uint8Array | MessageFormatError {
  let message: Message;
  try {
    message = decodeMessage(bytes, maxTokenLength);
  } catch (error) {
    assert.ok(error instanceof MessageFormatError, `${toHex(bytes)}: ${String(error)}`);
    assert.ok(error instanceof FormatError);
    return error;
  }
  return encodeMessage(message);
}

function reasonOf(bytes: Uint8Array, maxTokenLength?: number): MessageFormatReason | "none" {
  const result = outcome(bytes, maxTokenLength);
  return result instanceof MessageFormatError ? result.reason : "none";
}

test("RFC 7252 appendix A: the example request and response", () => {
  const request = decodeMessage(EXAMPLES[2]![1]);
  assert.deepEqual([request.type, request.code, request.mid], [CON, Code.GET, 0x7d35]);
  assert.deepEqual(request.token, hex("20"));
  assert.deepEqual(uriPath(request.options), ["temperature"]);
  assert.equal(request.payload.length, 0);
  const response = decodeMessage(EXAMPLES[1]![1]);
  assert.deepEqual([response.type, response.code, response.mid], [ACK, Code.Content, 0x7d34]);
  assert.deepEqual(response.payload, hex("32322e332043"));
  assert.deepEqual(decodeMessage(hex("40001234")), {
    type: CON,
    code: 0,
    mid: 0x1234,
    token: EMPTY,
    options: [],
    payload: EMPTY,
  });
});

for (const { name, messages } of captures)
  test(`RFC 7252 3: every datagram of the capture ${name} is read and written byte for byte`, () => {
    assert.ok(messages.length > 0);
    for (const bytes of messages)
      assert.equal(toHex(encodeMessage(decodeMessage(bytes))), toHex(bytes));
  });

test("RFC 7252 3: every example is read and written byte for byte", () => {
  for (const [name, bytes] of EXAMPLES)
    assert.equal(toHex(encodeMessage(decodeMessage(bytes))), toHex(bytes), name);
});

test("RFC 7252 3.1: extended deltas and lengths at their edges", () => {
  const number = (text: string) =>
    decodeMessage(hex(`5001 0001 ${text}`)).options.map((o) => o.number);
  assert.deepEqual(number("c0"), [12]);
  assert.deepEqual(number("d000"), [13]);
  assert.deepEqual(number("d0ff"), [268]);
  assert.deepEqual(number("e00000"), [269]);
  assert.deepEqual(number("e0fef2"), [65_535]);
  assert.deepEqual(number("e0fef2 00"), [65_535, 65_535]);
  const length = (i: number) => decodeMessage(EXAMPLES[i]![1]).options[0]?.value.length;
  assert.deepEqual([9, 10, 11, 12].map(length), [13, 268, 269, 13]);
});

test("the parser corpus: each is refused, with its reason", () => {
  const rows: [string, string, MessageFormatReason][] = [
    ["no bytes", "", "short"],
    ["two bytes, as crashed Wakaama", "6e8d", "short"],
    ["three bytes", "400100", "short"],
    ["version 0", "00010001", "version"],
    ["version 2", "80010001", "version"],
    ["version 3", "c0010001", "version"],
    ["a token past the end", "48010001aabb", "token"],
    ["a token past the end, in a response (mbed-coap, CVE-2020-12886)", "44450001aabbcc", "token"],
    ["token length 9", "49010001 001122334455667788", "token"],
    ["token length 12", "4c010001 00112233445566778899aabb", "token"],
    ["token length 13", "4d010001 00 00112233445566778899aabbcc", "token"],
    ["token length 13 without its extension", "4d010001", "token"],
    ["token length 14 with half of its extension", "4e01000100", "token"],
    ["token length 15", "4f010001 00112233445566778899aabbccddeeff", "token"],
    ["code class 1", "40200001", "code"],
    ["code class 6", "40c00001", "code"],
    ["code class 7, signalling of TCP", "40e10001", "code"],
    ["an Empty message with a token", "41000001aa", "empty"],
    ["an Empty message with a token length alone", "41000001", "empty"],
    ["an Empty message with an option", "4000000160", "empty"],
    ["an Empty message with a payload", "40000001ff00", "empty"],
    ["an empty NON", "50000001", "type"],
    ["an ACK with a request", "60010001", "type"],
    ["an RST with a request", "70010001", "type"],
    ["an RST with a response", "70450001", "type"],
    ["a payload marker without payload", "40010001ff", "options"],
    ["a payload marker without payload, after an option", "40010001b161ff", "options"],
    ["an option past the end (mbed-coap, CVE-2020-12884)", "40010001b5616263", "options"],
    ["an option past the end by 65804 bytes", "40010001bef2ff", "options"],
    ["delta nibble 15", "40010001f0", "options"],
    ["delta nibble 15, value of length 15", "40010001fe0000", "options"],
    ["length nibble 15", "400100010f", "options"],
    ["delta 13 without extension (mbed-coap, CVE-2020-12883)", "40010001d0", "options"],
    ["delta 14 without extension (mbed-coap, CVE-2020-12883)", "40010001e0", "options"],
    ["delta 14 with half an extension", "40010001e000", "options"],
    ["length 13 without extension", "400100010d", "options"],
    ["length 14 with half an extension", "400100010e00", "options"],
    ["delta 13 and length 13 with one extension", "40010001dd00", "options"],
    [
      "option numbers above 65535 (mbed-coap 16-bit roll-over, CVE-2020-12887)",
      "40010001e0ffffe0ffff",
      "options",
    ],
    ["option number 65536", "40010001e0fef310", "options"],
    ["option number 65535 and 1", "40010001e0fef210", "options"],
  ];
  for (const [name, text, reason] of rows) assert.equal(reasonOf(hex(text)), reason, name);
});

test("the parser corpus: zero-length options come to an end (mbed-coap CVE-2020-12885, Wakaama CVE-2019-9004)", () => {
  const message = decodeMessage(concat(hex("40010001 b0"), new Uint8Array(1_000)));
  assert.equal(message.options.length, 1_001);
  assert.ok(message.options.every((option) => option.number === 11 && option.value.length === 0));
});

test("the parser corpus: ff in a token or an option's value is no payload marker (Fraunhofer uoscore 3)", () => {
  const message = decodeMessage(hex("42010001 ffff b3ff61ff 01ff ff62"));
  assert.equal(toHex(message.token), "ffff");
  assert.deepEqual(
    message.options.map(({ number, value }) => [number, toHex(value)]),
    [
      [11, "ff61ff"],
      [11, "ff"],
    ],
  );
  assert.equal(toHex(message.payload), "62");
});

test("the parser corpus: a datagram of 65,507 bytes is one message", () => {
  const filler = new Uint8Array(65_507 - 5).fill(0xff);
  const message = decodeMessage(concat(hex("50020001 ff"), filler));
  assert.equal(message.payload.length, 65_502);
  const options = decodeMessage(concat(hex("50020001"), new Uint8Array(65_503))).options;
  assert.equal(options.length, 65_503);
});

test("RFC 7252 4.2-4.3: a refused message says whether and how to answer", () => {
  const rows: [string, boolean, MessageType | undefined, number | undefined][] = [
    ["6e8d", true, undefined, undefined],
    ["80010001", true, undefined, undefined],
    ["4f011234", false, CON, 0x1234],
    ["40001234ff", false, CON, 0x1234],
    ["50011234ff", false, NON, 0x1234],
    ["50001234", false, NON, 0x1234],
    ["60451234ff", true, ACK, 0x1234],
    ["70451234", true, RST, 0x1234],
    ["40c01234", false, CON, 0x1234],
  ];
  for (const [text, silent, type, mid] of rows) {
    const error = outcome(hex(text));
    assert.ok(error instanceof MessageFormatError, text);
    assert.deepEqual([error.silent, error.type, error.mid], [silent, type, mid], text);
  }
});

test("RFC 8974 2.1: extended tokens up to the limit of the caller", () => {
  for (const length of [0, 1, 8, 9, 12, 13, 268, 269, 65_804]) {
    const token = new Uint8Array(length).fill(0xff);
    const message: Message = {
      type: CON,
      code: Code.GET,
      mid: 1,
      token,
      options: [],
      payload: EMPTY,
    };
    const bytes = encodeMessage(message);
    const extension = length < 13 ? 0 : length < 269 ? 1 : 2;
    assert.equal(bytes.length, 4 + extension + length);
    assert.deepEqual(decodeMessage(bytes, 65_804), message);
    assert.deepEqual(decodeMessage(bytes, length), message);
    if (length > 0) assert.equal(reasonOf(bytes, length - 1), "token");
    assert.equal(reasonOf(bytes), length > 8 ? "token" : "none");
    assert.equal(reasonOf(bytes.subarray(0, -1), 65_804), length > 0 ? "token" : "short");
  }
  const long = new Uint8Array(65_805);
  const message: Message = { type: CON, code: 1, mid: 1, token: long, options: [], payload: EMPTY };
  assert.throws(() => encodeMessage(message), UsageError);
});

test("RFC 7252 3: a message cut anywhere is refused, or is a shorter message in canonical form", () => {
  for (const vector of VECTORS)
    for (let cut = 0; cut < vector.length; cut++) {
      const part = vector.subarray(0, cut);
      const result = outcome(part);
      if (result instanceof Uint8Array) assert.equal(toHex(result), toHex(part));
      else assert.equal(result.reason === "short", cut < 4);
    }
});

test("RFC 7252 3: a message cut in its header, token or an option's value is refused", () => {
  const rows: [string, readonly number[]][] = [
    // header 4, token 4, options b2 72 64 | 02 61 62, payload ff 31 32
    ["44020001 aabbccdd b27264 026162 ff3132", [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 15]],
    // delta and length extensions: dd 01 00 + 13 bytes
    ["50010001 dd0100 00112233445566778899aabbcc", [0, 1, 2, 3, 5, 6, 7, 8, 19]],
  ];
  for (const [text, refused] of rows)
    for (const cut of refused)
      assert.notEqual(reasonOf(hex(text).subarray(0, cut)), "none", `${text} cut at ${cut}`);
});

test("RFC 7252 3: one byte behind a message is more payload, an option or a fault, never lost", () => {
  for (const vector of VECTORS)
    for (const byte of [0x00, 0x10, 0x61, 0xff]) {
      const longer = concat(vector, Uint8Array.of(byte));
      const result = outcome(longer);
      if (result instanceof Uint8Array) assert.equal(toHex(result), toHex(longer));
    }
  for (const text of ["40001234", "70001234"])
    for (const byte of [0x00, 0x10, 0x61, 0xff])
      assert.equal(reasonOf(concat(hex(text), Uint8Array.of(byte))), "empty");
});

const EVERY_BYTE = Array.from({ length: 256 }, (_, value) => value);
const EACH_BIT = [1, 2, 4, 8, 16, 32, 64, 128];

test("RFC 7252 3: one changed byte gives a canonical message or a refusal", () => {
  let accepted = 0;
  let refused = 0;
  for (const vector of VECTORS) {
    // every byte of what has structure; of a long payload the first bytes stand for the rest
    const mutated = Uint8Array.from(vector);
    for (let at = 0; at < Math.min(vector.length, 96); at++) {
      // every value in header, token and first options; each bit further on
      const values = at < 24 ? EVERY_BYTE : EACH_BIT.map((bit) => vector[at]! ^ bit); // at < length
      for (const value of values) {
        mutated[at] = value;
        const result = outcome(mutated);
        if (result instanceof Uint8Array) {
          accepted++;
          if (!same(result, mutated)) assert.equal(toHex(result), toHex(mutated));
        } else refused++;
      }
      mutated[at] = vector[at]!; // at < length
    }
  }
  assert.ok(accepted > 1_000 && refused > 1_000, `${accepted} accepted, ${refused} refused`);
});

test("random bytes are a canonical message or a MessageFormatError", () => {
  const header = fc
    .tuple(fc.integer({ min: 0x40, max: 0x7f }), fc.constantFrom(0, 1, 2, 0x45, 0x84))
    .map(([first, code]) => Uint8Array.of(first, code));
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.tuple(header, fc.uint8Array({ maxLength: 40 })).map(([a, b]) => concat(a, b)),
  );
  fc.assert(
    fc.property(bytes, fc.constantFrom(8, 65_804), (input, limit) => {
      const result = outcome(input, limit);
      if (result instanceof Uint8Array) assert.equal(toHex(result), toHex(input));
    }),
    { numRuns: 2_000 },
  );
});

const anyOptions = fc
  .array(
    fc.record(
      {
        number: fc.oneof(
          fc.nat(70),
          fc.constantFrom(268, 269, 282, 65_534, 65_535),
          fc.nat(65_535),
        ),
        value: fc.oneof(
          fc.uint8Array({ maxLength: 20 }),
          fc.constantFrom(12, 13, 268, 269, 300).map((n) => new Uint8Array(n)),
        ),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 8 },
  )
  .map((options) => options.toSorted((a, b) => a.number - b.number));

const anyMessage: fc.Arbitrary<Message> = fc
  .record(
    {
      type: fc.constantFrom<MessageType>(CON, NON, ACK),
      code: fc.constantFrom(1, 2, 5, 7, 31, 0x41, 0x45, 0x5f, 0x84, 0xa0, 0xbf),
      mid: fc.nat(65_535),
      token: fc.oneof(fc.uint8Array({ maxLength: 8 }), fc.uint8Array({ maxLength: 300 })),
      options: anyOptions,
      payload: fc.uint8Array({ maxLength: 50 }),
    },
    { noNullPrototype: true },
  )
  .map((message) =>
    message.type === ACK && message.code < 32 ? { ...message, type: CON } : message,
  );

test("RFC 7252 3: what is written is read as it was", () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      const bytes = encodeMessage(message);
      assert.deepEqual(decodeMessage(bytes, 65_804), message);
    }),
  );
});

test("RFC 8613 5.3: options and payload alone, as in a plaintext, are read as they were written", () => {
  fc.assert(
    fc.property(anyOptions, fc.uint8Array({ maxLength: 50 }), (options, payload) => {
      const bytes = concat(Uint8Array.of(0x45), encodeBody(options, payload));
      assert.deepEqual(decodeBody(bytes, 1), { options, payload });
    }),
  );
  assert.throws(() => decodeBody(hex("ff")), FormatError);
});

test("a message that cannot be read is not written either", () => {
  const good: Message = {
    type: CON,
    code: Code.GET,
    mid: 1,
    token: EMPTY,
    options: [],
    payload: EMPTY,
  };
  assert.equal(toHex(encodeMessage(good)), "40010001");
  const option = (number: number, length = 0) => ({ number, value: new Uint8Array(length) });
  const rows: [string, Partial<Message>][] = [
    ["code class 1", { code: 0x20 }],
    ["code class 7", { code: 0xe1 }],
    ["code above a byte", { code: 0x101 }],
    ["code in parts", { code: 1.5 }],
    ["message id below 0", { mid: -1 }],
    ["message id above 65535", { mid: 65_536 }],
    ["message id in parts", { mid: 0.5 }],
    ["empty with a token", { code: 0, token: hex("00") }],
    ["empty with an option", { code: 0, options: [option(1)] }],
    ["empty with a payload", { code: 0, payload: hex("00") }],
    ["empty NON", { code: 0, type: NON }],
    ["ACK with a request", { type: ACK }],
    ["RST with a response", { type: RST, code: Code.Content }],
    ["options out of order", { options: [option(11), option(3)] }],
    ["option number below 0", { options: [option(-1)] }],
    ["option number above 65535", { options: [option(65_536)] }],
    ["option number in parts", { options: [option(1.5)] }],
    ["option too long", { options: [option(1, 65_805)] }],
  ];
  for (const [name, change] of rows)
    assert.throws(() => encodeMessage({ ...good, ...change }), UsageError, name);
});

test("RFC 7252 4.3, table 1: each type carries its codes and no others", () => {
  const may: Record<MessageType, (code: number) => boolean> = {
    [CON]: () => true,
    [NON]: (code) => code !== 0,
    [ACK]: (code) => code === 0 || code >= 0x40,
    [RST]: (code) => code === 0,
  };
  for (const type of [CON, NON, ACK, RST] as const)
    for (let code = 0; code < 256; code++) {
      const reserved = [1, 6, 7].includes(code >>> 5);
      const reason = reasonOf(Uint8Array.of(0x40 | (type << 4), code, 0, 1));
      const expected = reserved ? "code" : may[type](code) ? "none" : "type";
      assert.equal(reason, expected, `type ${type} ${formatCode(code)}`);
    }
});

test("RFC 7252 5.4: token, option values and payload are views of the datagram", () => {
  const bytes = hex("41010001 aa b161 ff 31");
  const message = decodeMessage(bytes);
  bytes.fill(0x62, 4);
  assert.deepEqual(message.token, hex("62"));
  assert.deepEqual(findOption(message.options, 11)?.value, hex("62"));
  assert.deepEqual(message.payload, hex("62"));
});

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function optionIn(bytes: Uint8Array, number: number): Uint8Array | undefined {
  const found = optionAt(bytes, number);
  if (found < 0) return undefined;
  const from = Math.floor(found / 0x1_0000);
  return bytes.subarray(from, from + (found % 0x1_0000));
}

test("one option is found in a message as it is in the whole of it, in one that is cut short whole or not at all", () => {
  for (const [name, bytes] of EXAMPLES) {
    const { options } = decodeMessage(bytes, 300);
    if ((bytes[0]! & 0x0f) > 8) continue; // there are four; longer tokens are for peers that are known
    for (const number of [0, 6, 9, 11, 12, 13, 268, 269, 282, 0xffff]) {
      assert.deepEqual(optionIn(bytes, number), findOption(options, number)?.value, name);
    }
  }
  for (let token = 0; token < 16; token++) {
    const bytes = concat(Uint8Array.of(0x40 | token, 1, 0, 1), new Uint8Array(token), hex("b161"));
    assert.equal(optionIn(bytes, 11)?.length, token > 8 ? undefined : 1, `a token of ${token}`);
  }
  for (const [name, bytes] of EXAMPLES) {
    if ((bytes[0]! & 0x0f) > 8) continue; // likewise
    for (let cut = 0; cut < bytes.length; cut++)
      for (const number of [11, 13, 268]) {
        const found = optionIn(bytes.subarray(0, cut), number);
        if (found !== undefined)
          assert.deepEqual(found, optionIn(bytes, number), `${name}, ${cut}`);
      }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(300), (bytes, number) => {
      let whole: readonly { number: number; value: Uint8Array }[];
      try {
        whole = decodeMessage(bytes).options;
      } catch {
        return void optionIn(bytes, number);
      }
      assert.deepEqual(optionIn(bytes, number), findOption(whole, number)?.value);
    }),
    { numRuns: 5_000 },
  );
});
