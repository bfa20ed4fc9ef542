import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng, toHex, utf8 } from "@godwit/base";
import { DtlsClient } from "../client.ts";
import { DtlsServer } from "../server.ts";
import { exchange } from "./exchange.ts";
import { KEY, SEALER, Wire } from "./wire.ts";

const EMPTY_CID = new Uint8Array(0);
const TUNING = { stride: 8 };

test("a killed server answers the next record of every device with no handshake", () => {
  const wire = new Wire({ server: { sealer: SEALER, tuning: TUNING } });
  const clients = Array.from({ length: 20 }, (_, i) => {
    const identity = `dev${i}`;
    wire.server.keys.set(identity, KEY);
    return wire.client({
      connectionId: EMPTY_CID,
      credentials: { kind: "psk", identity, key: KEY },
    });
  });
  for (const client of clients) wire.connect(client);
  const nonces = new Set<string>();
  for (let round = 0; round < 10; round++) {
    wire.sent.length = 0;
    for (const client of clients) {
      wire.tell(client, { type: "send", session: 1, bytes: utf8(`hello ${round}`) });
      wire.run(50);
      const last = wire.server.of("received").at(-1);
      assert.equal(new TextDecoder().decode(last?.bytes), `hello ${round}`);
      assert.equal(last?.fresh, round === 0, "after a restart all is doubtful until shown fresh");
      const session = last?.session ?? 0;
      wire.tell(wire.server, { type: "fresh", session });
      for (let i = 0; i <= round; i++) {
        wire.tell(wire.server, { type: "send", session, bytes: utf8(`answer ${round}`) });
      }
      wire.run(50);
      assert.equal(client.received().at(-1), `answer ${round}`);
    }
    for (const { from, path, bytes } of wire.sent) {
      assert.ok(bytes[0] === 23 || bytes[0] === 25, "no handshake");
      const nonce = `${from} ${path.remote.port} ${path.local.port} ${toHex(bytes.subarray(3, 11))}`;
      assert.ok(!nonces.has(nonce), `nonce used twice: ${nonce}`);
      nonces.add(nonce);
    }
    restart(wire);
  }
});

test("no sequence number is used before it is reserved: what is to be sent waits for the store", () => {
  const wire = new Wire({ server: { sealer: SEALER, tuning: TUNING } });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  restart(wire);
  wire.server.storeDelay = 500;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("hello") });
  wire.run(100);
  const { session } = wire.server;
  for (let i = 0; i < 20; i++) {
    wire.tell(wire.server, { type: "send", session, bytes: utf8(`answer ${i}`) });
  }
  wire.run(100);
  assert.deepEqual(client.received(), []);
  wire.run(2_000);
  assert.equal(client.received().length, 16, "and no more than the limit waits");
  assert.equal(wire.server.machine.ledgerOf(session).snapshot().drops["heldFull"], 4);
});

test("F18: a store that fails stops the sender before its bound, and a store that recovers lets it go on", () => {
  const wire = new Wire({ server: { sealer: SEALER, tuning: TUNING } });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  wire.server.storeBroken = true;
  const { session } = wire.server;
  for (let i = 0; i < 30; i++) {
    wire.tell(wire.server, { type: "send", session, bytes: utf8(`${i}`) });
  }
  wire.run(100);
  // 8 were reserved, Finished took the first
  assert.deepEqual(client.received(), ["0", "1", "2", "3", "4", "5", "6"]);
  wire.server.storeBroken = false;
  wire.tell(wire.server, { type: "send", session, bytes: utf8("late") });
  wire.run(100);
  assert.equal(client.received().length, 7 + 16);
});

test("F18: a handshake that cannot be stored is refused, and leaves nothing", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  wire.server.storeBroken = true;
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  wire.run(300_000);
  assert.equal(wire.server.of("opened").length, 0);
  assert.deepEqual(
    client.of("failed").map((f) => f.why),
    ["peer's alert 80"],
  );
  assert.equal(wire.server.machine.size + wire.server.machine.handshakes, 0);
  wire.server.storeBroken = false;
  wire.connect(client);
  exchange(wire, client);
});

test("RFC 6347 4.1.2.6: after a restart a record received before is refused or marked as doubtful", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  wire.tell(client, { type: "send", session: 1, bytes: utf8("open the valve") });
  wire.run(100);
  const replay = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  restart(wire);
  wire.inject(replay, client.address);
  assert.deepEqual(
    wire.server.of("received").map((r) => r.fresh),
    [true, false],
  );
  const { session } = wire.server;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("now") });
  wire.run(100);
  wire.tell(wire.server, { type: "fresh", session });
  wire.inject(replay, client.address);
  assert.equal(wire.server.received().length, 3, "once fresh, all older records are refused");
  restart(wire);
  wire.inject(replay, client.address);
  assert.equal(wire.server.of("received").at(-1)?.fresh, false);
});

test("RFC 6347 4.1.2.6: after a crash the window begins above what was received when the association was stored", () => {
  const wire = new Wire({ server: { sealer: SEALER, tuning: TUNING } });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  const records: Uint8Array[] = [];
  for (let i = 0; i < 10; i++) {
    wire.tell(client, { type: "send", session: 1, bytes: utf8(`${i}`) });
    records.push(wire.sent.at(-1)?.bytes ?? EMPTY_CID);
    wire.run(50);
  }
  const { session } = wire.server;
  for (let i = 0; i < 2 * TUNING.stride; i++) {
    wire.tell(wire.server, { type: "send", session, bytes: utf8("answer") });
  }
  wire.run(100); // by now the numbers were reserved anew, and with them was stored what had come
  restart(wire);
  const before = wire.server.received().length;
  for (const record of records) wire.inject(record, client.address);
  assert.equal(wire.server.received().length, before, "not even as doubtful");
  assert.equal(wire.server.machine.ledgerOf(session).snapshot().drops["replayed"], 10);
  wire.tell(client, { type: "send", session: 1, bytes: utf8("next") });
  wire.run(50);
  assert.equal(wire.server.received().at(-1), "next");
});

test("after a restart what may be a replay moves the address for ten seconds, unless its peer shows that it speaks now", () => {
  for (const shown of [false, true]) {
    const wire = new Wire({ server: { sealer: SEALER } });
    const client = wire.client({ connectionId: EMPTY_CID });
    wire.connect(client);
    wire.tell(client, { type: "send", session: 1, bytes: utf8("open the valve") });
    wire.run(100);
    const replay = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
    restart(wire);
    const elsewhere = { host: "192.0.2.66", port: 666 };
    const { session } = wire.server;
    wire.inject(replay, elsewhere);
    if (shown) wire.tell(wire.server, { type: "fresh", session });
    wire.run(11_000);
    const there = wire.server.machine.pathOf(session)?.remote;
    assert.deepEqual(there, shown ? elsewhere : client.address);
  }
});

test("an address that was not proven is not what a restart remembers", () => {
  const wire = new Wire({
    server: { sealer: SEALER, tuning: { stride: 4, routabilityCheck: "off" } },
  });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  const { session } = wire.server;
  const thief = { host: "192.0.2.66", port: 666 };
  wire.nat = () => thief;
  wire.tell(client, {
    type: "send",
    session: 1,
    bytes: utf8("a long message, and so room for answers"),
  });
  wire.run(100);
  assert.deepEqual(wire.server.machine.pathOf(session)?.remote, thief);
  // More numbers are reserved meanwhile, and the row is written.
  for (let i = 0; i < 4; i++) wire.tell(wire.server, { type: "send", session, bytes: utf8("x") });
  restart(wire);
  assert.deepEqual(wire.server.machine.pathOf(session)?.remote, client.address);
});

test("a device that saved its session goes on after a reboot with no handshake", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID, sealer: SEALER, tuning: TUNING });
  wire.connect(client);
  exchange(wire, client);
  client.machine = new DtlsClient({
    rng: seededRng(9),
    credentials: { kind: "psk", identity: "dev01", key: KEY },
    connectionId: EMPTY_CID,
    sealer: SEALER,
    tuning: TUNING,
  });
  for (const [row, value] of client.store) {
    const [table, key] = row.split(" ") as [string, string];
    wire.tell(client, { type: "restore", table, key, value });
  }
  assert.equal(client.of("opened").at(-1)?.how, "restored");
  wire.sent.length = 0;
  exchange(wire, client);
  assert.equal(wire.sent.length, 2);
  assert.equal(wire.server.of("opened").length, 1);
});

test("what the store holds of an association is sealed, and at most 200 bytes", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  const rows = [...wire.server.store];
  assert.equal(rows.length, 2);
  for (const [key, value] of rows) {
    assert.ok(value.length <= 200, `${key}: ${value.length}`);
    assert.equal(value[0], 0x5e);
  }
});

test("an association that ends leaves the store", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  const client = wire.client({ connectionId: EMPTY_CID, sealer: SEALER });
  wire.connect(client);
  wire.tell(client, { type: "close", session: 1 });
  wire.run(1_000);
  assert.deepEqual(
    wire.server.of("closed").map((c) => c.why),
    ["closed by peer"],
  );
  assert.deepEqual(
    [...wire.server.store.keys()].map((k) => k.split(" ")[0]),
    ["dtls.session"],
  );
  assert.deepEqual([...client.store.keys()], ["dtls.session client"]);
});

test("associations that say nothing for the idle limit are forgotten, the others stay", () => {
  const wire = new Wire({ server: { tuning: { idleLimit: 80_000 } } });
  wire.server.keys.set("dev02", KEY);
  const [quiet, lively] = ["dev01", "dev02"].map((identity) =>
    wire.client({ connectionId: EMPTY_CID, credentials: { kind: "psk", identity, key: KEY } }),
  );
  if (quiet === undefined || lively === undefined) throw new Error("two clients");
  wire.connect(quiet);
  wire.connect(lively);
  for (let i = 0; i < 10; i++) {
    wire.run(10_000);
    wire.tell(lively, { type: "send", session: 1, bytes: utf8("here") });
  }
  assert.deepEqual(
    wire.server.of("closed").map((c) => c.why),
    ["idle"],
  );
  assert.equal(wire.server.machine.size, 1);
});

function restart(wire: Wire): void {
  wire.server.machine = new DtlsServer({
    rng: seededRng(wire.now),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
    sealer: SEALER,
    tuning: TUNING,
  });
  for (const [row, value] of wire.server.store) {
    const [table, key] = row.split(" ") as [string, string];
    wire.tell(wire.server, { type: "restore", table, key, value });
  }
}
