import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "@godwit/netsim";
import { KEY, TestDevice, TestServer } from "./kit.test.ts";

// Two devices have one key: a configuration was copied, and one of them has another name. It is refused, and takes nothing from
// the device that the key belongs to.

const TEMPERATURE = "/3303/0/5700";

for (const strategy of ["cid", "resume"] as const)
  for (const restart of [false, true])
    test(`a device that is refused by its name takes nothing from the device whose key it has [${strategy}${restart ? ", the server dies in between" : ""}]`, () => {
      const world = new World({ seed: 9 });
      const server = new TestServer(world);
      const device = new TestDevice(world, server, {
        endpoint: "device",
        security: { identity: "dev01", strategy },
        lifetime: 86_400,
      });
      device.start();
      world.run("2 s");
      server.observe(device, TEMPERATURE);
      world.run("2 s");
      const { session } = server.registration(device)!;
      const other = new TestDevice(world, server, {
        endpoint: "other",
        security: { identity: "dev01", strategy, key: KEY },
      });
      other.start();
      for (let value = 1; value <= 10; value++) {
        world.run("7 s");
        if (restart && value === 5) server.crash();
        world.run("7 s");
        device.set(TEMPERATURE, { type: "float", value });
        world.run("1 s");
        assert.equal(server.notifications().at(-1), `${TEMPERATURE} ${value}`);
        const order = server.execute(device, `${value}`);
        world.run("1 s");
        assert.equal(order.answer, "2.04", `${value}`);
      }
      assert.ok(other.count("refused") >= 2);
      assert.deepEqual(other.obeyed, []);
      assert.equal(device.obeyed.length, 10);
      assert.equal(device.count("registered"), 1);
      if (strategy === "cid") assert.equal(server.registration(device)?.session, session);
    });

test("a device that comes back with nothing but its key is served in its new session once it has registered there", () => {
  const world = new World({ seed: 9 });
  const server = new TestServer(world);
  const device = new TestDevice(world, server, {
    endpoint: "device",
    security: { identity: "dev01", strategy: "cid" },
    lifetime: 86_400,
    behind: world.nat("linux-random"),
  });
  device.start();
  world.run("2 s");
  server.observe(device, TEMPERATURE);
  world.run("2 s");
  const { session } = server.registration(device)!;
  for (let life = 1; life <= 3; life++) {
    device.reboot({ kept: false, outage: "5 minutes" });
    world.run("6 minutes");
    assert.equal(device.count("registered"), 1 + life);
    device.set(TEMPERATURE, { type: "float", value: life });
    world.run("1 s");
    assert.equal(server.notifications().at(-1), `${TEMPERATURE} ${life}`);
    assert.notEqual(server.registration(device)?.session, session);
    assert.equal(server.tables.get("dtls.association")?.size, 1);
  }
});
