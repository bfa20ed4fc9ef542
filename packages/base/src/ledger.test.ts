import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger, type Direction, type Purpose } from "./ledger.ts";

const PURPOSES: readonly Purpose[] = [
  "handshake",
  "record",
  "header",
  "payload",
  "retransmission",
  "keepAlive",
];
const DIRECTIONS: readonly Direction[] = ["in", "out"];

/** A different figure under each heading. */
function full(): Ledger {
  const ledger = new Ledger();
  let n = 1;
  for (const direction of DIRECTIONS)
    for (const purpose of PURPOSES) ledger.add(direction, purpose, (n *= 2));
  for (let i = 0; i < 3; i++) ledger.datagram("in");
  ledger.datagram("out");
  ledger.fullHandshakes = 5;
  ledger.resumedHandshakes += 7;
  ledger.addressChanges += 1;
  ledger.addressChanges += 1;
  ledger.drop("busy");
  ledger.drop("busy");
  ledger.drop("strayAck");
  return ledger;
}

test("each direction and purpose is counted by itself", () => {
  const ledger = full();
  let n = 1;
  for (const direction of DIRECTIONS)
    for (const purpose of PURPOSES) assert.equal(ledger.bytes(direction, purpose), (n *= 2));
  assert.deepEqual([ledger.total("in"), ledger.total("out")], [126, 126 * 64]);
});

test("a new ledger is empty under every heading", () => {
  const none = { handshake: 0, record: 0, header: 0, payload: 0, retransmission: 0, keepAlive: 0 };
  assert.deepEqual(new Ledger().snapshot(), {
    in: { datagrams: 0, total: 0, bytes: none },
    out: { datagrams: 0, total: 0, bytes: none },
    handshakes: { full: 0, resumed: 0 },
    addressChanges: 0,
    drops: {},
  });
});

test("absorbing a ledger adds all its figures, and an empty one changes nothing", () => {
  const ledger = full();
  const before = ledger.snapshot();
  ledger.absorb(new Ledger());
  assert.deepEqual(ledger.snapshot(), before);
  const other = new Ledger();
  other.absorb(ledger);
  assert.deepEqual(other.snapshot(), before);
  other.absorb(ledger);
  assert.equal(other.total("out"), 2 * before.out.total);
  assert.deepEqual(other.snapshot().drops, { busy: 4, strayAck: 2 });
  assert.deepEqual(other.snapshot().handshakes, { full: 10, resumed: 14 });
  assert.equal(other.addressChanges, 4);
});

test("what went inside a ledger's datagrams adds its bytes and counts, and no datagrams", () => {
  const carrier = full();
  const { datagramsIn, datagramsOut } = carrier;
  const inner = full();
  inner.drop("replayed");
  carrier.absorbInner(inner);
  const both = full();
  both.absorb(inner);
  assert.deepEqual([carrier.datagramsIn, carrier.datagramsOut], [datagramsIn, datagramsOut]);
  assert.ok(datagramsIn > 0 && datagramsOut > 0);
  carrier.datagramsIn *= 2;
  carrier.datagramsOut *= 2;
  assert.deepEqual(carrier.snapshot(), both.snapshot());
});
