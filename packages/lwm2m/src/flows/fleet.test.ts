import assert from "node:assert/strict";
import { test } from "node:test";
import { below } from "@godwit/base";
import { World, type Nat, type NatPresetName } from "@godwit/netsim";
import { TestDevice, TestServer, type DeviceOptions, type Order } from "./kit.test.ts";

// A month in the life of a fleet: 100 devices behind ten boxes of all kinds, each with its way to live with its NAT.
// Boxes restart and are renumbered, links lose datagrams, devices and the server reboot, and users give orders at any
// time. At the end every device must be manageable, and every order must have been obeyed exactly once.

const BOXES: readonly (NatPresetName | "double-nat")[] = [
  "rfc4787",
  "linux-home",
  "linux-random",
  "cgn-block",
  "cellular-12s",
  "azure-5g",
  "no-inbound-refresh",
  "double-nat",
  "linux-home",
  "cgn-block",
];
/** Behind rfc4787, linux-random, cgn-block and cellular-12s. */
const HOLDING: ReadonlySet<number> = new Set([10, 22, 33, 44]);
const DAY = 86_400_000;

test("30 days of 100 devices behind all kinds of NAT end with every device manageable", () => {
  const fleet = live(30);
  const { world, server, devices } = fleet;
  // Where the server died before it could promise anything, nothing was promised.
  const orders = fleet.orders.filter(({ order }) => server.accepted.has(order.id));
  assert.ok(orders.length >= 700, String(orders.length));
  for (const { device, word, order } of orders) {
    const times = device.obeyed.filter((obeyed) => obeyed === word).length;
    const { state } = order;
    // An order whose device lost its memory in the middle may have been obeyed without our knowing.
    assert.ok(state === "done" || state === "failed", `${device.endpoint} ${word}: ${state}`);
    assert.ok(times === 1 || (times === 0 && state === "failed"), `${device.endpoint} ${word}`);
  }
  const done = orders.filter(({ order }) => order.state === "done").length;
  assert.ok(done >= orders.length * 0.99, `${done} of ${orders.length}`);

  // The next contact of each is enough.
  const reads = devices.map((device) => server.read(device, "/3/0/9"));
  world.run("5 h");
  for (const [i, read] of reads.entries())
    assert.equal(read.answer, "2.05 87", devices[i]?.endpoint);
  assert.deepEqual(server.stack.setAside, []);
  assert.ok(world.events > 100_000);
});

test("the same seed lives the same two days, datagram by datagram; another seed does not", () => {
  const hash = (seed: number): string => live(2, seed).world.traceHash();
  const once = hash(1);
  assert.equal(hash(1), once);
  assert.notEqual(hash(2), once);
});

type Fleet = {
  readonly world: World;
  readonly server: TestServer;
  readonly devices: readonly TestDevice[];
  readonly orders: readonly {
    readonly device: TestDevice;
    readonly word: string;
    readonly order: Order;
  }[];
};

function live(days: number, seed = 77): Fleet {
  const world = new World({ seed });
  const server = new TestServer(world, { finishedFor: 60 * DAY, finishedPerEndpoint: 100 });
  const boxes = BOXES.map((preset) => world.nat(preset));
  const devices = Array.from({ length: 100 }, (_, i) => {
    const device = new TestDevice(world, server, {
      endpoint: `device-${i}`,
      behind: boxes[i % boxes.length]!, // within
      link: { loss: i % 4 === 0 ? 0.02 : 0, jitter: 50 },
      ...wayOfLife(i),
    });
    world.after(i * 1_000, () => device.start());
    return device;
  });
  const orders: Fleet["orders"][number][] = [];
  const chance = world.rng("what happens");
  for (let hour = 1; hour <= days * 24; hour++) {
    world.run("1 h");
    const device = devices[below(chance, devices.length)]!; // within
    const word = `hour-${hour}`;
    if (server.host.isOn)
      orders.push({ device, word, order: server.execute(device, word, "7 days") });
    misfortune(hour, { server, boxes, devices: devices.map((each) => each), chance });
  }
  world.run("1 day");
  return { world, server, devices, orders };
}

/** One thing goes wrong every few hours. */
function misfortune(
  hour: number,
  {
    server,
    boxes,
    devices,
    chance,
  }: {
    readonly server: TestServer;
    readonly boxes: readonly Nat[];
    readonly devices: readonly TestDevice[];
    readonly chance: ReturnType<World["rng"]>;
  },
): void {
  const box = boxes[below(chance, boxes.length)]!; // within
  const device = devices[below(chance, devices.length)]!; // within
  if (hour % 7 === 0) box.clear();
  if (hour % 11 === 0) box.renumber();
  if (hour % 13 === 0) device.reboot({ kept: hour % 2 === 0, outage: "3 minutes" });
  if (hour % 50 === 0) server.crash("1 minute");
}

/** Most devices say as little as they can; few hold their mapping open. */
function wayOfLife(i: number): DeviceOptions {
  if (HOLDING.has(i)) return { lifetime: 14_400, keepAlive: "auto" };
  return [
    { lifetime: 7_200 },
    { lifetime: 14_400, queueMode: true },
    { lifetime: 3_600 },
    { lifetime: 10_800, keepAlive: "off" as const },
  ][i % 4]!; // four ways
}
