import assert from "node:assert/strict";
import { test } from "node:test";
import { type SocketAddress, concat, utf8 } from "@godwit/base";
import { exchange } from "./exchange.ts";
import { Wire } from "./wire.ts";

const EMPTY_CID = new Uint8Array(0);
const ELSEWHERE: SocketAddress = { host: "203.0.113.9", port: 999 };

for (const length of [0, 1, 4, 8, 255]) {
  test(`RFC 9146 3: a client that asks for ${length} bytes gets them in every record`, () => {
    const wire = new Wire();
    const client = wire.client({ connectionId: new Uint8Array(length).fill(0xc1) });
    wire.connect(client);
    exchange(wire, client);
    const down = wire.sent.filter(({ from }) => from === "server").at(-1);
    assert.equal(down?.bytes[0], length === 0 ? 23 : 25);
  });
}

test("RFC 9146 3: a server without ids of its own still sends those of its client", () => {
  const wire = new Wire({ server: { tuning: { cidLength: 0 } } });
  const client = wire.client({ connectionId: Uint8Array.of(7, 7) });
  wire.connect(client);
  exchange(wire, client);
});

test("the server's connection id carries the node id in byte 0, and no two are alike", () => {
  const wire = new Wire({ server: { nodeId: 0x2a, tuning: { cidLength: 2 } } });
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    wire.server.keys.set(`d${i}`, new Uint8Array(16));
    const client = wire.client({
      connectionId: EMPTY_CID,
      credentials: { kind: "psk", identity: `d${i}`, key: new Uint8Array(16) },
    });
    wire.connect(client);
    wire.tell(client, { type: "send", session: 1, bytes: utf8("x") });
    const record = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
    assert.equal(record[11], 0x2a);
    seen.add(`${record[12]}`);
  }
  assert.equal(seen.size, 40);
});

test("no connection id left: that handshake is refused, the others live", () => {
  const wire = new Wire({ server: { nodeId: 1, tuning: { cidLength: 1 } } });
  const clients = [0, 1].map((i) => {
    wire.server.keys.set(`d${i}`, new Uint8Array(16));
    const credentials = { kind: "psk" as const, identity: `d${i}`, key: new Uint8Array(16) };
    return wire.client({ connectionId: EMPTY_CID, credentials });
  });
  for (const client of clients) {
    wire.connect(client);
    wire.run(300_000);
  }
  assert.equal(clients[0]?.of("opened").length, 1);
  assert.equal(clients[1]?.of("opened").length, 0);
  assert.deepEqual(
    new Set(wire.server.of("failed").map((f) => f.why)),
    new Set(["no connection id left"]),
  );
  assert.equal(wire.server.machine.handshakes, 0);
});

test("RFC 9146 6: after a NAT rebinding the session goes on with no extra datagram, and the server can push", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  exchange(wire, client);
  wire.sent.length = 0;
  wire.nat = ({ host, port }) => ({ host, port: port + 1_000 });
  exchange(wire, client);
  assert.equal(wire.sent.length, 2);
  const { session } = wire.server;
  assert.deepEqual(wire.server.of("moved"), [{ type: "moved", session, validated: false }]);
  assert.equal(wire.server.machine.pathOf(session)?.remote.port, client.address.port + 1_000);
  wire.tell(wire.server, { type: "validated", session });
  assert.deepEqual(wire.server.of("validated"), [{ type: "validated", session }]);
  assert.equal(wire.server.machine.ledgerOf(session).addressChanges, 1);
});

test("without connection ids a rebinding ends in silence, and a resumption repairs it", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  wire.nat = ({ host, port }) => ({ host, port: port + 1_000 });
  wire.sent.length = 0;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("lost") });
  wire.run(1_000);
  assert.deepEqual(wire.server.received(), []);
  assert.equal(wire.sent.length, 1);
  wire.connect(client, "resume");
  exchange(wire, client);
});

test("RFC 9146 6, RFC 9853 4: at most three bytes out for each byte in until the address is proven", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  const { session } = wire.server;
  wire.tell(client, { type: "send", session: 1, bytes: new Uint8Array(66) });
  const record = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  wire.inject(record, ELSEWHERE);
  wire.sent.length = 0;
  for (let i = 0; i < 20; i++) {
    wire.tell(wire.server, { type: "send", session, bytes: new Uint8Array(71) });
  }
  const out = wire.sent.reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.equal(out, 3 * record.length);
  assert.ok(wire.sent.every(({ path }) => path.remote.host === ELSEWHERE.host));
  assert.equal(wire.server.machine.ledgerOf(session).snapshot().drops["addressUnproven"], 17);
  wire.tell(wire.server, { type: "validated", session });
  wire.tell(wire.server, { type: "send", session, bytes: new Uint8Array(500) });
  assert.equal(wire.sent.at(-1)?.bytes.length, 529);
});

test("RFC 9146 6: neither a replayed nor an older record moves the address, and the older one is delivered", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  const { session } = wire.server;
  wire.carry = () => [];
  const records = ["one", "two"].map((text) => {
    wire.tell(client, { type: "send", session: 1, bytes: utf8(text) });
    return wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  });
  wire.inject(records[1] ?? EMPTY_CID, client.address);
  wire.inject(records[1] ?? EMPTY_CID, ELSEWHERE);
  wire.inject(records[0] ?? EMPTY_CID, ELSEWHERE);
  assert.deepEqual(wire.server.received(), ["two", "one"]);
  assert.deepEqual(wire.server.of("moved"), []);
  assert.equal(wire.server.machine.pathOf(session)?.remote.port, client.address.port);
});

test("a peer that returns to its proven address needs no new proof", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  wire.nat = () => ELSEWHERE;
  exchange(wire, client);
  wire.nat = (address) => address;
  exchange(wire, client);
  assert.deepEqual(
    wire.server.of("moved").map((m) => m.validated),
    [false, true],
  );
});

test("CVE-2022-46393, RFC 9146 4: every way to bend a record's connection id or type is dropped, the session lives", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  const other = wire.client({
    connectionId: EMPTY_CID,
    credentials: { kind: "psk", identity: "dev02", key: new Uint8Array(16) },
  });
  wire.server.keys.set("dev02", new Uint8Array(16));
  wire.connect(other);
  wire.carry = () => [];
  wire.tell(other, { type: "send", session: 1, bytes: utf8("theirs") });
  const theirs = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("mine") });
  const mine = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  const cases: [string, Uint8Array][] = [
    ["25 rewritten to 23 (wolfSSL 11177)", altered(mine, 0, 23)],
    [
      "stripped to a record of RFC 6347",
      concat(altered(mine.subarray(0, 11), 0, 23), mine.subarray(15)),
    ],
    [
      "the other's connection id",
      concat(mine.subarray(0, 11), theirs.subarray(11, 15), mine.subarray(15)),
    ],
    ["an unknown connection id", altered(mine, 11, mine[11]! ^ 0xff)], // has its header
    ["epoch 0", altered(mine, 4, 0)],
    ["epoch 2", altered(mine, 4, 2)],
    ["another version", altered(mine, 1, 3)],
    ["one byte short", mine.subarray(0, mine.length - 1)],
    ["a longer length", altered(mine, 16, mine[16]! + 1)],
    ["a flipped bit", altered(mine, mine.length - 1, mine.at(-1)! ^ 1)],
    ["the tag alone", concat(mine.subarray(0, 16), Uint8Array.of(8), mine.subarray(-8))],
    ["nothing at all", concat(mine.subarray(0, 15), Uint8Array.of(0, 0))],
  ];
  for (const [what, bytes] of cases) {
    const outputs = wire.server.outputs.length;
    wire.inject(bytes, client.address);
    assert.equal(wire.server.outputs.length, outputs, what);
  }
  wire.inject(mine, client.address);
  wire.inject(theirs, other.address);
  assert.deepEqual(wire.server.received(), ["mine", "theirs"]);
});

test("several records in one datagram: a bad one in the middle spoils neither neighbour", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  wire.carry = () => [];
  const [a, b, c] = ["a", "b", "c"].map((text) => {
    wire.tell(client, { type: "send", session: 1, bytes: utf8(text) });
    return wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  });
  if (a === undefined || b === undefined || c === undefined) throw new Error("three records");
  wire.inject(concat(a, altered(b, 20, 0xff), c, Uint8Array.of(25, 254)), client.address);
  assert.deepEqual(wire.server.received(), ["a", "c"]);
});

test("F6: a NAT gives A's address to B: both live, and nothing for A goes there", () => {
  const wire = new Wire();
  wire.server.keys.set("dev02", new Uint8Array(16));
  const shared = { host: "203.0.113.1", port: 5_000 };
  wire.nat = () => shared;
  const a = wire.client({ connectionId: EMPTY_CID });
  wire.connect(a);
  const sessionA = wire.server.session;
  wire.nat = (address) => (address.port === a.address.port ? ELSEWHERE : shared);
  const b = wire.client({
    connectionId: EMPTY_CID,
    credentials: { kind: "psk", identity: "dev02", key: new Uint8Array(16) },
  });
  wire.connect(b);
  assert.equal(wire.server.machine.size, 2);
  assert.equal(wire.server.machine.pathOf(sessionA), undefined);
  wire.sent.length = 0;
  wire.tell(wire.server, { type: "send", session: sessionA, bytes: utf8("for A") });
  assert.equal(wire.sent.length, 0);
  wire.tell(a, { type: "send", session: 1, bytes: utf8("A is here") });
  wire.run(1_000);
  assert.equal(wire.server.received().at(-1), "A is here");
  assert.equal(wire.server.machine.pathOf(sessionA)?.remote.port, ELSEWHERE.port);
});

function altered(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = value;
  return copy;
}
