import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "@godwit/netsim";
import { TestDevice, TestServer, pair, type Order } from "./kit.test.ts";

test("F17: a server that restarts knows its devices, where they are, and what waits for them", () => {
  const world = new World({ seed: 41 });
  const { server, device } = pair(world, {
    behind: world.nat("linux-random"),
    queueMode: true,
    lifetime: 1_800,
  });
  world.run("5 minutes");
  const before = server.registration(device);
  const order = server.execute(device, "open");
  world.run("1 s");
  server.crash("1 minute");
  world.run("2 minutes");
  const after = server.registration(device);
  assert.equal(after?.id, before?.id);
  assert.equal(after?.session, before?.session);
  assert.equal(order.state, "waiting");
  world.run("1 h");
  assert.deepEqual(device.obeyed, ["open"]);
  assert.equal(order.answer, "2.04");
  assert.equal(device.count("registered"), 1);
});

test("F17: an observation goes on after a restart of the server, without a word to the device", () => {
  const world = new World({ seed: 42 });
  const { server, device } = pair(world, { lifetime: 3_600 });
  server.observe(device, "/3303/0/5700");
  world.run("10 s");
  server.crash();
  world.run("10 s");
  const said = server.host.sent.datagrams;
  device.set("/3303/0/5700", { type: "float", value: 23.5 });
  world.run("10 s");
  assert.deepEqual(server.notifications(), ["/3303/0/5700 23.5"]);
  assert.ok(server.host.sent.datagrams - said <= 1); // an ACK at most
});

test("F17: wherever the server dies, what was acknowledged is there after it, and nothing is obeyed twice", () => {
  const writes = crashStory(undefined).server.writes;
  assert.ok(writes > 15, String(writes));
  // The first is made before anybody is there: the bounds of the numbers to come.
  for (let write = 2; write <= writes; write++) {
    for (const when of ["before", "after"] as const) {
      const where = `${when} write ${write}`;
      const { server, awake, sleeper, orders } = crashStory({ write, when });
      assert.equal(server.crashes, 1, where);
      // Who was told that it is registered never had to register again.
      for (const device of [awake, sleeper]) {
        assert.equal(device.count("registered"), 1, where);
        assert.ok(server.registration(device) !== undefined, where);
      }
      for (const { device, word, order } of orders) {
        const times = device.obeyed.filter((obeyed) => obeyed === word).length;
        assert.ok(times <= 1, `${where}: ${word} ${times} times`);
        if (!server.accepted.has(order.id)) continue; // its user was told nothing
        assert.equal(order.state, "done", `${where}: ${word}`);
        assert.equal(times, 1, `${where}: ${word}`);
      }
      assert.deepEqual(server.stack.setAside, [], where);
    }
  }
});

/** Two devices register, one sleeps; both get orders, in reach and out of it. */
function crashStory(crashAt: TestServer["crashAt"]): {
  readonly server: TestServer;
  readonly awake: TestDevice;
  readonly sleeper: TestDevice;
  readonly orders: readonly {
    readonly device: TestDevice;
    readonly word: string;
    readonly order: Order;
  }[];
} {
  const world = new World({ seed: 43 });
  const server = new TestServer(world);
  server.crashAt = crashAt;
  const nat = world.nat("linux-random");
  const orders: { device: TestDevice; word: string; order: Order }[] = [];
  const lifetime = 600;
  const awake = new TestDevice(world, server, { endpoint: "awake", behind: nat, lifetime });
  const sleeper = new TestDevice(world, server, {
    endpoint: "sleeper",
    behind: nat,
    queueMode: true,
    lifetime,
  });
  const give = (device: TestDevice, word: string): void => {
    if (!server.host.isOn) return; // nobody to order from
    orders.push({ device, word, order: server.execute(device, word) });
  };
  awake.start();
  world.run("5 s");
  give(awake, "a");
  world.run("1 s");
  sleeper.start();
  world.run("5 s");
  give(sleeper, "b");
  give(sleeper, "c");
  world.run("4 minutes");
  give(awake, "d"); // its mapping is forgotten
  give(sleeper, "e"); // it sleeps
  world.run("1 s");
  give(sleeper, "f");
  world.run("1 h");
  return { server, awake, sleeper, orders };
}

test("F21: a device that reboots with its state goes on with its registration", () => {
  const world = new World({ seed: 44 });
  const { server, device } = pair(world, { behind: world.nat("linux-random"), lifetime: 1_800 });
  const before = server.registration(device);
  world.run("5 minutes");
  const order = server.execute(device, "open");
  device.reboot({ kept: true, outage: "1 minute" });
  world.run("3 minutes");
  assert.equal(server.registration(device)?.id, before?.id);
  assert.equal(device.count("registered"), 1);
  assert.equal(order.answer, "2.04");
  assert.deepEqual(device.obeyed, ["open"]);
});

test("F21: a device that loses power as it obeys does not obey again, and says what it knows", () => {
  for (const security of [undefined, { identity: "dev01", strategy: "cid" }] as const)
    for (const cut of ["begun", "answered"] as const)
      for (const restarts of [false, true]) {
        const story = `${security?.strategy ?? "plain"}, ${cut}, ${restarts ? "server restarts" : ""}`;
        const world = new World({ seed: 48 });
        const behind = world.nat("linux-random");
        const { server, device } = pair(world, {
          behind,
          lifetime: 1_800,
          ...(security && { security }),
        });
        device.cut = cut;
        const order = server.execute(device, "open");
        world.run("20 s");
        if (restarts) server.crash();
        world.run("5 minutes");
        const unknown = "5.00 the device restarted before it answered; it may have obeyed";
        assert.equal(order.answer, cut === "begun" ? unknown : "2.04", story);
        assert.deepEqual(device.obeyed, ["open"], story);
        assert.equal(device.count("registered"), 1, story);
        device.update();
        const next = server.execute(device, "close");
        world.run("10 s");
        assert.equal(next.answer, "2.04", story);
        assert.deepEqual(device.obeyed, ["open", "close"], story);
      }
});

test("tuning.maxDeeds: the newest orders that must not be obeyed twice are known after a restart", () => {
  const world = new World({ seed: 49 });
  const { server, device } = pair(world, { lifetime: 1_800, tuning: { maxDeeds: 3 } });
  for (const word of ["a", "b", "c", "d", "e"]) {
    server.execute(device, word);
    world.run("1 s");
  }
  assert.equal(device.stack.snapshot().deeds?.length, 3);
});

test("F21: a device that reboots without its state registers anew in place of the old one, and is observed again", () => {
  for (const behind of ["linux-home", "linux-random"] as const) {
    const world = new World({ seed: 45 });
    const { server, device } = pair(world, { behind: world.nat(behind), lifetime: 1_800 });
    server.observe(device, "/3303/0/5700");
    world.run("5 minutes");
    const before = server.registration(device);
    const order = server.execute(device, "open");
    device.reboot({ kept: false, outage: "1 minute" });
    world.run("3 minutes");
    assert.equal(server.stack.server.registrationCount, 1);
    assert.notEqual(server.registration(device)?.id, before?.id);
    assert.equal(order.answer, "2.04");
    assert.deepEqual(device.obeyed, ["open"]);
    device.update();
    world.run("1 s");
    device.set("/3303/0/5700", { type: "float", value: 23.5 });
    world.run("10 s");
    assert.deepEqual(server.notifications(), ["/3303/0/5700 23.5"], behind);
  }
});

test("F21: a device that was observed and reboots with its state registers anew, for observations do not outlive it", () => {
  const world = new World({ seed: 46 });
  const { server, device } = pair(world, { lifetime: 1_800 });
  server.observe(device, "/3303/0/5700");
  world.run("1 minute");
  device.reboot({ kept: true, outage: "10 s" });
  world.run("1 minute");
  assert.equal(device.count("registered"), 2);
  device.set("/3303/0/5700", { type: "float", value: 24.5 });
  world.run("10 s");
  assert.deepEqual(server.notifications(), ["/3303/0/5700 24.5"]);
});

test("a registration that an administrator removed comes back with the next Update, as a new one", () => {
  const world = new World({ seed: 47 });
  const { server, device } = pair(world, { lifetime: 300 });
  server.remove(device);
  world.run("1 s");
  assert.equal(server.registration(device), undefined);
  world.run("5 minutes");
  assert.equal(device.count("registered"), 2);
  assert.ok(server.registration(device) !== undefined);
});
