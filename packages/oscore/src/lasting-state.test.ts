import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError, hex, seededRng, toHex } from "@godwit/base";
import { Code, request, response } from "@godwit/coap";
import { decodeRecord, encodeRecord, type ContextRecord } from "./context-record.ts";
import { EchoMint } from "./echo-mint.ts";
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
  type Talk,
} from "./layer-kit.test.ts";
import { decodePiv, oscoreOptionOf as optionOf } from "./index.ts";
import { KeySource } from "./security-context.ts";

const UPDATE = request(Code.POST, { path: "/rd/1234" });

test("RFC 8613 B.1.1: nothing is sent before the first numbers are reserved, and `ready` says when", () => {
  const client = new End(1, { input: INPUT, derivation: "fixed", initiates: true });
  client.storeMode = "later";
  client.add();
  assert.deepEqual(client.layer.protectRequest(1, UPDATE, 0), { kind: "wait" });
  client.settle();
  assert.deepEqual(client.take("ready"), [{ type: "ready", session: 1 }]);
  assert.equal(client.layer.protectRequest(1, UPDATE, 0).kind, "send");
});

test("RFC 8613 B.1.1: after kill -9 at any point numbers go on at the stored bound, never lower", () => {
  for (let sends = 0; sends < 140; sends += 7)
    withoutNonceReuse(() => {
      const { client, server } = ends("fixed");
      let last = -1;
      for (let i = 0; i < sends; i++) last = pivOf(client);
      client.crash();
      assert.ok(pivOf(client) > last, `${sends} sends`);
      assert.equal(talk(client, server).outcome.kind, "response");
    });
});

test("RFC 8613 B.1.1: with a store that fails the sender stops at the bound, and goes on when it works again", () => {
  withoutNonceReuse(() => {
    const { client } = ends("fixed");
    client.storeMode = "failing";
    let sent = 0;
    while (client.layer.protectRequest(1, UPDATE, client.now).kind === "send") {
      client.drain();
      sent += 1;
    }
    assert.equal(sent, 64);
    assert.deepEqual(client.layer.protectRequest(1, UPDATE, client.now), { kind: "wait" });
    assert.ok(client.drops().includes("storeFailed"));
    client.advance(1_000);
    assert.equal(client.layer.protectRequest(1, UPDATE, client.now).kind, "wait");
    client.storeMode = "now";
    client.take("ready");
    client.advance(1_000);
    assert.deepEqual(client.take("ready"), [{ type: "ready", session: 1 }]);
    assert.equal(pivOf(client), 64);
  });
});

test("RFC 8613 B.1.1: strides grow for who sends much, up to a limit, and stay short for who sends little", () => {
  const busy = ends("fixed").client;
  for (let i = 0; i < 20_000; i++) pivOf(busy);
  assert.ok(busy.writes < 20, String(busy.writes));
  const quiet = ends("fixed").client;
  for (let i = 0; i < 640; i++) {
    quiet.advance(10_000);
    pivOf(quiet);
  }
  assert.ok(quiet.writes >= 10, String(quiet.writes));
});

test("RFC 8613 B.1.2: after a restart nothing is obeyed before an Echo, which costs one round trip once", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("fixed");
    talk(client, server);
    server.crash();
    const { sizes, asked, outcome, responses } = talk(client, server);
    assert.equal(outcome.kind, "response");
    assert.deepEqual(sizes, [27, 28, 37, 18]);
    assert.deepEqual(asked, [UPDATE], "once, and without the Echo");
    const option = optionOf(responses[0]!.options);
    assert.ok(option !== "bad" && option?.piv !== undefined, "a Partial IV of its own");
    assert.deepEqual(talk(client, server).sizes, [27, 18], "the answer has a number of its own");
  });
});

test("RFC 8613 B.1.2: what was recorded before the restart is not obeyed after it, nor before the Echo nor later", () => {
  const { client, server } = ends("fixed");
  const recorded = [talk(client, server), talk(client, server)].flatMap(({ requests }) => requests);
  server.crash();
  for (const outer of recorded)
    assert.equal(receive(server, outer, 666).kind, "reply", "a challenge");
  const challenged = talk(client, server);
  for (const outer of [...recorded, ...challenged.requests])
    assert.equal(receive(server, outer, 666).kind, "duplicate");
  assert.deepEqual(server.take("moved"), []);
});

test("RFC 8613 8.3: a server that lost its window uses no nonce twice, although its client was put back to an old state", () => {
  for (const end of ["killed", "stopped"]) {
    const { client, server } = ends("fixed", { client: { firstStride: 2, maxStride: 2 } });
    const old = new Map(client.store);
    let n = 0;
    const say = (): Talk =>
      talk(client, server, UPDATE, response(Code.Changed, { payload: String(++n) }));
    withoutNonceReuse(() => {
      for (let i = 0; i < 5; i++) say();
      server.crash();
      say();
      if (end === "stopped") {
        server.layer.handle({ type: "park" }, server.now);
        server.drain();
      }
      server.crash();
      client.store.clear();
      for (const [key, value] of old) client.store.set(key, value);
      client.crash();
      for (let i = 0; i < 9; i++) say();
    }, INPUT.recipientId);
  }
});

test("RFC 8613 B.1.2: the Partial IV of the fresh request is the lower edge of the window", () => {
  const { client, server } = ends("fixed");
  const early = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(early.kind === "send");
  server.crash();
  talk(client, server);
  assert.equal(receive(server, early.request).kind, "duplicate", "older than the edge");
});

test("RFC 9175 2.3: an Echo value serves its session and its time, and no other is taken", () => {
  const mint = new EchoMint(seededRng(1), 60_000);
  const value = mint.make(7, 1, 1_000);
  assert.equal(value.length, 8);
  assert.ok(mint.verify(7, 1, value, 60_999));
  assert.ok(!mint.verify(7, 1, value, 62_000));
  assert.ok(!mint.verify(8, 1, value, 1_000));
  assert.ok(!mint.verify(7, 2, value, 1_000));
  assert.ok(!mint.verify(7, 1, value.with(7, value[7]! ^ 1), 1_000));
  assert.ok(!mint.verify(7, 1, value.subarray(0, 7), 1_000));
  assert.ok(!new EchoMint(seededRng(2), 60_000).verify(7, 1, value, 1_000));
  const far = 2 ** 52 + 2; // sessions of another year
  assert.ok(!mint.verify(far, 1, mint.make(far + 1, 1, 0), 0));
});

test("RFC 9175 2.3: an answer to one Echo that is held back and sent by another carrier, asked meanwhile, proves nothing of that", () => {
  const { client, server } = ends("fixed");
  const recorded = sentBy(client);
  receive(server, recorded);
  server.crash();
  const first = client.layer.protectRequest(1, UPDATE, 0);
  assert.ok(first.kind === "send");
  const taken = client.layer.unprotectResponse(first.exchange, serve(server, first.request)!, 0);
  assert.ok(taken.kind === "response");
  const options = [...UPDATE.options, ...taken.response.options];
  const answer = client.layer.protectRequest(1, { ...UPDATE, options }, 0);
  assert.ok(answer.kind === "send");
  assert.equal(receive(server, recorded, 666).kind, "reply", "a challenge, sent by 666");
  const redirected = receive(server, answer.request, 666);
  assert.ok(redirected.kind !== "request" || !redirected.validated);
});

test("RFC 8613 B.1.2: an Echo that came back by the carrier it was sent by proves the path", () => {
  for (const [answerBy, validated] of [
    [CARRIER, true],
    [701, false],
  ] as const) {
    const { client, server } = ends("fixed");
    server.crash();
    const first = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(first.kind === "send");
    const taken = client.layer.unprotectResponse(first.exchange, serve(server, first.request)!, 0);
    assert.ok(taken.kind === "response");
    const options = [...UPDATE.options, ...taken.response.options];
    const second = client.layer.protectRequest(1, { ...UPDATE, options }, 0);
    assert.ok(second.kind === "send");
    const got = receive(server, second.request, answerBy);
    assert.ok(got.kind === "request" && got.validated === validated);
  }
});

test("a clean stop keeps numbers and window exactly: no Echo, no gap, and no replay", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("fixed");
    const before = talk(client, server);
    for (const end of [client, server]) {
      end.layer.handle({ type: "park" }, 0);
      end.drain();
      assert.notEqual(end.layer.protectRequest(end.session, UPDATE, 0).kind, "send", "stopped");
      end.crash();
    }
    assert.equal(receive(server, before.requests[0]!).kind, "duplicate");
    const after = talk(client, server);
    assert.deepEqual(after.sizes, [27, 16]);
    assert.equal(pivIn(after.requests[0]!), 1);
    // and then a crash: what the clean stop wrote must not be believed twice
    server.crash();
    assert.equal(receive(server, after.requests[0]!).kind, "reply", "a challenge");
  });
});

test("a clean stop before the first request leaves a window that takes number 0", () => {
  const { client, server } = ends("fixed");
  server.layer.handle({ type: "park" }, 0);
  server.drain();
  server.crash();
  assert.deepEqual(talk(client, server).sizes, [27, 16]);
});

test("RFC 8613 B.1.1: a write that overtakes a reservation under way does not take it back", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("negotiated");
    talk(client, server);
    client.storeMode = "later";
    while (pivOf(client) < 40); // a reservation is under way
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    const again = client.layer.unprotectResponse(sent.exchange, response(Code.BadRequest), 0);
    assert.ok(again.kind === "again");
    const answer = serve(server, again.request)!;
    assert.equal(client.layer.unprotectResponse(sent.exchange, answer, 0).kind, "response");
    client.drain(); // and now another write: the peer wants the ID Context
    client.settle();
    while (pivOf(client) < 100);
    client.storeMode = "now";
    client.crash();
    assert.ok(pivOf(client) > 100);
  });
});

test("a clean stop voids reservations under way: nothing above what it wrote is used", () => {
  withoutNonceReuse(() => {
    const { client, server } = ends("fixed");
    const got = receive(server, sentBy(client));
    assert.ok(got.kind === "request");
    server.storeMode = "later";
    for (let i = 0; i < 40; i++)
      assert.equal(
        server.layer.protectResponse(got.exchange, response(Code.Changed), 0, true).kind,
        "send",
      );
    server.drain();
    server.layer.handle({ type: "park" }, 0);
    server.drain();
    server.settle();
    const late = server.layer.protectResponse(got.exchange, response(Code.Content), 0, true);
    assert.deepEqual(late, { kind: "failed", reason: "sequence" });
    server.storeMode = "now";
    server.crash();
    const after = server.layer.protectRequest(2, UPDATE, 0);
    server.drain();
    assert.equal(after.kind, "wait");
    assert.equal(pivIn(sentBy(server)), 40);
  });
});

test("requests that wait are few over all sessions, too", () => {
  const { client, server } = ends("fixed", { server: { maxHeld: 1 } });
  server.storeMode = "later";
  server.crash();
  assert.equal(receive(server, sentBy(client)).kind, "held");
  assert.equal(receive(server, sentBy(client)).kind, "silence");
});

test("RFC 8613 7.5: a restored backup repeats no nonce: a fixed context is dead, others make new keys", () => {
  withoutNonceReuse(() => {
    const fixed = ends("fixed");
    talk(fixed.client, fixed.server);
    fixed.client.crash(false);
    fixed.server.crash(false);
    assert.deepEqual(fixed.client.take("dead"), [
      { type: "dead", session: 1, why: "restoredBackup" },
    ]);
    assert.deepEqual(fixed.client.layer.protectRequest(1, UPDATE, 0), {
      kind: "failed",
      reason: "noContext",
    });
    assert.equal(receive(fixed.server, recorded()).kind, "reply");

    for (const who of ["client", "server"] as const) {
      const pair = ends("negotiated");
      talk(pair.client, pair.server);
      pair[who].crash(false);
      assert.ok(!pair[who].layer.isEstablished(pair[who].session));
      const { outcome, asked } = talk(pair.client, pair.server);
      assert.equal(outcome.kind, "response", who);
      assert.equal(asked.length, 1, who);
      assert.ok(pair[who].layer.isEstablished(pair[who].session));
      assert.deepEqual(talk(pair.client, pair.server).sizes, [27, 16]);
    }
  });
});

test("a credential whose record is lost or damaged: fixed is dead, negotiated makes new keys, others are untouched", () => {
  const rows: [string, (bytes: Uint8Array) => Uint8Array | undefined, string][] = [
    ["lost", () => undefined, "noRecord"],
    ["a flipped bit", (bytes) => bytes.with(4, bytes[4]! ^ 0x10), "corruptRecord"],
    ["cut", (bytes) => bytes.subarray(0, bytes.length - 1), "corruptRecord"],
    ["empty", () => hex(""), "corruptRecord"],
  ];
  for (const [name, damage, why] of rows) {
    const fixed = ends("fixed");
    hurt(fixed.client, damage);
    fixed.client.crash();
    assert.deepEqual(fixed.client.take("dead"), [{ type: "dead", session: 1, why }], name);
    const negotiated = ends("negotiated");
    talk(negotiated.client, negotiated.server);
    hurt(negotiated.client, damage);
    negotiated.client.crash();
    assert.equal(talk(negotiated.client, negotiated.server).sizes[0], 30, name);
  }
});

test("a record says what it was told, to the holder of the credential alone, and no prefix of it says anything", () => {
  const secret = hex("0102");
  const rows: ContextRecord[] = [
    {
      idContext: undefined,
      bound: 0,
      encryptions: 0,
      sendIdContext: false,
      answersRepeat: false,
      windowTop: undefined,
      windowBound: undefined,
    },
    {
      idContext: hex(""),
      bound: 2 ** 40,
      encryptions: 2 ** 47,
      sendIdContext: true,
      answersRepeat: false,
      windowTop: -1,
      windowBound: 2 ** 40 - 1,
    },
    {
      idContext: new Uint8Array(255),
      bound: 64,
      encryptions: 5,
      sendIdContext: false,
      answersRepeat: true,
      windowTop: 2 ** 40 - 1,
      windowBound: undefined,
    },
  ];
  for (const record of rows) {
    const bytes = encodeRecord(record, secret);
    assert.deepEqual(decodeRecord(bytes, secret), record);
    assert.throws(() => decodeRecord(bytes, hex("0103")), FormatError);
    for (let end = 0; end < bytes.length; end++)
      assert.throws(() => decodeRecord(bytes.subarray(0, end), secret), FormatError);
    assert.throws(() => decodeRecord(Uint8Array.of(...bytes, 0), secret), FormatError);
  }
  assert.throws(
    () => encodeRecord({ ...rows[0]!, idContext: new Uint8Array(256) }, secret),
    UsageError,
  );
});

test("a record holds no key", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  const stored = toHex(client.store.get("1")!);
  assert.ok(!stored.includes(toHex(INPUT.masterSecret)));
  assert.ok(!stored.includes(toHex(new KeySource(INPUT).prk)));
});

test("kept state: a device that restarts registers with two datagrams", () => {
  const { client, server } = ends("negotiated");
  talk(client, server);
  client.crash();
  const register = request(Code.POST, {
    path: "/rd",
    query: ["ep=urn:imei:1234567890", "lt=120", "lwm2m=1.1", "b=U"],
    contentFormat: 40,
    payload: "</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>",
  });
  const { sizes } = talk(
    client,
    server,
    register,
    response(Code.Created, { locationPath: "/rd/1234" }),
  );
  assert.equal(sizes.length, 2);
  assert.ok(sizes[0]! + sizes[1]! <= 145, String(sizes));
});

test("requests that wait for the store are few per session and in all, and end with its answer", () => {
  const { client, server } = ends("fixed", { server: { maxHeldPerSession: 2 } });
  server.storeMode = "later";
  server.crash();
  const outers = [1, 2, 3].map(() => {
    const sent = client.layer.protectRequest(1, UPDATE, 0);
    assert.ok(sent.kind === "send");
    return sent.request;
  });
  assert.deepEqual(
    outers.map((outer) => receive(server, outer).kind),
    ["held", "held", "silence"],
  );
  assert.deepEqual(server.drops(), ["heldFull"]);
  server.settle();
  assert.equal(server.take("released").length, 2);
});

test("a removed session knows its keys no more, whatever is still under way", () => {
  const { client, server } = ends("fixed");
  const got = receive(server, sentBy(client));
  assert.ok(got.kind === "request");
  server.layer.handle({ type: "remove", session: 2 }, 0);
  server.drain();
  assert.equal(server.store.size, 0);
  assert.equal(server.layer.size, 0);
  const answer = server.layer.protectResponse(got.exchange, response(Code.Changed), 0);
  assert.deepEqual(answer, { kind: "failed", reason: "unknownSession" });
  assert.deepEqual(receive(server, sentBy(client)), { kind: "silence", reason: "unknownKid" });
  assert.throws(() => server.layer.handle({ type: "remove", session: 2 }, 0), UsageError);
});

test("200 random lives: crashes and backups on both sides, and no nonce serves twice", () => {
  for (let seed = 0; seed < 200; seed++)
    withoutNonceReuse(() => {
      const rng = seededRng(seed);
      const { client, server } = ends(rng.float() < 0.5 ? "negotiated" : "both");
      const backups = new Map<End, Map<string, Uint8Array>>();
      let answered = 0;
      for (let step = 0; step < 12; step++) {
        const end = rng.float() < 0.5 ? client : server;
        const what = rng.float();
        if (what < 0.15) end.crash();
        else if (what < 0.2) backups.set(end, new Map(end.store));
        else if (what < 0.25 && backups.has(end)) {
          for (const [key, value] of backups.get(end)!) end.store.set(key, value);
          end.crash(false);
        } else if (talk(client, server).outcome.kind === "response") answered += 1;
        for (const one of [client, server]) one.advance(rng.float() * 100_000);
      }
      const last = [talk(client, server), talk(client, server)].at(-1)!;
      assert.equal(last.outcome.kind, "response", `seed ${seed}, answered ${answered}`);
    });
});

function hurt(end: End, damage: (bytes: Uint8Array) => Uint8Array | undefined): void {
  const key = String(end.session);
  const damaged = damage(end.store.get(key)!);
  if (damaged === undefined) end.store.delete(key);
  else end.store.set(key, damaged);
}

function sentBy(end: End) {
  const sent = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  assert.ok(sent.kind === "send", JSON.stringify(sent));
  return sent.request;
}

function recorded() {
  return sentBy(new End(1, { input: INPUT, derivation: "fixed", initiates: true }).add());
}

function pivIn(outer: ReturnType<typeof sentBy>): number {
  const option = optionOf(outer.options);
  assert.ok(option !== "bad" && option?.piv !== undefined);
  return decodePiv(option.piv);
}

/** Sends a request, after a wait where one is asked for; returns its number. */
function pivOf(end: End): number {
  const sent = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  return pivIn(sent.kind === "send" ? sent.request : sentBy(end));
}

test("mirrored parameters are those of the other end", () => {
  assert.deepEqual(mirrored(mirrored(INPUT)), INPUT);
});
