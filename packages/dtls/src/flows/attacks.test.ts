import assert from "node:assert/strict";
import { test } from "node:test";
import { type SocketAddress, concat, hex, seededRng, toHex, utf8 } from "@godwit/base";
import { Alert, ContentType, HandshakeType } from "../codes.ts";
import { DtlsServer } from "../server.ts";
import { decodeClientHello, encodeClientHello } from "../handshake/client-hello.ts";
import { connectionId } from "../handshake/extensions.ts";
import { decodeHelloVerifyRequest } from "../handshake/hello-verify-request.ts";
import { readFragments, wholeMessage, writeFragment } from "../handshake/header.ts";
import { decodeServerHello } from "../handshake/server-hello.ts";
import { keyBlock } from "../keys.ts";
import { plainRecord, readRecord } from "../record/header.ts";
import { openRecord, sealRecord } from "../record/protection.ts";
import { suiteOf } from "../suites.ts";
import { exchange } from "./exchange.ts";
import { KEY, SERVER, Wire } from "./wire.ts";

const EMPTY = new Uint8Array(0);
const SPOOFED: SocketAddress = { host: "203.0.113.66", port: 6_666 };

/** The hellos that a handshake was made with. */
function hellosOf(wire: Wire): {
  readonly clientHello: ReturnType<typeof decodeClientHello>;
  readonly serverHello: ReturnType<typeof decodeServerHello>;
} {
  const messages = wire.sent
    .filter(({ bytes }) => bytes[0] === ContentType.handshake)
    .flatMap(({ bytes }) => readFragments(readRecord(bytes, 0, 0).fragment));
  const last = (type: number): Uint8Array =>
    messages.findLast((message) => message.type === type)?.body ?? EMPTY;
  return {
    clientHello: decodeClientHello(last(HandshakeType.clientHello)),
    serverHello: decodeServerHello(last(HandshakeType.serverHello)),
  };
}

/** Every kind of plaintext record that somebody outside could send. */
function plaintexts(): [string, Uint8Array][] {
  const handshake = (type: number, body: Uint8Array, seq = 0): Uint8Array =>
    plainRecord(ContentType.handshake, 9, wholeMessage(type, seq, body));
  return [
    ["close_notify", plainRecord(ContentType.alert, 5, Uint8Array.of(1, 0))],
    ["fatal alert", plainRecord(ContentType.alert, 5, Uint8Array.of(2, 40))],
    ["alert of one byte", plainRecord(ContentType.alert, 5, Uint8Array.of(2))],
    ["ChangeCipherSpec", plainRecord(ContentType.changeCipherSpec, 5, Uint8Array.of(1))],
    ["application data", plainRecord(ContentType.applicationData, 5, utf8("plain"))],
    ["routability check", plainRecord(27, 5, new Uint8Array(9))],
    ["heartbeat", plainRecord(24, 5, new Uint8Array(40))],
    ["connection id in epoch 0", plainRecord(25, 5, new Uint8Array(40))],
    ["empty handshake record", plainRecord(ContentType.handshake, 5, EMPTY)],
    ["half a handshake header", plainRecord(ContentType.handshake, 5, Uint8Array.of(1, 0, 0))],
    ...Object.entries(HandshakeType).flatMap(([name, type]): [string, Uint8Array][] => [
      [`empty ${name}`, handshake(type, EMPTY)],
      [`${name} of 40 bytes`, handshake(type, new Uint8Array(40))],
      [`${name} far ahead`, handshake(type, new Uint8Array(40), 60_000)],
    ]),
  ];
}

test("threat 4, wolfSSL 5.5.0: plaintext of every kind on a live association ends nothing, is not answered to the session, and is not delivered", () => {
  for (const connectionId of [undefined, EMPTY]) {
    const wire = new Wire();
    const client = wire.client(connectionId === undefined ? {} : { connectionId });
    wire.connect(client);
    for (const [name, bytes] of plaintexts()) {
      wire.inject(bytes, client.address);
      const back = { local: client.address, remote: SERVER };
      wire.tell(client, { type: "datagram", path: back, bytes });
      assert.equal(wire.server.of("closed").length, 0, name);
      assert.equal(client.of("closed").length + client.of("failed").length, 0, name);
    }
    assert.equal(wire.server.of("received").length, 0);
    exchange(wire, client);
    assert.equal(wire.server.machine.handshakes, 0);
  }
});

test("CVE-2017-7243, CVE-2019-20786, state machine: every plaintext at every moment of a handshake, on both sides; it completes or ends alone", () => {
  const script = plaintexts();
  let completed = 0;
  for (const [name, bytes] of script) {
    for (let moment = 0; moment < 6; moment++) {
      const wire = new Wire();
      const client = wire.client({ connectionId: EMPTY });
      let n = 0;
      wire.carry = () => {
        if (n++ === moment) {
          wire.later(5, () => {
            wire.inject(bytes, client.address);
            const back = { local: client.address, remote: SERVER };
            wire.tell(client, { type: "datagram", path: back, bytes });
          });
        }
        return [10];
      };
      wire.connect(client);
      wire.run(400_000);
      const label = `${name} at ${moment}`;
      assert.deepEqual(wire.server.received(), [], label);
      assert.equal(wire.server.machine.handshakes, 0, label);
      if (client.of("opened").length === 1) completed += 1;
      else {
        wire.carry = () => [10];
        wire.connect(client);
      }
      exchange(wire, client, label);
    }
  }
  assert.ok(completed > script.length * 4, `${completed} of ${script.length * 6}`);
});

test("threat 4: a spoofed alert in a handshake ends it only if nothing else comes", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.tell(client, {
    type: "connect",
    session: 1,
    path: { local: client.address, remote: SERVER },
    how: "full",
  });
  const path = { local: client.address, remote: SERVER };
  const alert = plainRecord(ContentType.alert, 0, Uint8Array.of(2, 40));
  wire.tell(client, { type: "datagram", path, bytes: alert });
  wire.run(3_000);
  assert.equal(client.of("opened").length, 1);
});

test("threat 2, CVE-2022-34293: no hello without its own cookie gets beyond HelloVerifyRequest", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  wire.carry = () => [];
  const connect = (): Uint8Array => {
    const path = { local: client.address, remote: SERVER };
    wire.tell(client, { type: "connect", session: 1, path, how: "full" });
    return wire.sent.at(-1)?.bytes ?? EMPTY;
  };
  const first = decodeClientHello(connect().subarray(25));
  const hello = (over: object, seq = 1): Uint8Array =>
    plainRecord(
      ContentType.handshake,
      seq,
      wholeMessage(1, seq, encodeClientHello({ ...first, ...over })),
    );
  const answer = (bytes: Uint8Array, from = client.address): Uint8Array => {
    wire.sent.length = 0;
    wire.inject(bytes, from);
    return wire.sent[0]?.bytes ?? EMPTY;
  };
  const cookie = decodeHelloVerifyRequest(answer(hello({}, 0)).subarray(25));
  const cases: [string, Uint8Array, SocketAddress][] = [
    ["another port", hello({ cookie }), { ...client.address, port: 1 }],
    ["another host", hello({ cookie }), { ...client.address, host: "192.0.2.8" }],
    ["another random", hello({ cookie, random: new Uint8Array(32) }), client.address],
    ["another session id", hello({ cookie, sessionId: new Uint8Array(8) }), client.address],
    ["another suite", hello({ cookie, suites: [0xc0a8, 0xc0a4] }), client.address],
    ["another version", hello({ cookie, version: 0xfefc }), client.address],
    ["a bit of it flipped", hello({ cookie: flip(cookie) }), client.address],
    ["a byte less", hello({ cookie: cookie.subarray(1) }), client.address],
    ["a byte more", hello({ cookie: concat(cookie, Uint8Array.of(0)) }), client.address],
    ["no cookie", hello({}), client.address],
  ];
  for (const [what, bytes, from] of cases) {
    const out = answer(bytes, from);
    assert.equal(out[13], HandshakeType.helloVerifyRequest, what);
    assert.ok(out.length < bytes.length, `${what}: no amplification`);
    assert.equal(wire.server.machine.handshakes, 0, what);
  }
  // Clients change their extensions between the hellos: the cookie does not care.
  assert.equal(answer(hello({ cookie, extensions: first.extensions.slice(0, 1) }))[13], 2);
});

test("RFC 6347 4.2.1: a cookie of the period before is taken, an older one is not", () => {
  for (const [wait, accepted] of [
    [30_000, true],
    [61_000, true],
    [125_000, false],
  ] as const) {
    const wire = new Wire();
    wire.now = 6_000_000; // the beginning of a period
    const client = wire.client({ tuning: { initialTimeout: 1_000_000, maxTimeout: 1_000_000 } });
    wire.carry = ({ from, bytes }) => (from === "client" && bytes[25 + 35] !== 0 ? [wait] : [10]);
    wire.connect(client);
    wire.run(wait + 1_000);
    const answers = wire.sent.filter(({ from }) => from === "server").map(({ bytes }) => bytes[13]);
    const { helloVerifyRequest, serverHello } = HandshakeType;
    const second = accepted ? serverHello : helloVerifyRequest;
    assert.deepEqual(answers.slice(0, 2), [helloVerifyRequest, second], `${wait}`);
  }
});

test("the cookie demand takes the number of the hello, so the server needs no memory of it", () => {
  const wire = new Wire();
  wire.carry = () => [];
  const client = wire.client();
  const path = { local: client.address, remote: SERVER };
  wire.tell(client, { type: "connect", session: 1, path, how: "full" });
  wire.run(4_000);
  for (const { bytes } of wire.sent.filter(({ from }) => from === "client").slice()) {
    wire.inject(bytes, client.address);
    const answer = wire.sent.at(-1)?.bytes ?? EMPTY;
    assert.equal(toHex(answer.subarray(3, 11)), toHex(bytes.subarray(3, 11)));
  }
});

test("CVE: a fragmented ClientHello is checked for its cookie without memory, and put together afterwards", () => {
  const wire = new Wire();
  wire.server.keys.set("dev01", KEY);
  const client = wire.client({
    connectionId: EMPTY,
    tuning: { mtus: [100] },
    serverName: "x".repeat(120),
  });
  wire.connect(client);
  assert.equal(client.of("opened").length, 1);
  assert.ok(wire.sent.filter(({ from }) => from === "client").length > 4);
  exchange(wire, client);
});

test("threat 11: a flood of hellos without cookies leaves nothing behind, and costs less than it brought", () => {
  const wire = new Wire();
  wire.carry = () => [];
  const rng = seededRng(4);
  const client = wire.client();
  const path = { local: client.address, remote: SERVER };
  wire.tell(client, { type: "connect", session: 1, path, how: "full" });
  const template = wire.sent[0]?.bytes ?? EMPTY;
  wire.sent.length = 0;
  let into = 0;
  for (let i = 0; i < 5_000; i++) {
    const bytes = Uint8Array.from(template);
    bytes.set(rng.bytes(32), 27);
    into += bytes.length;
    wire.inject(bytes, { host: `10.${i & 255}.${(i >> 8) & 255}.1`, port: 1_024 + i });
  }
  const out = wire.sent.reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.ok(out < into);
  assert.equal(wire.server.machine.handshakes + wire.server.machine.size, 0);
  assert.equal(wire.server.machine.wakeAt, undefined);
});

test("threat 11: running handshakes have a limit; at it new ones wait, and all end with their memory", () => {
  const wire = new Wire({ server: { tuning: { maxHandshakes: 3 } } });
  wire.server.silent = true;
  const clients = Array.from({ length: 5 }, () => wire.client({ connectionId: EMPTY }));
  for (const client of clients) wire.connect(client);
  assert.equal(wire.server.machine.handshakes, 3);
  assert.ok((wire.server.machine.ledger.snapshot().drops["handshakesFull"] ?? 0) > 0);
  wire.run(600_000);
  assert.equal(wire.server.machine.handshakes, 0);
  wire.server.silent = false;
  const [first] = clients;
  assert.ok(first !== undefined);
  wire.connect(first);
  exchange(wire, first);
});

test("associations have a limit: a new device is refused, those that live stay", () => {
  const wire = new Wire({ server: { tuning: { maxAssociations: 1 } } });
  wire.server.keys.set("dev02", KEY);
  const [one, two] = ["dev01", "dev02"].map((identity) =>
    wire.client({ credentials: { kind: "psk", identity, key: KEY } }),
  );
  if (one === undefined || two === undefined) throw new Error("two clients");
  wire.connect(one);
  wire.connect(two);
  wire.run(300_000);
  assert.equal(two.of("opened").length, 0);
  exchange(wire, one);
});

test("RFC 6347 4.2.8: a new hello on a live address replaces the association after its Finished and not before", () => {
  for (const connectionId of [undefined, EMPTY]) {
    const wire = new Wire();
    const options = connectionId === undefined ? {} : { connectionId };
    const client = wire.client(options);
    wire.connect(client);
    const { session } = wire.server;
    // Somebody at the same address gets as far as one can without the key.
    const forger = wire.client({
      ...options,
      address: client.address,
      credentials: { kind: "psk", identity: "dev01", key: new Uint8Array(16).fill(1) },
    });
    wire.clients.splice(0, 1);
    wire.connect(forger);
    wire.clients.splice(0, 1, client);
    assert.equal(wire.server.machine.handshakes, 1);
    exchange(wire, client);
    assert.equal(wire.server.session, session);
    wire.run(600_000);
    assert.equal(wire.server.machine.handshakes, 0);
    exchange(wire, client);
    assert.deepEqual(wire.server.of("closed"), []);
    wire.connect(client);
    assert.deepEqual(
      wire.server.of("closed").map((c) => [c.session, c.why]),
      [[session, "replaced"]],
    );
    exchange(wire, client);
  }
});

test("F21: a device that lost its state and handshakes anew from elsewhere leaves one association, not two", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  const again = wire.client({ connectionId: EMPTY });
  wire.connect(again);
  assert.equal(wire.server.machine.size, 1);
  exchange(wire, again);
});

test("RFC 6347 4.1.2.6: the window is exact at its edges, jumps included, and forged records do not move it", () => {
  for (const jump of [1, 31, 32, 33, 63, 64, 65, 127, 128, 1_000]) {
    const wire = new Wire();
    const client = wire.client({ connectionId: EMPTY });
    wire.connect(client);
    wire.carry = () => [];
    const records: Uint8Array[] = [];
    for (let i = 0; i <= jump; i++) {
      wire.tell(client, { type: "send", session: 1, bytes: utf8(`${i}`) });
      records.push(wire.sent.at(-1)?.bytes ?? EMPTY);
    }
    const [first, last] = [records[0], records.at(-1)];
    if (first === undefined || last === undefined) throw new Error("records");
    const forged = Uint8Array.from(last);
    forged.set([0x7f, 0xff, 0xff], 5); // a sequence number far ahead
    forged.set([0x7f, 0xff, 0xff], 19);
    wire.inject(forged, client.address);
    wire.inject(last, client.address);
    wire.inject(last, client.address);
    wire.inject(first, client.address);
    wire.inject(first, client.address);
    const wanted = jump < 64 ? [`${jump}`, "0"] : [`${jump}`];
    assert.deepEqual(wire.server.received(), wanted, `jump ${jump}`);
  }
});

test("RFC 9147 4.5.3: too many records that do not verify end the association, and with it the key", () => {
  const wire = new Wire({ server: { tuning: { forgeryLimit: 100 } } });
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  wire.tell(client, { type: "send", session: 1, bytes: utf8("x") });
  const forged = flip(wire.sent.at(-1)?.bytes ?? EMPTY);
  forged[10] = 99;
  for (let i = 0; i < 99; i++) wire.inject(forged, SPOOFED);
  assert.equal(wire.server.machine.size, 1);
  wire.inject(forged, SPOOFED);
  assert.deepEqual(
    wire.server.of("closed").map((c) => c.why),
    ["too many forged records"],
  );
});

test("F35: an association ends before its sequence numbers do", () => {
  const wire = new Wire({ server: { tuning: { sequenceLimit: 5 } } });
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  const { session } = wire.server;
  for (let i = 0; i < 5; i++) wire.tell(wire.server, { type: "send", session, bytes: utf8("x") });
  assert.deepEqual(
    wire.server.of("closed").map((c) => c.why),
    ["sequence numbers used up"],
  );
});

test("RFC 5246 7.2.1: close_notify under the keys is answered and ends both sides; data after it is not delivered", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  wire.carry = () => [];
  wire.tell(client, { type: "send", session: 1, bytes: utf8("late") });
  const late = wire.sent.at(-1)?.bytes ?? EMPTY;
  wire.carry = () => [10];
  wire.tell(client, { type: "close", session: 1 });
  wire.run(100);
  assert.equal(wire.server.machine.size, 0);
  wire.inject(late, client.address);
  assert.deepEqual(wire.server.received(), []);
});

test("RFC 7925 17, RFC 5746: a wish to renegotiate under the keys gets no_renegotiation, and the session goes on", () => {
  const wire = new Wire({ server: { keyLog: true } });
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  const { clientHello, serverHello } = hellosOf(wire);
  const master = hex(wire.server.of("keyLog").at(-1)?.line.split(" ")[2] ?? "");
  const { cipher } = suiteOf(serverHello.suite) ?? {};
  assert.ok(cipher);
  const randoms = { client: clientHello.random, server: serverHello.random };
  const keys = keyBlock(cipher, master, randoms);
  const cid = connectionId.read(serverHello.extensions) ?? EMPTY;
  for (const type of [HandshakeType.clientHello, HandshakeType.helloRequest]) {
    const body = type === HandshakeType.clientHello ? encodeClientHello(clientHello) : EMPTY;
    const content = wholeMessage(type, 4, body);
    const record = { type: ContentType.handshake, epoch: 1, sequence: 50 + type, cid, content };
    wire.inject(sealRecord(cipher, keys.client, record, seededRng(1)), client.address);
    const answer = openRecord(
      cipher,
      keys.server,
      readRecord(wire.sent.at(-1)?.bytes ?? EMPTY, 0, 0),
    );
    assert.ok(answer.ok && answer.type === ContentType.alert);
    assert.deepEqual([...answer.content], [1, Alert.noRenegotiation]);
  }
  assert.equal(wire.server.machine.handshakes, 0);
  assert.equal(
    wire.server.machine.ledgerOf(wire.server.session).snapshot().drops["renegotiation"],
    2,
  );
  exchange(wire, client);
});

test("CVE-2026-75806: every cut of a record on a live association is dropped in silence", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  wire.carry = () => [];
  wire.tell(client, { type: "send", session: 1, bytes: utf8("whole") });
  const record = wire.sent.at(-1)?.bytes ?? EMPTY;
  const before = wire.server.outputs.length;
  for (let length = 0; length < record.length; length++) {
    wire.inject(record.subarray(0, length), client.address);
    const honest = Uint8Array.from(record.subarray(0, length));
    if (length >= 13) honest.set([(length - 13) >> 8, length - 13], 11);
    wire.inject(honest, client.address);
  }
  assert.equal(wire.server.outputs.length, before);
  wire.inject(record, client.address);
  assert.deepEqual(wire.server.received(), ["whole"]);
});

test("random datagrams and bent copies of real ones, in every state: no exception, no session lost, nothing kept", () => {
  const rng = seededRng(99);
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  wire.connect(client);
  exchange(wire, client);
  const corpus = wire.sent.map(({ bytes }) => bytes);
  const path = { local: client.address, remote: SERVER };
  for (let i = 0; i < 20_000; i++) {
    let bytes = rng.bytes(Math.floor(rng.float() * 100));
    if (rng.float() < 0.8) {
      bytes = Uint8Array.from(corpus[Math.floor(rng.float() * corpus.length)] ?? EMPTY);
      for (let n = 0; n < 1 + rng.float() * 3; n++) {
        bytes[Math.floor(rng.float() * bytes.length)] = Math.floor(rng.float() * 256);
      }
      if (rng.float() < 0.3) bytes = bytes.subarray(0, Math.floor(rng.float() * bytes.length));
    }
    if (rng.float() < 0.5) wire.inject(bytes, rng.float() < 0.5 ? client.address : SPOOFED);
    else wire.tell(client, { type: "datagram", path, bytes });
  }
  assert.equal(wire.server.of("closed").length + client.of("closed").length, 0);
  wire.run(600_000);
  assert.equal(wire.server.machine.handshakes, 0);
  exchange(wire, client);
});

test("a handshake of another version of the protocol is refused with its alert, after the cookie", () => {
  const server = new DtlsServer({
    rng: seededRng(1),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
  });
  const path = { local: SERVER, remote: SPOOFED };
  const hello = {
    version: 0xfeff,
    random: new Uint8Array(32),
    sessionId: EMPTY,
    cookie: EMPTY,
    suites: [0xc0a8],
    compression: Uint8Array.of(0),
    extensions: [],
  };
  const send = (cookie: Uint8Array): Uint8Array => {
    const body = encodeClientHello({ ...hello, cookie });
    const fragment = { type: 1, length: body.length, messageSeq: 0, offset: 0, body };
    const bytes = plainRecord(ContentType.handshake, 0, writeFragment(fragment));
    server.handle({ type: "datagram", path, bytes }, 0);
    const output = server.poll();
    return output?.type === "datagram" ? output.bytes : EMPTY;
  };
  const cookie = decodeHelloVerifyRequest(send(EMPTY).subarray(25));
  const alert = send(cookie);
  assert.equal(toHex(alert.subarray(13)), toHex(hex("02 46")));
  assert.equal(server.handshakes, 0);
});

function flip(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[copy.length - 1]! ^= 1; // never empty here
  return copy;
}
