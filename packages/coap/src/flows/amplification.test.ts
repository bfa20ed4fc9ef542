import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng, type Path } from "@godwit/base";
import fc from "fast-check";
import { CoapNode } from "../coap-node.ts";
import { Code } from "../codes.ts";
import { decodeMessage, encodeMessage } from "../message-codec.ts";
import { ACK, CON, NON, type Message, type Request } from "../message.ts";
import { OptionNumber } from "../option-numbers.ts";
import { findOption, opaqueOption, request, response, uintOption } from "../options.ts";
import { blockOption } from "../block-option.ts";
import { coapTuning } from "../tuning.ts";
import { HERE, LOST, Pair, SERVER } from "./pair.test-kit.ts";

const PEER: Path = { local: SERVER, remote: { host: "198.51.100.99", port: 999 } };
const huge = response(Code.Content, { payload: new Uint8Array(3_000).fill(0x61) });
const get = request(Code.GET, { path: "/.well-known/core" });

/** A server and one peer on the other side of bare datagrams. */
class Probe {
  readonly server = new CoapNode({ rng: seededRng(1), tuning: coapTuning() });
  now = 0;
  received = 0;
  sent = 0;
  answers: Message[] = [];
  executed = 0;
  pending: number[] = [];

  datagram(bytes: Uint8Array): Message[] {
    this.answers = [];
    this.received += bytes.length;
    this.server.handle({ type: "datagram", path: PEER, bytes }, this.now);
    this.drain();
    return this.answers;
  }

  ask(asked: Request, mid: number, type: typeof CON | typeof NON = CON): Message[] {
    return this.datagram(encodeMessage({ type, ...asked, mid, token: Uint8Array.of(mid & 0xff) }));
  }

  wake(now: number): void {
    this.now = now;
    this.server.wake(now);
    this.drain();
  }

  drain(): void {
    for (let o = this.server.poll(); o !== undefined; o = this.server.poll()) {
      if (o.type === "request") {
        this.executed += 1;
        const { exchange } = o;
        // Some answers are late, some are observed.
        if (o.request.payload.length % 3 === 2) this.pending.push(exchange);
        else this.respond(exchange);
      } else if (o.type === "datagram") {
        this.sent += o.bytes.length;
        this.answers.push(decodeMessage(o.bytes));
        assert.ok(this.sent <= 3 * this.received, `${this.sent} bytes for ${this.received}`);
      }
    }
  }

  respond(exchange: number): void {
    const options = [uintOption(OptionNumber.Observe, 0)];
    this.server.handle({ type: "respond", exchange, response: { ...huge, options } }, this.now);
    for (let n = 0; n < 3; n++)
      this.server.handle({ type: "notify", exchange, response: huge }, this.now);
  }
}

test("RFC 9175 2.4: for every sequence of requests an unproven peer gets at most three bytes per byte", () => {
  const step = fc.record({
    code: fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 31, 0x45, 0),
    type: fc.constantFrom(0, 1, 2, 3),
    mid: fc.nat(20),
    options: fc.array(
      fc.constantFrom(
        uintOption(OptionNumber.Observe, 0),
        blockOption(OptionNumber.Block2, { num: 0, more: false, szx: 6 }),
        blockOption(OptionNumber.Block2, { num: 2, more: false, szx: 6 }),
        blockOption(OptionNumber.Block1, { num: 0, more: true, szx: 0 }),
        opaqueOption(OptionNumber.Echo, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
        opaqueOption(9_999, new Uint8Array(3)),
        opaqueOption(OptionNumber.UriPath, new Uint8Array(40).fill(0x61)),
      ),
      { maxLength: 2 },
    ),
    payload: fc.uint8Array({ maxLength: 60 }),
    wait: fc.constantFrom(0, 10, 1_500, 50_000),
    raw: fc.option(fc.uint8Array({ maxLength: 30 }), { freq: 8 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const probe = new Probe();
      for (const { raw, wait, code, type, mid, options, payload } of steps) {
        if (raw !== null) probe.datagram(raw);
        else {
          const sorted = options.toSorted((a, b) => a.number - b.number);
          const body =
            code === 0
              ? { token: hex(""), options: [], payload: hex("") }
              : { token: hex("07"), options: sorted, payload };
          const kind = code === 0 ? (type === NON ? CON : type) : code < 32 ? type & 1 : type % 3;
          // A response would have to match a request of ours; there is none.
          probe.datagram(encodeMessage({ type: kind as 0, code, mid, ...body }));
        }
        for (const exchange of probe.pending.splice(0)) probe.respond(exchange);
        probe.wake(probe.now + wait);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("RFC 9175 2.3: a long answer to a stranger becomes 4.01 with Echo, and its Echo gets the whole", () => {
  const probe = new Probe();
  const [challenge] = probe.ask(get, 1);
  assert.equal(challenge?.code, Code.Unauthorized);
  const echo = findOption(challenge.options, OptionNumber.Echo);
  assert.ok(echo);
  probe.received = 1e9; // proven from now on
  const [answer] = probe.ask({ ...get, options: [...get.options, echo] }, 2);
  assert.equal(answer?.type, ACK);
  assert.equal(answer.code, Code.Content);
  assert.equal(answer.payload.length, 1_024);
});

test("RFC 9175 2.3: our client repeats its request with the Echo by itself", () => {
  const pair = new Pair(() => huge);
  const id = pair.ask(get);
  pair.run(10_000);
  assert.deepEqual(pair.responses(id)[0]?.payload, huge.payload);
  assert.deepEqual(pair.story.slice(0, 4), [
    "C CON 0.01",
    "S ACK 4.01",
    "C CON 0.01",
    "S ACK 2.05",
  ]);
});

test("lasting: a request that the peer wants anew waits for its caller, who knows message id and token before they are used", () => {
  for (const word of ["proceed", "another", "cancel"] as const) {
    const pair = new Pair((asked, p) => {
      if (asked.validated) return response(Code.Changed);
      p.server.handle({ type: "challenge", exchange: asked.exchange }, p.now);
      return undefined;
    });
    const { session } = pair;
    const execute = request(Code.POST, { path: "/3/0/4" });
    const again = { mid: 7, token: Uint8Array.of(7) };
    pair.handle("client", {
      type: "request",
      id: 1,
      session,
      request: execute,
      again,
      lasting: true,
    });
    pair.run(60_000);
    const renamed = pair.seen.client.find((o) => o.type === "renamed");
    assert.ok(renamed?.type === "renamed" && renamed.id === 1);
    const { mid, token } = renamed.again;
    assert.notEqual(mid, 7);
    assert.equal(pair.messages("client").length, 1, "nothing leaves without its caller's word");
    if (word === "cancel") pair.handle("client", { type: "cancel", id: 1, how: "forget" });
    const told = word === "another" ? mid + 1 : mid;
    pair.handle("client", { type: "proceed", id: 1, mid: told });
    pair.run(60_000);
    const second = pair.messages("client")[1];
    if (word !== "proceed") {
      assert.equal(second, undefined, word);
      continue;
    }
    assert.deepEqual([second?.mid, second?.token], [mid, token]);
    assert.equal(pair.responses(1)[0]?.code, Code.Changed);
    pair.handle("client", { type: "proceed", id: 1, mid });
    assert.equal(pair.messages("client").length, 2, "a word too many does nothing");
  }
});

test("tuning.maxEchoRepeats: a server that is never content gets two repetitions, then the application has its 4.01", () => {
  const never = response(Code.Unauthorized, {
    options: [opaqueOption(OptionNumber.Echo, Uint8Array.of(1))],
  });
  const pair = new Pair(() => never);
  const id = pair.ask(get);
  pair.run(10_000);
  assert.equal(pair.executed, 3);
  assert.equal(pair.responses(id)[0]?.code, Code.Unauthorized);
});

test("RFC 7252 11.3: who was asked for an Echo and does not know it gets the answer in blocks that fit", () => {
  const probe = new Probe();
  probe.ask(get, 1);
  const [answer] = probe.ask({ ...get, payload: new Uint8Array(21) }, 2);
  assert.equal(answer?.code, Code.Content);
  assert.ok(findOption(answer.options, OptionNumber.Block2));
  assert.ok(answer.payload.length >= 16);
});

test("RFC 9175 2.6: not even the Echo fits a request of 4 bytes: silence, until its repetition makes room", () => {
  const probe = new Probe();
  const bare = hex("40010001");
  assert.deepEqual(probe.datagram(bare), []);
  assert.equal(probe.executed, 1);
  const [challenge] = probe.datagram(bare);
  assert.equal(challenge?.code, Code.Unauthorized);
  assert.equal(probe.executed, 1);
});

test("an unsafe request is not carried out twice for the sake of an Echo: its long answer comes in blocks", () => {
  const probe = new Probe();
  const [answer] = probe.ask(request(Code.POST, { path: "/a/long/enough/path/of/this" }), 1);
  assert.equal(answer?.code, Code.Content);
  assert.ok(findOption(answer.options, OptionNumber.Block2));
  assert.equal(probe.executed, 1);
});

test("challenge: the application asks for an Echo before it acts, and then knows the path is proven", () => {
  const pair = new Pair((asked, p) => {
    if (asked.validated) return response(Code.Created);
    p.server.handle({ type: "challenge", exchange: asked.exchange }, p.now);
    return undefined;
  });
  const id = pair.ask(request(Code.POST, { path: "/rd" }));
  pair.run(10_000);
  assert.equal(pair.responses(id)[0]?.code, Code.Created);
  assert.deepEqual(pair.story, ["C CON 0.02", "S ACK 4.01", "C CON 0.02", "S ACK 2.01"]);
});

test("a request of ours that is too long for a stranger waits for the RST to a ping, which proves the path", () => {
  const pair = new Pair(() => response(Code.Changed));
  pair.ask(request(Code.POST, { path: "/rd" }));
  pair.run(1_000);
  const long = request(Code.GET, { path: "/a/rather/long/path/for/its/allowance" });
  pair.handle("server", { type: "request", id: 1, session: 1, request: long });
  pair.handle("server", { type: "request", id: 2, session: 1, request: get });
  pair.run(1_000);
  assert.deepEqual(pair.story.slice(2, 5), ["S CON", "C RST", "S CON 0.01"]);
  assert.equal(pair.seen.server.filter(({ type }) => type === "proven").length, 1);
});

test("a stranger that does not answer the ping gets five of them and nothing else", () => {
  const pair = new Pair(() => response(Code.Changed));
  pair.ask(request(Code.POST, { path: "/rd", payload: "with room for them" }));
  pair.run(1_000);
  pair.network = (from) => (from === "server" ? HERE : LOST);
  const long = request(Code.GET, { path: `/${"far/".repeat(20)}` });
  pair.handle("server", { type: "request", id: 1, session: 1, request: long });
  pair.run();
  assert.deepEqual(
    pair
      .messages("server")
      .slice(1)
      .map(({ code }) => code),
    [0, 0, 0, 0, 0],
  );
});

test("moved: unproven, what is in flight waits for the allowance; validated, it leaves at once", () => {
  for (const validated of [false, true]) {
    const pair = new Pair(() => response(Code.Changed));
    pair.ask(request(Code.POST, { path: "/rd" }));
    pair.run(1_000);
    pair.network = (from) => (from === "server" ? LOST : HERE);
    pair.handle("server", { type: "validated", session: 1 });
    pair.handle("server", { type: "request", id: 1, session: 1, request: get });
    const before = pair.wire.length;
    pair.server.endpoint.handle({ type: "moved", session: 1, validated }, pair.now);
    pair.handle("server", { type: "pin", session: 1 }); // drains
    assert.equal(pair.wire.length - before, validated ? 1 : 0);
  }
});

for (const [over, what] of [
  [0, "is answered"],
  [1, "with one byte more is asked for an Echo"],
] as const) {
  test(`RFC 9175 2.4: an answer of exactly three bytes for each byte of the request goes out; ${what}`, () => {
    const server = new CoapNode({ rng: seededRng(1), tuning: coapTuning() });
    const asked = encodeMessage({ type: CON, ...get, mid: 1, token: Uint8Array.of(7) });
    const answers: Uint8Array[] = [];
    const drain = (): void => {
      for (let output = server.poll(); output !== undefined; output = server.poll()) {
        if (output.type === "datagram") answers.push(output.bytes);
        if (output.type !== "request") continue;
        const { exchange } = output;
        const around = 4 + 1 + 1; // header, token, payload marker
        const payload = new Uint8Array(3 * asked.length + over - around);
        const full = response(Code.Content, { payload });
        server.handle({ type: "respond", exchange, response: full }, 0);
      }
    };
    server.handle({ type: "datagram", path: PEER, bytes: asked }, 0);
    drain();
    const [answer, ...others] = answers;
    assert.equal(others.length, 0);
    assert.ok(answer !== undefined && answer.length <= 3 * asked.length);
    if (over === 0) assert.equal(answer.length, 3 * asked.length);
    assert.equal(decodeMessage(answer).code, over === 0 ? Code.Content : Code.Unauthorized);
  });
}
