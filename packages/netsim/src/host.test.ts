import assert from "node:assert/strict";
import { test } from "node:test";
import {
  TimerTable,
  UsageError,
  utf8,
  type DatagramEvent,
  type Instant,
  type Machine,
} from "@godwit/base";
import { Mouth, Talker } from "./kit.test.ts";
import { World } from "./world.ts";

/** Ticks every `every` ms and says so. */
class Ticker implements Machine<DatagramEvent, { readonly type: "tick"; readonly at: Instant }> {
  readonly nows: Instant[] = [];
  readonly #every: number;
  readonly #timers = new TimerTable<"tick">();
  readonly #out: { readonly type: "tick"; readonly at: Instant }[] = [];

  constructor(every: number, first: Instant = every) {
    this.#every = every;
    this.#timers.set("tick", first);
  }

  get wakeAt(): Instant | undefined {
    return this.#timers.next;
  }

  handle(_: DatagramEvent, now: Instant): void {
    this.nows.push(now);
  }

  wake(now: Instant): void {
    this.nows.push(now);
    while (this.#timers.expired(now) !== undefined) {
      this.#out.push({ type: "tick", at: now });
      this.#timers.set("tick", now + this.#every);
    }
  }

  poll(): { readonly type: "tick"; readonly at: Instant } | undefined {
    return this.#out.shift();
  }
}

test("a machine is woken at its wakeAt, and its outputs that are no datagrams go to onOutput", () => {
  const world = new World({ seed: 1, start: 0 });
  const ticks: string[] = [];
  world.host("a").attach(1, new Ticker(1_000), {
    onOutput: ({ at }, now) => ticks.push(`${at} ${now} ${world.now}`),
  });
  world.run("3 s");
  assert.deepEqual(ticks, ["1000 1000 1000", "2000 2000 2000", "3000 3000 3000"]);
});

test("a host that is off hears nothing and does not wake; on again, what fell due comes at once", () => {
  const world = new World({ seed: 1, start: 0 });
  const host = world.host("a");
  const ticks: Instant[] = [];
  host.attach(1, new Ticker(1_000), { onOutput: (_, now) => ticks.push(now) });
  const listener = new Talker(host, 2);
  const peer = new Talker(world.host("b"), 2);
  world.run("1500 ms");
  host.off();
  peer.say(listener.address, "lost");
  assert.throws(() => listener.say(peer.address), UsageError);
  world.run("5 s");
  assert.deepEqual([ticks, listener.texts], [[1_000], []]);
  assert.equal(world.counts.dropped["host-off"], 1);
  host.on();
  peer.say(listener.address, "heard");
  world.run("1200 ms");
  assert.deepEqual(ticks, [1_000, 6_500, 7_500]);
  assert.deepEqual(listener.texts, ["heard"]);
});

test("replace: the new machine has the sockets, and its first outputs are sent once the host is on", () => {
  const world = new World({ seed: 1, start: 0 });
  const device = new Talker(world.host("device"), 5_683);
  const server = new Talker(world.host("server"), 5_684);
  const reborn = new Mouth();
  reborn.handle({ type: "say", to: server.address, text: "I am back" }, 0);
  device.host.off();
  device.node.replace(reborn);
  world.run("1 s");
  assert.deepEqual(server.texts, []);
  device.host.on();
  world.run("1 s");
  assert.deepEqual(server.texts, ["I am back"]);
  server.say(server.source, "hello");
  world.run("1 s");
  assert.deepEqual([device.mouth.heard.length, reborn.heard.length], [0, 1]);
});

for (const [name, clock, ticks] of [
  ["an offset", { offset: 500 }, [500, 1_500, 2_500]],
  ["a clock behind", { offset: -1_000 }, [2_000, 3_000]],
  ["a fast clock", { ppm: 1_000_000 }, [500, 1_000, 1_500, 2_000, 2_500, 3_000]],
] as const) {
  test(`clock skew: ${name} moves when the world sees the host wake`, () => {
    const world = new World({ seed: 1, start: 0 });
    const seen: number[] = [];
    const host = world.host("a", { clock });
    host.attach(1, new Ticker(1_000), { onOutput: () => seen.push(world.now) });
    world.run("3 s");
    assert.deepEqual(seen, ticks);
  });
}

test("clock skew: any drift wakes a machine exactly once per deadline, never before it", () => {
  for (let ppm = -300; ppm < 300; ppm += 7.7) {
    const world = new World({ seed: 1, start: 1_700_000_000_000 });
    const host = world.host("a", { clock: { ppm, offset: 0.3 } });
    const ticks: number[] = [];
    const first = host.now + 777;
    const ticker = new Ticker(777, first);
    const node = host.attach(1, ticker, {
      onOutput: ({ at }) => {
        ticks.push(at);
        node.feed({ type: "datagram", path: node.path(node.address), bytes: utf8("at once") });
      },
    });
    world.run("10 minutes");
    assert.ok(
      ticks.every((at, i) => Math.abs(at - (first + 777 * i)) < 1),
      `${ppm}`,
    );
    assert.ok(ticker.nows.every((now, i) => now >= (ticker.nows[i - 1] ?? 0)));
    assert.equal(ticks.length, Math.floor((host.now - first) / 777) + 1, `${ppm}`);
  }
});

test("stepping the clock forward makes due what lies behind it", () => {
  const world = new World({ seed: 1, start: 0 });
  const host = world.host("a");
  const ticks: number[] = [];
  host.attach(1, new Ticker(3_600_000), { onOutput: () => ticks.push(world.now) });
  world.run("1 s");
  host.setClock({ offset: 3_600_000 });
  world.run("1 s");
  assert.deepEqual(ticks, [1_000]);
});

test("a host with several addresses answers from the socket that is bound to the one asked", () => {
  const world = new World({ seed: 1, start: 0 });
  const host = world.host("server", { address: ["198.51.100.7", "2001:db8::7"] });
  const four = new Talker(host, 5_683);
  const six = new Talker(host, 5_683, { address: "2001:db8::7" });
  const peer = new Talker(world.host("peer", { address: ["198.51.100.8", "2001:db8::8"] }), 1);
  const peer6 = new Talker(peer.host, 1, { address: "2001:db8::8" });
  peer.say(four.address, "4");
  peer6.say(six.address, "6");
  world.run("1 s");
  assert.deepEqual([four.sources, six.sources], [["198.51.100.8:1"], ["[2001:db8::8]:1"]]);
});

test("one machine may have several sockets; a path's local end says from which it sends", () => {
  const world = new World({ seed: 1, start: 0 });
  const server = new Talker(world.host("server"), 5_683, { answers: true });
  server.node.bind(5_684);
  const peer = new Talker(world.host("peer"), 9);
  peer.say(server.address);
  peer.say({ ...server.address, port: 5_684 });
  world.run("1 s");
  const { host } = server.address;
  assert.deepEqual(peer.sources, [`${host}:5683`, `${host}:5684`]);
});

test("a socket that is closed hears nothing, and its node goes on with the others", () => {
  const world = new World({ seed: 1, start: 0 });
  const server = new Talker(world.host("server"), 5_683, { answers: true });
  const second = server.node.bind(5_684);
  const peer = new Talker(world.host("peer"), 9);
  server.node.unbind(second);
  assert.throws(() => server.node.unbind(second), UsageError);
  peer.say(second);
  peer.say(server.address);
  world.run("1 s");
  assert.deepEqual(peer.sources, [`${server.address.host}:5683`]);
});

test("without a port a socket gets a free one, and taken ports and addresses are refused", () => {
  const world = new World({ seed: 1, start: 0 });
  const host = world.host("a", { address: "198.51.100.7" });
  host.attach(49_152, new Mouth());
  assert.equal(host.attach(undefined, new Mouth()).address.port, 49_153);
  assert.throws(() => host.attach(49_152, new Mouth()), /port 49152 is taken/);
  assert.throws(() => world.host("b", { address: "198.51.100.7" }), /198.51.100.7 is taken/);
  assert.throws(() => world.host("a"), /a exists/);
  assert.throws(() => world.host("c", { address: "c.example" }), /not an IP address/);
  assert.throws(() => host.attach(1, new Mouth(), { address: "198.51.100.99" }), UsageError);
});

test("a host with all ports in use says so", () => {
  const world = new World({ seed: 1, start: 0 });
  const host = world.host("a");
  for (let port = 49_152; port <= 0xffff; port++) host.attach(port, new Mouth());
  assert.throws(() => host.attach(undefined, new Mouth()), /no port left/);
});

test("sending from an address that is not the host's is our caller's fault; inject is the forger's way", () => {
  const world = new World({ seed: 1, start: 0 });
  const victim = new Talker(world.host("victim"), 5_683);
  const liar = world.host("liar");
  const remote = victim.address;
  const local = { host: "192.0.2.66", port: 7 };
  const machine: Machine<DatagramEvent, DatagramEvent> = {
    handle() {},
    wake() {},
    poll: () => ({ type: "datagram", path: { local, remote }, bytes: utf8("x") }),
    wakeAt: undefined,
  };
  assert.throws(() => liar.attach(7, machine), UsageError);
  liar.inject({ from: local, to: remote, bytes: utf8("forged") });
  world.run("1 s");
  assert.deepEqual(victim.sources, ["192.0.2.66:7"]);
});

test("moving to another network: sockets keep their ports, old addresses are dead, old paths are stale", () => {
  const world = new World({ seed: 1, start: 0 });
  const nat = world.nat("linux-home");
  const device = new Talker(world.host("device"), 5_683);
  const server = new Talker(world.host("server"), 5_684, { answers: true });
  const old = device.address;
  device.host.move({ behind: nat });
  device.say(server.address, "from the new place");
  server.say(old, "to the old place");
  world.run("1 s");
  assert.equal(server.source, `${nat.address}:5683`);
  assert.equal(world.counts.dropped["no-route"], 1);
  assert.notDeepEqual(device.address, old);
  // A machine that still answers from where it was asked.
  const asked = new Mouth(true);
  const node = device.host.attach(7, asked);
  const path = node.path(server.address);
  device.host.move({});
  node.feed({ type: "datagram", path, bytes: utf8("asked before the move") });
  assert.equal(world.counts.dropped["stale-source"], 1);
});

test("a datagram to a closed port comes back as an ICMP error, unless the host is silent", () => {
  for (const icmp of [true, false]) {
    const world = new World({ seed: 1, start: 0 });
    const closed = world.host("closed", { icmp });
    const errors: string[] = [];
    const prober = world.host("prober").attach(9, new Mouth(), {
      onIcmp: ({ kind }, { remote }) => errors.push(`${kind} ${remote.host}:${remote.port}`),
    });
    prober.feed({ type: "say", to: { host: closed.address, port: 7 }, text: "x" });
    world.run("1 s");
    assert.deepEqual(errors, icmp ? [`port-unreachable ${closed.address}:7`] : []);
    assert.equal(world.counts.dropped["no-socket"], 1);
  }
});

test("onOutput may feed its own node and others", () => {
  const world = new World({ seed: 1, start: 0 });
  const sink = new Talker(world.host("sink"), 1);
  const relay = new Mouth();
  const node = world.host("relay").attach(1, relay, {
    onOutput: ({ text }) => {
      if (text === "once") node.feed({ type: "say", to: sink.address, text: `${text} again` });
    },
  });
  sink.say(node.address, "once");
  world.run("1 s");
  assert.deepEqual(sink.texts, ["once again"]);
});

test("a machine may reuse its buffer and change what it was given: no one else sees it", () => {
  const world = new World({ seed: 1, start: 0 });
  const server = new Talker(world.host("server", { link: { down: { duplicate: 1 } } }), 1);
  const bytes = utf8("abc");
  const device = world.host("device");
  device.inject({ from: { host: device.address, port: 1 }, to: server.address, bytes });
  bytes.fill(0);
  world.run("1 s");
  assert.deepEqual(server.texts, ["abc", "abc"]);
  const seen: number[] = [];
  const eraser: Machine<DatagramEvent, DatagramEvent> = {
    handle: ({ bytes: given }) => {
      seen.push(given[0] ?? 0);
      given.fill(0);
    },
    wake() {},
    poll: () => undefined,
    wakeAt: undefined,
  };
  const node = server.host.attach(2, eraser);
  device.inject({ from: { host: device.address, port: 1 }, to: node.address, bytes: utf8("abc") });
  world.run("1 s");
  assert.deepEqual(seen, [97, 97]);
});
