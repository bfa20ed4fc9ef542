import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, concat, hex, seededRng, toHex } from "@godwit/base";
import {
  Code,
  OptionNumber,
  findOption,
  request,
  response,
  type Request,
  type Response,
} from "@godwit/coap";
import { byteString, unwrapByteString } from "./cbor.ts";
import { IssuedNonces } from "./issued-nonces.ts";
import {
  CARRIER,
  End,
  INPUT,
  ends,
  mirrored,
  receive,
  serve,
  size,
  talk,
  withoutNonceReuse,
} from "./layer-kit.test.ts";
import {
  oscoreOptionOf,
  protectRequest,
  protectResponse,
  unprotectRequest,
  verifyResponse,
} from "./protection.ts";
import { KeySource } from "./security-context.ts";
import { oscoreTuning } from "./tuning.ts";

const UPDATE = request(Code.POST, { path: "/rd/1234" });
const REGISTER = request(Code.POST, {
  path: "/rd",
  query: ["ep=urn:imei:1234567890", "lt=120", "lwm2m=1.1", "b=U"],
  contentFormat: 40,
  payload: "</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>",
});
const CREATED = response(Code.Created, { locationPath: "/rd/1234" });

test("RFC 8613 B.2: four datagrams, the registration in the second request, 30 + 27 + 37 + x + 24 bytes", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("negotiated");
    const { sizes, asked, outcome } = talk(client, server, REGISTER, CREATED);
    const plaintext = 1 + 13 + 86; // code, and the plain message of 102 bytes less header, token and code
    assert.equal(sizes[0], 30);
    assert.equal(sizes[1], 27);
    assert.equal(sizes[2]! - 37 - size(REGISTER) + 5, 1, `${plaintext}`);
    assert.equal(sizes[3], 24);
    assert.ok(sizes.reduce((sum, n) => sum + n, 0) <= 225, String(sizes));
    assert.deepEqual(asked, [REGISTER], "once, and not by request 1");
    assert.ok(outcome.kind === "response" && outcome.response.code === Code.Created);
    assert.deepEqual(client.take("established"), [{ type: "established", session: 1, by: "us" }]);
    assert.deepEqual(server.take("established"), [{ type: "established", session: 2, by: "peer" }]);

    const update = talk(client, server, UPDATE);
    assert.deepEqual(update.sizes, [27, 16]);
    assert.equal(oscoreOptionOf(update.requests[0]!.options) === "bad", false);
  });
});

test("RFC 8613 B.2: the published way, the registration in both requests, stays below 320 bytes", () => {
  const { client, server } = ends("negotiated", { client: { firstRequest: "application" } });
  const { sizes, asked } = talk(client, server, REGISTER, CREATED);
  assert.equal(asked.length, 1);
  assert.ok(sizes.reduce((sum, n) => sum + n, 0) <= 320, String(sizes));
});

test("RFC 8613 B.2: with an empty kid and no token an Update costs 37 bytes", () => {
  const { client, server } = ends("negotiated", { input: { ...INPUT, senderId: EMPTY } });
  talk(client, server);
  const { sizes } = talk(client, server, request(Code.POST, { path: "/rd/1" }));
  assert.deepEqual(sizes, [23, 16], "with the token's byte each");
});

test("RFC 8613 B.2: lost at any step, the run starts anew and ends well", () => {
  for (const lost of [0, 1, 2, 3]) {
    withoutNonceReuse(() => {
      const { client, server } = ends("negotiated");
      const asked: Request[] = [];
      const sent = client.layer.protectRequest(1, UPDATE, 0);
      assert.ok(sent.kind === "send");
      let outer: Request | undefined = sent.request;
      for (let step = 0; outer !== undefined && step !== lost; step += 2) {
        const reply: Response = serve(server, outer, CARRIER, response(Code.Changed), asked)!;
        if (step + 1 === lost) break;
        const outcome = client.layer.unprotectResponse(sent.exchange, reply, 0);
        outer = outcome.kind === "again" ? outcome.request : undefined;
      }
      client.layer.abandon(sent.exchange);
      client.drain();
      const { outcome } = talk(client, server);
      assert.equal(outcome.kind, "response", `lost ${lost}`);
      assert.deepEqual(talk(client, server).sizes, [27, 16], `lost ${lost}`);
    });
  }
});

test("RFC 8613 B.2: others wait while request 1 is out, and then use the new keys", () => {
  const { client, server } = ends("negotiated");
  const first = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(first.kind === "send");
  assert.deepEqual(client.layer.protectRequest(1, UPDATE, 0), { kind: "wait" });
  const outcome = client.layer.unprotectResponse(first.exchange, serve(server, first.request)!, 0);
  client.drain();
  assert.deepEqual(client.take("ready"), [{ type: "ready", session: 1 }]);
  const second = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(second.kind === "send" && outcome.kind === "again");
  // the second overtakes: it, too, may be the server's request 2
  assert.equal(
    client.layer.unprotectResponse(second.exchange, serve(server, second.request)!, 0).kind,
    "response",
  );
  assert.equal(
    client.layer.unprotectResponse(first.exchange, serve(server, outcome.request)!, 0).kind,
    "response",
  );
});

test("RFC 8613 B.2: request 1 is not dispatched, evicts nothing and grows nothing, however often it comes", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  const attacker = new KeySource(INPUT);
  const answers = new Set<string>();
  const r2s = new Set<string>();
  for (let i = 0; i < 2_000; i++) {
    const r1 = hex(i.toString(16).padStart(16, "0"));
    const { request: recorded } = protectRequest(
      attacker.derive(r1),
      request(Code.GET),
      byteString(r1),
    )!;
    const result = receive(server, recorded);
    assert.ok(result.kind === "reply");
    const option = oscoreOptionOf(result.response.options);
    assert.ok(option !== "bad" && option?.kidContext !== undefined);
    assert.ok(result.response.payload.length === 9, "4.01 and nothing more");
    answers.add(toHex(result.response.payload));
    r2s.add(toHex(unwrapByteString(option.kidContext)!));
    if (i < 4) assert.equal(r2s.size, i + 1);
  }
  assert.equal(r2s.size, 2_000, "no R2 twice");
  assert.deepEqual(
    [...new Set([...r2s].map((r2) => r2.length / 2))],
    [8, 16],
    "short while few, then self-proving",
  );
  assert.deepEqual(talk(client, server).sizes, [27, 16], "the context in use is untouched");
});

test("RFC 8613 B.2.1: a run begun during a flood of first requests completes", () => {
  const { client, server } = ends("negotiated");
  const recorded: Request[] = [];
  for (let i = 0; i < 50; i++) {
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    recorded.push(sent.request);
    client.layer.abandon(sent.exchange);
  }
  for (const outer of recorded) serve(server, outer);
  const { sizes, outcome } = talk(client, server);
  assert.equal(outcome.kind, "response");
  assert.deepEqual(
    sizes.slice(0, 3),
    [30, 27 + 9, 37 + 9 + 9],
    "R2 has 16 bytes now, and its head two",
  );
});

test("RFC 8613 B.2: replays of request 1, of request 2 and of both change nothing", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("negotiated");
    const first = talk(client, server);
    const [request1, request2] = first.requests as [Request, Request];
    // the attack that makes a server swap contexts: an old pair, after a later run
    client.store.clear();
    client.crash();
    const second = talk(client, server);
    assert.equal(second.outcome.kind, "response");
    server.take("established");
    for (const replayed of [[request1], [request2], [request2, request1], [request1, request2]])
      for (const outer of replayed) {
        const result = receive(server, outer, 666);
        assert.equal(result.kind, "reply", "response 1, for a client that is not there");
      }
    for (const outer of second.requests)
      assert.notEqual(receive(server, outer, 666).kind, "request");
    assert.deepEqual(server.take("established"), []);
    assert.deepEqual(server.take("moved"), []);
    assert.deepEqual(talk(client, server).sizes, [27, 16]);
  });
});

test("RFC 8613 B.2: the R2 of a completed run, an expired one and an invented one open nothing", () => {
  const tuning = oscoreTuning();
  const nonces = new IssuedNonces(tuning, seededRng(1));
  const r3 = hex("3031323334353637");
  const issued = Array.from({ length: 6 }, (_, i) => nonces.issue(Uint8Array.of(i), hex("00"), 0));
  assert.deepEqual(
    issued.map((r2) => r2.length),
    [8, 8, 8, 8, 16, 16],
  );
  for (const r2 of issued) {
    assert.ok(nonces.begins(concat(r2, r3), 59_999));
    assert.ok(!nonces.begins(r2, 59_999), "no R3");
    assert.ok(!nonces.begins(concat(r2.with(0, r2[0]! ^ 1), r3), 59_999));
  }
  assert.deepEqual(nonces.issue(hex("aa"), hex("05"), 0), nonces.issue(hex("aa"), hex("05"), 10));
  assert.notDeepEqual(nonces.issue(hex("aa"), hex("05"), 0), nonces.issue(hex("aa"), hex("06"), 0));
  for (const r2 of issued) assert.ok(!nonces.begins(concat(r2, r3), 60_000), "expired");
  assert.ok(!new IssuedNonces(tuning, seededRng(2)).begins(concat(issued[0]!, r3), 0));
});

test("RFC 8613 B.2: R2 values and their key are erased when they expire", () => {
  const { client, server } = ends("negotiated");
  const sent = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(sent.kind === "send");
  const response1 = serve(server, sent.request)!;
  const again = client.layer.unprotectResponse(sent.exchange, response1, 0);
  assert.ok(again.kind === "again");
  assert.equal(server.layer.wakeAt, 60_000);
  server.advance(60_000);
  assert.equal(server.layer.wakeAt, undefined);
  assert.equal(
    receive(server, again.request).kind,
    "reply",
    "taken for a first request: response 1",
  );
  assert.deepEqual(server.take("established"), []);
});

test("RFC 8613 B.2: the client takes response 1 with the literal nonce or with a Partial IV, not a recomputed nonce", () => {
  const rows: [string, boolean][] = [
    ["no PIV, literal nonce", true],
    ["PIV under the second context", true],
    ["no PIV, nonce of the second context", false],
    ["wrong code inside", false],
  ];
  for (const [variant, accepted] of rows) {
    const { client } = ends("negotiated");
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    const option = optionOf(sent.request);
    const id1 = unwrapByteString(option.kidContext!)!;
    const source = new KeySource(mirrored(INPUT));
    const got = unprotectRequest(source.derive(id1), sent.request, option);
    assert.ok(got !== undefined && "request" in got);
    const r2 = hex("2021222324252627");
    const context = source.derive(concat(r2, id1));
    const { binding } = got;
    const kidContext = byteString(r2);
    const answer = response(variant === "wrong code inside" ? Code.Forbidden : Code.Unauthorized);
    let outer = protectResponse(binding, answer, {
      context,
      kidContext,
      ownPiv: variant.startsWith("PIV"),
    })!;
    if (variant.includes("nonce of")) {
      const payload = context.encrypt(
        context.nonce(hex("43"), hex("00")),
        binding.aad,
        Uint8Array.of(0x81),
      );
      outer = { ...outer, payload };
    }
    const outcome = client.layer.unprotectResponse(sent.exchange, outer, 0);
    assert.equal(outcome.kind, accepted ? "again" : "ignored", variant);
  }
});

test("RFC 8613 B.2: later requests may carry no, a raw or a wrapped kid context", () => {
  const { client, server } = ends("negotiated");
  const run = talk(client, server);
  const id3 = unwrapByteString(optionOf(run.requests[1]!).kidContext!)!;
  const context = new KeySource(INPUT).derive(id3);
  context.sequence = 50;
  for (const kidContext of [undefined, id3, byteString(id3)]) {
    const outer = protectRequest(context, UPDATE, kidContext)!.request;
    assert.equal(receive(server, outer).kind, "request", toHex(kidContext ?? EMPTY));
  }
});

test("RFC 8613 5.1: a server that needs the raw ID Context gets it after one 4.00 or 4.01, and from then on", () => {
  for (const code of [Code.BadRequest, Code.Unauthorized]) {
    const { client, server } = ends("negotiated");
    talk(client, server);
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    assert.equal(optionOf(sent.request).kidContext, undefined);
    const again = client.layer.unprotectResponse(sent.exchange, response(code), 0);
    assert.ok(again.kind === "again");
    assert.equal(optionOf(again.request).kidContext?.length, 16);
    const answer = serve(server, again.request)!;
    assert.equal(client.layer.unprotectResponse(sent.exchange, answer, 0).kind, "response");
    client.drain();
    const later = talk(client, server);
    assert.deepEqual(later.sizes, [45, 16]);
    client.crash();
    assert.equal(optionOf(talk(client, server).requests[0]!).kidContext?.length, 16, "remembered");
  }
});

test("RFC 8613 7.2.1: a client that was put back to an old state makes new keys after the first refusal, and uses no second old number", () => {
  const { client, server } = ends("negotiated", { client: { firstStride: 2, maxStride: 2 } });
  talk(client, server);
  const old = new Map(client.store);
  for (let i = 0; i < 5; i++) talk(client, server);
  client.store.clear();
  for (const [key, value] of old) client.store.set(key, value);
  client.crash();
  client.layer.protectRequest(1, UPDATE, 0); // waits for numbers
  client.drain();
  const sent = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(sent.kind === "send");
  const before = optionOf(sent.request);
  const refused = receive(server, sent.request);
  assert.notEqual(refused.kind, "request", "its number was used");
  const again = client.layer.unprotectResponse(sent.exchange, response(Code.Unauthorized), 0);
  assert.ok(again.kind === "again");
  const after = optionOf(again.request);
  assert.notDeepEqual(after.kidContext, before.kidContext);
  assert.equal(unwrapByteString(after.kidContext!)?.length, 8, "R1 of B.2");
});

test("RFC 8613 8.2: a forged 4.01 costs a round trip at most, and no context", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  const sent = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(sent.kind === "send");
  const genuine = serve(server, sent.request)!;
  for (const code of [Code.Unauthorized, Code.BadRequest, Code.Unauthorized, Code.NotFound])
    client.layer.unprotectResponse(sent.exchange, response(code), 0);
  assert.equal(client.layer.unprotectResponse(sent.exchange, genuine, 0).kind, "ignored");
  client.drain();
  assert.deepEqual(talk(client, server).sizes, [27, 16]);
});

test("RFC 8613 B.2: a server without its context answers 4.01, and the client makes new keys within the same request", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  server.store.clear();
  server.crash();
  const { asked, outcome, sizes } = talk(client, server);
  assert.equal(outcome.kind, "response");
  assert.equal(asked.length, 1);
  assert.equal(sizes[1], 5, "unprotected, without diagnostic");
});

test("RFC 8613 B.2: a peer that keeps sending a raw ID Context we lost is led to new keys", () => {
  const { client, server } = ends("negotiated");
  const run = talk(client, server);
  const id3 = unwrapByteString(optionOf(run.requests[1]!).kidContext!)!;
  server.store.clear();
  server.crash();
  const context = new KeySource(INPUT).derive(id3);
  context.sequence = 9;
  const sent = protectRequest(context, UPDATE, id3)!;
  const result = receive(server, sent.request);
  assert.ok(result.kind === "reply");
  const option = optionOf(result.response);
  const second = new KeySource(INPUT).derive(concat(unwrapByteString(option.kidContext!)!, id3));
  const taken = verifyResponse(sent.binding, second, result.response, option);
  assert.ok(taken.kind === "response" && taken.response.code === Code.Unauthorized);
});

test("RFC 8613 B.2 step 2: the server starts, with and without an ID Context of its own", () => {
  for (const derivation of ["negotiated", "both"] as const) {
    withoutNonceReuse(() => {
      const { client, server } = ends(derivation);
      talk(client, server);
      client.take("established");
      server.layer.handle({ type: "renew", session: 2 }, 0);
      const { asked, outcome, sizes } = talk(client, server);
      assert.equal(outcome.kind, "response");
      assert.equal(asked.length, 1, "what the first request asked was not done");
      assert.equal(sizes.length, 4);
      assert.equal(client.take("established").length, 1);
      assert.deepEqual(talk(client, server).sizes, [27, 16]);
    });
  }
});

test("RFC 8613 B.1.2, B.2: a peer that does not return the Echo of a restarted server is led to new keys, in turn with the Echo", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("negotiated");
    talk(client, server);
    server.take("established");
    server.crash();
    const [first, second, third] = [1, 2, 3].map(() => {
      const sent = client.layer.protectRequest(1, UPDATE, 0);
      assert.ok(sent.kind === "send");
      const reply = serve(server, sent.request)!;
      return { sent, outcome: client.layer.unprotectResponse(sent.exchange, reply, 0) };
    });
    for (const one of [first, second]) {
      assert.ok(one?.outcome.kind === "response");
      assert.notEqual(findOption(one.outcome.response.options, OptionNumber.Echo), undefined);
    }
    assert.ok(third?.outcome.kind === "again");
    const asked: Request[] = [];
    const last = serve(server, third.outcome.request, CARRIER, CREATED, asked)!;
    const { kind } = client.layer.unprotectResponse(third.sent.exchange, last, 0);
    assert.equal(kind, "response");
    assert.deepEqual(asked, [UPDATE]);
    assert.equal(server.take("established").length, 1);
    client.drain();
    assert.deepEqual(talk(client, server).sizes, [27, 16]);
  });
});

test("RFC 8613 B.1.2, B.2: a restarted client whose peer returns no Echo makes new keys with its own next request", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("negotiated");
    talk(client, server);
    client.crash();
    for (const datagrams of [2, 2, 4]) {
      const order = server.layer.protectRequest(2, UPDATE, 0);
      assert.ok(order.kind === "send");
      assert.equal(receive(client, order.request).kind, "reply", "the Echo");
      const { outcome, sizes } = talk(client, server);
      assert.equal(outcome.kind, "response");
      assert.equal(sizes.length, datagrams, "with B.2 the third time");
    }
    assert.deepEqual(talk(server, client).sizes.length, 2, "no Echo is asked for any more");
  });
});

test("RFC 8613 B.1.2: a peer that was killed before it could return the Echo is asked once more, and needs no new keys", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("negotiated");
    talk(client, server);
    server.take("established");
    server.crash();
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    assert.equal(receive(server, sent.request).kind, "reply", "the Echo, which nobody hears");
    client.crash();
    const { outcome } = talk(client, server);
    assert.equal(outcome.kind, "response");
    assert.equal(server.take("established").length, 0);
  });
});

test("RFC 8613 B.1.2: a peer that knows the Echo alone reaches a restarted server in spite of replays", () => {
  const { server } = ends("both");
  const client = new End(1, { input: INPUT, derivation: "fixed", initiates: false }).add();
  const { requests } = talk(client, server);
  for (let replays = 0; replays < 4; replays++) {
    server.crash();
    for (let i = 0; i < replays; i++) receive(server, requests[0]!, 666);
    const kinds = [talk(client, server), talk(client, server)].map(({ outcome }) => outcome.kind);
    assert.equal(kinds[1], "response", `${replays} replays: ${String(kinds)}`);
  }
});

test("RFC 8613 B.2: a peer that does not follow a server's wish for new keys is served on", () => {
  const { server } = ends("both");
  const client = new End(1, { input: INPUT, derivation: "fixed", initiates: false }).add();
  server.layer.handle({ type: "renew", session: 2 }, 0);
  const kinds = Array.from({ length: 5 }, () => talk(client, server).outcome.kind);
  assert.deepEqual(kinds, ["ignored", "ignored", "ignored", "response", "response"]);
});

test("RFC 8613 B.2: the client renews on its own wish, and keeps the old keys until the new ones verify", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  client.take("established");
  client.layer.handle({ type: "renew", session: 1 }, 0);
  for (let i = 0; i < 3; i++) {
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    assert.equal(size(sent.request), 30);
    client.layer.abandon(sent.exchange); // the server is silent
  }
  assert.deepEqual(talk(client, server).sizes, [27, 16], "three times in vain: the old keys go on");
  client.layer.handle({ type: "renew", session: 1 }, 0);
  assert.equal(talk(client, server).sizes.length, 4);
  assert.equal(client.take("established").length, 1);
});

test("RFC 8613 B.2.1: where both ends begin at once, both come to agree", () => {
  for (const input of [INPUT, mirrored(INPUT)]) {
    withoutNonceReuse(() => {
      const credential = { derivation: "negotiated", initiates: true } as const;
      const a = new End(1, { ...credential, input }).add();
      const b = new End(2, { ...credential, input: mirrored(input) }).add();
      const fromA = a.layer.protectRequest(1, UPDATE, 0);
      const fromB = b.layer.protectRequest(2, UPDATE, 0);
      assert.ok(fromA.kind === "send" && fromB.kind === "send");
      const secondA = a.layer.unprotectResponse(fromA.exchange, serve(b, fromA.request)!, 0);
      const secondB = b.layer.unprotectResponse(fromB.exchange, serve(a, fromB.request)!, 0);
      assert.ok(secondA.kind === "again" && secondB.kind === "again");
      a.layer.unprotectResponse(fromA.exchange, serve(b, secondA.request)!, 0);
      b.layer.unprotectResponse(fromB.exchange, serve(a, secondB.request)!, 0);
      a.drain();
      b.drain();
      assert.equal(talk(a, b).outcome.kind, "response");
      assert.equal(talk(b, a).outcome.kind, "response");
      assert.deepEqual(talk(a, b).sizes, [27, 16]);
    });
  }
});

test("RFC 8613 B.2: new keys are durable before they are used; if that fails the old ones stay", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  server.take("established");
  client.store.clear();
  client.crash();
  server.storeMode = "later";
  const sent = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(sent.kind === "send");
  const again = client.layer.unprotectResponse(sent.exchange, serve(server, sent.request)!, 0);
  assert.ok(again.kind === "again");
  assert.equal(receive(server, again.request).kind, "held");
  assert.equal(receive(server, again.request, 701).kind, "held", "its retransmission, too");
  server.settle(false);
  assert.deepEqual(
    server.take("released").map(({ result }) => result.kind === "reply" && result.response.code),
    [Code.ServiceUnavailable, Code.ServiceUnavailable],
  );
  assert.deepEqual(server.take("established"), []);
  assert.equal(receive(server, again.request).kind, "held", "the same request 2 may try again");
  server.settle();
  const [released] = server.take("released");
  assert.ok(released?.result.kind === "request");
  assert.equal(server.take("established").length, 1);
});

test("RFC 8613 B.2: a kill between any two steps repeats no nonce and ends in a session", () => {
  for (let at = 0; at < 8; at++)
    for (const who of ["client", "server"] as const)
      withoutNonceReuse(() => {
        const pair = ends("negotiated");
        for (let step = 0; step < 8; step++) {
          if (step === at) pair[who].crash();
          talk(pair.client, pair.server);
        }
        // A server that lost its window answers under numbers of its own (8.3): two bytes more.
        const size = who === "server" && at > 0 ? 18 : 16;
        assert.equal(talk(pair.client, pair.server).sizes.at(-1), size, `${who} at ${at}`);
      });
});

test("kid contexts that mean nothing: too long, and a wrapped one of another client", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  const long = new Uint8Array(200);
  const source = new KeySource(INPUT);
  const outer = protectRequest(source.derive(long), UPDATE, long)!.request;
  const result = receive(server, outer);
  assert.ok(result.kind === "reply" && result.response.code === Code.BadRequest);
  const other = new KeySource({ ...INPUT, masterSecret: hex("ff") }).derive(
    hex("0102030405060708"),
  );
  const forged = protectRequest(other, UPDATE, byteString(hex("0102030405060708")))!.request;
  const refused = receive(server, forged);
  assert.ok(refused.kind === "reply" && refused.response.code === Code.BadRequest);
  assert.deepEqual(talk(client, server).sizes, [27, 16]);
});

test("a fixed context takes part in no negotiation", () => {
  const { client, server } = ends("fixed");
  const r1 = hex("1011121314151617");
  const probe = protectRequest(new KeySource(INPUT).derive(r1), UPDATE, byteString(r1))!.request;
  const result = receive(server, probe);
  assert.ok(result.kind === "reply" && result.response.code === Code.Unauthorized);
  assert.deepEqual(result.response.options, []);
  assert.deepEqual(talk(client, server).sizes, [27, 16]);
});

function optionOf(message: Request) {
  const option = oscoreOptionOf(message.options);
  assert.ok(option !== undefined && option !== "bad");
  return option;
}
