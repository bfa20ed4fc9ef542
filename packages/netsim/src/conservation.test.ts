// Whatever the network does to datagrams: none appears from nowhere, none is lost without a reason, and none
// comes to a host it was not addressed to.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatAddress } from "@godwit/base";
import { Talker } from "./kit.test.ts";
import { natPreset, type NatPresetName } from "./nat-presets.ts";
import { World } from "./world.ts";

const KINDS: readonly NatPresetName[] = [
  "rfc4787",
  "linux-home",
  "linux-random",
  "cgn-block",
  "cellular-12s",
  "azure-5g",
  "no-inbound-refresh",
  "port-overload",
];

const link = fc.record({
  loss: fc.constantFrom(0, 0, 0.2),
  duplicate: fc.constantFrom(0, 0.3),
  jitter: fc.constantFrom(0, 50),
  reorder: fc.constantFrom(null, { probability: 0.2, delay: 100, jitter: 400 }),
  burst: fc.constantFrom(null, { enter: 0.1, leave: 0.3, loss: 0.9 }),
  bandwidth: fc.constantFrom(Infinity, 10_000),
  maxQueueDelay: fc.constantFrom(50, 5_000),
  mtu: fc.constantFrom(Infinity, 60),
  tooBig: fc.constantFrom("drop" as const, "report" as const),
});

const step = fc.record({
  who: fc.nat(2),
  what: fc.constantFrom(
    "say",
    "say",
    "say",
    "answer",
    "answer",
    "restart",
    "renumber",
    "power",
    "hold",
  ),
  wait: fc.constantFrom(0, 1, 30, 5_000, 40_000, 200_000),
});

const scenario = fc.record({
  seed: fc.integer(),
  kind: fc.constantFrom(...KINDS),
  links: fc.array(link, { minLength: 5, maxLength: 5 }),
  steps: fc.array(step, { maxLength: 60 }),
});

test("sent + duplicated = delivered + dropped + in flight, at every step, and nothing goes astray", () => {
  fc.assert(
    fc.property(scenario, ({ seed, kind, links, steps }) => {
      const { world, check, act } = play(seed, kind, links);
      for (const { who, what, wait } of steps) {
        act(who, what);
        check();
        world.run(wait);
        check();
      }
    }),
    { numRuns: 150 },
  );
});

test("equal scenarios leave equal traces", () => {
  fc.assert(
    fc.property(scenario, ({ seed, kind, links, steps }) => {
      const hash = (): string => {
        const { world, act } = play(seed, kind, links);
        for (const { who, what, wait } of steps) {
          act(who, what);
          world.run(wait);
        }
        return world.traceHash();
      };
      assert.equal(hash(), hash());
    }),
    { numRuns: 30 },
  );
});

type Played = { world: World; check: () => void; act: (who: number, what: string) => void };

function play(
  seed: number,
  kind: NatPresetName,
  links: readonly (typeof link extends fc.Arbitrary<infer L> ? L : never)[],
): Played {
  const world = new World({ seed, start: 0 });
  const nat = world.nat(natPreset(kind, { maxEntries: 4 }), { link: links[0]! }); // five are made
  const devices = [1, 2, 3].map(
    (i) => new Talker(world.host(`device-${i}`, { behind: nat, link: links[i]! }), 5_683), // five are made
  );
  const server = new Talker(world.host("server", { link: links[4]! }), 5_684); // five are made
  // Each text names the public end it is for; the box must own it and map it to whoever gets it.
  for (const device of devices) {
    device.host.link.down.watch(({ to }) => assert.equal(to.host, device.host.address));
  }
  nat.link.down.watch(({ to, bytes }) => {
    if (bytes.length > 0) assert.equal(String.fromCharCode(...bytes), formatAddress(to));
  });
  server.host.link.down.watch(({ to, bytes, from }) => {
    assert.equal(formatAddress(to), formatAddress(server.address));
    if (bytes.length > 0)
      assert.notEqual(from.host.split(".")[0], "10", "an inside address got out");
  });
  const tap = nat.link.up.tap(() => (holding ? "hold" : "pass"));
  let holding = false;
  return {
    world,
    act(who, what) {
      const device = devices[who]!; // 0-2
      if (what === "say" && device.host.isOn)
        device.say(server.address, "to the server".repeat(1 + who));
      else if (what === "answer" && server.sources.length > 0)
        server.say(server.source, server.source);
      else if (what === "restart") nat.reboot(100);
      else if (what === "renumber") nat.renumber();
      else if (what === "power") device.host[device.host.isOn ? "off" : "on"]();
      else if (what === "hold") {
        holding = !holding;
        if (!holding) tap.release();
      }
    },
    check() {
      const { sent, duplicated, delivered, inFlight, dropped } = world.counts;
      const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
      assert.equal(sent + duplicated, delivered + lost + inFlight);
      assert.ok(nat.mappings.length <= 4);
      const heard = [...devices, server].reduce((sum, { texts }) => sum + texts.length, 0);
      assert.equal(heard, delivered);
    },
  };
}
