import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { Talker } from "./kit.test.ts";
import { natPreset } from "./nat-presets.ts";
import type { NatSettings } from "./nat-settings.ts";
import type { Nat } from "./nat.ts";
import { TUNING } from "./tuning.ts";
import { World } from "./world.ts";

test("RFC 4787 4.2.2: sequential assignment counts up, random does not", () => {
  assert.deepEqual(
    ports({ ports: "sequential" }, [5_683, 5_683, 9, 5_683]),
    [1_024, 1_025, 3, 1_027],
  );
  const random = ports({ ports: "random" }, [1, 2, 3, 4]);
  assert.equal(new Set(random).size, 4);
  assert.notDeepEqual(
    random,
    random.toSorted((a, b) => a - b),
  );
});

test("RFC 4787 4.2.2: port preservation gives another port when the own one is taken", () => {
  const { world, nat, server, talkers } = scene({ ports: "preserve" }, [5_683, 5_683]);
  for (const talker of talkers) talker.say(server.address);
  world.run("1 s");
  assert.equal(server.sources[0], `${nat.address}:5683`);
  assert.notEqual(server.sources[1], server.sources[0]);
});

test("RFC 4787 REQ-3a: a port below 1024 stays below, one above stays above", () => {
  for (const assignment of ["random", "sequential"] as const) {
    const got = ports({ ports: assignment }, [80, 5_683, 1_023, 1_024]);
    assert.deepEqual(
      got.map((port) => port < 1_024),
      [true, false, true, false],
    );
  }
});

test("RFC 4787 REQ-4: with parity, even ports stay even and odd ones odd", () => {
  const inside = Array.from({ length: 40 }, (_, i) => 3_000 + i);
  for (const assignment of ["random", "sequential"] as const) {
    const got = ports({ ports: assignment, parity: true }, inside);
    assert.deepEqual(
      got.map((port) => port % 2),
      inside.map((port) => port % 2),
    );
    assert.equal(new Set(got).size, 40);
  }
});

test("RFC 4787 4.2.3: with contiguity, RTP and RTCP get neighbours", () => {
  const [rtp = 0, rtcp = 0] = onOneHost(
    { ports: "random", contiguity: true, parity: true },
    [4_000, 4_001],
  );
  assert.equal(rtcp, rtp + 1);
  const [odd = 0, even = 0] = onOneHost(
    { ports: "random", contiguity: true, parity: true },
    [4_001, 4_000],
  );
  assert.equal(even, odd - 1);
});

test("RFC 4787 REQ-2: paired pooling keeps a host on one address, arbitrary does not", () => {
  const addresses = ["203.0.113.50", "203.0.113.51", "203.0.113.52"];
  for (const [pooling, used] of [
    ["paired", 1],
    ["arbitrary", 3],
  ] as const) {
    const world = new World({ seed: 2, start: 0 });
    const nat = world.nat({ pooling }, { address: addresses });
    const host = world.host("device", { behind: nat });
    const server = new Talker(world.host("server"), 1);
    for (let port = 3_000; port < 3_040; port++) new Talker(host, port).say(server.address);
    world.run("1 s");
    assert.equal(new Set(server.sources.map((source) => source.split(":")[0])).size, used);
  }
});

test("RFC 7857 4: a paired host whose address has no port left gets nothing, though the pool has others", () => {
  const world = new World({ seed: 2, start: 0 });
  const nat = world.nat(
    { portRange: [2_000, 2_001], keepClass: false },
    { address: ["203.0.113.50", "203.0.113.51"] },
  );
  const host = world.host("device", { behind: nat });
  const server = new Talker(world.host("server"), 1);
  for (let port = 3_000; port < 3_003; port++) new Talker(host, port).say(server.address);
  world.run("1 s");
  assert.equal(server.texts.length, 2);
  assert.equal(nat.counts.exhausted, 1);
});

test("address-dependent mapping: one port for all ports of a host, another for another host", () => {
  const world = new World({ seed: 3, start: 0 });
  const nat = world.nat({ mapping: "ADM", ports: "random" });
  const device = new Talker(world.host("device", { behind: nat }), 1);
  const host = world.host("server");
  const [a, b] = [new Talker(host, 1), new Talker(host, 2)];
  const other = new Talker(world.host("other"), 1);
  for (const to of [a, b, other]) device.say(to.address);
  world.run("1 s");
  assert.equal(a.source, b.source);
  assert.notEqual(other.source, a.source);
});

for (const [refreshBy, admitted] of [
  ["mapping", true],
  ["flow", false],
] as const) {
  test(`RFC 4787 4.3: refresh by ${refreshBy}: talking to one server ${admitted ? "keeps" : "does not keep"} the other's way in`, () => {
    const { world, server, third, device } = pairScene({ filtering: "APDF", refreshBy });
    device.say(server.address);
    device.say(third.address);
    for (let i = 0; i < 4; i++) {
      world.run("100 s");
      device.say(server.address);
    }
    third.say(third.source, "push");
    world.run("1 s");
    assert.equal(device.texts.includes("push"), admitted);
  });
}

test("RFC 4787 REQ-6: without outbound refresh a mapping dies however much the device says", () => {
  const { world, server, device } = pairScene({ outboundRefresh: false, ports: "random" });
  for (let i = 0; i < 4; i++) {
    device.say(server.address);
    world.run("100 s");
  }
  assert.equal(server.sources[2], server.sources[0]);
  assert.notEqual(server.sources[3], server.sources[0]);
});

for (const [icmp, passes, lives] of [
  ["pass", 1, true],
  ["drop", 0, true],
  ["end-mapping", 1, false],
] as const) {
  test(`RFC 4787 REQ-12: icmp ${icmp}: the error ${passes ? "reaches" : "does not reach"} the device, the mapping ${lives ? "lives" : "ends"}`, () => {
    const { world, nat, server, device } = pairScene({ icmp });
    const closed = { host: server.host.address, port: 99 };
    device.say(closed);
    world.run("1 s");
    assert.equal(world.counts.icmp.sent, 1);
    assert.equal(world.counts.icmp.delivered, passes);
    assert.equal(nat.mappings.length, lives ? 1 : 0);
  });
}

for (const [name, says, lostAfter] of [
  ["a third packet inside 2 s", [0, 500, 1_900], 31_000],
  ["an answer that comes after 2 s itself", [0, 5_000], 31_000],
] as const) {
  test(`Linux conntrack: ${name} does not make a stream`, () => {
    const { world, server, device } = pairScene({ ...natPreset("linux-home") });
    for (const [i, at] of says.entries()) {
      world.run(at - world.now);
      if (i % 2 === 0) device.say(server.address);
      else server.say(`203.0.113.1:5683`);
    }
    world.run(lostAfter);
    server.say(server.source, "push");
    world.run("1 s");
    assert.ok(!device.texts.includes("push"));
  });
}

test("a flow that has died inside a live mapping begins anew, with its first, short life", () => {
  const { world, server, third, device } = pairScene({
    ...natPreset("linux-home", { mapping: "EIM", portScope: "mapping" }),
  });
  device.say(server.address);
  world.run("1 s");
  server.say(server.source);
  world.run("20 s");
  device.say(third.address);
  world.run("20 s");
  device.say(server.address);
  world.run("31 s");
  server.say(server.source, "push");
  world.run("1 s");
  assert.ok(!device.texts.includes("push"));
});

test("a freed port rests from the moment its mapping died, not from the moment someone noticed", () => {
  const { world, server, device } = pairScene(natPreset("cgn-block", { blockSize: 1 }));
  device.say(server.address);
  world.run("186 s"); // 65 and 120
  device.say(server.address);
  world.run("1 s");
  assert.equal(server.texts.length, 2);
});

test("clear ends so many mappings, or all", () => {
  const { world, nat, server, talkers } = scene({}, [1, 2, 3, 4, 5]);
  for (const talker of talkers) talker.say(server.address);
  world.run("1 s");
  nat.clear(2);
  assert.equal(nat.mappings.length, 3);
  assert.equal(nat.counts.cleared, 2);
  nat.clear();
  assert.deepEqual(nat.mappings, []);
});

test("reassign gives live mappings other ports; the old ones are dead, the new ones live", () => {
  const { world, nat, server, device } = pairScene({ ports: "random" });
  device.say(server.address);
  world.run("1 s");
  const old = server.source;
  nat.reassign();
  const now = nat.mappings[0]?.external;
  assert.notEqual(`${now?.host}:${now?.port}`, old);
  server.say(old, "old");
  server.say(now ?? "", "new");
  world.run("1 s");
  assert.deepEqual(device.texts, ["new"]);
  device.say(server.address);
  world.run("1 s");
  assert.equal(server.source, `${now?.host}:${now?.port}`);
});

test("set: new times hold from the next packet of a mapping, a new kind of mapping ends the old ones", () => {
  const { world, nat, server, device } = pairScene({});
  device.say(server.address);
  world.run("1 s");
  const before = nat.mappings[0]?.expires;
  nat.set({ oneWay: 5_000, twoWay: 5_000 });
  assert.equal(nat.mappings[0]?.expires, before);
  device.say(server.address);
  world.run("1 s");
  assert.equal(nat.mappings[0]?.expires, world.now - 1_000 + TUNING.linkDelay + 5_000);
  nat.set({ mapping: "APDM" });
  assert.deepEqual(nat.mappings, []);
});

test("a restart that takes time passes nothing meanwhile", () => {
  const { world, nat, server, device } = pairScene({});
  nat.reboot("30 s");
  device.say(server.address, "during");
  world.run("31 s");
  device.say(server.address, "after");
  world.run("1 s");
  assert.deepEqual(server.texts, ["after"]);
  assert.equal(world.counts.dropped["nat-down"], 1);
});

test("at its limit of entries the box refuses new mappings until one has died", () => {
  const { world, nat, server, talkers } = scene({ maxEntries: 3 }, [1, 2, 3, 4, 5]);
  for (const talker of talkers) talker.say(server.address);
  world.run("1 s");
  assert.deepEqual([server.texts.length, nat.mappings.length, nat.counts.exhausted], [3, 3, 2]);
  world.run("300 s");
  talkers[4]?.say(server.address);
  world.run("1 s");
  assert.deepEqual([server.texts.length, nat.mappings.length, nat.counts.expired], [4, 1, 3]);
});

test("a table at its limit takes new mappings the moment shorter-lived ones die", () => {
  // Becoming two-way shortens a life here: the box must not trust what it once computed.
  const { world, server, talkers } = scene(
    { maxEntries: 1, oneWay: 100_000, twoWay: 5_000 },
    [1, 2],
  );
  const [first, second] = talkers;
  first?.say(server.address);
  world.run("1 s");
  second?.say(server.address);
  server.say(server.source);
  world.run("6 s");
  second?.say(server.address);
  world.run("1 s");
  assert.equal(server.texts.length, 2);
});

test("with all ports of the range in use a new mapping is refused", () => {
  const { world, nat, server, talkers } = scene(
    { portRange: [2_000, 2_003], ports: "random" },
    [1_100, 1_200, 1_300, 1_400, 1_500],
  );
  for (const talker of talkers) talker.say(server.address);
  world.run("1 s");
  assert.deepEqual([server.texts.length, nat.counts.exhausted], [4, 1]);
  const used = server.sources.map((source) => Number(source.split(":")[1]));
  assert.deepEqual(
    used.toSorted((a, b) => a - b),
    [2_000, 2_001, 2_002, 2_003],
  );
});

test("a mapping remembers so many remote ends and then forgets the oldest", () => {
  const { world, nat, server, device } = pairScene({ filtering: "APDF" });
  for (let port = 1; port <= TUNING.maxFlowsPerMapping + 1; port++)
    device.say({ host: server.host.address, port: 20_000 + port });
  world.run("1 s");
  const remotes = nat.mappings[0]?.remotes ?? [];
  assert.equal(remotes.length, TUNING.maxFlowsPerMapping);
  assert.equal(remotes[0]?.port, 20_002);
});

test("dead mappings do not pile up: ten thousand short flows leave a small table", () => {
  const { world, nat, server, device } = pairScene({
    mapping: "APDM",
    oneWay: 1_000,
    twoWay: 1_000,
    maxEntries: 1_500,
  });
  for (let i = 0; i < 10_000; i++) {
    device.say({ host: server.host.address, port: 1 + (i % 50_000) });
    world.run(10);
  }
  assert.equal(nat.counts.exhausted, 0);
  assert.equal(nat.counts.created, 10_000);
  assert.ok(nat.counts.expired > 8_000);
});

test("what is for an inside host that has gone does not come out again", () => {
  const { world, nat, server, device } = pairScene({});
  device.say(server.address);
  world.run("1 s");
  device.host.move({});
  server.say(`${nat.address}:5683`, "push");
  world.run("1 s");
  assert.equal(world.counts.dropped["no-route"], 1);
  assert.equal(nat.counts.created, 1);
});

test("two homes may use the same inside addresses", () => {
  const world = new World({ seed: 4, start: 0 });
  const server = new Talker(world.host("server"), 1);
  const homes = ["a", "b"].map((name) => {
    const behind = world.nat("linux-home");
    return new Talker(world.host(name, { behind, address: "192.168.1.10" }), 5_683);
  });
  for (const device of homes) device.say(server.address, device.host.name);
  world.run("1 s");
  assert.deepEqual(server.sources, ["203.0.113.1:5683", "203.0.113.2:5683"]);
  for (const source of server.sources) server.say(source, source);
  world.run("1 s");
  assert.deepEqual(
    homes.map(({ texts }) => texts),
    [["203.0.113.1:5683"], ["203.0.113.2:5683"]],
  );
});

test("settings that contradict each other are refused", () => {
  const world = new World({ seed: 5, start: 0 });
  for (const settings of [
    { portRange: [0, 10] },
    { portRange: [20, 10] },
    { portRange: [1, 70_000] },
    { portScope: "flow", mapping: "EIM" },
    { ports: "block", portRange: [2_000, 2_010] },
    { oneWay: -1 },
  ] as const)
    assert.throws(() => world.nat(settings), UsageError, JSON.stringify(settings));
});

type Scene = { world: World; nat: Nat; server: Talker; talkers: Talker[] };

/** One inside host for each port. */
function scene(settings: Partial<NatSettings>, inside: readonly number[]): Scene {
  const world = new World({ seed: 21, start: 0 });
  const nat = world.nat(settings);
  const server = new Talker(world.host("server"), 5_684);
  const talkers = inside.map(
    (port, i) => new Talker(world.host(`device-${i}`, { behind: nat }), port),
  );
  return { world, nat, server, talkers };
}

function pairScene(
  settings: Partial<NatSettings>,
): Scene & { readonly device: Talker; readonly third: Talker } {
  const all = scene(settings, [5_683]);
  const [device] = all.talkers;
  assert.ok(device);
  return { ...all, device, third: new Talker(all.world.host("third"), 5_684) };
}

/** The public ports that one flow of each of these inside ports gets. */
function ports(settings: Partial<NatSettings>, inside: readonly number[]): number[] {
  const { world, server, talkers } = scene(settings, inside);
  for (const talker of talkers) talker.say(server.address);
  world.run("1 s");
  return server.sources.map((source) => Number(source.split(":")[1]));
}

function onOneHost(settings: Partial<NatSettings>, inside: readonly number[]): number[] {
  const world = new World({ seed: 22, start: 0 });
  const host = world.host("device", { behind: world.nat(settings) });
  const server = new Talker(world.host("server"), 5_684);
  for (const port of inside) new Talker(host, port).say(server.address);
  world.run("1 s");
  return server.sources.map((source) => Number(source.split(":")[1]));
}
