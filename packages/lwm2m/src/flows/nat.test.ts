import assert from "node:assert/strict";
import { test } from "node:test";
import { ACK, Code } from "@godwit/coap";
import { World } from "@godwit/netsim";
import { TestDevice, TestServer, pair } from "./kit.test.ts";
import { lose } from "./taps.test.ts";

for (const preset of ["linux-home", "linux-random", "azure-5g", "cgn-block"] as const) {
  test(`${preset}: an order that meets a forgotten mapping waits, and is obeyed exactly once after the next Update`, () => {
    const world = new World({ seed: 7 });
    const nat = world.nat(preset);
    const { server, device } = pair(world, { behind: nat, lifetime: 1_800 });
    world.run("10 minutes");
    assert.equal(nat.mappings.length, 0);
    const order = server.execute(device, "open");
    const read = server.read(device, "/3/0/9");
    world.run("5 minutes");
    assert.deepEqual(device.obeyed, []);
    assert.equal(order.state, "waiting");
    assert.equal(server.registration(device)?.reachability, "unreachable");
    world.run("15 minutes");
    assert.deepEqual(device.obeyed, ["open"]);
    assert.equal(order.answer, "2.04");
    assert.equal(read.answer, "2.05 87");
    world.run("2 h");
    assert.deepEqual(device.obeyed, ["open"]);
    assert.equal(device.count("registered"), 1);
  });
}

test("linux-random: the session follows its device to a new port; linux-home: the same port comes back and nothing moves", () => {
  for (const [preset, moves] of [
    ["linux-random", true],
    ["linux-home", false],
  ] as const) {
    const world = new World({ seed: 3 });
    const nat = world.nat(preset);
    const { server, device } = pair(world, { behind: nat, lifetime: 600 });
    const before = server.addressOf(device);
    const session = server.registration(device)?.session;
    world.run("10 minutes");
    assert.equal(server.addressOf(device) !== before, moves, preset);
    assert.equal(server.registration(device)?.session, session);
    const updated = server.events.filter((event) => event.type === "updated");
    assert.ok(updated.length > 0 && updated.every((event) => event.moved === moves), preset);
  }
});

test("a NAT that is renumbered or restarted costs nothing but the wait for the next Update", () => {
  for (const happens of ["renumber", "clear"] as const) {
    const world = new World({ seed: 5 });
    const nat = world.nat("rfc4787", { ports: "random" });
    const { server, device } = pair(world, { behind: nat, lifetime: 200 });
    nat[happens]();
    const order = server.execute(device, "open");
    world.run("4 minutes");
    assert.equal(order.answer, "2.04", happens);
    assert.deepEqual(device.obeyed, ["open"]);
    assert.equal(device.count("registered"), 1);
    assert.equal(server.addressOf(device)?.startsWith(nat.address), true);
  }
});

test("an order longer than three times an Update reaches a device that moved, after the RST to a ping", () => {
  const world = new World({ seed: 12 });
  const nat = world.nat("linux-random");
  const { server, device } = pair(world, { behind: nat, lifetime: 86_400 });
  world.run("10 minutes");
  const order = server.write(device, "/3/0/14", "+01:00 ".repeat(30));
  world.run("2 minutes");
  assert.equal(order.state, "waiting");
  device.update();
  world.run("2 s");
  assert.equal(order.answer, "2.04");
});

test("queue mode: orders wait while the device sleeps, and are obeyed in order in its awake window", () => {
  const world = new World({ seed: 2 });
  const { server, device } = pair(world, {
    behind: world.nat("linux-random"),
    queueMode: true,
    lifetime: 3_600,
  });
  world.run("10 minutes");
  assert.ok(device.asleep);
  assert.equal(server.registration(device)?.reachability, "asleep");
  const heard = server.host.sent.datagrams;
  const orders = ["a", "b", "c"].map((word) => server.execute(device, word));
  world.run("10 minutes");
  assert.equal(server.host.sent.datagrams, heard); // not one byte towards a sleeper
  assert.deepEqual(
    orders.map(({ state }) => state),
    ["waiting", "waiting", "waiting"],
  );
  world.run("1 h");
  assert.deepEqual(device.obeyed, ["a", "b", "c"]);
  assert.deepEqual(
    orders.map(({ answer }) => answer),
    ["2.04", "2.04", "2.04"],
  );
  device.update();
  world.run("30 s");
  const late = server.execute(device, "d"); // it still listens
  world.run("1 s");
  assert.equal(late.answer, "2.04");
});

test("F3: a NAT that restarts between an Execute and its answer leads to one execution, and the answer is known", () => {
  for (const preset of ["linux-home", "linux-random"] as const) {
    const world = new World({ seed: 9 });
    const nat = world.nat(preset);
    const { server, device } = pair(world, { behind: nat, lifetime: 240 });
    const lost = lose(device.host.link.up, ({ type }) => type === ACK, 1);
    const order = server.execute(device, "open");
    world.runUntil(() => lost.dropped() === 1, "5 s");
    nat.clear();
    assert.deepEqual(device.obeyed, ["open"]);
    assert.equal(order.state, "sent");
    world.run("10 minutes");
    assert.deepEqual(device.obeyed, ["open"], preset);
    assert.equal(order.answer, "2.04", preset);
  }
});

test("F3: a NAT that restarts between a Register or Update and its answer leads to one registration", () => {
  for (const code of [Code.Created, Code.Changed]) {
    const world = new World({ seed: 11 });
    const nat = world.nat("linux-random");
    const server = new TestServer(world);
    const device = new TestDevice(world, server, { behind: nat, lifetime: 240 });
    const lost = lose(device.host.link.down, (message) => message.code === code, 1);
    device.start();
    world.runUntil(() => lost.dropped() === 1, "5 minutes");
    nat.clear();
    world.run("10 minutes");
    const { stack } = server;
    assert.equal(stack.server.registrationCount, 1);
    assert.ok(device.stack.client.location !== undefined);
    const order = server.execute(device, "open");
    world.run("10 minutes");
    assert.equal(order.answer, "2.04");
    assert.equal(device.count("registered"), 1);
  }
});

test("F6: an old address that another device has now: orders go to whom they are for, and both stay registered", () => {
  const world = new World({ seed: 4 });
  // One public port: whoever speaks has it, and the one before has lost it.
  const nat = world.nat("port-overload", {
    oneWay: 30_000,
    twoWay: 30_000,
    portRange: [56_830, 56_830],
  });
  const server = new TestServer(world);
  const [first, second] = ["first", "second"].map((endpoint) => {
    const device = new TestDevice(world, server, { endpoint, behind: nat, lifetime: 1_200 });
    device.start();
    world.run("1 minute");
    return device;
  });
  assert.ok(first && second);
  assert.equal(server.stack.server.registrationCount, 2);
  const forFirst = server.execute(first, "for-first");
  world.run("1 minute");
  assert.deepEqual(second.obeyed, []); // it stands where the first one stood
  const forSecond = server.execute(second, "for-second");
  world.run("1 h");
  assert.deepEqual([first.obeyed, second.obeyed], [["for-first"], ["for-second"]]);
  assert.deepEqual([forFirst.answer, forSecond.answer], ["2.04", "2.04"]);
  assert.deepEqual([first.count("registered"), second.count("registered")], [1, 1]);
});

test("F8: a carrier NAT without a free port keeps its devices waiting without a storm, and all come back", () => {
  const world = new World({ seed: 8 });
  const nat = world.nat("cgn-block", { maxEntries: 2 });
  const server = new TestServer(world);
  const devices = Array.from({ length: 6 }, (_, i) => {
    const device = new TestDevice(world, server, {
      endpoint: `device-${i}`,
      behind: nat,
      lifetime: 900,
    });
    device.start();
    return device;
  });
  world.run("20 minutes");
  // RFC 7252 4.2: five transmissions of each attempt, and attempts ever further apart.
  const sent = devices.map(({ host }) => host.sent.datagrams);
  assert.ok(Math.max(...sent) <= 25, sent.join(" "));
  nat.set({ maxEntries: 100 });
  world.run("1 h");
  for (const device of devices) assert.ok(server.registration(device) !== undefined);
});

test("the first datagram of a strange address changes nothing for the device that is registered", () => {
  const world = new World({ seed: 6 });
  const { server, device } = pair(world, { behind: world.nat("linux-home"), lifetime: 600 });
  const before = server.addressOf(device);
  const forger = world.host("forger");
  forger.inject({
    from: { host: forger.address, port: 5_000 },
    to: server.address,
    // POST /rd/aaaaaaaa, a Location that nobody has.
    bytes: Uint8Array.from([
      0x40,
      0x02,
      0,
      1,
      0xb2,
      0x72,
      0x64,
      0x08,
      ...Array<number>(8).fill(0x61),
    ]),
  });
  world.run("10 s");
  assert.equal(server.addressOf(device), before);
  assert.equal(server.stack.server.registrationCount, 1);
});
