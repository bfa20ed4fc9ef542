import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, hex, seededRng, toHex, utf8 } from "@godwit/base";
import {
  Code,
  OPTION_TABLE,
  OptionNumber,
  encodeMessage,
  findOption,
  opaqueOption,
  request,
  response,
  stringOption,
  uintOption,
  type Option,
  type Request,
  type Response,
} from "@godwit/coap";
import { AEADS, aeadOf, hkdfOf } from "./algorithms.ts";
import { isOuterOnly } from "./option-classes.ts";
import {
  oscoreOptionOf,
  protectRequest,
  protectResponse,
  unprotectRequest,
  unprotectResponse,
} from "./protection.ts";
import { KeySource, SEQUENCE_LIMIT, type SecurityContext } from "./security-context.ts";

const SECRET = hex("0102030405060708090a0b0c0d0e0f10");
/** RFC 8613 figure 5, and RFC 8768, 9175, 9177, 9668 for the rest: where each option travels. */
const OUTER_ONLY = [3, 7, 9, 21, 35, 39];

test("RFC 8613 4.1: every registered option travels where its class says, in requests and responses", () => {
  for (const { number, minLength } of OPTION_TABLE.values()) {
    if (number === OptionNumber.Oscore || number === OptionNumber.ProxyUri) continue;
    const option = opaqueOption(number, new Uint8Array(minLength));
    const { client, server } = pair();
    const sent = protectRequest(client, { code: Code.GET, options: [option], payload: hex("") })!;
    const outside = sent.request.options.map((outer) => outer.number);
    const observe = number === OptionNumber.Observe;
    assert.equal(outside.includes(number), OUTER_ONLY.includes(number) || observe, `${number}`);
    assert.equal(isOuterOnly(number), OUTER_ONLY.includes(number));
    const at = verified(server, sent.request);
    assert.deepEqual(at.request.options, [option], `${number}`);
    if (observe) continue;
    const answer = protectResponse(at.binding, {
      code: Code.Content,
      options: [option],
      payload: hex(""),
    })!;
    assert.deepEqual(accepted(sent.binding, answer).options, [option], `${number}`);
  }
});

test("RFC 8613 4.1: an unknown option is encrypted", () => {
  const { client, server } = pair();
  const option = opaqueOption(65_001, hex("ff"));
  const sent = protectRequest(client, request(Code.GET, { options: [option] }))!;
  assert.deepEqual(numbers(sent.request), [9]);
  assert.deepEqual(verified(server, sent.request).request.options, [option]);
});

test("RFC 8613 8.2 step 1: outer options of class E are dropped before the merge, class U ones kept", () => {
  const { client, server } = pair();
  const sent = protectRequest(
    client,
    request(Code.GET, { path: "/a", options: [uintOption(14, 5)] }),
  )!;
  const junk = [
    stringOption(3, "proxy.example"),
    opaqueOption(1, hex("01")),
    stringOption(11, "evil"),
    uintOption(14, 0),
    uintOption(23, 6),
    uintOption(27, 6),
    opaqueOption(252, hex("aa")),
    uintOption(258, 26),
    opaqueOption(292, hex("bb")),
    uintOption(6, 1),
    opaqueOption(65_001, hex("")),
  ];
  const options = [...sent.request.options, ...junk].toSorted((a, b) => a.number - b.number);
  const got = verified(server, { ...sent.request, options });
  assert.deepEqual(
    got.request.options.map(({ number, value }) => [number, toHex(value)]),
    [
      [3, toHex(utf8("proxy.example"))],
      [11, "61"],
      [14, "05"],
    ],
  );
  assert.equal(got.binding.observe, undefined, "an outer Observe registers nothing");
});

test("RFC 8613 4.2: outer codes are POST and 2.04, with Observe FETCH and 2.05", () => {
  const rows: [number | undefined, number, number][] = [
    [undefined, Code.POST, Code.Changed],
    [0, Code.FETCH, Code.Content],
    [1, Code.FETCH, Code.Changed],
  ];
  for (const [observe, asked, answered] of rows) {
    const { client, server } = pair();
    const parts = observe === undefined ? {} : { observe };
    const sent = protectRequest(client, request(Code.GET, parts))!;
    assert.equal(sent.request.code, asked);
    const observing = observe === 0 ? { options: [uintOption(6, 7)] } : {};
    const answer = protectResponse(
      verified(server, sent.request).binding,
      response(Code.Content, observing),
    )!;
    assert.equal(answer.code, answered);
  }
});

test("RFC 8613 4.1.3.3: path and query of a Proxy-Uri are encrypted, the rest stays outside", () => {
  const rows: [string, string, string[]][] = [
    ["coap://example.com/resource?q=1", "coap://example.com", ["11:resource", "15:q=1"]],
    ["coap://example.com", "coap://example.com", []],
    ["coap://[2001:db8::1]:61616/", "coap://[2001:db8::1]:61616", []],
    ["coap://h/a%2Fb/?x&y=%26", "coap://h", ["11:a/b", "11:", "15:x", "15:y=&"]],
  ];
  for (const [uri, outside, inside] of rows) {
    const { client, server } = pair();
    const sent = protectRequest(client, request(Code.GET, { options: [stringOption(35, uri)] }))!;
    assert.equal(text(findOption(sent.request.options, 35)!), outside);
    const options = sent.request.options.filter(({ number }) => number !== 35); // the proxy's work
    const got = verified(server, { ...sent.request, options });
    assert.deepEqual(
      got.request.options.map((option) => `${option.number}:${text(option)}`),
      inside,
    );
  }
  const { client } = pair();
  for (const options of [
    [stringOption(35, "coap://h/#fragment")],
    [stringOption(35, "no uri")],
    [stringOption(35, "coap://h/%zz")],
    [stringOption(11, "a"), stringOption(35, "coap://h/")],
  ])
    assert.throws(() => protectRequest(client, { code: 1, options, payload: hex("") }), UsageError);
  assert.equal(client.sequence, 0, "no sequence number was spent");
});

test("RFC 8613 4.1.3.7: OSCORE inside OSCORE is refused on both sides", () => {
  const { client, server } = pair();
  const nested = { code: Code.GET, options: [opaqueOption(9, hex(""))], payload: hex("aa") };
  assert.throws(() => protectRequest(client, nested), UsageError);
  const crafted = craft(client, Uint8Array.of(1, 0x90));
  const got = unprotectRequest(server, crafted, optionOf(crafted));
  assert.ok(got !== undefined && "malformed" in got);
});

test("RFC 8613 8.2: a plaintext that is no request is malformed, though it verifies", () => {
  for (const plaintext of ["", "00", "45", "e1", "01ff", "01f0", "010d", "01e0ffffe0ffff"]) {
    const { client, server } = pair();
    const crafted = craft(client, hex(plaintext));
    const got = unprotectRequest(server, crafted, optionOf(crafted));
    assert.ok(got !== undefined && "malformed" in got, plaintext);
  }
});

test("RFC 8613 8.2 step 6: any changed bit, any cut and any addition fails to verify", () => {
  const { client, server } = pair();
  const { request: sent } = protectRequest(
    client,
    request(Code.PUT, { path: "/x", payload: "on" }),
  )!;
  const option = optionOf(sent);
  const tries: Uint8Array[] = [...sent.payload.keys()].map((i) =>
    sent.payload.with(i, sent.payload[i]! ^ 0x01),
  );
  for (let end = 0; end < sent.payload.length; end++) tries.push(sent.payload.subarray(0, end));
  tries.push(Uint8Array.of(...sent.payload, 0));
  for (const payload of tries)
    assert.equal(unprotectRequest(server, { ...sent, payload }, option), undefined);
  assert.equal(unprotectRequest(server, sent, { ...option, piv: hex("01") }), undefined);
  assert.ok(unprotectRequest(server, sent, option));
});

test("RFC 8613 7.1: a response verifies for its own request alone", () => {
  const { client, server } = pair();
  const first = protectRequest(client, request(Code.GET, { path: "/a" }))!;
  const second = protectRequest(client, request(Code.GET, { path: "/b" }))!;
  const at = verified(server, first.request);
  for (const ownPiv of [false, true]) {
    const answer = protectResponse(at.binding, response(Code.Content, { payload: "a" }), {
      ownPiv,
    })!;
    assert.deepEqual(unprotectResponse(second.binding, answer), {
      kind: "ignored",
      reason: "forged",
    });
    assert.equal(unprotectResponse(first.binding, answer).kind, ownPiv ? "ignored" : "response");
  }
});

test("RFC 8613 5.2: the request's nonce protects one response, every other has its own Partial IV", () => {
  const { client, server } = pair();
  const sent = protectRequest(client, request(Code.GET, { observe: 0 }))!;
  const at = verified(server, sent.request);
  const nonces = new Set<string>();
  for (let i = 0; i < 5; i++) {
    const answer = protectResponse(
      at.binding,
      response(Code.Content, { options: [uintOption(6, i)] }),
    )!;
    nonces.add(toHex(optionOf(answer).piv ?? hex("")));
  }
  assert.deepEqual([...nonces], ["", "00", "01", "02", "03"]);
});

test("RFC 8613 7.4.1: notifications in any order come out newest only, once, and a first one without Partial IV", () => {
  const { client, server } = pair();
  const sent = protectRequest(client, request(Code.GET, { observe: 0 }))!;
  const at = verified(server, sent.request);
  const [n0, n1, n2, n3] = ["0", "1", "2", "3"].map((payload, i) =>
    protectResponse(at.binding, response(Code.Content, { payload, options: [uintOption(6, i)] })),
  ) as [Response, Response, Response, Response];
  const order: [Response, string][] = [
    [n1, "1"],
    [n0, "replayed"],
    [n3, "3"],
    [n2, "replayed"],
    [n3, "replayed"],
    [n1, "replayed"],
  ];
  const observes: string[] = [];
  for (const [outer, expected] of order) {
    const got = unprotectResponse(sent.binding, outer);
    if (got.kind === "ignored") assert.equal(got.reason, expected);
    else {
      assert.equal(new TextDecoder().decode(got.response.payload), expected);
      observes.push(toHex(findOption(got.response.options, 6)!.value));
    }
  }
  assert.deepEqual(observes, ["01", "02"]);
});

test("RFC 8613 8.4.2: an error without Observe ends the observation, with and without Partial IV, once", () => {
  for (const ownPiv of [true, false]) {
    const { client, server } = pair();
    const sent = protectRequest(client, request(Code.GET, { observe: 0 }))!;
    const at = verified(server, sent.request);
    const notification = response(Code.Content, { options: [uintOption(6, 1)] });
    const first = protectResponse(at.binding, notification, { ownPiv: true })!;
    assert.equal(unprotectResponse(sent.binding, first).kind, "response");
    const terminal = protectResponse(at.binding, response(Code.InternalServerError), { ownPiv })!;
    const got = unprotectResponse(sent.binding, terminal);
    assert.ok(got.kind === "response" && !got.notification);
    assert.deepEqual(unprotectResponse(sent.binding, terminal), {
      kind: "ignored",
      reason: "replayed",
    });
  }
});

test("RFC 8613 4.1.3.5.2: a notification nobody asked for is ignored and spoils nothing", () => {
  const { client, server } = pair();
  const sent = protectRequest(client, request(Code.GET))!;
  const { binding } = verified(server, sent.request);
  const { nonce, aad } = binding;
  const payload = server.encrypt(nonce, aad, Uint8Array.of(0x45, 0x60));
  const outer = { code: Code.Content, options: [opaqueOption(9, hex(""))], payload };
  assert.deepEqual(unprotectResponse(sent.binding, outer), {
    kind: "ignored",
    reason: "unexpected",
  });
  const answer = protectResponse(binding, response(Code.Content))!;
  assert.equal(unprotectResponse(sent.binding, answer).kind, "response");
});

test("RFC 8613 8.4: what is no response for us leaves the binding as it was", () => {
  const { client, server } = pair();
  const sent = protectRequest(client, request(Code.GET))!;
  const answer = protectResponse(verified(server, sent.request).binding, response(Code.Content))!;
  const rows: [Response, string][] = [
    [response(Code.Unauthorized), "unprotected"],
    [{ ...answer, options: [opaqueOption(9, hex("20"))] }, "badOption"],
    [{ ...answer, payload: hex("") }, "forged"],
    [{ ...answer, payload: answer.payload.with(0, answer.payload[0]! ^ 1) }, "forged"],
    [{ ...answer, options: [opaqueOption(9, hex("0105"))] }, "forged"],
  ];
  for (const [outer, reason] of rows)
    assert.deepEqual(unprotectResponse(sent.binding, outer), { kind: "ignored", reason });
  assert.equal(unprotectResponse(sent.binding, answer).kind, "response");
});

test("RFC 8613 7.2.1: the last two sequence numbers are used, then none, never one twice", () => {
  const { client } = pair();
  client.sequence = 2 ** 40 - 2;
  const pivs = [1, 2].map(() => {
    const sent = protectRequest(client, request(Code.GET))!;
    return toHex(optionOf(sent.request).piv!);
  });
  assert.deepEqual(pivs, ["fffffffffe", "ffffffffff"]);
  assert.equal(protectRequest(client, request(Code.GET)), undefined);
  assert.equal(client.sequence, SEQUENCE_LIMIT);
});

test("RFC 9053 4: every algorithm of the registry protects and verifies, with every HKDF", () => {
  const lengths = new Set<string>();
  for (const { id, nonceLength, tagLength, name } of AEADS.values())
    for (const hkdf of ["sha256", "sha384", "sha512"] as const) {
      const longest = nonceLength - 6;
      const ids = [new Uint8Array(longest).fill(1), new Uint8Array(longest).fill(2)] as const;
      const input = { masterSecret: SECRET, aead: id, hkdf };
      const client = new KeySource({ ...input, senderId: ids[0], recipientId: ids[1] }).derive(
        undefined,
      );
      const server = new KeySource({ ...input, senderId: ids[1], recipientId: ids[0] }).derive(
        undefined,
      );
      const sent = protectRequest(client, request(Code.GET, { path: "/t" }))!;
      const at = verified(server, sent.request);
      const answer = protectResponse(at.binding, response(Code.Content, { payload: name }))!;
      assert.equal(text({ number: 0, value: accepted(sent.binding, answer).payload }), name);
      assert.equal(sent.request.payload.length, 1 + 2 + tagLength);
      lengths.add(toHex(answer.payload));
    }
  assert.equal(lengths.size, AEADS.size * 3, "each derives keys of its own");
});

test("RFC 9053 3.1, 5.1: HKDF by COSE value of the KDF or of its HMAC", () => {
  assert.deepEqual([-10, -11, 5, 6, 7].map(hkdfOf), [
    "sha256",
    "sha512",
    "sha256",
    "sha384",
    "sha512",
  ]);
  assert.throws(() => hkdfOf(4), UsageError);
  assert.throws(() => aeadOf(14), UsageError);
});

test("RFC 8613 3.3: ids that do not fit the nonce, equal ids and an empty secret are refused", () => {
  const good = { masterSecret: SECRET, senderId: hex("01"), recipientId: hex("02") };
  for (const input of [
    { ...good, senderId: new Uint8Array(8) },
    { ...good, recipientId: new Uint8Array(8) },
    { ...good, aead: 12, senderId: hex("0102") },
    { ...good, senderId: hex("02") },
    { ...good, masterSecret: hex("") },
  ])
    assert.throws(() => new KeySource(input), UsageError);
});

test("RFC 8613 3.2.1: no ID Context and an empty one are different contexts", () => {
  const source = new KeySource({
    masterSecret: SECRET,
    senderId: hex("01"),
    recipientId: hex("02"),
  });
  assert.notDeepEqual(source.derive(undefined).senderKey, source.derive(hex("")).senderKey);
});

test("the sizes of the steady state: 27 + 16 bytes with a 1-byte kid and token, 22 + 15 at the least", () => {
  const rows: [string, string, string, number, number][] = [
    ["43", "01", "/rd/1234", 27, 16],
    ["", "01", "/rd/1234", 26, 16],
    ["43", "", "/rd/1234", 26, 15],
    ["", "", "/rd/1", 22, 15],
  ];
  for (const [kid, token, path, up, down] of rows) {
    const { client, server } = pair(hex(kid));
    client.sequence = 1;
    const sent = protectRequest(client, request(Code.POST, { path }))!;
    const at = verified(server, sent.request);
    const answer = protectResponse(at.binding, response(Code.Changed))!;
    const header = { mid: 0x1234, token: hex(token) };
    assert.equal(encodeMessage({ type: 0, ...header, ...sent.request }).length, up);
    assert.equal(encodeMessage({ type: 2, ...header, ...answer }).length, down);
  }
  const { client } = pair();
  client.sequence = 65_536;
  const late = protectRequest(client, request(Code.POST, { path: "/rd/1234" }))!;
  assert.equal(encodeMessage({ type: 0, mid: 0, token: hex("01"), ...late.request }).length, 29);
});

test("random ciphertexts and options never let an exception escape", () => {
  const rng = seededRng(7);
  const { client, server } = pair();
  const { binding } = protectRequest(client, request(Code.GET))!;
  for (let i = 0; i < 2_000; i++) {
    const value = rng.bytes(Math.floor(rng.float() * 16));
    const payload = rng.bytes(Math.floor(rng.float() * 40));
    const outer = { code: 2, options: [opaqueOption(9, value)], payload };
    const option = oscoreOptionOf(outer.options);
    if (option !== "bad" && option !== undefined)
      assert.equal(unprotectRequest(server, outer, option), undefined);
    assert.equal(unprotectResponse(binding, { ...outer, code: 0x44 }).kind, "ignored");
  }
});

function pair(kid = hex("43")): { client: SecurityContext; server: SecurityContext } {
  const masterSalt = hex("9e7ca92223786340");
  const input = { masterSecret: SECRET, masterSalt };
  const client = new KeySource({ ...input, senderId: kid, recipientId: hex("53") });
  const server = new KeySource({ ...input, senderId: hex("53"), recipientId: kid });
  return { client: client.derive(undefined), server: server.derive(undefined) };
}

/** A request whose plaintext we choose. */
function craft(client: SecurityContext, plaintext: Uint8Array): Request {
  const piv = hex("05");
  const aad = client.additionalData(client.senderId, piv);
  const payload = client.encrypt(client.nonce(client.senderId, piv), aad, plaintext);
  return { code: Code.POST, options: [opaqueOption(9, hex("090543"))], payload };
}

function optionOf(message: Request) {
  const option = oscoreOptionOf(message.options);
  assert.ok(option !== undefined && option !== "bad");
  return option;
}

function verified(server: SecurityContext, outer: Request) {
  const got = unprotectRequest(server, outer, optionOf(outer));
  assert.ok(got !== undefined && "request" in got);
  return got;
}

function accepted(binding: Parameters<typeof unprotectResponse>[0], outer: Response): Response {
  const got = unprotectResponse(binding, outer);
  assert.ok(got.kind === "response", JSON.stringify(got));
  return got.response;
}

function numbers(message: Request): number[] {
  return message.options.map(({ number }) => number);
}

function text(option: Option): string {
  return new TextDecoder().decode(option.value);
}
