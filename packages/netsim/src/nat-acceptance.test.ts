// The acceptance list of the NAT presets: scripted packet traces whose observable result is that of the real boxes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Talker } from "./kit.test.ts";
import type { LinkOptions } from "./link-settings.ts";
import { natPreset, natSweep, type NatPresetName } from "./nat-presets.ts";
import type { NatSettings } from "./nat-settings.ts";
import type { Nat } from "./nat.ts";
import { World } from "./world.ts";

type Kind = NatPresetName | "double-nat";

const ALL: readonly Kind[] = [
  "rfc4787",
  "linux-home",
  "linux-random",
  "cgn-block",
  "cellular-12s",
  "azure-5g",
  "no-inbound-refresh",
  "port-overload",
  "double-nat",
];

for (const kind of ALL) {
  test(`N1 ${kind}: two datagrams inside the timer show the same public port`, () => {
    const { world, device, server } = scene(kind);
    device.say(server.address);
    world.run("8 s");
    device.say(server.address);
    world.run("1 s");
    assert.equal(server.sources.length, 2);
    assert.equal(server.sources[0], server.sources[1]);
  });
}

for (const [kind, same] of [
  ["linux-random", false],
  ["linux-home", true],
] as const) {
  test(`N2 ${kind}: after expiry the public port is ${same ? "the same" : "another"}`, () => {
    const { world, device, server } = scene(kind);
    device.say(server.address);
    world.run("31 s");
    device.say(server.address);
    world.run("1 s");
    assert.equal(server.sources.length, 2);
    assert.equal(server.sources[0] === server.sources[1], same);
  });
}

for (const kind of ALL) {
  test(`N3 ${kind}: a push after expiry never arrives, and no error comes back`, () => {
    const { world, nat, device, server } = scene(kind);
    device.say(server.address);
    world.run(nat.settings.oneWay + 1_000);
    server.say(server.source, "push");
    world.run("10 s");
    assert.deepEqual(device.texts, []);
    assert.equal(world.counts.icmp.sent, 0);
    assert.equal(world.counts.dropped["nat-no-mapping"], 1);
  });
}

for (const kind of ["linux-home", "linux-random"] as const) {
  for (const [pushAt, arrives] of [
    [29, true],
    [31, false],
  ] as const) {
    test(`N4 ${kind}: one request and answer live 30 s: a push after ${pushAt} s ${arrives ? "arrives" : "is lost"}`, () => {
      const { world, device, server } = scene(kind, {}, { answers: true });
      device.say(server.address, "request");
      world.run(pushAt * 1_000);
      server.say(server.source, "push");
      world.run("1 s");
      assert.equal(device.texts.includes("push"), arrives);
    });
  }
  for (const [pushAt, arrives] of [
    [119, true],
    [121, false],
  ] as const) {
    test(`N4 ${kind}: a flow that still talks after 2 s lives 120 s: a push ${pushAt} s later ${arrives ? "arrives" : "is lost"}`, () => {
      const { world, device, server } = scene(kind);
      device.say(server.address, "request");
      world.run("100 ms");
      server.say(server.source, "answer");
      world.run("2100 ms");
      device.say(server.address, "more");
      world.run(pushAt * 1_000);
      server.say(server.source, "push");
      world.run("1 s");
      assert.equal(device.texts.includes("push"), arrives);
    });
  }
}

for (const [filtering, admitted] of [
  ["APDF", ["server"]],
  ["ADF", ["server", "other port"]],
  ["EIF", ["server", "other port", "other address"]],
] as const) {
  for (const mapping of ["EIM", "ADM", "APDM"] as const) {
    test(`N5 ${mapping} + ${filtering}: the mapping admits ${admitted.join(", ")}`, () => {
      const { world, nat, device, server, third, otherPort } = scene("rfc4787", {
        mapping,
        filtering,
      });
      device.say(server.address);
      world.run("1 s");
      server.say(server.source, "server");
      otherPort.say(server.source, "other port");
      third.say(server.source, "other address");
      world.run("1 s");
      assert.deepEqual(device.texts, admitted);
      assert.equal(nat.counts.wrongSource, 3 - admitted.length);
    });
  }
}

for (const [kind, arrived] of [
  ["linux-home", 4],
  ["no-inbound-refresh", 2],
] as const) {
  test(`N6 ${kind}: of four pushes every 12 s ${arrived} arrive`, () => {
    const { world, device, server } = scene(kind);
    device.say(server.address);
    for (let i = 0; i < 4; i++) {
      world.run("12 s");
      server.say(server.source, `push ${i}`);
    }
    world.run("1 s");
    assert.equal(device.texts.length, arrived);
  });
}

for (const [kind, ports] of [
  ["rfc4787", 1],
  ["linux-random", 2],
  ["cellular-12s", 2],
  ["linux-home", 1],
] as const) {
  test(`N7 ${kind}: two destinations see ${ports === 1 ? "one port" : "two ports"}`, () => {
    const { world, device, server, third } = scene(kind);
    device.say(server.address);
    device.say(third.address);
    world.run("1 s");
    assert.equal(new Set([server.source, third.source]).size, ports);
  });
}

test("N7 linux-home: a port that another device uses towards the same server is not given twice", () => {
  const { world, nat, device, server, third } = scene("linux-home");
  const twin = new Talker(world.host("twin", { behind: nat }), 5_683);
  device.say(server.address);
  twin.say(server.address);
  twin.say(third.address);
  world.run("1 s");
  assert.equal(server.sources[0], `${nat.address}:5683`);
  assert.notEqual(server.sources[1], server.sources[0]);
  assert.equal(third.source, `${nat.address}:5683`);
});

test("N8 cgn-block: flow n+1 gets nothing until a port is freed and its hold-down is over", () => {
  const { world, nat, device, third } = scene("cgn-block", { blockSize: 4 });
  const remotes = [1, 2, 3, 4, 5, 6].map((n) => new Talker(third.host, 7_000 + n));
  const heard = (): number => remotes.filter((remote) => remote.texts.length > 0).length;
  for (const remote of remotes) device.say(remote.address);
  world.run("1 s");
  assert.equal(heard(), 4);
  assert.equal(nat.counts.exhausted, 2);
  world.run("100 s"); // the four have expired after 65 s, their ports rest
  device.say(remotes[4]!.address); // there are six
  world.run("1 s");
  assert.equal(heard(), 4);
  world.run("84 s"); // 65 + 120 s are over
  device.say(remotes[4]!.address); // there are six
  world.run("1 s");
  assert.equal(heard(), 5);
});

for (const kind of ALL) {
  test(`N9 ${kind}: a restart ends all mappings; a random box then shows another port`, () => {
    const { world, nat, device, server } = scene(kind);
    device.say(server.address);
    world.run("1 s");
    const before = server.source;
    nat.reboot();
    nat.outer?.reboot();
    assert.deepEqual(nat.mappings, []);
    server.say(before, "push");
    world.run("1 s");
    assert.deepEqual(device.texts, []);
    device.say(server.address);
    world.run("1 s");
    if (nat.settings.ports === "random") assert.notEqual(server.source, before);
    server.say(server.source, "push");
    world.run("1 s");
    assert.deepEqual(device.texts, ["push"]);
  });

  test(`N10 ${kind}: after renumbering the server sees the new address and the old one is dead`, () => {
    const { world, nat, device, server } = scene(kind);
    device.say(server.address);
    world.run("1 s");
    const before = server.source;
    (nat.outer ?? nat).renumber("203.0.113.77");
    server.say(before, "to the old one");
    device.say(server.address);
    world.run("1 s");
    assert.ok(server.source.startsWith("203.0.113.77:"));
    assert.equal(world.counts.dropped["no-route"], 1);
    server.say(server.source, "to the new one");
    world.run("1 s");
    assert.deepEqual(device.texts, ["to the new one"]);
  });

  test(`N11 ${kind}: with 50 % loss each way about a quarter of the round trips survive`, () => {
    const { world, nat, device, server } = scene(kind, {}, { answers: true });
    nat.link.set({ up: { loss: 0.5 }, down: { loss: 0.5 } });
    for (let i = 0; i < 400; i++) {
      device.say(server.address);
      world.run("1 s");
    }
    const share = device.texts.length / 400;
    assert.ok(share > 0.18 && share < 0.32, `${share}`);
  });
}

test("N12 port-overload: the newer owner of the port gets what the server sends to the older", () => {
  const { world, nat, device, server } = scene("port-overload");
  const twin = new Talker(world.host("twin", { behind: nat }), 5_683);
  device.say(server.address);
  world.run("1 s");
  const old = server.source;
  twin.say(server.address);
  world.run("1 s");
  assert.equal(server.source, old);
  server.say(old, "for the first");
  world.run("1 s");
  assert.deepEqual([device.texts, twin.texts], [[], ["for the first"]]);
});

test("N12 cgn-block: a block that rested goes to another host, and with it what the server sends", () => {
  const { world, nat, device, server } = scene("cgn-block", { portRange: [2_000, 2_127] });
  const twin = new Talker(world.host("twin", { behind: nat }), 5_683);
  device.say(server.address);
  world.run("1 s");
  const old = server.source;
  twin.say(server.address);
  world.run("70 s");
  assert.equal(server.sources.length, 1, "the only block is in use");
  world.run("120 s");
  twin.say(server.address);
  world.run("1 s");
  assert.equal(server.source, old);
  server.say(old, "for the first");
  world.run("1 s");
  assert.deepEqual([device.texts, twin.texts], [[], ["for the first"]]);
});

for (const kind of ALL) {
  test(`N12 ${kind}: a live public port can be handed to another inside host`, () => {
    const { world, nat, device, server } = scene(kind);
    const twin = new Talker(world.host("twin", { behind: nat }), 5_683);
    device.say(server.address);
    world.run("1 s");
    const old = server.source;
    nat.handOver(device.host, twin.host);
    server.say(old, "for the first");
    world.run("1 s");
    assert.deepEqual([device.texts, twin.texts], [[], ["for the first"]]);
    twin.say(server.address);
    world.run("1 s");
    assert.equal(server.source, old);
  });
}

for (const [answers, pushAt, arrives] of [
  [false, 29, true],
  [false, 31, false],
  [true, 11, true],
  [true, 13, false],
] as const) {
  test(`N13 cellular-12s: ${answers ? "answered" : "unanswered"}, a push after ${pushAt} s ${arrives ? "arrives" : "is lost"}`, () => {
    const { world, device, server } = scene("cellular-12s", {}, { answers });
    device.say(server.address, "request");
    world.run(pushAt * 1_000);
    server.say(server.source, "push");
    world.run("1 s");
    assert.equal(device.texts.includes("push"), arrives);
  });
}

test("N14 aws-nlb + linux-home: after 120 s the client reaches target B, and a push from A is dropped by its NAT", () => {
  const world = new World({ seed: 14, start: 0 });
  const nat = world.nat("linux-home");
  const front = world.balancer("aws-nlb", { choose: "round-robin" });
  const device = new Talker(world.host("device", { behind: nat }), 5_683);
  const a = new Talker(world.host("a", { behind: front }), 5_684);
  const b = new Talker(world.host("b", { behind: front }), 5_684);
  const address = { host: front.address, port: 5_684 };
  device.say(address, "1");
  world.run("100 s");
  device.say(address, "2");
  world.run("1 s");
  assert.deepEqual([a.texts, b.texts], [["1", "2"], []]);
  a.say(a.source, "push inside the flow");
  world.run("1 s");
  assert.deepEqual(device.sources, [`${front.address}:5684`], "with the balancer's address");
  world.run("121 s");
  device.say(address, "3");
  world.run("1 s");
  assert.deepEqual(b.texts, ["3"]);
  a.say(a.source, "push from A");
  b.say(b.source, "push from B");
  world.run("1 s");
  assert.deepEqual(device.texts, ["push inside the flow", "push from B"]);
  assert.equal(nat.counts.wrongSource, 1);
});

for (const mtu of [1_280, 576, 127]) {
  for (const tooBig of ["drop", "report"] as const) {
    test(`N15 mtu ${mtu}, ${tooBig}: a larger datagram ${tooBig === "drop" ? "vanishes silently" : "comes back as fragmentation needed"}`, () => {
      const { world, device, server } = scene("linux-home", {}, { link: { mtu, tooBig } });
      const errors: unknown[] = [];
      const probe = device.host.attach(6_000, device.mouth, {
        onIcmp: (error) => errors.push(error),
      });
      const fits = "f".repeat(mtu - 28);
      probe.feed({ type: "say", to: server.address, text: fits });
      probe.feed({ type: "say", to: server.address, text: `${fits}!` });
      world.run("1 s");
      assert.deepEqual(server.texts, [fits]);
      const expected = tooBig === "drop" ? [] : [{ kind: "fragmentation-needed", mtu }];
      assert.deepEqual(errors, expected);
      assert.equal(world.counts.dropped["too-big"], 1);
    });
  }
}

for (const kind of ALL) {
  test(`N16 ${kind}: an outbound ICMP error passes and prolongs nothing`, () => {
    const { world, nat, device, server } = scene(kind, { inboundRefresh: false });
    nat.outer?.set({ inboundRefresh: false });
    device.say(server.address);
    world.run("5 s");
    const lives = (): number[] =>
      [nat, nat.outer].flatMap((box) => box?.mappings.map(({ expires }) => expires) ?? []);
    const before = lives();
    device.node.close();
    server.say(server.source, "to a closed port");
    world.run("1 s");
    assert.equal(world.counts.icmp.delivered, 1);
    // The push made the flow two-way, but a box that is not refreshed inwards keeps its time.
    assert.deepEqual(lives(), before);
  });

  if (kind !== "rfc4787" && kind !== "port-overload") {
    test(`N16 ${kind}: a rejected inbound packet prolongs nothing`, () => {
      const { world, nat, device, server, third } = scene(kind);
      device.say(server.address);
      world.run("5 s");
      const before = nat.mappings[0]?.expires;
      third.say(server.source, "from a stranger");
      world.run("1 s");
      assert.deepEqual(device.texts, []);
      assert.equal(nat.mappings[0]?.expires, before);
      assert.equal((nat.outer ?? nat).counts.wrongSource, 1);
    });
  }
}

for (const [hairpin, source] of [
  ["external", "outside"],
  ["internal", "inside"],
  ["none", "nobody"],
] as const) {
  test(`N17 rfc4787, hairpin ${hairpin}: an inside neighbour is seen from ${source}`, () => {
    const { world, nat, device, server } = scene("rfc4787", { hairpin });
    const twin = new Talker(world.host("twin", { behind: nat }), 5_684);
    twin.say(server.address);
    world.run("1 s");
    device.say(server.source, "over the wall");
    world.run("1 s");
    const seen = { outside: `${nat.address}:5683`, inside: `${device.host.address}:5683` };
    assert.equal(twin.source, source === "nobody" ? "nobody" : seen[source]);
    assert.equal(nat.link.up.entered.datagrams, 1, "it never left the box");
  });
}

for (const kind of ALL) {
  test(`N18 ${kind}: the same seed gives the same trace, another seed another`, () => {
    const play = (seed: number): string => {
      const { world, nat, device, server } = scene(kind, {}, { seed, answers: true });
      nat.link.set({ loss: 0.2, jitter: 30, duplicate: 0.1 });
      for (let i = 0; i < 50; i++) {
        device.say(server.address, `${i}`);
        world.run("7 s");
      }
      return world.traceHash();
    };
    assert.equal(play(5), play(5));
    assert.notEqual(play(5), play(6));
  });
}

test("N19 delay, jitter and reordering belong to each link, with or without a NAT, in virtual time", () => {
  const link = { delay: 100, jitter: 20, reorder: { probability: 0.1, delay: 500, jitter: 500 } };
  for (const behindNat of [true, false]) {
    const world = new World({ seed: 19, start: 0 });
    const behind = behindNat ? { behind: world.nat("linux-home") } : {};
    const device = new Talker(world.host("device", { ...behind, link: { up: link } }), 5_683);
    const server = new Talker(world.host("server", { link: { delay: 0 } }), 5_683);
    for (let i = 0; i < 500; i++) {
      device.say(server.address, `${i}`);
      world.run("10 ms");
    }
    world.run("2 s");
    const late = server.mouth.heard.map(({ at, text }) => at - Number(text) * 10);
    assert.equal(late.length, 500);
    assert.ok(late.every((ms) => ms >= 100 && ms <= 1_120));
    const overtaken = late.filter((ms) => ms >= 600).length;
    assert.ok(overtaken > 25 && overtaken < 80, `${overtaken} of 500`);
    assert.ok(
      late.every((ms) => ms < 131 || ms >= 600),
      "jitter alone stays in its bounds",
    );
  }
});

test("N20 double-nat: killing only the outer mapping changes the outer port, only the inner changes the inner one", () => {
  const { world, nat, device, server } = scene("double-nat");
  const outer = nat.outer!; // double-nat has one
  nat.set({ ports: "random" });
  const seen = (): { inner: number | undefined; outer: string } => {
    device.say(server.address);
    world.run("1 s");
    return { inner: nat.mappings[0]?.external.port, outer: server.source };
  };
  const first = seen();
  outer.clear();
  const second = seen();
  assert.equal(second.inner, first.inner);
  assert.notEqual(second.outer, first.outer);
  nat.clear();
  const third = seen();
  assert.notEqual(third.inner, second.inner);
});

test("N20 double-nat: where the inner timer dies first, the inner port stays and the outer is new", () => {
  const { world, nat, device, server } = scene("double-nat");
  device.say(server.address);
  world.run("40 s"); // the home box forgets after 30 s, the carrier's after 65 s
  device.say(server.address);
  world.run("30 s");
  assert.equal(server.sources[1], server.sources[0], "the outer mapping still lived");
  world.run("40 s");
  device.say(server.address);
  world.run("1 s");
  assert.notEqual(server.sources[2], server.sources[0]);
  assert.equal(nat.mappings[0]?.external.port, 5_683);
});

test("every case of the sweep keeps its timer, and its event does what it says", () => {
  const cases = natSweep();
  assert.equal(cases.length, 7 * 2 * 2 * 3);
  for (const { name, settings, event } of cases) {
    const { world, nat, device, server } = scene(settings);
    device.say(server.address);
    world.run(settings.oneWay - 1_000);
    server.say(server.source, "in time");
    world.run("1 s");
    assert.deepEqual(device.texts, ["in time"], name);
    const before = server.source;
    if (event === "new-address") nat.renumber();
    if (event === "restart") nat.reboot();
    if (event === "none") world.run(settings.twoWay);
    server.say(before, "too late");
    device.say(server.address);
    world.run("1 s");
    assert.deepEqual(device.texts, ["in time"], name);
    const same = settings.ports === "preserve" && event !== "new-address";
    assert.equal(server.source === before, same, name);
  }
});

type Scene = {
  world: World;
  nat: Nat;
  device: Talker;
  server: Talker;
  /** Another host. */
  third: Talker;
  /** Another port of the server's host. */
  otherPort: Talker;
};

function scene(
  kind: Kind | NatSettings,
  overrides: Partial<NatSettings> = {},
  options: { seed?: number; answers?: boolean; link?: LinkOptions } = {},
): Scene {
  const world = new World({ seed: options.seed ?? 1, start: 0 });
  const nat = world.nat(kind, { ...overrides, link: options.link ?? {} });
  const device = new Talker(world.host("device", { behind: nat }), 5_683);
  const host = world.host("server");
  const server = new Talker(host, 5_684, { answers: options.answers ?? false });
  const otherPort = new Talker(host, 5_999);
  const third = new Talker(world.host("third"), 5_684);
  return { world, nat, device, server, third, otherPort };
}

test("a preset takes overrides and leaves the rest", () => {
  assert.deepEqual(natPreset("azure-5g", { oneWay: 1 }), { ...natPreset("azure-5g"), oneWay: 1 });
});
