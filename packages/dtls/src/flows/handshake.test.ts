import assert from "node:assert/strict";
import { test } from "node:test";
import { CONSTRAINED } from "../tuning.ts";
import { SUITES } from "../suites.ts";
import { exchange } from "./exchange.ts";
import { Wire } from "./wire.ts";

const EMPTY_CID = new Uint8Array(0);

test("RFC 6347 4.2, RFC 4279: a full PSK handshake, then data both ways", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  assert.deepEqual(
    client.of("opened").map((o) => [o.how, o.identity]),
    [["full", { kind: "psk", identity: "dev01" }]],
  );
  assert.deepEqual(
    wire.server.of("opened").map((o) => [o.how, o.identity]),
    [["full", { kind: "psk", identity: "dev01" }]],
  );
  exchange(wire, client);
});

for (const suite of SUITES.filter(({ exchange: e }) => e !== "ecdheEcdsa")) {
  for (const connectionId of [undefined, EMPTY_CID, Uint8Array.of(0xbe, 0xef)]) {
    const name = connectionId === undefined ? "no" : `a ${connectionId.length}-byte`;
    test(`${suite.name} with ${name} connection id at the client`, () => {
      const wire = new Wire();
      const client = wire.client({
        suites: [suite],
        ...(connectionId === undefined ? {} : { connectionId }),
      });
      wire.connect(client);
      assert.equal(client.of("opened").length, 1);
      exchange(wire, client);
    });
  }
}

test("byte floors: a client that says nothing of itself establishes with connection id in 469 bytes", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  assert.deepEqual(lengths(wire), [78, 36, 86, 98, 104, 67]);
  const before = wire.sent.length;
  wire.tell(client, { type: "send", session: 1, bytes: new Uint8Array(13) });
  wire.run(100);
  wire.tell(wire.server, { type: "send", session: wire.server.session, bytes: new Uint8Array(5) });
  wire.run(100);
  assert.deepEqual(lengths(wire, before), [47, 34]);
});

test("byte floors: the published settings, 14-byte identity and 9-byte connection id, stay within 500", () => {
  const wire = new Wire({ server: { tuning: { cidLength: 9 } } });
  const identity = "urn:imei:12345";
  wire.server.keys.set(identity, new Uint8Array(16));
  const client = wire.client({
    connectionId: EMPTY_CID,
    credentials: { kind: "psk", identity, key: new Uint8Array(16) },
  });
  wire.connect(client);
  assert.equal(client.of("opened").length, 1);
  assert.deepEqual(lengths(wire), [78, 36, 86, 103, 118, 67]);
  assert.equal(sum(lengths(wire)), 488);
});

test("byte floors: resumption with cookie takes 417, with Update and ACK 493", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  const before = wire.sent.length;
  wire.connect(client, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "resumed");
  assert.deepEqual(lengths(wire, before), [81, 36, 89, 144, 67]);
  wire.tell(client, { type: "send", session: 1, bytes: new Uint8Array(13) });
  wire.run(100);
  wire.tell(wire.server, { type: "send", session: wire.server.session, bytes: new Uint8Array(5) });
  wire.run(100);
  assert.equal(sum(lengths(wire, before)), 493);
});

test("RFC 6347 4.2.3: peers that want one message per record get it", () => {
  const wire = new Wire({ server: { tuning: { coalesce: "never" } } });
  const client = wire.client({ connectionId: EMPTY_CID, tuning: { coalesce: "never" } });
  wire.connect(client);
  assert.equal(client.of("opened").length, 1);
  // 13 more: ServerHelloDone has a record of its own; the records of a flight still share a datagram.
  assert.deepEqual(lengths(wire), [78, 36, 86, 111, 104, 67]);
});

for (const mtu of [107, 128, 200, 256, 548, 1_400]) {
  test(`RFC 6347 4.2.3: a handshake through datagrams of at most ${mtu} bytes`, () => {
    const wire = new Wire({ server: { tuning: { mtus: [mtu], cidLength: 8 } } });
    const client = wire.client({
      connectionId: new Uint8Array(8).fill(7),
      tuning: { mtus: [mtu] },
    });
    wire.connect(client);
    assert.equal(client.of("opened").length, 1);
    assert.ok(wire.sent.every(({ bytes }) => bytes.length <= mtu));
    exchange(wire, client);
  });
}

test("RFC 6347 4.1.1.1: after lost flights smaller datagrams are tried, so a black hole is passed", () => {
  const wire = new Wire();
  wire.carry = ({ bytes }) => (bytes.length > 260 ? [] : [10]);
  const client = wire.client({
    credentials: { kind: "psk", identity: "x".repeat(700), key: new Uint8Array(16) },
  });
  wire.server.keys.set("x".repeat(700), new Uint8Array(16));
  wire.connect(client);
  wire.run(120_000);
  assert.equal(client.of("opened").length, 1);
});

test("RFC 6347 4.2.4.1: the wait doubles from 1 s up to 60 s, then the peer is given up", () => {
  const wire = new Wire();
  wire.carry = () => [];
  const client = wire.client();
  wire.connect(client);
  wire.run(600_000);
  const at = wire.sent.map((s) => s.at);
  assert.deepEqual(
    at.slice(1).map((t, i) => t - at[i]!), // one for each gap
    [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000],
  );
  assert.deepEqual(
    client.of("failed").map((f) => f.why),
    ["no answer"],
  );
  assert.equal(client.machine.wakeAt, undefined);
});

test("RFC 7925 11: the constrained profile waits 9 s at first", () => {
  const wire = new Wire();
  wire.carry = () => [];
  const client = wire.client({ tuning: CONSTRAINED });
  wire.connect(client);
  wire.run(30_000);
  const [first, second] = wire.sent;
  assert.equal((second?.at ?? 0) - (first?.at ?? 0), 9_000);
});

test("RFC 6347 4.2.4: losing any one datagram of a handshake, or sending it twice, changes nothing", () => {
  for (const how of ["full", "resume"] as const) {
    for (const twice of [false, true]) {
      for (let victim = 0; victim < (how === "full" ? 6 : 5); victim++) {
        const wire = new Wire({ seed: victim });
        const client = wire.client({ connectionId: EMPTY_CID });
        if (how === "resume") wire.connect(client);
        let n = 0;
        wire.carry = () => (n++ === victim ? (twice ? [10, 35] : []) : [10]);
        wire.connect(client, how);
        wire.run(20_000);
        const label = `${how}, datagram ${victim} ${twice ? "twice" : "lost"}`;
        assert.equal(client.of("opened").at(-1)?.how, how === "full" ? "full" : "resumed", label);
        exchange(wire, client, label);
        assert.equal(wire.server.machine.handshakes, 0, label);
        assert.equal(wire.server.machine.size, 1, label);
      }
    }
  }
});

test("RFC 6347 4.2.4: handshakes complete at 30 % loss with reordering and duplication", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const wire = new Wire({ seed });
    const { rng } = wire;
    wire.carry = () => {
      if (rng.float() < 0.3) return [];
      const delay = 10 + rng.float() * 300;
      return rng.float() < 0.1 ? [delay, delay + rng.float() * 500] : [delay];
    };
    const client = wire.client(seed % 2 === 0 ? { connectionId: EMPTY_CID } : {});
    wire.connect(client);
    wire.run(400_000);
    assert.ok(
      client.of("opened").length === 1,
      `seed ${seed}: ${JSON.stringify(client.of("failed"))}`,
    );
    wire.carry = () => [10];
    exchange(wire, client, `seed ${seed}`);
    assert.equal(wire.server.machine.handshakes, 0, `seed ${seed}`);
  }
});

test("RFC 4279 2: an unknown identity and a wrong key look the same from outside, and open nothing", () => {
  const outcomes = ["dev01", "nobody"].map((identity) => {
    const wire = new Wire();
    const client = wire.client({
      credentials: { kind: "psk", identity: identity.padEnd(6), key: new Uint8Array(16) },
    });
    if (identity === "dev01") wire.server.keys.set("dev01 ", new Uint8Array(16).fill(1));
    wire.connect(client);
    wire.run(600_000);
    assert.equal(wire.server.of("opened").length, 0);
    assert.equal(client.of("opened").length, 0);
    assert.deepEqual(
      wire.server.of("failed").map((f) => f.why),
      ["unknown identity or wrong key"],
    );
    assert.equal(wire.server.machine.handshakes, 0);
    return wire.sent.map(({ from, at, bytes }) => [from, at, bytes.length]);
  });
  assert.deepEqual(outcomes[0], outcomes[1]);
});

test("an identity look-up that is never answered ends by time-out, and a late answer harms nothing", () => {
  const wire = new Wire();
  wire.server.silent = true;
  const client = wire.client();
  wire.connect(client);
  wire.run(600_000);
  assert.equal(wire.server.machine.handshakes, 0);
  const [lookup] = wire.server.of("lookup");
  assert.ok(lookup !== undefined);
  wire.tell(wire.server, { type: "psk", id: lookup.id, key: new Uint8Array(16) });
  wire.tell(wire.server, { type: "psk", id: lookup.id, key: new Uint8Array(16) });
  assert.equal(wire.server.machine.size, 0);
});

function lengths(wire: Wire, from = 0): number[] {
  return wire.sent.slice(from).map(({ bytes }) => bytes.length);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
