import assert from "node:assert/strict";
import { test } from "node:test";
import { type SocketAddress, seededRng, utf8 } from "@godwit/base";
import { ContentType } from "../codes.ts";
import { type ClientHello, encodeClientHello } from "../handshake/client-hello.ts";
import { flag } from "../handshake/extensions.ts";
import { wholeMessage } from "../handshake/header.ts";
import { decodeHelloVerifyRequest } from "../handshake/hello-verify-request.ts";
import { plainRecord } from "../record/header.ts";
import { DtlsServer } from "../server.ts";
import { KEY, SEALER, Wire } from "./wire.ts";

const EMPTY = new Uint8Array(0);
const rng = seededRng(4);

/** A real address that asks for its cookie, shows it, and says nothing more. */
function halfOpen(wire: Wire, remote: SocketAddress, over: Partial<ClientHello> = {}): void {
  const random = rng.bytes(32);
  const hello = (cookie: Uint8Array, seq: number): Uint8Array => {
    const body = encodeClientHello({
      version: 0xfefd,
      random,
      sessionId: EMPTY,
      cookie,
      suites: [0xc0a8],
      compression: Uint8Array.of(0),
      extensions: [flag(23)],
      ...over,
    });
    return plainRecord(ContentType.handshake, seq, wholeMessage(1, seq, body));
  };
  wire.inject(hello(EMPTY, 0), remote);
  const demand = wire.sent.at(-1)?.bytes ?? EMPTY;
  wire.inject(hello(decodeHelloVerifyRequest(demand.subarray(25)), 1), remote);
}

/** A network in which only the clients of `wire` hear anything, each after `delay` ms. */
function quiet(wire: Wire, delay: number): void {
  wire.carry = ({ from, path }) => {
    wire.sent.splice(0, wire.sent.length - 1);
    if (from === "client") return [delay];
    const { host, port } = path.remote;
    const isOurs = wire.clients.some((c) => c.address.host === host && c.address.port === port);
    return isOurs ? [delay] : [];
  };
}

/** A device with an identity and a key of its own. */
function device(wire: Wire, identity: string, address: SocketAddress) {
  wire.server.keys.set(identity, KEY);
  return wire.client({
    address,
    connectionId: EMPTY,
    credentials: { kind: "psk", identity, key: KEY },
  });
}

const FLOODS: readonly [string, number, (n: number) => SocketAddress][] = [
  ["one host, 70 kbit/s", 100, (n) => ({ host: "203.0.113.66", port: 1_024 + (n % 60_000) })],
  [
    "one host, 1 000 a second",
    1_000,
    (n) => ({ host: "203.0.113.66", port: 1_024 + (n % 60_000) }),
  ],
  [
    "one IPv6 network",
    1_000,
    (n) => ({ host: `2001:db8:6:6::${(n % 65_000).toString(16)}`, port: 6_000 }),
  ],
  ["200 hosts of one network", 1_000, (n) => ({ host: `203.0.113.${n % 200}`, port: 1_024 + n })],
  ["120 networks", 1_000, (n) => ({ host: `10.${n % 120}.0.1`, port: 1_024 + n })],
];

for (const [what, perSecond, from] of FLOODS) {
  test(`threat 11: while 5 000 half-open handshakes and more come from ${what}, a newcomer and a resumption are through in 10 s, and who is there stays`, () => {
    const wire = new Wire();
    quiet(wire, 300);
    const there = device(wire, "there", { host: "192.0.2.1", port: 5_000 });
    const back = device(wire, "back", { host: "192.0.2.2", port: 5_000 });
    for (const one of [there, back]) {
      wire.connect(one);
      assert.equal(one.of("opened").length, 1);
    }
    let n = 0;
    const flood = (seconds: number): void => {
      const each = perSecond / 20;
      for (let step = 0; step < seconds * 20; step++) {
        for (let i = 0; i < each; i++) halfOpen(wire, from(n++));
        wire.run(50);
      }
    };
    for (let i = 0; i < 5_000; i++) halfOpen(wire, from(n++));
    wire.run(2_500);
    const strangers = [
      device(wire, "elsewhere", { host: "198.51.100.77", port: 5_000 }),
      device(wire, "near", { host: "203.0.113.222", port: 5_000 }),
      device(wire, "other net", { host: "2001:db8:7::1", port: 5_000 }),
    ];
    const starts = [...strangers, back];
    for (const one of starts) {
      const path = { local: one.address, remote: { host: "198.51.100.1", port: 5_684 } };
      const how = one === back ? "resume" : "full";
      wire.tell(one, { type: "connect", session: 1, path, how });
    }
    flood(10);
    for (const one of strangers) assert.equal(one.of("opened").length, 1, one.address.host);
    assert.equal(back.of("opened").at(-1)?.how, "resumed");
    assert.equal(wire.server.of("closed").filter(({ why }) => why !== "replaced").length, 0);
    assert.ok(wire.server.machine.handshakes <= 5_000);
    wire.tell(there, { type: "send", session: 1, bytes: utf8("still there") });
    wire.run(1_000);
    assert.equal(wire.server.received().at(-1), "still there");
    const session = wire.server.of("opened")[0]?.session ?? 0;
    wire.tell(wire.server, { type: "send", session, bytes: utf8("so am I") });
    wire.run(600_000);
    assert.deepEqual(there.received(), ["so am I"]);
    assert.equal(wire.server.machine.handshakes, 0);
    assert.equal(wire.server.machine.handshakeSources, 0, "nothing is counted any more");
    assert.equal(wire.server.machine.size, 5);
  });
}

test("maxHandshakesPerHost and maxHandshakesPerNetwork: at its share a place waits, and its oldest give way once they have waited", () => {
  for (const [limit, at] of [
    ["maxHandshakesPerHost", (n: number) => ({ host: "203.0.113.66", port: 1_000 + n })],
    ["maxHandshakesPerNetwork", (n: number) => ({ host: `203.0.113.${n}`, port: 1_000 })],
  ] as const) {
    const wire = new Wire({ server: { tuning: { [limit]: 4 } } });
    quiet(wire, 10);
    const drops = (): Readonly<Record<string, number>> =>
      wire.server.machine.ledger.snapshot().drops;
    for (let n = 0; n < 6; n++) halfOpen(wire, at(n));
    assert.equal(wire.server.machine.handshakes, 4, limit);
    assert.equal(drops()["handshakesShare"], 2);
    halfOpen(wire, { host: "192.0.2.9", port: 9 });
    assert.equal(wire.server.machine.handshakes, 5, "others have theirs");
    wire.run(2_000);
    for (let n = 6; n < 9; n++) halfOpen(wire, at(n));
    assert.equal(wire.server.machine.handshakes, 5);
    assert.equal(drops()["halfOpenGaveWay"], 3);
    const gone = wire.server.of("failed");
    assert.deepEqual(
      gone.map(({ reason, why }) => [reason, why]),
      Array(3).fill(["noAnswer", "no answer by the time that others needed its place"]),
    );
  }
});

test("maxHandshakes: a handshake that goes on does not give way to one that begins", () => {
  const wire = new Wire({ server: { tuning: { maxHandshakes: 2 } } });
  quiet(wire, 10);
  wire.server.silent = true; // its key is being looked up
  const one = device(wire, "one", { host: "192.0.2.1", port: 1 });
  wire.connect(one);
  halfOpen(wire, { host: "203.0.113.1", port: 1 });
  wire.run(10_000);
  for (let n = 2; n < 5; n++) halfOpen(wire, { host: `203.0.${n}.1`, port: 1 });
  assert.equal(wire.server.machine.handshakes, 2);
  const [lookup] = wire.server.of("lookup");
  assert.ok(lookup !== undefined);
  wire.tell(wire.server, { type: "psk", id: lookup.id, key: KEY });
  wire.run(60_000);
  assert.equal(one.of("opened").length, 1);
});

test("a peer that begins anew again and again is told to the layer above, with what each came to; once is not told", () => {
  const wire = new Wire();
  quiet(wire, 10);
  const at = (port: number): SocketAddress => ({ host: "203.0.113.1", port });
  const refuse = (port: number): void =>
    wire.inject(plainRecord(ContentType.alert, 2, Uint8Array.of(2, 40)), at(port));
  const failed = (): unknown =>
    wire.server.of("failed").map(({ reason, path }) => [reason, path.remote.port]);
  for (let n = 0; n < 2; n++) {
    halfOpen(wire, at(1));
    halfOpen(wire, at(2));
    refuse(2);
  }
  assert.deepEqual(failed(), []);
  halfOpen(wire, at(1));
  halfOpen(wire, at(2));
  const told = [
    ["noAnswer", 1],
    ["alert", 2],
  ];
  assert.deepEqual(failed(), told);
  wire.run(300_000);
  assert.equal(wire.server.of("failed").length, 4, "and those that came after them");
});

test("a hello that is bad in the same way 20 000 times is answered a few times, and each is told to the layer above", () => {
  const wire = new Wire();
  quiet(wire, 10);
  let alerts = 0;
  const carry = wire.carry;
  wire.carry = (datagram) => {
    if (datagram.bytes[0] === ContentType.alert) alerts += 1;
    return carry(datagram);
  };
  const bad = { extensions: [] }; // no extended master secret
  for (let n = 0; n < 20_000; n++) {
    halfOpen(wire, { host: "203.0.113.66", port: 1_024 + (n % 50_000) }, bad);
    if (n % 1_000 === 999) wire.run(1_000);
  }
  const told = wire.server.of("failed");
  const drops = wire.server.machine.ledger.snapshot().drops;
  assert.ok(alerts <= 15 && alerts >= 5, `${alerts} alerts`);
  assert.equal(alerts + (drops["alertsKept"] ?? 0), 20_000);
  assert.equal(told.length, 20_000);
  // Somebody elsewhere, and somebody there with another fault, is answered at once.
  const before = alerts;
  halfOpen(wire, { host: "192.0.2.1", port: 1 }, bad);
  halfOpen(wire, { host: "203.0.113.66", port: 1 }, { version: 0xfeff });
  assert.equal(alerts, before + 2);
});

test("refusalsPerSecond, maxRefusalSources: of ever new networks as many are answered a second, and as many remembered", () => {
  const tuning = { refusalsPerSecond: 7, maxRefusalSources: 20 };
  const wire = new Wire({ server: { tuning } });
  quiet(wire, 10);
  let alerts = 0;
  const carry = wire.carry;
  wire.carry = (datagram) => {
    if (datagram.bytes[0] === ContentType.alert) alerts += 1;
    return carry(datagram);
  };
  for (let n = 0; n < 500; n++) {
    halfOpen(wire, { host: `10.${n >> 8}.${n & 255}.1`, port: 1 }, { extensions: [] });
  }
  assert.ok(alerts <= 7, `${alerts} alerts`);
  assert.equal(wire.server.of("failed").length, 500);
});

test("RFC 5246 7.4.1.2: six handshakes of one identity leave the others' resumption alone, also after a restart", () => {
  const server = { sealer: SEALER, tuning: { maxSessions: 6, maxSessionsPerIdentity: 4 } };
  const wire = new Wire({ server });
  const quietOne = device(wire, "quiet", { host: "192.0.2.1", port: 1 });
  wire.connect(quietOne);
  const busy = device(wire, "busy", { host: "192.0.2.2", port: 1 });
  const rows = (): number =>
    [...wire.server.store.keys()].filter((key) => key.startsWith("dtls.session ")).length;
  for (let i = 0; i < 6; i++) {
    wire.connect(busy);
    wire.tell(busy, { type: "close", session: 1 });
    wire.run(1_000);
  }
  assert.equal(rows(), 5, "one and four");
  const machine = new DtlsServer({
    rng: seededRng(77),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
    ...server,
  });
  wire.server.machine = machine;
  for (const [row, value] of wire.server.store) {
    const [table = "", key = ""] = row.split(" ");
    wire.tell(wire.server, { type: "restore", table, key, value });
  }
  for (let i = 0; i < 6; i++) wire.connect(busy);
  assert.equal(rows(), 5);
  wire.connect(quietOne, "resume");
  assert.equal(quietOne.of("opened").at(-1)?.how, "resumed");
  wire.connect(busy, "resume");
  assert.equal(busy.of("opened").at(-1)?.how, "resumed", "its newest is there");
});
