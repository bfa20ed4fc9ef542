import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusals, sourceOf, type Refused } from "./refusals.ts";

const refused = (more: Partial<Refused> = {}): Refused => ({
  stage: "handshake",
  reason: "wrongKey",
  code: undefined,
  endpoint: "dev",
  identity: "psk:dev",
  address: "192.0.2.1:40000",
  rule: "wrong key",
  ...more,
});

/** Each at a time of its own, so that it is looked at; `at` for one that comes with others. */
function note(refusals: Refusals, more: Partial<Refused> = {}, at = (clock += 1_000)) {
  const one = refused(more);
  const host = one.address.replace(/:\d+$/, "").replaceAll(/[[\]]/g, "");
  return refusals.note({ stage: one.stage, reason: one.reason, host, at }, () => one);
}
let clock = 0;

for (const [address, source] of [
  ["192.0.2.1:40000", "192.0.2.1"],
  ["192.0.2.1", "192.0.2.1"],
  ["[2001:db8:0:1::7]:5684", "2001:db8:0:1::/64"],
  ["[2001:db8:0:1:ffff:0:0:1]:5684", "2001:db8:0:1::/64"],
  ["2001:db8::7", "2001:db8:0:0::/64"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
] as const) {
  test(`the source of ${address} is ${source}`, () => assert.equal(sourceOf(address), source));
}

test("refusals that are alike are one entry with a count, the latest first", () => {
  const refusals = new Refusals();
  note(refusals, {}, 1_000);
  note(refusals, { reason: "unknownIdentity", identity: "psk:nobody" }, 2_000);
  note(refusals, { address: "192.0.2.1:40001" }, 3_000); // the same source
  const [first, second, ...more] = refusals.list(10);
  assert.deepEqual(more, []);
  assert.deepEqual(
    [first?.count, first?.firstAt, first?.lastAt, first?.address],
    [2, 1_000, 3_000, "192.0.2.1:40001"],
  );
  assert.equal(second?.reason, "unknownIdentity");
  assert.deepEqual(refusals.counts, [
    { stage: "handshake", reason: "wrongKey", times: 2 },
    { stage: "handshake", reason: "unknownIdentity", times: 1 },
  ]);
  assert.equal(refusals.list(10, { reason: "wrongKey" }).length, 1);
  assert.equal(refusals.list(10, { endpoint: "other" }).length, 0);
  assert.equal(refusals.list(1).length, 1);
});

test("limits: one source has 50 entries of 1 000, whatever names it makes up, and long text is cut", () => {
  const refusals = new Refusals();
  note(refusals, { address: "192.0.2.9:1" });
  for (let i = 0; i < 5_000; i++) note(refusals, { identity: `psk:${i}` });
  assert.equal(refusals.list(10_000).length, 51);
  assert.equal(refusals.list(10_000).at(-1)?.address, "192.0.2.9:1");
  for (let i = 0; i < 5_000; i++) note(refusals, { address: `10.1.${i >> 8}.${i & 255}:1` });
  assert.equal(refusals.list(10_000).length, 1_000);
  const noted = note(refusals, { identity: "x".repeat(8_000) });
  assert.equal(noted?.identity?.length, 257);
});

test("in a flood from one host all are counted and 50 a second are looked at; who else is refused is seen", () => {
  const refusals = new Refusals();
  const looked = Array.from({ length: 10_000 }, () => note(refusals, {}, 5_000)).filter(Boolean);
  assert.equal(looked.length, 50);
  const other = note(refusals, { endpoint: "honest", address: "192.0.2.2:1" }, 5_999);
  assert.equal(other?.endpoint, "honest");
  assert.equal(note(refusals, {}, 5_999), undefined);
  assert.ok(note(refusals, {}, 6_000), "another second");
  assert.deepEqual(refusals.counts, [{ stage: "handshake", reason: "wrongKey", times: 10_003 }]);
});

test("four loud hosts, and a /64 of IPv6 with many addresses, leave room for others all through a second", () => {
  const refusals = new Refusals();
  for (let n = 0; n < 10_000; n++) {
    note(refusals, { address: `203.0.113.${n % 4}:40000` }, 5_000);
    note(refusals, { address: `[2001:db8::${n.toString(16)}]:40000` }, 5_000);
  }
  const others = Array.from({ length: 50 }, (_, n) => ({ address: `192.0.2.${n}:1` }));
  for (const other of others) assert.ok(note(refusals, other, 5_900), other.address);
});

test("in a flood from everywhere 200 a second are looked at, and a clock that is set back stops nothing", () => {
  const refusals = new Refusals();
  const from = (i: number) => ({ address: `10.1.${i >> 8}.${i & 255}:1` });
  const looked = Array.from({ length: 10_000 }, (_, i) => note(refusals, from(i), 50_000));
  assert.equal(looked.filter(Boolean).length, 200);
  assert.equal(refusals.list(1_000).length, 200);
  assert.ok(note(refusals, {}, 40_000));
});
