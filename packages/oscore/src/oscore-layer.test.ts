import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, concat, hex, seededRng, toHex } from "@godwit/base";
import {
  Code,
  OptionNumber,
  opaqueOption,
  request,
  response,
  uintOption,
  type Request,
} from "@godwit/coap";
import fc from "fast-check";
import {
  CARRIER,
  End,
  INPUT,
  ends,
  mirrored,
  receive,
  serve,
  talk,
  withoutNonceReuse,
} from "./layer-kit.test.ts";
import { decodeRecord, encodeRecord, type ContextRecord } from "./context-record.ts";
import { LayerCore } from "./layer-core.ts";
import type { Credential } from "./layer-events.ts";
import { OscoreLayer } from "./oscore-layer.ts";
import { encodeOscoreOption, encodePiv } from "./oscore-option.ts";
import { protectRequest } from "./protection.ts";
import { Refusals } from "./refusals.ts";
import { KeySource, type SecurityContext } from "./security-context.ts";
import { oscoreTuning } from "./tuning.ts";

const UPDATE = request(Code.POST, { path: "/rd/1234" });

test("RFC 8613 8.2: bad requests get the RFC's answer or silence, a counted reason, and change nothing", () => {
  const client = new KeySource(INPUT).derive(undefined);
  const good = protectRequest(client, UPDATE)!.request;
  const stranger = new KeySource({ ...INPUT, senderId: hex("44") }).derive(undefined);
  const otherKey = new KeySource({ ...INPUT, masterSecret: hex("00") }).derive(undefined);
  const otherId = new KeySource({ ...INPUT, idContext: hex("aa") }).derive(hex("aa"));
  const rows: [string, Request, number | undefined, string][] = [
    ["unknown kid", protectRequest(stranger, UPDATE)!.request, undefined, "unknownKid"],
    ["wrong key", protectRequest(otherKey, UPDATE)!.request, 0x80, "forged"],
    [
      "wrong ID Context",
      protectRequest(otherId, UPDATE, hex("aa"))!.request,
      0x81,
      "unknownContext",
    ],
    ["no payload", { ...good, payload: hex("") }, 0x82, "badOption"],
    ["no Partial IV", withOption(good, "0843"), 0x82, "badOption"],
    ["no kid", withOption(good, "0100"), 0x82, "badOption"],
    ["empty option", withOption(good, ""), 0x82, "badOption"],
    ["reserved bits", withOption(good, "290043"), 0x82, "badOption"],
    ["Partial IV of 6 bytes", withOption(good, "0e01020304050643"), 0x82, "badOption"],
    ["truncated", { ...good, payload: good.payload.subarray(0, 9) }, 0x80, "forged"],
    ["shorter than a tag", { ...good, payload: good.payload.subarray(0, 3) }, 0x80, "forged"],
    ["extended", { ...good, payload: Uint8Array.of(...good.payload, 0) }, 0x80, "forged"],
    ["another number", withOption(good, "090143"), 0x80, "forged"],
    ["too large", { ...good, payload: new Uint8Array(5_000) }, undefined, "tooLarge"],
  ];
  const { server } = ends("fixed");
  for (const [name, outer, code, reason] of rows) {
    const result = receive(server, outer, 666);
    assert.equal(result.kind === "reply" ? result.response.code : undefined, code, name);
    if (result.kind === "reply")
      assert.deepEqual(result.response.options, [], `${name}: no diagnostic`);
    assert.deepEqual(server.drops(), [reason], name);
  }
  assert.deepEqual(server.take("moved"), []);
  assert.equal(receive(server, good).kind, "request", "the genuine one, after all that");
});

test("RFC 8613 8.2: an unknown kid is answered only where the address is proven", () => {
  const { server } = ends("fixed");
  const stranger = new KeySource({ ...INPUT, senderId: hex("44") }).derive(undefined);
  const { request: outer } = protectRequest(stranger, UPDATE)!;
  const result = server.layer.unprotectRequest(CARRIER, outer, 1, 0, true);
  assert.ok(result.kind === "reply" && result.response.code === Code.Unauthorized);
});

test("a stranger is one whose option a request may have; any other is looked at, and called what it is", () => {
  const { server } = ends("fixed");
  const asked = (option: string): string | undefined => {
    const value = hex(option);
    const message = concat(
      hex("40020001"),
      Uint8Array.of(0x90 | value.length),
      value,
      hex("ff0102030405060708"),
    );
    return server.layer.strange(message)?.reason;
  };
  assert.equal(asked("09050209"), "unknownKid");
  for (const [what, option] of [
    ["no Partial IV", "080209"],
    ["a Partial IV of 6", "0e0102030405060209"],
    ["a Partial IV of 7", "0f010203040506070209"],
    ["a leading zero", "0a00010209"],
    ["no kid", "0105"],
    ["reserved bits", "29050209"],
  ] as const)
    assert.equal(asked(option), undefined, what);
});

test("RFC 8613 8.2: unprotected errors are few per second, and speak only if told to", () => {
  const quiet = new Refusals(oscoreTuning({ errorsPerSecond: 10, errorBurst: 3 }));
  const answered = (now: number) => quiet.answer("forged", now) !== undefined;
  assert.deepEqual([0, 0, 0, 0].map(answered), [true, true, true, false]);
  assert.ok(answered(100));
  assert.ok(!answered(100));
  const loud = new Refusals(oscoreTuning({ diagnostics: true }));
  const words = (["badOption", "unknownContext", "replayed", "forged"] as const).map((refusal) =>
    new TextDecoder().decode(loud.answer(refusal, 0)!.payload),
  );
  assert.deepEqual(words, [
    "Failed to decode COSE",
    "Security context not found",
    "Replay detected",
    "Decryption failed",
  ]);
  assert.equal(loud.answer("forged", 0)!.options[0]?.number, OptionNumber.MaxAge);

  const { server } = ends("fixed", { server: { errorBurst: 1, errorsPerSecond: 1 } });
  const forged = withPayload(
    protectRequest(new KeySource(INPUT).derive(undefined), UPDATE)!.request,
  );
  const [first, second] = [receive(server, forged), receive(server, forged)];
  assert.deepEqual([first.kind, second.kind], ["reply", "silence"]);
  assert.equal(first.kind === "reply" && first.session, undefined, "it is nobody's");
  const told = server.take("dropped").filter(({ reason }) => reason === "forged");
  assert.deepEqual(
    told.map(({ from }) => from && [toHex(from.kid), from.answered]),
    [
      [toHex(INPUT.senderId), true],
      [toHex(INPUT.senderId), false],
    ],
    "our own side hears of who is not answered, too",
  );
});

test("RFC 8613 8.2 step 6: a forged high number does not move the window", () => {
  const { client, server } = ends("fixed");
  talk(client, server);
  for (const sequence of [0x7fff_fffd, 2 ** 40 - 1]) {
    const value = encodeOscoreOption({
      piv: encodePiv(sequence),
      kidContext: undefined,
      kid: hex("43"),
    });
    const forged = { code: 2, options: [opaqueOption(9, value)], payload: new Uint8Array(17) };
    assert.equal(receive(server, forged, 666).kind, "reply");
  }
  assert.deepEqual(talk(client, server).sizes, [27, 16]);
});

test("RFC 8613 7.4: the window agrees with a set of numbers seen, whatever comes in whatever order", () => {
  const gaps = fc.constantFrom(1, 1, 1, 2, 31, 32, 33, 63, 64, 65, 2 ** 32, 2 ** 39);
  const step = fc.record({
    gap: gaps,
    back: fc.integer({ min: 0, max: 70 }),
    forward: fc.boolean(),
  });
  const size = fc.constantFrom(32, 64);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), size, (steps, replayWindow) => {
      const { server } = ends("fixed", { server: { replayWindow } });
      const client = new KeySource(INPUT).derive(undefined);
      const seen = new Set<number>();
      let top = -1;
      for (const { gap, back, forward } of steps) {
        const sequence = forward ? Math.max(top, 0) + gap : Math.max(0, top - back);
        if (sequence >= 2 ** 40) continue;
        const expected = !seen.has(sequence) && sequence > top - replayWindow;
        const result = receive(server, at(client, sequence));
        assert.equal(result.kind, expected ? "request" : "duplicate", `${sequence} after ${top}`);
        if (expected) seen.add(sequence);
        top = Math.max(top, expected ? sequence : top);
      }
    }),
    { numRuns: 60 },
  );
});

test("RFC 8613 7.4: the first request is not obeyed twice, in any configuration", () => {
  for (const derivation of ["fixed", "negotiated", "both"] as const) {
    const { client, server } = ends(derivation);
    const { requests } = talk(client, server);
    const replay = receive(server, requests.at(-1)!);
    assert.ok(
      replay.kind === "duplicate" && replay.refusal?.code === Code.Unauthorized,
      derivation,
    );
    assert.ok(server.drops().includes("replayed"));
  }
});

test("the path follows a verified newer request, and nothing else", () => {
  const { client, server } = ends("fixed");
  const first = talk(client, server);
  const older = sentBy(client);
  const newer = sentBy(client);
  assert.equal(receive(server, newer, 701).kind, "request");
  assert.deepEqual(server.take("moved"), [
    { type: "moved", session: 2, carrier: 701, validated: false },
  ]);
  assert.equal(server.layer.carrierOf(2), 701);
  for (const [outer, kind] of [
    [older, "reply"], // late, by another path: asked for an Echo, and no news of the path
    [first.requests[0]!, "duplicate"],
    [withPayload(newer), "reply"],
  ] as const)
    assert.equal(receive(server, outer, 666).kind, kind);
  assert.deepEqual(server.take("moved"), []);
  assert.equal(server.layer.carrierOf(2), 701);
  const down = server.layer.protectRequest(2, request(Code.GET, { path: "/3/0/0" }), 0);
  assert.ok(down.kind === "send" && down.carrier === 701);
});

test("a peer without Echo that is behind its own numbers is served by another path, once it was asked", () => {
  const { client, server } = ends("fixed");
  talk(client, server);
  const [one, two, newer] = [sentBy(client), sentBy(client), sentBy(client)];
  assert.equal(receive(server, newer).kind, "request");
  const asked = receive(server, one, 701);
  assert.ok(asked.kind === "reply" && asked.response.code === Code.Changed, "protected");
  assert.equal(receive(server, two, 701).kind, "request");
  assert.equal(server.layer.carrierOf(2), CARRIER);
});

test("a request repeated by a new path after its answer was lost is told apart from a replay by who has the answer", () => {
  const { client, server } = ends("fixed");
  const outer = sentBy(client);
  assert.equal(receive(server, outer).kind, "request");
  const again = receive(server, outer, 701);
  assert.ok(again.kind === "duplicate" && again.session === 2 && again.carrier === CARRIER);
  assert.ok(again.refusal !== undefined);
});

test("a copy that overtakes the original moves the path only until the original comes from the proven path", () => {
  const { client, server } = ends("fixed");
  talk(client, server);
  server.layer.handle({ type: "validated", session: 2 }, 0);
  const outer = sentBy(client);
  assert.equal(receive(server, outer, 666).kind, "request");
  assert.equal(server.layer.carrierOf(2), 666);
  assert.equal(receive(server, outer, 668).kind, "duplicate");
  assert.equal(server.layer.carrierOf(2), 666);
  assert.equal(receive(server, outer, CARRIER).kind, "duplicate");
  assert.equal(server.layer.carrierOf(2), CARRIER);
  assert.deepEqual(server.take("moved").at(-1), {
    type: "moved",
    session: 2,
    carrier: CARRIER,
    validated: true,
  });
  assert.ok(server.drops().includes("pathRace"));
});

test("a notification from a new address finds its observation by token, and takes the path along", () => {
  const { client, server } = ends("fixed"); // the server observes the client
  talk(client, server);
  client.layer.handle({ type: "carrier", session: 1, carrier: CARRIER }, 0);
  const asked = server.layer.protectRequest(
    2,
    request(Code.GET, { path: "/3303/0/5700", observe: 0 }),
    0,
  );
  assert.ok(asked.kind === "send");
  const token = hex("0a0b");
  assert.ok(server.layer.observing(asked.exchange, token));
  const got = receive(client, asked.request);
  assert.ok(got.kind === "request");
  const states = ["20", "21", "22"].map((payload, i) => {
    const state = response(Code.Content, { payload, options: [uintOption(6, i)] });
    const made = client.layer.protectResponse(got.exchange, state, 0, true);
    assert.ok(made.kind === "send");
    return made.response;
  });
  assert.equal(server.layer.notified(701, hex("0a0c"), states[0]!, 0), undefined);
  const found = server.layer.notified(701, token, states[1]!, 0);
  assert.ok(found?.exchange === asked.exchange && found.outcome.kind === "response");
  server.drain();
  assert.deepEqual(server.take("moved"), [
    { type: "moved", session: 2, carrier: 701, validated: false },
  ]);
  assert.equal(server.layer.notified(702, token, states[0]!, 0), undefined, "an old one");
  assert.equal(server.layer.notified(702, token, states[1]!, 0), undefined, "a replay");
  assert.equal(server.layer.carrierOf(2), 701);
  server.layer.abandon(asked.exchange);
  assert.equal(server.layer.notified(703, token, states[2]!, 0), undefined, "cancelled");
});

test("observations by token are bounded", () => {
  const { server } = ends("fixed", { server: { maxObservations: 2 } });
  const known = [1, 2, 3].map((n) => {
    const sent = server.layer.protectRequest(2, request(Code.GET, { observe: 0 }), 0);
    assert.ok(sent.kind === "send");
    return server.layer.observing(sent.exchange, Uint8Array.of(n));
  });
  assert.deepEqual(known, [true, true, false]);
});

test("RFC 8613 3.3, B.2: several that share a kid are told apart by trial, a few per message", () => {
  const layer = new OscoreLayer(oscoreTuning({ maxTrials: 3 }), seededRng(1));
  const clients = ["01", "02", "03", "04"].map((secret, i) => {
    const input = { ...INPUT, masterSecret: hex(secret), idContext: hex(`a${i}`) };
    const credential: Credential = {
      input: mirrored(input),
      derivation: "fixed",
      initiates: false,
    };
    layer.handle({ type: "add", session: i, credential }, 0);
    return new KeySource(input).derive(input.idContext);
  });
  const kinds = clients.map((client) => {
    const result = layer.unprotectRequest(CARRIER, protectRequest(client, UPDATE)!.request, 1, 0);
    return result.kind === "request" ? result.session : result.kind;
  });
  assert.deepEqual(kinds, [0, 1, 2, "reply"], "the fourth is beyond the limit");
  const named = clients.map((client) => {
    const { request: outer } = protectRequest(client, UPDATE, client.idContext)!;
    const result = layer.unprotectRequest(CARRIER, outer, 1, 0);
    return result.kind === "request" ? result.session : result.kind;
  });
  assert.deepEqual(named, [0, 1, 2, 3], "with its ID Context each is found at once");
  layer.handle({ type: "remove", session: 0 }, 0);
  const last = protectRequest(clients[3]!, UPDATE)!.request;
  const found = layer.unprotectRequest(CARRIER, last, 1, 0);
  assert.ok(found.kind === "request" && found.session === 3);
  assert.throws(() => layer.handle({ type: "remove", session: 0 }, 0), UsageError);
});

test("RFC 8613 7.2.1: near the last number new keys are asked for, then two sends, then none", () => {
  const { client } = ends("fixed");
  jump(client, { bound: 2 ** 40 - 2 });
  assert.deepEqual(
    [1, 2, 3].map(() => attempt(client)),
    ["send", "send", "exhausted"],
  );
  assert.deepEqual(client.take("rekey"), [{ type: "rekey", session: 1, why: "sequence" }]);
});

test("RFC 8613 7.2.1: where keys can be negotiated, running out of numbers makes new ones", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("both");
    talk(client, server);
    jump(client, { bound: 2 ** 40 - 1 });
    assert.equal(talk(client, server).sizes.length, 2, "the last number");
    const { sizes, outcome } = talk(client, server);
    assert.equal(sizes.length, 4);
    assert.equal(outcome.kind, "response");
    assert.deepEqual(talk(client, server).sizes, [27, 16]);
  });
});

test("RFC 9053 4.2.1: half of a key's messages ask for new keys, all of them end it", () => {
  const limit = 2 ** 23;
  const half = ends("fixed").client;
  jump(half, { encryptions: limit / 2 - 2 });
  assert.equal(attempt(half), "send");
  assert.deepEqual(half.take("rekey"), []);
  assert.equal(attempt(half), "send");
  assert.deepEqual(half.take("rekey"), [{ type: "rekey", session: 1, why: "encryptions" }]);
  const all = ends("fixed").client;
  jump(all, { encryptions: limit - 1 });
  assert.deepEqual([attempt(all), attempt(all)], ["send", "exhausted"]);
});

test("RFC 9053 4.2.1: forgeries ask for new keys, but end nothing unless told to", () => {
  const { client, server } = ends("fixed", { server: { renewAt: 10 / 2 ** 20 } });
  for (let i = 0; i < 12; i++) receive(server, withPayload(sentBy(client)), 666);
  assert.deepEqual(server.take("rekey"), [{ type: "rekey", session: 2, why: "forgeries" }]);
  assert.equal(talk(client, server).outcome.kind, "response");
  for (const atForgeryLimit of ["report", "stop"] as const) {
    const core = new LayerCore(oscoreTuning({ atForgeryLimit }), seededRng(1));
    const context = new KeySource(INPUT).derive(undefined);
    context.forgeries = 2 ** 20;
    assert.equal(core.spent(context), atForgeryLimit === "stop");
  }
});

test("responses under replaced keys are protected and accepted for EXCHANGE_LIFETIME, and no longer", () => {
  for (const [wait, fine] of [
    [247_000, true],
    [247_001, false],
  ] as const) {
    const { client, server } = ends("negotiated");
    talk(client, server);
    const old = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(old.kind === "send");
    const got = receive(server, old.request);
    assert.ok(got.kind === "request");
    const early = server.layer.protectResponse(got.exchange, response(Code.Changed), 0, true);
    assert.ok(early.kind === "send");
    client.layer.handle({ type: "renew", session: 1 }, 0);
    talk(client, server);
    client.advance(wait);
    server.advance(wait);
    const late = server.layer.protectResponse(got.exchange, response(Code.Changed), server.now);
    assert.deepEqual(late.kind === "failed" ? late.reason : "fine", fine ? "fine" : "retired");
    const taken = client.layer.unprotectResponse(old.exchange, early.response, client.now);
    assert.equal(taken.kind, fine ? "response" : "ignored");
  }
});

test("RFC 8613 8.4: bad responses are ignored and counted, and the request goes on", () => {
  const { client, server } = ends("fixed");
  const sent = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(sent.kind === "send");
  const other = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(other.kind === "send");
  const good = serve(server, sent.request)!;
  const rows = [
    [{ ...good, options: [opaqueOption(9, hex("0700"))] }, "badOptionInResponse"],
    [withPayload(good), "forgedResponse"],
    [serve(server, other.request)!, "forgedResponse"],
    [{ ...good, payload: hex("") }, "forgedResponse"],
  ] as const;
  for (const [outer, reason] of rows) {
    assert.deepEqual(client.layer.unprotectResponse(sent.exchange, outer, 0), {
      kind: "ignored",
      reason,
    });
    client.drain();
    assert.deepEqual(client.drops(), [reason]);
  }
  assert.equal(client.layer.unprotectResponse(sent.exchange, good, 0).kind, "response");
  const twice = client.layer.unprotectResponse(sent.exchange, good, 0);
  assert.deepEqual(twice, { kind: "ignored", reason: "replayedResponse" });
});

test("an unprotected error ends a request without keys to renew, but never an observation", () => {
  const { client, server } = ends("fixed");
  const sent = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(sent.kind === "send");
  const refused = client.layer.unprotectResponse(sent.exchange, response(Code.Unauthorized), 0);
  assert.deepEqual(refused, { kind: "refused", code: Code.Unauthorized });
  const observing = client.layer.protectRequest(1, request(Code.GET, { observe: 0 }), 0);
  assert.ok(observing.kind === "send");
  const state = response(Code.Content, { options: [uintOption(6, 1)] });
  const first = serve(server, observing.request, CARRIER, state)!;
  assert.equal(client.layer.unprotectResponse(observing.exchange, first, 0).kind, "response");
  const hint = client.layer.unprotectResponse(observing.exchange, response(Code.Unauthorized), 0);
  assert.deepEqual(hint, { kind: "ignored", reason: "unprotectedResponse" });
});

test("a malformed request of the genuine peer gets a protected 4.00", () => {
  const { client, server } = ends("fixed");
  const context = new KeySource(INPUT).derive(undefined);
  const piv = hex("09");
  const nonce = context.nonce(context.senderId, piv);
  const aad = context.additionalData(context.senderId, piv);
  const payload = context.encrypt(nonce, aad, hex("45"));
  const result = receive(server, { code: 2, options: [opaqueOption(9, hex("090943"))], payload });
  assert.ok(result.kind === "reply" && result.response.options[0]?.number === 9);
  assert.deepEqual(server.drops(), ["malformed"]);
  assert.equal(talk(client, server).outcome.kind, "response");
});

test("who knows no carrier, no keys or no session is told so", () => {
  const lost = new End(1, { input: INPUT, derivation: "fixed", initiates: false });
  lost.layer.handle({ type: "add", session: 1, credential: lost.credential }, 0);
  lost.drain();
  assert.deepEqual(lost.layer.protectRequest(1, UPDATE, 0), {
    kind: "failed",
    reason: "noCarrier",
  });
  assert.deepEqual(lost.layer.protectRequest(9, UPDATE, 0), {
    kind: "failed",
    reason: "unknownSession",
  });
  const { server } = ends("negotiated");
  assert.deepEqual(server.layer.protectRequest(2, UPDATE, 0), {
    kind: "failed",
    reason: "noContext",
  });
  assert.throws(() => server.layer.handle({ type: "validated", session: 9 }, 0), UsageError);
  assert.throws(() => server.add(), UsageError, "a session of this number is there");
  assert.throws(() => server.layer.unprotectRequest(1, UPDATE, 1, 0), UsageError, "not protected");
});

test("settings that cannot work are refused", () => {
  const rows = [
    { replayWindow: 33 },
    { replayWindow: 0 },
    { nonceLength: 7 },
    { firstStride: 1 },
    { maxStride: 8 },
    { renewAt: 0 },
    { maxTrials: 0 },
  ];
  for (const changes of rows) assert.throws(() => oscoreTuning(changes), UsageError);
});

test("random requests into every state: no exception, and nothing grows", () => {
  const rng = seededRng(99);
  for (const derivation of ["fixed", "negotiated", "both"] as const)
    for (const crash of [false, true]) {
      const { client, server } = ends(derivation);
      talk(client, server);
      if (crash) server.crash();
      for (let i = 0; i < 1_500; i++) {
        const piv = encodePiv(Math.floor(rng.float() * 2 ** 40));
        const kidContext = rng.float() < 0.5 ? undefined : rng.bytes(Math.floor(rng.float() * 40));
        const value =
          rng.float() < 0.3
            ? rng.bytes(Math.floor(rng.float() * 12))
            : encodeOscoreOption({ piv, kidContext, kid: hex("43") });
        const payload = rng.bytes(Math.floor(rng.float() * 30));
        const result = receive(
          server,
          { code: 2, options: [opaqueOption(9, value)], payload },
          666,
        );
        assert.ok(result.kind === "reply" || result.kind === "silence");
        server.events.length = 0;
      }
      assert.equal(server.layer.wakeAt, undefined);
      assert.equal(talk(client, server).outcome.kind, "response");
    }
});

function withOption(outer: Request, value: string): Request {
  return { ...outer, options: [opaqueOption(9, hex(value))] };
}

/** With a ciphertext that is not the peer's. */
function withPayload<T extends Request>(outer: T): T {
  return { ...outer, payload: outer.payload.with(0, outer.payload[0]! ^ 0x40) };
}

/** A request with a number of our choice. */
function at(client: SecurityContext, sequence: number): Request {
  client.sequence = sequence;
  return protectRequest(client, UPDATE)!.request;
}

function sentBy(end: End): Request {
  const sent = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  assert.ok(sent.kind === "send", JSON.stringify(sent));
  return sent.request;
}

/** What comes of trying to send, waiting once where asked to. */
function attempt(end: End): string {
  let sent = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  if (sent.kind === "wait") sent = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  return sent.kind === "failed" ? sent.reason : sent.kind;
}

/** Restarts with a record in which much has happened. */
function jump(end: End, changes: Partial<ContextRecord>): void {
  const { prk } = new KeySource(end.credential.input);
  const key = String(end.session);
  end.store.set(key, encodeRecord({ ...decodeRecord(end.store.get(key)!, prk), ...changes }, prk));
  end.crash();
}
