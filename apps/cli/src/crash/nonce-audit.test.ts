import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, utf8 } from "@godwit/base";
import {
  CON,
  Code,
  OptionNumber,
  encodeMessage,
  opaqueOption,
  request,
  response,
  type Request,
  type Response,
} from "@godwit/coap";
import {
  KeySource,
  oscoreOptionOf,
  protectRequest,
  protectResponse,
  unprotectRequest,
} from "@godwit/oscore";
import { AuditedPath, NonceAudit } from "./nonce-audit.test-kit.ts";

const SECRET = "0102030405060708090a0b0c0d0e0f10";
const ids = { senderId: "43", recipientId: "00", masterSecret: SECRET };
const id = hex("0011223344556677");
const masterSecret = hex(SECRET);

function device() {
  return new KeySource({ masterSecret, senderId: hex("43"), recipientId: hex("00") }).derive(id);
}

function server() {
  return new KeySource({ masterSecret, senderId: hex("00"), recipientId: hex("43") }).derive(id);
}

function datagram(message: Request | Response, messageId: number): Uint8Array {
  return encodeMessage({ type: CON, mid: messageId, token: hex("aa"), ...message });
}

function asked(text: string, sequence: number): Request {
  const context = device();
  context.sequence = sequence;
  const plain = request(Code.POST, { payload: utf8(text) });
  return protectRequest(context, plain, id)!.request; // it has numbers
}

function answered(to: Request, answer: Response, own?: number): Response {
  const context = server();
  context.sequence = own ?? 0;
  const option = oscoreOptionOf(to.options);
  assert.ok(option !== undefined && option !== "bad");
  const got = unprotectRequest(context, to, option);
  assert.ok(got !== undefined && "request" in got);
  return protectResponse(got.binding, answer, { ownPiv: own !== undefined })!; // it has numbers
}

test("the audit sees a nonce that is used for two messages, in requests and in responses", () => {
  const hello = asked("hello", 7);
  const changed = response(Code.Changed);
  const content = response(Code.Content, { payload: utf8("other") });
  const cases: readonly [string, readonly ["device" | "server", Request | Response][], RegExp[]][] =
    [
      [
        "sent again",
        [
          ["device", hello],
          ["device", hello],
        ],
        [],
      ],
      [
        "numbers in order",
        [
          ["device", hello],
          ["device", asked("world", 8)],
        ],
        [],
      ],
      [
        "a request's number again",
        [
          ["device", hello],
          ["device", asked("world", 7)],
        ],
        [/the device used nonce/],
      ],
      [
        "the request's nonce for two answers",
        [
          ["device", hello],
          ["server", answered(hello, changed)],
          ["server", answered(hello, content)],
        ],
        [/the server used nonce/],
      ],
      [
        "an answer's own number again",
        [
          ["device", hello],
          ["server", answered(hello, changed, 3)],
          ["server", answered(hello, content, 3)],
        ],
        [/the server used nonce/],
      ],
      ["what nobody can open", [["server", answered(hello, changed)]], [/opens under no key/]],
    ];
  for (const [name, messages, faults] of cases) {
    const audit = new NonceAudit([{ endpoint: "one", ...ids }]);
    const path = new AuditedPath();
    for (const [n, [from, message]] of messages.entries())
      audit.see(path, from, datagram(message, n));
    assert.equal(audit.faults.length, faults.length, `${name}: ${audit.faults.join()}`);
    for (const [n, fault] of faults.entries()) assert.match(audit.faults[n] ?? "", fault, name);
  }
});

test("the audit counts Echo challenges, and one too many after a kill is a fault", () => {
  const audit = new NonceAudit([{ endpoint: "one", ...ids }]);
  const path = new AuditedPath();
  const challenge = response(Code.Unauthorized, {
    options: [opaqueOption(OptionNumber.Echo, hex("01"))],
  });
  for (const n of [1, 2]) {
    const hello = asked("hello", n);
    audit.see(path, "device", datagram(hello, n));
    const answer = datagram(answered(hello, challenge, n), n);
    audit.see(path, "server", answer);
    audit.see(path, "server", answer); // once more is the same challenge
    assert.equal(audit.echoes, n);
  }
  assert.deepEqual(audit.mark(), ["one: 2 Echo challenges by its server after one kill"]);
  assert.deepEqual(audit.mark(), []);
});
