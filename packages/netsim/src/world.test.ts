import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { Talker } from "./kit.test.ts";
import { TUNING } from "./tuning.ts";
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

test("run stops the clock exactly; runUntil stops at the event that makes it true, or says that none did", () => {
  const world = new World({ seed: 1, start: 0 });
  const seen: number[] = [];
  for (const at of [30, 10, 20, 10]) world.at(at, () => seen.push(at));
  world.run(15);
  assert.deepEqual([seen, world.now], [[10, 10], 15]);
  assert.equal(
    world.runUntil(() => seen.length === 3, "1 s"),
    true,
  );
  assert.equal(world.now, 20);
  assert.equal(
    world.runUntil(() => seen.length === 9, "1 s"),
    false,
  );
  assert.equal(world.now, 1_020);
  assert.throws(() => world.at(5, () => {}), UsageError);
});

test("a script's steps may plan further steps", () => {
  const world = new World({ seed: 1, start: 0 });
  const seen: number[] = [];
  const step = (): void => {
    seen.push(world.now);
    if (seen.length < 3) world.after("1 minute", step);
  };
  world.after("1 minute", step);
  world.run("1 h");
  assert.deepEqual(seen, [60_000, 120_000, 180_000]);
});

test("two machines that chase each other without time passing are found out", () => {
  const world = new World({ seed: 1, start: 0 });
  const step = (): void => world.after(0, step);
  world.after(0, step);
  assert.throws(() => world.run("1 s"), /time stands still/);
  const busy = new World({ seed: 1, start: 0 });
  const crowd = TUNING.maxEventsPerInstant / 4;
  for (let i = 0; i < 5 * crowd; i++) busy.at(i % 5, () => {});
  busy.run(10);
  assert.equal(busy.events, 5 * crowd, "many events are no offence while time goes on");
});

test("generators by label are independent of each other and follow the seed", () => {
  const draw = (seed: number, label: string): number =>
    new World({ seed, start: 0 }).rng(label).float();
  assert.equal(draw(1, "a"), draw(1, "a"));
  assert.equal(new Set([draw(1, "a"), draw(1, "b"), draw(2, "a"), draw(2, "b")]).size, 4);
});

test("parts that name no address get free ones, hundreds of them", () => {
  const world = new World({ seed: 1, start: 0 });
  const hosts = Array.from({ length: 600 }, (_, i) => world.host(`h${i}`).address);
  const boxes = Array.from({ length: 600 }, () => world.nat("linux-home"));
  const inside = boxes.map((behind, i) => world.host(`i${i}`, { behind }).address);
  const nested = [1, 2].map(() => world.nat("rfc4787", { behind: boxes[0]! }).address); // there are 600
  assert.equal(new Set([...hosts, ...boxes.map(({ address }) => address)]).size, 1_200);
  assert.deepEqual([...new Set(inside)], ["10.0.0.2"]);
  assert.deepEqual(nested, ["100.64.0.2", "100.64.0.3"]);
});
