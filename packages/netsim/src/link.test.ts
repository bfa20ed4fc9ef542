import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, utf8 } from "@godwit/base";
import { Talker } from "./kit.test.ts";
import type { LinkOptions } from "./link-settings.ts";
import { TUNING } from "./tuning.ts";
import { World } from "./world.ts";

test("loss is the share that was asked for, in one direction only", () => {
  const { world, device, server } = pair({ up: { loss: 0.3 } });
  for (let i = 0; i < 2_000; i++) device.say(server.address);
  for (let i = 0; i < 2_000; i++) server.say(device.address);
  world.run("1 s");
  const share = 1 - server.texts.length / 2_000;
  assert.ok(Math.abs(share - 0.3) < 0.04, `${share}`);
  assert.equal(device.texts.length, 2_000);
});

test("burst loss comes in runs whose mean length is 1 / leave", () => {
  const { world, device, server } = pair({ up: { burst: { enter: 0.02, leave: 0.2, loss: 1 } } });
  for (let i = 0; i < 20_000; i++) device.say(server.address, `${i}`);
  world.run("1 s");
  const arrived = new Set(server.texts.map(Number));
  const runs: number[] = [];
  for (let i = 0, run = 0; i < 20_000; i++) {
    if (!arrived.has(i)) run++;
    else if (run > 0) runs.push(run);
    if (arrived.has(i)) run = 0;
  }
  const mean = runs.reduce((sum, run) => sum + run, 0) / runs.length;
  assert.ok(mean > 4.2 && mean < 5.8, `mean run ${mean}`);
});

test("jitter alone keeps the order; reordering lets later ones overtake", () => {
  const order = (link: LinkOptions): number[] => {
    const { world, device, server } = pair(link);
    for (let i = 0; i < 300; i++) {
      device.say(server.address, `${i}`);
      world.run(1);
    }
    world.run("5 s");
    return server.texts.map(Number);
  };
  const sorted = Array.from({ length: 300 }, (_, i) => i);
  assert.deepEqual(order({ up: { jitter: 100 } }), sorted);
  const overtaken = order({ up: { reorder: { probability: 0.1, delay: 50, jitter: 50 } } });
  assert.notDeepEqual(overtaken, sorted);
  assert.deepEqual(
    overtaken.toSorted((a, b) => a - b),
    sorted,
  );
});

test("duplicates arrive as copies of their own", () => {
  const { world, device, server } = pair({ up: { duplicate: 0.5, duplicateDelay: 100 } });
  for (let i = 0; i < 1_000; i++) device.say(server.address, `${i}`);
  world.run("1 s");
  const { duplicated, delivered } = world.counts;
  assert.equal(delivered, 1_000 + duplicated);
  assert.ok(Math.abs(duplicated - 500) < 80, `${duplicated}`);
  assert.equal(new Set(server.texts).size, 1_000);
});

test("bandwidth: IP packets leave one after the other, and those that would wait too long are dropped", () => {
  // 972 bytes and 28 of headers at 8000 bit/s take a second each.
  const { world, device, server } = pair({
    up: { bandwidth: 8_000, maxQueueDelay: 3_500, delay: 0 },
  });
  for (let i = 0; i < 10; i++) device.say(server.address, "b".repeat(972));
  world.run("1 minute");
  const times = server.mouth.heard.map(({ at }) => at - TUNING.linkDelay);
  assert.deepEqual(times, [1_000, 2_000, 3_000, 4_000]);
  assert.equal(world.counts.dropped["queue-full"], 6);
});

test("a cut link passes nothing until it is mended; what is under way arrives", () => {
  const { world, device, server } = pair({});
  device.say(server.address, "before");
  device.host.link.set({ cut: true });
  device.say(server.address, "during");
  server.say(device.address, "during");
  world.run("1 s");
  device.host.link.set({ cut: false });
  device.say(server.address, "after");
  world.run("1 s");
  assert.deepEqual([server.texts, device.texts], [["before", "after"], []]);
  assert.equal(world.counts.dropped["link-down"], 2);
});

test("dropNext drops so many and no more", () => {
  const { world, device, server } = pair({});
  device.host.link.up.dropNext(2);
  for (const text of ["1", "2", "3"]) device.say(server.address, text);
  world.run("1 s");
  assert.deepEqual(server.texts, ["3"]);
});

test("a tap sees all, and drops, holds, changes or lets pass what it chooses", () => {
  const { world, device, server } = pair({});
  const seen: string[] = [];
  const tap = device.host.link.up.tap(({ bytes, from, to, direction, point }) => {
    const text = String.fromCharCode(...bytes);
    seen.push(`${point} ${direction} ${from.port}>${to.port} ${text}`);
    if (text === "change") return { bytes: utf8("changed") };
    return text === "drop" || text === "hold" || text === "pass" ? text : undefined;
  });
  for (const text of ["pass", "drop", "hold", "change", "hold", "other"])
    device.say(server.address, text);
  world.run("1 s");
  assert.deepEqual(server.texts, ["pass", "changed", "other"]);
  assert.equal(seen[0], "device up 5683>5684 pass");
  assert.equal(tap.held, 2);
  assert.equal(world.counts.inFlight, 2);
  tap.release(1);
  world.run("1 s");
  assert.equal(server.texts.at(-1), "hold");
  tap.remove();
  device.say(server.address, "drop");
  world.run("1 s");
  assert.equal(server.texts.at(-1), "drop");
  assert.deepEqual(world.counts.dropped, { tap: 2 });
  assert.equal(seen.length, 6);
});

test("at the limit of held datagrams the next is dropped", () => {
  const { world, device, server } = pair({});
  const tap = device.host.link.up.tap(() => "hold");
  for (let i = 0; i <= TUNING.maxHeld; i++) device.say(server.address);
  assert.equal(tap.held, TUNING.maxHeld);
  assert.equal(world.counts.dropped["held-full"], 1);
});

test("a link counts what entered and what left, in datagrams and UDP payload bytes", () => {
  const { world, device, server } = pair({});
  device.host.link.up.dropNext();
  for (const text of ["12345", "123", "1"]) device.say(server.address, text);
  world.run("1 s");
  assert.deepEqual(device.host.sent, { datagrams: 3, bytes: 9 });
  assert.deepEqual(device.host.link.up.left, { datagrams: 2, bytes: 4 });
  assert.deepEqual(server.host.received, { datagrams: 2, bytes: 4 });
});

test("a log keeps time, ends and bytes of what crosses its points, up to its limit", () => {
  const { world, device, server } = pair({});
  const log = world.log(device.host.link);
  const short = world.log([device.host.link.up, server.host.link.down], 3);
  device.say(server.address, "hello");
  world.run("1 s");
  server.say(device.address, "there");
  device.say(server.address, "again");
  world.run("1 s");
  assert.deepEqual(
    log.entries.map(({ at, from, to, bytes }) => [at, from.port, to.port, bytes.length]),
    [
      [0, 5_683, 5_684, 5],
      [1_000, 5_683, 5_684, 5],
      [1_020, 5_684, 5_683, 5],
    ],
  );
  assert.equal(log.bytes, 15);
  assert.equal(short.entries.length, 3);
  assert.equal(short.missed, 1);
});

test("settings out of range are refused", () => {
  for (const link of [
    { loss: 1.1 },
    { duplicate: -0.1 },
    { delay: -1 },
    { mtu: 0 },
    { bandwidth: 0 },
    { burst: { enter: 2, leave: 0, loss: 0 } },
    { reorder: { probability: 0.5, delay: -1, jitter: 0 } },
  ])
    assert.throws(() => pair(link), UsageError, JSON.stringify(link));
});

function pair(link: LinkOptions): { world: World; device: Talker; server: Talker } {
  const world = new World({ seed: 11, start: 0 });
  const device = new Talker(world.host("device", { link }), 5_683);
  const server = new Talker(world.host("server"), 5_684);
  return { world, device, server };
}
