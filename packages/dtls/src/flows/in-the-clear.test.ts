import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { concat, hex } from "@godwit/base";
import { Alert, ContentType, HandshakeType } from "../codes.ts";
import { readFragments, wholeMessage } from "../handshake/header.ts";
import { signingKey } from "../key-material.ts";
import { plainRecord, readRecord } from "../record/header.ts";
import { exchange } from "./exchange.ts";
import { SERVER, Wire } from "./wire.ts";

const EMPTY = new Uint8Array(0);
const file = new URL("../../src/vectors/certificates.json", import.meta.url);
const { keys } = JSON.parse(readFileSync(file, "utf8")) as { keys: Record<string, string> };
const rpk = (name: string) => ({ kind: "rpk", key: signingKey(hex(keys[name] ?? "")) }) as const;

/** ms after the first hello until both sides have their association; a round trip takes 20. */
function opensAfter(options: {
  /** Somebody says this to both sides while datagram `moment` is under way. */
  readonly said: Uint8Array;
  readonly moment: number;
  /** This datagram is lost. */
  readonly lost?: number;
  readonly resume?: boolean;
}): number {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY });
  if (options.resume === true) wire.connect(client);
  const began = wire.now;
  let opened = Infinity;
  let n = 0;
  wire.carry = () => {
    if (n === options.moment) {
      wire.later(5, () => {
        wire.inject(options.said, client.address);
        const path = { local: client.address, remote: SERVER };
        wire.tell(client, { type: "datagram", path, bytes: options.said });
      });
    }
    return n++ === options.lost ? [] : [10];
  };
  const path = { local: client.address, remote: SERVER };
  const before = client.of("opened").length;
  wire.tell(client, { type: "connect", session: 1, path, how: options.resume ? "resume" : "full" });
  for (let passed = 0; passed < 20_000 && opened === Infinity; passed += 10) {
    wire.run(10);
    const both = Math.min(client.of("opened").length, wire.server.of("opened").length);
    if (both > before) opened = wire.now - began;
  }
  assert.equal(client.of("failed").length + wire.server.of("failed").length, 0);
  wire.carry = () => [10];
  exchange(wire, client);
  return opened;
}

test("RFC 5246 7.4.1.1: a client in a handshake ignores HelloRequest, whatever its message_seq", () => {
  const sample = hex("16fefd0000000000000005000c000000000000000000000000");
  assert.ok(opensAfter({ said: sample, moment: 0 }) < 100);
  for (let seq = 0; seq <= 12; seq++) {
    const said = plainRecord(ContentType.handshake, 5, wholeMessage(0, seq, EMPTY));
    for (let moment = 0; moment < 6; moment++) {
      const label = `message_seq ${seq} at ${moment}`;
      assert.ok(opensAfter({ said, moment }) <= 1_100, label);
      assert.ok(opensAfter({ said, moment, resume: true }) <= 1_100, label);
    }
  }
});

/** Records in the clear that belong nowhere in a handshake, or not there. */
function oddities(): [string, Uint8Array][] {
  const odd: [string, Uint8Array][] = [
    ["close_notify", plainRecord(ContentType.alert, 5, Uint8Array.of(1, 0))],
    ["fatal alert", plainRecord(ContentType.alert, 5, Uint8Array.of(2, 40))],
    ["ChangeCipherSpec", plainRecord(ContentType.changeCipherSpec, 5, Uint8Array.of(1))],
    [
      "ChangeCipherSpec of two bytes",
      plainRecord(ContentType.changeCipherSpec, 5, Uint8Array.of(1, 1)),
    ],
    ["application data", plainRecord(ContentType.applicationData, 5, Uint8Array.of(1))],
    ["an empty handshake record", plainRecord(ContentType.handshake, 5, EMPTY)],
  ];
  for (const [name, type] of [...Object.entries(HandshakeType), ["unknown", 99] as const]) {
    for (let seq = 0; seq <= 6; seq++) {
      for (const length of [0, 40, 1_000]) {
        if (plausible(type, length)) continue;
        const body = new Uint8Array(length).fill(0xee);
        const message = wholeMessage(type, seq, body);
        odd.push([`${name} ${seq} of ${length}`, plainRecord(ContentType.handshake, 5, message)]);
      }
    }
  }
  return odd;
}

/** ServerHelloDone is empty: nobody can tell a forged one. */
function plausible(type: number, length: number): boolean {
  return type === HandshakeType.serverHelloDone && length === 0;
}

test("a record in the clear that belongs to no step costs a handshake no more than a lost datagram, both sides", () => {
  for (const [name, said] of oddities()) {
    for (let moment = 0; moment < 6; moment++) {
      const label = `${name} at ${moment}`;
      assert.ok(opensAfter({ said, moment }) <= 1_100, label);
      if (moment % 2 === 0) assert.ok(opensAfter({ said, moment, resume: true }) <= 1_100, label);
    }
  }
});

test("a spoofed alert or message and a lost datagram together cost no more than two lost ones", () => {
  const some = oddities().filter((_, i) => i < 6 || i % 17 === 0);
  for (const [name, said] of some) {
    for (let moment = 0; moment < 6; moment++) {
      for (const lost of [moment, moment + 1]) {
        assert.ok(
          opensAfter({ said, moment, lost }) <= 3_200,
          `${name} at ${moment}, ${lost} lost`,
        );
      }
    }
  }
});

test("junk ahead of its turn fills what a handshake keeps, and gives way to what is to come", () => {
  for (let moment = 0; moment < 6; moment++) {
    const junk = Array.from({ length: 10 }, (_, i) =>
      plainRecord(ContentType.handshake, 50 + i, wholeMessage(11, 2 + i, new Uint8Array(6_000))),
    );
    assert.ok(opensAfter({ said: concat(...junk), moment }) <= 1_100, `at ${moment}`);
  }
});

type Piece = { readonly type: number; readonly bytes: Uint8Array };

/** A handshake by raw public keys in which one side's first flight after the hello is altered by `alter`. */
function altered(
  side: "client" | "server",
  alter: (messages: readonly Piece[]) => readonly Piece[],
): { readonly wire: Wire; readonly opened: number; readonly alerts: readonly number[] } {
  const tuning = { mtus: [1_232] } as const; // each flight in one datagram
  const wire = new Wire({
    server: {
      credentials: { psk: false, certificates: [rpk("rawServer")], clientCertificates: ["rpk"] },
      tuning,
    },
  });
  const client = wire.client({
    tuning,
    credentials: {
      kind: "certificate",
      certificate: rpk("rawDevice"),
      serverCertificates: ["rpk"],
    },
  });
  let sequence = 100;
  wire.carry = ({ from, bytes }) => {
    if (from !== side) return [10];
    const sealed: Uint8Array[] = [];
    const pieces: Piece[] = [];
    let first = 0;
    for (let at = 0; at < bytes.length;) {
      const record = readRecord(bytes, at, 0);
      const whole = bytes.subarray(at, at + record.size);
      at += record.size;
      if (record.epoch > 0) sealed.push(whole);
      else if (record.type === ContentType.changeCipherSpec)
        pieces.push({ type: CCS, bytes: whole });
      else if (record.type === ContentType.handshake) {
        for (const { type, body, messageSeq } of readFragments(record.fragment)) {
          if (pieces.length === 0) first = messageSeq;
          pieces.push({ type, bytes: body });
        }
      } else return [10];
    }
    if (pieces.length < 3) return [10]; // hellos
    let seq = first;
    const records = alter(pieces).map(({ type, bytes: body }) =>
      type === CCS
        ? body
        : plainRecord(ContentType.handshake, sequence++, wholeMessage(type, seq++, body)),
    );
    const datagram = concat(...records, ...sealed);
    wire.later(10, () => {
      if (side === "client") wire.inject(datagram, client.address);
      else {
        const path = { local: client.address, remote: SERVER };
        wire.tell(client, { type: "datagram", path, bytes: datagram });
      }
    });
    return [];
  };
  wire.connect(client);
  wire.run(400_000);
  const other = side === "client" ? wire.server : client;
  const alerts = wire.sent
    .filter(({ from, bytes }) => from !== side && bytes[0] === ContentType.alert)
    .map(({ bytes }) => bytes[14]!); // level and description
  return { wire, opened: other.of("opened").length, alerts };
}

for (const side of ["client", "server"] as const) {
  test(`RFC 5246 7.3: the ${side}'s messages in any other order than the right one open nothing and are told`, () => {
    assert.equal(altered(side, (messages) => messages).opened, 1, "unaltered");
    const orders = permutations(side === "client" ? 3 : 5);
    for (const order of orders.slice(1)) {
      const label = order.join();
      const { opened, alerts } = altered(side, (messages) => [
        ...order.map((i) => messages[i]!), // one for each of them
        ...messages.slice(order.length),
      ]);
      assert.equal(opened, 0, label);
      assert.equal(alerts[0], Alert.unexpectedMessage, label);
    }
  });

  test(`RFC 5246 7.3: of the ${side}'s messages each is needed once`, () => {
    const count = side === "client" ? 3 : 5;
    for (let i = 0; i < count; i++) {
      const left = altered(side, (messages) => messages.filter((_, at) => at !== i));
      assert.equal(left.opened, 0, `without ${i}`);
      if (i === count - 1) continue; // its copy has the number of the sealed Finished, which goes before it
      const twice = altered(side, (messages) =>
        messages.flatMap((m, at) => (at === i ? [m, m] : [m])),
      );
      assert.equal(twice.opened, 0, `twice ${i}`);
      assert.equal(twice.alerts[0], Alert.unexpectedMessage, `twice ${i}`);
    }
  });
}

test("RFC 5246 7.1: Finished without ChangeCipherSpec is not taken, at the server, at the client and in a resumption", () => {
  const { opened, wire } = altered("client", (messages) =>
    messages.filter(({ type }) => type !== CCS),
  );
  assert.equal(opened, 0);
  assert.deepEqual(
    wire.server.of("failed").map((f) => f.why),
    ["no ChangeCipherSpec before Finished"],
  );
  for (const how of ["full", "resume"] as const) {
    const world = new Wire();
    const client = world.client();
    if (how === "resume") world.connect(client);
    const before = client.of("opened").length;
    world.carry = ({ from, bytes }) => {
      if (from === "client") return [10];
      const kept = recordsOf(bytes).filter((record) => record[0] !== ContentType.changeCipherSpec);
      world.later(10, () => {
        const path = { local: client.address, remote: SERVER };
        world.tell(client, { type: "datagram", path, bytes: concat(...kept) });
      });
      return [];
    };
    world.connect(client, how);
    world.run(400_000);
    assert.equal(client.of("opened").length, before, how);
    assert.equal(client.of("failed").at(-1)?.why, "no ChangeCipherSpec before Finished", how);
  }
});

test("RFC 6347 4.2.4: a ChangeCipherSpec that comes after its Finished, or that is lost once, only takes its time", () => {
  for (const late of [[300], []]) {
    const wire = new Wire();
    const client = wire.client();
    let lost = false;
    wire.carry = ({ bytes }) => {
      const records = recordsOf(bytes);
      if (lost || !records.some((record) => record[0] === ContentType.changeCipherSpec))
        return [10];
      lost = true;
      const apart = records.filter((record) => record[0] !== ContentType.changeCipherSpec);
      wire.later(10, () => wire.inject(concat(...apart), client.address));
      for (const delay of late)
        wire.later(delay, () => wire.inject(concat(...records), client.address));
      return [];
    };
    wire.connect(client);
    assert.equal(client.of("opened").length, 1);
    exchange(wire, client);
  }
});

function recordsOf(bytes: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const { size } = readRecord(bytes, at, 4);
    records.push(bytes.subarray(at, at + size));
    at += size;
  }
  return records;
}

/** All orders of 0 to n - 1, the rising one first. */
function permutations(n: number): number[][] {
  if (n === 0) return [[]];
  return permutations(n - 1).flatMap((rest) =>
    Array.from({ length: n }, (_, at) => rest.toSpliced(n - 1 - at, 0, n - 1)),
  );
}

/** No handshake message has this type. */
const CCS = 256;
