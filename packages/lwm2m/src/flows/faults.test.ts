import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "@godwit/netsim";
import { TestDevice, TestServer, pair } from "./kit.test.ts";

for (const loss of [0.01, 0.05, 0.1, 0.2, 0.3, 0.5]) {
  test(`F9: with ${loss * 100} % loss each way Updates succeed as often as five transmissions allow, and orders are obeyed once`, () => {
    const world = new World({ seed: 31 });
    const { server, device } = pair(world, { link: { loss }, lifetime: 86_400 });
    world.runUntil(() => device.count("registered") === 1, "1 h");
    const words: string[] = [];
    const count = 150;
    for (let i = 0; i < count; i++) {
      device.update();
      if (i % 5 === 0) {
        words.push(`n${i}`);
        server.execute(device, `n${i}`);
      }
      world.run("200 s");
    }
    // What was lost is sent again by itself; one that was lost five times is not.
    const lost = device.count("unreachable");
    const expected = count * (1 - (1 - loss) ** 2) ** 5;
    const spread = Math.sqrt(expected) * 3 + 2;
    assert.ok(lost <= expected + spread, `${lost} lost, ${expected.toFixed(1)} expected`);
    device.host.link.set({ loss: 0 });
    device.update();
    world.run("1 h");
    assert.deepEqual(device.obeyed, words);
    assert.equal(device.count("registered"), 1);
  });
}

test("F10, F11: datagrams that overtake each other and arrive twice change nothing: orders are obeyed once, in order", () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const world = new World({ seed });
    const { server, device } = pair(world, {
      link: {
        jitter: 200,
        reorder: { probability: 0.3, delay: 2_000, jitter: 5_000 },
        duplicate: 0.5,
        duplicateDelay: 60_000,
      },
      lifetime: 600,
    });
    world.run("1 minute");
    const words = Array.from({ length: 40 }, (_, i) => `n${i}`);
    const orders = words.map((word) => {
      world.run("20 s");
      return server.execute(device, word);
    });
    world.run("1 h");
    assert.deepEqual(device.obeyed, words, `seed ${seed}`);
    assert.ok(
      orders.every(({ id }) => server.ended.get(id) === "done"),
      `seed ${seed}`,
    );
    assert.equal(device.count("registered"), 1);
    assert.ok(world.counts.duplicated > 50);
  }
});

test("a lifetime that ends takes the registration, not what waits for the device", () => {
  const world = new World({ seed: 33 });
  const { server, device } = pair(world, { lifetime: 300 });
  device.host.off();
  world.run("100 s");
  const order = server.execute(device, "open");
  world.run("185 s");
  assert.ok(server.registration(device) !== undefined);
  world.run("20 s");
  assert.equal(server.registration(device), undefined);
  assert.deepEqual(
    server.events.flatMap((event) => (event.type === "deregistered" ? [event.why] : [])),
    ["expired"],
  );
  assert.equal(order.state, "waiting");
  device.host.on();
  world.run("5 minutes");
  assert.equal(order.answer, "2.04");
  assert.deepEqual(device.obeyed, ["open"]);
});

test("an order that outlives its time expires, and is not obeyed when the device comes back", () => {
  const world = new World({ seed: 34 });
  const { server, device } = pair(world, { queueMode: true, lifetime: 7_200 });
  world.run("10 minutes");
  const order = server.execute(device, "open", "10 minutes");
  world.run("11 minutes");
  assert.equal(order.state, "expired");
  device.update();
  world.run("10 minutes");
  assert.deepEqual(device.obeyed, []);
});

test("a device that takes leave is gone, and its orders wait for its return", () => {
  const world = new World({ seed: 35 });
  const { server, device } = pair(world);
  device.deregister();
  world.run("10 s");
  assert.equal(server.registration(device), undefined);
  const order = server.execute(device, "open");
  world.run("12 h");
  assert.deepEqual(device.obeyed, []);
  device.start();
  world.run("10 s");
  assert.equal(order.answer, "2.04");
  assert.deepEqual(device.obeyed, ["open"]);
});

test("an order that was sent to a device in reach is not sent again to one that has forgotten everything: it may have obeyed", () => {
  const world = new World({ seed: 37 });
  const { server, device } = pair(world, { lifetime: 300 });
  device.host.link.down.set({ cut: true });
  const order = server.execute(device, "restart");
  const read = server.read(device, "/3/0/9");
  device.reboot({ kept: false, outage: "1 minute" });
  world.run("30 s");
  device.host.link.down.set({ cut: false });
  world.run("5 minutes");
  assert.deepEqual(device.obeyed, []);
  assert.equal(order.state, "failed");
  assert.equal(read.answer, "2.05 87");
});

test("F15: after a black-out of an hour a fleet of 300 comes back by itself, not all at once", () => {
  const world = new World({ seed: 36 });
  const nat = world.nat("rfc4787");
  const server = new TestServer(world);
  const devices = Array.from({ length: 300 }, (_, i) => {
    const device = new TestDevice(world, server, {
      endpoint: `device-${i}`,
      behind: nat,
      lifetime: 600,
    });
    world.after(i * 100, () => device.start());
    return device;
  });
  world.run("30 minutes");
  server.host.link.set({ cut: true });
  world.run("1 h");
  assert.equal(server.stack.server.registrationCount, 0);
  server.host.link.set({ cut: false });
  const perSecond = new Map<number, number>();
  server.host.link.down.watch(({ at }) => {
    const second = Math.floor(at / 1_000);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  });
  const start = world.now;
  assert.ok(world.runUntil(() => server.stack.server.registrationCount === 300, "1 h"));
  const back = (world.now - start) / 1_000;
  assert.ok(back < 1_260, `${back} s`); // the longest pause of a device that found nobody: 15 minutes and a quarter, and a try
  const peak = Math.max(...perSecond.values());
  assert.ok(peak <= 30, `${peak} datagrams in one second`);
  const orders = devices.map((device) => server.read(device, "/3/0/9"));
  world.run("10 minutes");
  assert.ok(orders.every(({ answer }) => answer === "2.05 87"));
});
