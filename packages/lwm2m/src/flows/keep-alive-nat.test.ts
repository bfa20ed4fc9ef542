import assert from "node:assert/strict";
import { test } from "node:test";
import { World, type NatPresetName } from "@godwit/netsim";
import { pair, type TestDevice, type TestServer } from "./kit.test.ts";
import { requestsOf, type SentRequest } from "./taps.test.ts";

/** Reads the battery every 7 minutes for some hours, and tells how many reads were answered within 5 s. */
function readsAtOnce(world: World, server: TestServer, device: TestDevice, count = 20): number {
  let answered = 0;
  for (let i = 0; i < count; i++) {
    world.run("7 minutes");
    const order = server.read(device, "/3/0/9", "1 minute");
    world.run("5 s");
    if (order.answer === "2.05 87") answered += 1;
  }
  return answered;
}

function gaps(sent: readonly SentRequest[]): readonly number[] {
  return sent.slice(1).map(({ at }, i) => (at - sent[i]!.at) / 1_000); // i is one behind
}

for (const { preset, every } of [
  { preset: "linux-home", every: 25 },
  { preset: "linux-random", every: 25 },
  { preset: "azure-5g", every: 25 },
  { preset: "cgn-block", every: 60 },
  { preset: "rfc4787", every: 240 },
  { preset: "port-overload", every: 110 },
  { preset: "no-inbound-refresh", every: 25 },
] as const) {
  test(`${preset}: a keep-alive every ${every} s keeps the device in reach at all times, at one address`, () => {
    const world = new World({ seed: 21 });
    const { server, device } = pair(world, {
      behind: world.nat(preset),
      keepAlive: every,
      lifetime: 86_400,
    });
    const address = server.addressOf(device);
    assert.equal(readsAtOnce(world, server, device), 20);
    assert.equal(server.addressOf(device), address);
    assert.equal(device.stack.ledger.addressChanges, 0);
  });
}

test("a keep-alive slower than the NAT forgets is no keep-alive: the server reaches the device only after its word", () => {
  const world = new World({ seed: 22 });
  const { server, device } = pair(world, {
    behind: world.nat("azure-5g"),
    keepAlive: 60,
    lifetime: 86_400,
  });
  assert.ok(readsAtOnce(world, server, device) < 20);
  const order = server.read(device, "/3/0/9");
  world.run("2 minutes");
  assert.equal(order.answer, "2.05 87");
});

for (const { preset, atLeast, holds } of [
  // 30 s for a new flow, 120 s for one that is older than 2 s.
  { preset: "linux-home", atLeast: 20, holds: 120 },
  { preset: "linux-random", atLeast: 20, holds: 120 },
  { preset: "azure-5g", atLeast: 20, holds: 30 },
  { preset: "cgn-block", atLeast: 40, holds: 65 },
  { preset: "rfc4787", atLeast: 200, holds: 300 },
  { preset: "port-overload", atLeast: 80, holds: 120 },
] satisfies readonly { preset: NatPresetName; atLeast: number; holds: number }[]) {
  test(`${preset}: the keep-alive learns a silence that its NAT survives, and then keeps the device in reach`, () => {
    const world = new World({ seed: 23 });
    const { server, device } = pair(world, {
      behind: world.nat(preset),
      keepAlive: "auto",
      lifetime: 86_400,
    });
    world.run("3 h");
    const learned = device.events.findLast((event) => event.type === "keepAlive");
    assert.equal(learned?.state, "settled");
    const { interval = 0 } = learned;
    assert.ok(interval < holds && interval >= atLeast, `${interval} of ${holds}`);
    const sent = requestsOf(device);
    assert.equal(readsAtOnce(world, server, device), 20);
    assert.ok(Math.min(...gaps(sent)) >= 15, String(Math.min(...gaps(sent))));
    const mean = gaps(sent).reduce((sum, gap) => sum + gap, 0) / (sent.length - 1);
    assert.ok(mean >= interval * 0.9, `${mean} of ${interval}`);
  });
}

for (const preset of ["linux-home", "linux-random"] as const) {
  test(`${preset}: after a restart the NAT gives a new flow less time than an old one, and the keep-alive finds out`, () => {
    const world = new World({ seed: 24 });
    const nat = world.nat(preset);
    const { server, device } = pair(world, { behind: nat, keepAlive: "auto", lifetime: 86_400 });
    world.run("3 h");
    nat.clear();
    world.run("1 h");
    // No push of the server helps: only what the device itself says holds the mapping.
    let open = 0;
    for (let i = 0; i < 200; i++) {
      world.run("7 s");
      if (nat.mappings.length > 0) open += 1;
    }
    assert.equal(open, 200);
    assert.equal(readsAtOnce(world, server, device, 5), 5);
  });
}

test("cellular-12s: a mapping that cannot be held open is let go, and orders wait for the next Update", () => {
  const world = new World({ seed: 25 });
  const { server, device } = pair(world, {
    behind: world.nat("cellular-12s"),
    keepAlive: "auto",
    lifetime: 3_600,
  });
  world.run("1 h");
  const learned = device.events.findLast((event) => event.type === "keepAlive");
  assert.deepEqual(learned, {
    type: "keepAlive",
    state: "inVain",
    binding: undefined,
    interval: undefined,
  });
  const sent = requestsOf(device);
  const order = server.execute(device, "open");
  world.run("2 h");
  assert.equal(order.answer, "2.04");
  assert.deepEqual(device.obeyed, ["open"]);
  assert.ok(sent.length <= 3, String(sent.length)); // lifetime Updates, and nothing else
});

test("a NAT that forgets faster than before is noticed, and the keep-alive follows", () => {
  const world = new World({ seed: 26 });
  const nat = world.nat("rfc4787");
  const { server, device } = pair(world, { behind: nat, keepAlive: "auto", lifetime: 86_400 });
  world.run("2 h");
  nat.set({ oneWay: 60_000, twoWay: 60_000 });
  world.run("2 h");
  const learned = device.events.findLast((event) => event.type === "keepAlive");
  assert.equal(learned?.state, "settled");
  assert.ok((learned.interval ?? 0) >= 30 && (learned.interval ?? 0) < 60, `${learned.interval}`);
  assert.equal(readsAtOnce(world, server, device), 20);
});
