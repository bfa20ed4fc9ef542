import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger, UsageError, fromUtf8, hex, seededRng } from "@godwit/base";
import { Code } from "../codes.ts";
import { EndpointSession } from "../endpoint-session.ts";
import { OptionNumber } from "../option-numbers.ts";
import { findUint, opaqueOption, request, response, uintOption } from "../options.ts";
import {
  type CoapTuning,
  coapTuning,
  exchangeLifetime,
  maxTransmitSpan,
  maxTransmitWait,
} from "../tuning.ts";
import { NoResponse } from "../no-response.ts";
import { CLIENT, HERE, LOST, Pair, SERVER } from "./pair.test-kit.ts";

const hello = response(Code.Content, { payload: "world" });
const get = request(Code.GET, { path: "/hello" });

test("RFC 7252 4.2: an unanswered CON is sent 5 times in doubling intervals within MAX_TRANSMIT_SPAN, and given up within MAX_TRANSMIT_WAIT", () => {
  const t = coapTuning();
  for (let seed = 0; seed < 20; seed++) {
    const pair = new Pair(() => hello, { seed });
    pair.network = () => LOST;
    const id = pair.ask(request(Code.POST, { path: "/hello" }));
    pair.run();
    const times = pair.wire.map((d) => d.at);
    assert.equal(times.length, 1 + t.maxRetransmit);
    const gaps = times.slice(1).map((at, i) => at - times[i]!); // one fewer than times
    assert.ok(gaps[0]! >= 2_000 && gaps[0]! <= 3_000); // there are 4
    for (let i = 1; i < gaps.length; i++) assert.ok(Math.abs(gaps[i]! - 2 * gaps[i - 1]!) < 1e-6);
    assert.ok(times.at(-1)! <= maxTransmitSpan(t));
    assert.equal(pair.failure(id), "timeout");
    const same = pair.wire.map((d) => Buffer.from(d.bytes).toString("hex"));
    assert.equal(new Set(same).size, 1);
    assert.ok(gaps[0]! * 31 <= maxTransmitWait(t));
  }
});

test("RFC 7252 5.2.1: an answer at once travels in the ACK", () => {
  const pair = new Pair(() => hello);
  const id = pair.ask(get);
  pair.run();
  assert.deepEqual(pair.story, ["C CON 0.01", "S ACK 2.05"]);
  assert.deepEqual(pair.responses(id), [hello]);
});

test("RFC 7252 5.2.2: an answer that takes longer gets an empty ACK first, then a CON of its own", () => {
  const pair = new Pair((asked, p) => {
    later = () =>
      p.handle("server", { type: "respond", exchange: asked.exchange, response: hello });
    return undefined;
  });
  let later = (): void => assert.fail();
  const id = pair.ask(get);
  pair.run(5_000);
  assert.deepEqual(pair.story, ["C CON 0.01", "S ACK"]);
  later();
  pair.run();
  assert.deepEqual(pair.story, ["C CON 0.01", "S ACK", "S CON 2.05", "C ACK"]);
  assert.deepEqual(pair.responses(id), [hello]);
  assert.equal(pair.failure(id), undefined);
});

test("RFC 7252 5.2.3: a NON request is answered by NON", () => {
  const pair = new Pair(() => hello);
  const id = pair.ask(get, { confirmable: false });
  pair.run();
  assert.deepEqual(pair.story, ["C NON 0.01", "S NON 2.05"]);
  assert.deepEqual(pair.responses(id), [hello]);
});

test("RFC 7252 4.5: a request whose ACK is lost is carried out once and answered again from memory", () => {
  const pair = new Pair(() => response(Code.Changed));
  pair.network = (from, _, n) => (from === "server" && n < 8 ? LOST : HERE);
  const id = pair.ask(request(Code.POST, { path: "/3/0/4" }));
  pair.run();
  assert.equal(pair.executed, 1);
  assert.equal(pair.responses(id).length, 1);
  const acks = pair.wire.filter((d) => d.from === "server");
  assert.ok(acks.length > 1);
  for (const ack of acks) assert.deepEqual(ack.bytes, acks[0]!.bytes); // there is one
});

test("RFC 7252 4.5: duplicates and reordering on the way never double anything", () => {
  for (let seed = 0; seed < 50; seed++) {
    const pair = new Pair(() => response(Code.Changed), { seed });
    let chaos = seed * 7 + 1;
    pair.network = () => {
      chaos = (chaos * 48_271) % 0x7fff_ffff;
      return { copies: chaos % 4, delay: (chaos >>> 4) % 4_000 };
    };
    const ids = Array.from({ length: 5 }, () => pair.ask(request(Code.POST, { path: "/a" })));
    pair.run();
    assert.ok(pair.executed <= 5);
    for (const id of ids) {
      const answers = pair.responses(id).length;
      const failed = pair.failure(id) === undefined ? 0 : 1;
      assert.equal(answers + failed, 1, `seed ${seed}`);
    }
  }
});

test("RFC 7252 4.7: with NSTART 1 requests to one peer go one after the other, and too many are refused", () => {
  const pair = new Pair(() => hello, { tuning: { maxRequestsPerSession: 3 } });
  const ids = [1, 2, 3, 4].map(() => pair.ask(get));
  assert.equal(pair.wire.length, 1);
  assert.equal(pair.failure(ids[3]!), "full"); // there are 4
  pair.run();
  assert.deepEqual(pair.story, [
    "C CON 0.01",
    "S ACK 2.05",
    "C CON 0.01",
    "S ACK 2.05",
    "C CON 0.01",
    "S ACK 2.05",
  ]);
});

test("RFC 7252 4.3: an empty CON is answered by RST, and that is a pong", () => {
  const pair = new Pair(() => hello);
  pair.handle("client", { type: "ping", id: 5, session: pair.session });
  pair.run();
  assert.deepEqual(pair.story, ["C CON", "S RST"]);
  assert.ok(pair.seen.client.some((o) => o.type === "pong" && o.id === 5));
  const ledger = pair.client.sessions.ledgerOf(pair.session);
  assert.equal(ledger.bytes("out", "keepAlive"), 4);
  assert.equal(ledger.bytes("in", "keepAlive"), 4);
});

for (const [name, options, code, payload] of [
  [
    "5.4.1: an unknown critical option",
    [opaqueOption(9_999, Uint8Array.of(1))],
    Code.BadOption,
    "9999: option 9999",
  ],
  [
    "5.10.2: Proxy-Uri",
    [opaqueOption(OptionNumber.ProxyUri, Uint8Array.of(0x61))],
    Code.ProxyingNotSupported,
    "",
  ],
  [
    "5.10.2: Proxy-Scheme",
    [opaqueOption(OptionNumber.ProxyScheme, Uint8Array.of(0x61))],
    Code.ProxyingNotSupported,
    "",
  ],
  [
    "5.4.5: a second Accept",
    [uintOption(OptionNumber.Accept, 1), uintOption(OptionNumber.Accept, 2)],
    Code.BadOption,
    "17: Accept",
  ],
  [
    "5.4.3: an Accept of 3 bytes",
    [opaqueOption(OptionNumber.Accept, Uint8Array.of(1, 2, 3))],
    Code.BadOption,
    "17: Accept",
  ],
  ["RFC 9177: Q-Block1", [uintOption(OptionNumber.QBlock1, 0)], Code.BadOption, "19: Q-Block1"],
] as const) {
  test(`RFC 7252 ${name} in a request is refused before the application sees it`, () => {
    const pair = new Pair(() => hello);
    const id = pair.ask(request(Code.GET, { options }));
    pair.run();
    assert.equal(pair.executed, 0);
    assert.deepEqual(pair.responses(id), [response(code, { payload })]);
  });
}

test("RFC 7252 5.10.1: Uri-Host and Uri-Port are taken, unknown elective options are dropped", () => {
  const pair = new Pair((asked) => {
    assert.deepEqual(
      asked.request.options.map((o) => o.number),
      [OptionNumber.UriHost, OptionNumber.UriPort],
    );
    return hello;
  });
  const id = pair.ask(
    request(Code.GET, {
      options: [
        opaqueOption(OptionNumber.UriHost, Uint8Array.of(0x61)),
        uintOption(OptionNumber.UriPort, 5_683),
        opaqueOption(65_000, Uint8Array.of(1)),
      ],
    }),
  );
  pair.run();
  assert.deepEqual(pair.responses(id), [hello]);
});

test("RFC 7252 5.8: a method nobody defined gets 4.05", () => {
  const pair = new Pair(() => hello);
  const id = pair.ask({ ...get, code: 0x08 });
  pair.run();
  assert.deepEqual(pair.responses(id), [response(Code.MethodNotAllowed)]);
});

test("RFC 7967 2: an answer nobody wants is not sent; a CON still gets its ACK", () => {
  const options = [uintOption(OptionNumber.NoResponse, NoResponse.Success)];
  const pair = new Pair(() => response(Code.Changed));
  pair.ask(request(Code.POST, { options }), { confirmable: false });
  pair.ask(request(Code.POST, { options }));
  pair.run(11_000);
  assert.deepEqual(pair.story, ["C NON 0.02", "C CON 0.02", "S ACK"]);
});

test("RFC 8974: a long token of a peer is given back; beyond our limit the message is rejected", () => {
  const pair = new Pair(() => hello, { serverTuning: { maxTokenLength: 300 } });
  for (const length of [9, 13, 300, 301]) {
    const token = new Uint8Array(length).fill(7);
    pair.handle("client", {
      type: "request",
      id: length,
      session: pair.session,
      request: get,
      again: { mid: length, token },
    });
  }
  pair.run();
  for (const length of [9, 13, 300]) assert.equal(pair.responses(length).length, 1);
  assert.equal(pair.failure(301), "reset");
});

test("tuning.emptyToken: the only request of a session carries no token, a second one at the same time does", () => {
  const pair = new Pair(() => hello, { tuning: { emptyToken: true, nstart: 2 } });
  pair.ask(get);
  pair.ask(get);
  pair.run();
  pair.ask(get);
  pair.run();
  assert.deepEqual(
    pair.messages("client").map((m) => m.token.length),
    [0, 1, 0],
  );
});

test("RFC 7959 with 9175 3.4: bodies of both directions travel in blocks and arrive whole", () => {
  const body = new Uint8Array(5_000).map((_, i) => i % 251);
  const pair = new Pair((asked) => {
    assert.deepEqual(asked.request.payload, body);
    return response(Code.Changed, { payload: body });
  });
  const id = pair.ask(request(Code.POST, { path: "/big", payload: body }));
  pair.run();
  assert.equal(pair.responses(id).length, 1);
  assert.deepEqual(pair.responses(id)[0]?.payload, body);
  assert.equal(pair.executed, 1);
});

test("RFC 7641: notifications follow, in order, until the client deregisters", () => {
  let exchange = 0;
  const pair = new Pair((asked) => {
    exchange = asked.exchange;
    return response(Code.Content, { payload: "0", options: [uintOption(OptionNumber.Observe, 0)] });
  });
  const id = pair.ask(request(Code.GET, { path: "/t", observe: 0 }));
  pair.run(1_000);
  const observed = exchange;
  for (const payload of ["1", "2", "3"]) {
    pair.handle("server", {
      type: "notify",
      exchange: observed,
      response: response(Code.Content, { payload }),
      confirmable: payload === "3",
    });
    pair.run(10_000);
  }
  assert.deepEqual(
    pair.responses(id).map((r) => String.fromCharCode(...r.payload)),
    ["0", "1", "2", "3"],
  );
  // The first is confirmable too: its ACK proves the path.
  assert.deepEqual(pair.story.slice(2), [
    "S CON 2.05",
    "C ACK",
    "S NON 2.05",
    "S CON 2.05",
    "C ACK",
  ]);
  pair.handle("client", { type: "cancel", id });
  pair.run(1_000);
  assert.ok(pair.seen.server.some((o) => o.type === "unobserved" && o.why === "deregistered"));
  const last = pair.messages("client").at(-1)!; // it has just been sent
  assert.equal(findUint(last.options, OptionNumber.Observe), 1);
});

test("RFC 7641 3.6: a notification that nobody waits for is rejected, and ends the observation", () => {
  let exchange = 0;
  const pair = new Pair((asked) => {
    exchange = asked.exchange;
    return response(Code.Content, { options: [uintOption(OptionNumber.Observe, 0)] });
  });
  const id = pair.ask(request(Code.GET, { path: "/t", observe: 0 }));
  pair.run(1_000);
  pair.handle("client", { type: "cancel", id, how: "forget" });
  pair.handle("server", { type: "notify", exchange, response: hello });
  pair.run(1_000);
  assert.deepEqual(pair.story.slice(-2), ["S CON 2.05", "C RST"]);
  assert.ok(pair.seen.server.some((o) => o.type === "unobserved" && o.why === "reset"));
});

test("a device behind a NAT that changes its port in mid-exchange is carried out once and gets its answer", () => {
  let known = 0;
  const pair = new Pair((asked, p) => {
    if (known === 0) known = asked.session;
    if (asked.session !== known) {
      p.server.handle({ type: "adopt", exchange: asked.exchange, into: known }, p.now);
      return undefined;
    }
    return response(Code.Changed);
  });
  pair.network = (from, _, n) => (from === "server" && n === 2 ? LOST : HERE);
  const id = pair.ask(request(Code.POST, { path: "/rd/1" }));
  pair.run(1_000);
  pair.clientAddress = { host: "198.51.100.7", port: 40_002 };
  pair.run(10_000);
  assert.equal(pair.responses(id).length, 1);
  assert.deepEqual(pair.story, ["C CON 0.02", "S ACK 2.04", "C CON 0.02", "S ACK 2.04"]);
  const executed = pair.seen.server.filter((o) => o.type === "request" && o.session === known);
  assert.equal(executed.length, 1);
  assert.equal(pair.server.sessions.ledgerOf(known).addressChanges, 1);
});

/** A device behind a NAT: asks the server, and is asked by it in the same session. */
function natPair(): { pair: Pair; known: () => number } {
  let known = 0;
  const pair = new Pair((asked, p) => {
    if (known === 0) known = asked.session;
    else if (asked.session !== known) {
      p.server.handle({ type: "adopt", exchange: asked.exchange, into: known }, p.now);
      return undefined;
    }
    return response(Code.Changed);
  });
  return { pair, known: () => known };
}

function executedByDevice(pair: Pair): number {
  return pair.seen.client.filter((o) => o.type === "request").length;
}

for (const lost of ["the request", "its answer"] as const) {
  test(`a server's Execute in flight while the NAT forgets: with ${lost} lost, it goes to the new address at once and is carried out once`, () => {
    const { pair, known } = natPair();
    pair.ask(request(Code.POST, { path: "/rd" }));
    pair.run(1_000);
    const execute = request(Code.POST, { path: "/3/0/4" });
    pair.handle("server", { type: "request", id: 7, session: known(), request: execute });
    if (lost === "the request") {
      pair.clientAddress = { host: "203.0.113.9", port: 50_000 };
      pair.run(100);
    } else {
      pair.run(12);
      const asked = pair.seen.client.find((o) => o.type === "request");
      assert.equal(asked?.type, "request");
      pair.clientAddress = { host: "203.0.113.9", port: 50_000 };
      pair.network = (from) => (from === "client" ? LOST : HERE);
      const exchange = asked.type === "request" ? asked.exchange : 0;
      pair.handle("client", { type: "respond", exchange, response: response(Code.Changed) });
      pair.network = () => HERE;
    }
    const before = pair.wire.length;
    const at = pair.now;
    pair.ask(request(Code.POST, { path: "/rd/1", payload: "an update long enough" }));
    pair.run(50);
    for (const o of [...pair.seen.client])
      if (o.type === "request" && lost === "the request")
        pair.handle("client", {
          type: "respond",
          exchange: o.exchange,
          response: response(Code.Changed),
        });
    pair.run(500);
    const again = pair.wire
      .slice(before)
      .find((d) => d.from === "server" && d.bytes[1] === Code.POST);
    assert.ok(again !== undefined && again.at - at < 50, "without waiting for the timeout");
    assert.equal(executedByDevice(pair), 1);
    const answers = pair.seen.server.filter((o) => o.type === "response" && o.id === 7);
    assert.equal(answers.length, 1);
  });
}

for (const first of ["nothing else", "a ping"] as const) {
  test(`RFC 7641 3.6: a notification after a NAT rebinding, with ${first} before it, is not rejected, and the next arrives where its session has moved`, () => {
    const { pair, known } = natPair();
    pair.ask(request(Code.POST, { path: "/rd" }));
    pair.run(1_000);
    const observe = request(Code.GET, { path: "/t", observe: 0 });
    pair.handle("server", { type: "request", id: 7, session: known(), request: observe });
    pair.run(100);
    const asked = pair.seen.client.find((o) => o.type === "request");
    const exchange = asked?.type === "request" ? asked.exchange : 0;
    const options = [uintOption(OptionNumber.Observe, 0)];
    pair.handle("client", { type: "respond", exchange, response: { ...hello, options } });
    pair.run(1_000);
    pair.clientAddress = { host: "203.0.113.9", port: 50_000 };
    if (first === "a ping") {
      pair.handle("client", { type: "ping", id: 50, session: pair.session });
      pair.run(100);
    }
    const before = pair.wire.length;
    const newer = response(Code.Content, { payload: "newer" });
    pair.handle("client", { type: "notify", exchange, response: newer, confirmable: false });
    pair.run(10_000);
    assert.deepEqual(pair.story.slice(before), ["C NON 2.05"]);
    pair.ask(request(Code.POST, { path: "/rd/1" }));
    pair.run(1_000);
    pair.handle("client", { type: "notify", exchange, response: newer, confirmable: false });
    pair.run(10_000);
    const answers = pair.seen.server.filter((o) => o.type === "response" && o.id === 7);
    assert.equal(answers.length, 2);
    assert.ok(pair.seen.client.every((o) => o.type !== "unobserved"));
  });
}

test("a separate answer that is late by a NAT rebinding goes to the adopted session's new address", () => {
  let known = 0;
  let first = 0;
  const pair = new Pair((asked, p) => {
    if (known === 0) [known, first] = [asked.session, asked.exchange];
    else if (asked.session !== known)
      p.server.handle({ type: "adopt", exchange: asked.exchange, into: known }, p.now);
    return undefined;
  });
  const id = pair.ask(request(Code.POST, { path: "/slow" }));
  pair.network = (from) => (from === "server" ? LOST : HERE);
  pair.run(1_500);
  pair.clientAddress = { host: "198.51.100.7", port: 40_009 };
  pair.network = () => HERE;
  pair.run(4_000);
  pair.handle("server", { type: "respond", exchange: first, response: response(Code.Changed) });
  pair.run(10_000);
  assert.equal(pair.responses(id).length, 1);
  const requests = pair.seen.server.filter((o) => o.type === "request" && o.session === known);
  assert.equal(requests.length, 1);
});

test("adopt of an exchange that is over or unknown changes nothing", () => {
  const pair = new Pair(() => hello);
  pair.ask(get);
  pair.run(1_000);
  pair.handle("server", { type: "adopt", exchange: 1, into: 1 });
  pair.handle("server", { type: "adopt", exchange: 99, into: 1 });
  pair.handle("server", { type: "respond", exchange: 99, response: hello });
  pair.handle("server", { type: "notify", exchange: 99, response: hello });
  pair.handle("server", { type: "challenge", exchange: 99 });
  pair.handle("server", { type: "unobserve", exchange: 99 });
  pair.handle("client", { type: "cancel", id: 99 });
  assert.equal(pair.wire.length, 2);
});

test("the end of a session ends all that runs in it", () => {
  const pair = new Pair(() => undefined, { tuning: { nstart: 1 } });
  const ids = [pair.ask(get), pair.ask(get)];
  pair.handle("client", { type: "ping", id: 9, session: pair.session });
  pair.run(100);
  pair.handle("client", { type: "close", session: pair.session });
  for (const id of ids) assert.equal(pair.failure(id), "closed");
  assert.equal(pair.failure(9), undefined);
  pair.handle("server", { type: "close", session: 1 });
  pair.handle("server", { type: "respond", exchange: 1, response: hello });
  const before = pair.wire.length;
  pair.run(300_000);
  assert.equal(pair.wire.length, before);
});

test("tuning.maxPendingPerSession: what the application does not get to is answered 5.03 with Max-Age", () => {
  const pair = new Pair(() => undefined, { tuning: { nstart: 5, maxPendingPerSession: 2 } });
  const ids = [1, 2, 3].map(() => pair.ask(get));
  pair.run(500);
  assert.equal(pair.executed, 2);
  assert.equal(pair.responses(ids[2]!)[0]?.code, Code.ServiceUnavailable); // there are 3
});

test("tuning.answerLifetime: what the application never answers is answered 5.03 and forgotten", () => {
  const pair = new Pair(() => undefined, { tuning: { answerLifetime: 20_000 } });
  const id = pair.ask(get);
  pair.run(60_000);
  assert.equal(pair.responses(id)[0]?.code, Code.ServiceUnavailable);
  assert.deepEqual(pair.story, ["C CON 0.01", "S ACK", "S CON 5.03", "C ACK"]);
});

test("tuning.separateAnswerTimeout: the answer promised by an empty ACK is not waited for without end", () => {
  const pair = new Pair(() => undefined, { tuning: { separateAnswerTimeout: 30_000 } });
  const id = pair.ask(get);
  pair.run(100_000);
  assert.equal(pair.failure(id), "timeout");
  assert.equal(pair.client.endpoint.wakeAt, undefined);
});

test("RFC 7252 4.7: a NON request without answer holds its place of NSTART for nonAnswerTimeout, or as PROBING_RATE wants", () => {
  const pair = new Pair(() => undefined);
  pair.network = () => LOST;
  const first = pair.ask(get, { confirmable: false });
  pair.ask(get, { confirmable: false });
  pair.run(9_999);
  assert.equal(pair.wire.length, 1);
  // 11 bytes at 1 byte per second.
  pair.run(1_000);
  assert.equal(pair.wire.length, 1);
  pair.run(2);
  assert.equal(pair.failure(first), "timeout");
  assert.equal(pair.wire.length, 2);
});

test("again: after a timeout the same message id and token let the server answer from memory", () => {
  const pair = new Pair(() => response(Code.Changed));
  pair.network = (from) => (from === "server" ? LOST : HERE);
  const asked = request(Code.POST, { path: "/3/0/4" });
  pair.ask(asked);
  pair.run(95_000);
  const failed = pair.seen.client.find((o) => o.type === "failed");
  assert.ok(failed?.type === "failed" && failed.again !== undefined);
  pair.network = () => HERE;
  const { again } = failed;
  pair.handle("client", { type: "request", id: 1, session: pair.session, request: asked, again });
  pair.run(1_000);
  assert.equal(pair.executed, 1);
  assert.equal(pair.responses(1).length, 1);
});

test("RFC 7252 4.4: message ids start anywhere, count up, and are not used twice within EXCHANGE_LIFETIME", () => {
  const session = (seed: number) => new EndpointSession(1, new Ledger(), seededRng(seed), 1, true);
  const tuning = coapTuning();
  const starts = new Set([1, 2, 3, 4].map((seed) => session(seed).nextMid(tuning, 0, false)));
  assert.equal(starts.size, 4);
  const one = session(1);
  const used = new Map<number, number>();
  let refused = 0;
  for (let now = 0; now < 1_000_000; now += 2) {
    const mid = one.nextMid(tuning, now, false);
    if (mid === undefined) {
      refused += 1;
      continue;
    }
    const before = used.get(mid);
    assert.ok(before === undefined || now - before >= exchangeLifetime(tuning));
    used.set(mid, now);
  }
  assert.equal(used.size, 0x1_0000);
  assert.ok(refused > 0);
  assert.notEqual(one.nextMid(tuning, 1_000_000, true), undefined, "answers always get one");
});

test("tuning.maxUnsafeKept: the same Execute again, long after EXCHANGE_LIFETIME, is answered and not carried out", () => {
  for (const maxUnsafeKept of [0, 16]) {
    const pair = new Pair(() => response(Code.Changed), { serverTuning: { maxUnsafeKept } });
    const asked = request(Code.POST, { path: "/3/0/4" });
    const again = { mid: 77, token: Uint8Array.of(9) };
    for (const id of [1, 2]) {
      pair.handle("client", { type: "request", id, session: pair.session, request: asked, again });
      pair.run(1_000);
      pair.handle("server", { type: "pin", session: 1 });
      assert.equal(pair.responses(id).length, 1);
      pair.run(3_600_000);
    }
    assert.equal(pair.executed, maxUnsafeKept === 0 ? 2 : 1);
  }
});

/** A pair whose server has accepted an observation. */
function observed(payload: string, tuning: Partial<CoapTuning> = {}) {
  let exchange = 0;
  const pair = new Pair(
    (asked) => {
      exchange ||= asked.exchange;
      const options = [uintOption(OptionNumber.Observe, 0)];
      return response(Code.Content, { payload, options });
    },
    { tuning },
  );
  const id = pair.ask(request(Code.GET, { path: "/t", observe: 0, query: ["a=aaaaaaaaaaaaaa"] }));
  pair.run(1_000);
  pair.handle("server", { type: "validated", session: 1 });
  const notify = (text: string | Uint8Array, confirmable?: boolean): void =>
    pair.handle("server", {
      type: "notify",
      exchange,
      response: response(Code.Content, { payload: text }),
      ...(confirmable === undefined ? {} : { confirmable }),
    });
  const texts = (): string[] => pair.responses(id).map((r) => fromUtf8(r.payload));
  return { pair, id, notify, texts };
}

test("RFC 7641 4.5.2: while a confirmable notification is not acknowledged, the newest state takes its place", () => {
  const { pair, notify, texts } = observed("0");
  pair.network = (from) => (from === "server" ? LOST : HERE);
  for (const text of ["1", "2", "3"]) notify(text, true);
  pair.run(500);
  pair.network = () => HERE;
  pair.run(20_000);
  assert.deepEqual(texts(), ["0", "3"]);
  const [first, second] = pair.messages("server").slice(1);
  assert.notEqual(first?.mid, second?.mid);
});

test("RFC 7641 4.5: a confirmable notification that is never acknowledged ends all observations of the peer", () => {
  const { pair, notify } = observed("0");
  pair.network = () => LOST;
  notify("1", true);
  pair.run(100_000);
  assert.ok(pair.seen.server.some((o) => o.type === "unobserved" && o.why === "timeout"));
});

test("RFC 7641 3.4: a notification that was overtaken is not handed over", () => {
  const { pair, notify, texts } = observed("0", { nonNotifyInterval: 1, nonNotifyBurst: 10 });
  let n = 0;
  pair.network = () => ({ copies: 1, delay: n++ === 0 ? 500 : 10 });
  notify("1");
  pair.run(5);
  notify("2");
  pair.run(5_000);
  assert.deepEqual(texts(), ["0", "2"]);
});

test("RFC 7641 2: a class 4 notification ends the observation on both sides", () => {
  const { pair, id } = observed("0");
  const gone = response(Code.NotFound);
  pair.handle("server", { type: "notify", exchange: 1, response: gone });
  pair.run(5_000);
  assert.deepEqual(pair.responses(id).at(-1), gone);
  const last = pair.seen.client.findLast((o) => o.type === "response");
  assert.ok(last?.type === "response" && last.final && last.notification);
  assert.ok(pair.seen.server.some((o) => o.type === "unobserved" && o.why === "error"));
});

test("RFC 7959 2.6: long notifications arrive whole, and a newer one takes the place of one half fetched", () => {
  const { pair, notify, texts, id } = observed("0");
  const long = "x".repeat(3_000);
  notify(long);
  pair.run(5_000);
  assert.deepEqual(texts(), ["0", long]);
  assert.notEqual(findUint(pair.responses(id)[1]!.options, OptionNumber.Observe), undefined); // there are 2
  let n = 0;
  pair.network = (from) => (from === "client" && n++ === 1 ? LOST : HERE);
  notify("y".repeat(3_000));
  pair.run(100);
  notify("z");
  pair.run(30_000);
  assert.deepEqual(texts().slice(2), ["z"]);
});

test("resumeObservation: notifications of an observation from before a restart are handed over", () => {
  const { pair, id, notify } = observed("0");
  const asked = request(Code.GET, { path: "/t", observe: 0, query: ["a=aaaaaaaaaaaaaa"] });
  const first = pair.seen.client.find((o) => o.type === "response");
  assert.ok(first?.type === "response");
  pair.handle("client", { type: "cancel", id, how: "forget" });
  const { session } = pair;
  pair.handle("client", {
    type: "resumeObservation",
    id: 55,
    session,
    token: first.token,
    request: asked,
  });
  notify("1", true);
  pair.run(1_000);
  assert.deepEqual(
    pair.responses(55).map((r) => fromUtf8(r.payload)),
    ["1"],
  );
});

test("an observation beyond tuning.maxObservations is answered without Observe, and the application is told", () => {
  const { pair, id } = observed("0", { maxObservations: 0 });
  assert.equal(findUint(pair.responses(id)[0]!.options, OptionNumber.Observe), undefined); // there is one
  assert.ok(pair.seen.server.some((o) => o.type === "unobserved" && o.why === "full"));
});

test("a peer that never acknowledges its separate answers gets them as NON once too many wait", () => {
  const limits = { maxPendingPerSession: 4 };
  const pair = new Pair(() => undefined, { tuning: { nstart: 1 }, serverTuning: limits });
  pair.network = (from, bytes) => (from === "client" && bytes[1] === 0 ? LOST : HERE);
  for (let n = 0; n < 30; n++) {
    pair.ask(get);
    pair.run(1_100);
    const asked = pair.seen.server.findLast((o) => o.type === "request");
    assert.ok(asked?.type === "request");
    const { exchange } = asked;
    pair.handle("server", { type: "respond", exchange, response: hello });
    pair.run(50);
  }
  const separate = pair.messages("server").filter((m) => m.code === Code.Content);
  assert.equal(separate.filter((m) => m.type === 1).length, 30 - 1 - limits.maxPendingPerSession);
});

test("a request that cannot be encoded is refused with UsageError and leaves nothing behind", () => {
  const pair = new Pair(() => hello);
  const options = [uintOption(OptionNumber.Accept, 0), uintOption(OptionNumber.ETag, 1)];
  const wrong = { code: Code.GET, options, payload: new Uint8Array(0) };
  assert.throws(() => pair.ask(wrong), UsageError);
  const id = pair.ask(get);
  pair.run(1_000);
  assert.equal(pair.responses(id).length, 1);
});

test("a request number that is still in use is refused with UsageError", () => {
  const pair = new Pair(() => hello);
  const input = { type: "request", id: 1, session: pair.session, request: get } as const;
  pair.handle("client", input);
  assert.throws(() => pair.handle("client", input), UsageError);
});

for (const [name, datagrams, reasons] of [
  ["4.2: a CON with a format error is rejected", ["4901ffff"], ["C RST"]],
  ["4.3: a NON with a format error is ignored", ["5901ffff"], []],
  ["3: an unknown version is ignored", ["8001ffff"], []],
  ["4.2: an ACK and an RST for nothing are ignored", ["6000ffff", "7000ffff"], []],
  ["4.2: an ACK with an answer to nothing is ignored", ["6045ffff"], []],
  [
    "5.3.2: a CON answer to nothing is rejected, and its duplicate again",
    ["4045ffff", "4045ffff"],
    ["C RST", "C RST"],
  ],
  [
    "4.3: a NON answer to nothing, from a peer whose place is not proven, is ignored",
    ["5045ffff"],
    [],
  ],
  ["4.2: a CON of a reserved class is rejected", ["4020ffff"], ["C RST"]],
  ["4.3: an empty NON is ignored", ["5000ffff"], []],
] as const) {
  test(`RFC 7252 ${name}`, () => {
    const pair = new Pair(() => hello);
    for (const datagram of datagrams)
      pair.handle("client", {
        type: "datagram",
        path: { local: CLIENT, remote: SERVER },
        bytes: hex(datagram),
      });
    assert.deepEqual(pair.story, reasons);
  });
}

test("RFC 7252 5.4.1: an answer with an unknown critical option is rejected and fails the request", () => {
  const options = [opaqueOption(9_999, Uint8Array.of(1))];
  for (const confirmable of [true, false]) {
    const pair = new Pair(() => response(Code.Content, { options }));
    const id = pair.ask(request(Code.GET, { path: "/long/enough" }), { confirmable });
    pair.run(1_000);
    assert.equal(pair.failure(id), "badResponse");
    assert.equal(pair.story.includes("C RST"), !confirmable);
  }
});

test("the ledger knows every byte by its purpose, and both sides agree", () => {
  const pair = new Pair(() => hello);
  pair.network = (from, _, n) => (from === "server" && n === 2 ? LOST : HERE);
  pair.ask(get);
  pair.run(10_000);
  const id = 9;
  pair.handle("client", {
    type: "request",
    id,
    session: pair.session,
    request: get,
    keepAlive: true,
  });
  pair.run(10_000);
  const out = pair.client.sessions.ledgerOf(pair.session).snapshot().out;
  const into = pair.server.sessions.ledgerOf(1).snapshot().in;
  assert.deepEqual(out.bytes, {
    handshake: 0,
    record: 0,
    header: 11,
    payload: 0,
    retransmission: 11,
    keepAlive: 11,
  });
  assert.deepEqual([out.total, out.datagrams], [into.total, into.datagrams]);
  const answers = pair.server.sessions.ledgerOf(1).snapshot().out.bytes;
  assert.deepEqual([answers.header, answers.payload, answers.retransmission], [12, 10, 11]);
});
