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
  at: 1,
  ...more,
});

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
  refusals.add(refused());
  refusals.add(refused({ reason: "unknownIdentity", identity: "psk:nobody", at: 2 }));
  refusals.add(refused({ address: "192.0.2.1:40001", at: 3 })); // the same source
  const [first, second, ...more] = refusals.list(10);
  assert.deepEqual(more, []);
  assert.deepEqual(
    [first?.count, first?.firstAt, first?.lastAt, first?.address],
    [2, 1, 3, "192.0.2.1:40001"],
  );
  assert.equal(second?.reason, "unknownIdentity");
  assert.deepEqual(refusals.counts, { wrongKey: 2, unknownIdentity: 1 });
  assert.equal(refusals.list(10, { reason: "wrongKey" }).length, 1);
  assert.equal(refusals.list(10, { endpoint: "other" }).length, 0);
  assert.equal(refusals.list(1).length, 1);
});

test("limits: one source has 50 entries of 1 000, whatever names it makes up, and long text is cut", () => {
  const refusals = new Refusals();
  refusals.add(refused({ address: "192.0.2.9:1" }));
  for (let i = 0; i < 5_000; i++) refusals.add(refused({ identity: `psk:${i}` }));
  assert.equal(refusals.list(10_000).length, 51);
  assert.equal(refusals.list(10_000).at(-1)?.address, "192.0.2.9:1");
  for (let i = 0; i < 5_000; i++) refusals.add(refused({ address: `10.1.${i >> 8}.${i & 255}:1` }));
  assert.equal(refusals.list(10_000).length, 1_000);
  const { identity } = refusals.add(refused({ identity: "x".repeat(8_000) }));
  assert.equal(identity?.length, 257);
});
