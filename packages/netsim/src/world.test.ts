import assert from "node:assert/strict";
import { test } from "node:test";
import { Talker } from "./kit.test.ts";
import { World } from "./world.ts";

test("a datagram arrives after both links' delays, seen from the translated source", () => {
  const world = new World({ seed: 1, start: 1_000 });
  const nat = world.nat("linux-home");
  const device = new Talker(world.host("device", { behind: nat, link: { delay: 30 } }), 5_683);
  const server = new Talker(world.host("server", { address: "198.51.100.9" }), 5_683);
  device.say(server.address, "hello");
  world.run(39);
  assert.deepEqual(server.mouth.heard, []);
  world.run(1);
  assert.deepEqual(server.mouth.heard, [{ at: 1_040, from: `${nat.address}:5683`, text: "hello" }]);
});
