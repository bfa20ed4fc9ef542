import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, toHex, utf8 } from "@godwit/base";
import { Code, OptionNumber, request, uintOption, withOption } from "@godwit/coap";
import { oscore } from "@godwit/client";
import type { Credential, OperationKind, ServerEvent } from "@godwit/lwm2m";
import { World, type Access, type LinkOptions, type Nat } from "@godwit/netsim";
import { SimulatedDevice, type DeviceEvent, type SimulatedDeviceOptions } from "./device.ts";
import { SimulatedServer } from "./server.ts";
import { Values } from "./values.ts";

// A device under OSCORE and its server: what a NAT, a network, restarts and others do to the session between them.

const ENDPOINT = "sensor";
const SECRET = "0102030405060708090a0b0c0d0e0f10";

class Pair {
  readonly world: World;
  readonly nat: Nat;
  readonly server: SimulatedServer;
  readonly device: SimulatedDevice;
  readonly heard: ServerEvent[] = [];
  readonly said: DeviceEvent[] = [];
  /** Orders obeyed that must not be obeyed twice. */
  executions = 0;
  /** What happens as one is obeyed. */
  onExecute: () => void = () => {};

  constructor(how: PairOptions = {}) {
    const { seed = 1, preset = "linux-random", derivation = "negotiated", link = {} } = how;
    this.world = new World({ seed });
    this.nat = this.world.nat(preset);
    this.server = new SimulatedServer(
      this.world,
      {},
      { onEvent: (event) => void this.heard.push(event) },
    );
    this.server.addCredential(credential(derivation));
    this.device = new SimulatedDevice(this.world, this.server.address, {
      endpoint: ENDPOINT,
      values: new Values({
        "/3/0/9": 87,
        "/3303/0/5700": 21.5,
        "/3303/0/5701": "C".repeat(how.text ?? 3),
      }),
      ...(how.behind !== "open" && { behind: how.behind ?? this.nat }),
      link: { delay: 20, ...link },
      security: oscore({ senderId: "43", recipientId: "53", masterSecret: SECRET, derivation }),
      coap: { emptyToken: true, ...how.coap },
      client: { server: { 1: how.lifetime ?? 300 }, ...how.client },
      onEvent: (event) => void this.said.push(event),
    });
    const perform = this.device.values.perform.bind(this.device.values);
    this.device.values.perform = (operation) => {
      if (operation.type === "execute") {
        this.executions += 1;
        this.onExecute();
      }
      return perform(operation);
    };
    this.device.start();
    this.world.run("5 s");
    assert.equal(this.count("registered"), 1);
  }

  count(type: DeviceEvent["type"]): number {
    return this.said.filter((event) => event.type === type).length;
  }

  get session(): number | undefined {
    return this.server.stack.server.registration(ENDPOINT, this.world.now)?.session;
  }

  /** What an order comes to. */
  order(kind: OperationKind, path: string, observe = false): () => string {
    const id = this.server.stack.server.operationId();
    const code = kind === "execute" ? Code.POST : Code.GET;
    const plain = request(code, { path });
    const asked = observe
      ? { ...plain, options: withOption(plain.options, uintOption(OptionNumber.Observe, 0)) }
      : plain;
    const expiresAt = this.world.now + 24 * 3_600_000;
    this.server.feed({
      type: "operate",
      id,
      endpoint: ENDPOINT,
      kind,
      path,
      request: asked,
      expiresAt,
    });
    return () => {
      const state = this.server.stack.server.operation(id)?.state;
      return state?.name === "done" ? toHex(state.response.payload) : (state?.name ?? "gone");
    };
  }

  /** Datagrams that crossed the device's link while `play` ran. */
  during(play: () => void): number {
    const before = this.device.host.sent.datagrams + this.device.host.received.datagrams;
    play();
    return this.device.host.sent.datagrams + this.device.host.received.datagrams - before;
  }
}

type PairOptions = {
  readonly seed?: number;
  readonly preset?: Parameters<World["nat"]>[0];
  readonly behind?: Access | "open";
  readonly link?: LinkOptions;
  readonly derivation?: "fixed" | "negotiated" | "both";
  readonly lifetime?: number;
  readonly text?: number;
  readonly coap?: SimulatedDeviceOptions["coap"];
  readonly client?: SimulatedDeviceOptions["client"];
};

function credential(derivation: "fixed" | "negotiated" | "both"): Credential {
  return {
    kind: "oscore",
    endpoint: ENDPOINT,
    senderId: hex("53"),
    recipientId: hex("43"),
    masterSecret: hex(SECRET),
    masterSalt: undefined,
    idContext: undefined,
    aead: undefined,
    hkdf: undefined,
    derivation,
  };
}

test("a credential that is added once more as it is keeps its session and its numbers", () => {
  for (const derivation of ["negotiated", "fixed", "both"] as const) {
    const pair = new Pair({ derivation });
    const { session } = pair;
    pair.server.addCredential(credential(derivation));
    pair.server.restart();
    pair.server.addCredential(credential(derivation));
    pair.world.run("1 s");
    const datagrams = pair.during(() => {
      pair.device.update();
      pair.world.run("20 s");
    });
    assert.equal(datagrams, 2, `${derivation}: the store knows that the Update is new`);
    assert.equal(pair.session, session, derivation);
    assert.equal(pair.count("registered"), 1, derivation);
  }
});

test("a credential that is replaced: orders wait, over a restart too, until the device has the new one", () => {
  const pair = new Pair();
  const other = { ...credential("negotiated"), masterSecret: hex(SECRET.replaceAll("0", "f")) };
  pair.server.addCredential(other as Credential);
  pair.world.run("1 s");
  const orders = [pair.order("read", "/3/0/9")];
  pair.world.run("1 minute");
  pair.server.restart();
  orders.push(pair.order("read", "/3303/0/5701"));
  pair.world.run("1 minute");
  pair.server.addCredential(credential("negotiated"));
  pair.world.run("1 s");
  pair.device.update();
  pair.world.run("10 minutes");
  assert.deepEqual(
    orders.map((order) => order()),
    ["3837", "434343"],
  );
});

test("F1, F4: after the mapping expired, or under another address, an Update and its answer are all it takes", () => {
  for (const happens of ["nothing", "renumber"] as const) {
    const pair = new Pair();
    const { session } = pair;
    pair.world.run("3 minutes");
    assert.equal(pair.nat.mappings.length, 0);
    if (happens === "renumber") pair.nat.renumber();
    const datagrams = pair.during(() => {
      pair.device.update();
      pair.world.run("5 s");
    });
    assert.equal(datagrams, 2);
    assert.equal(pair.session, session);
    assert.equal(pair.count("registered"), 1);
    assert.ok(pair.server.stack.ledgerOf(session ?? 0).addressChanges === 1);
  }
});

test("the session's ledger has every byte of its registration, Appendix B.2 included", () => {
  const pair = new Pair();
  pair.world.run("10 s");
  const ledger = pair.server.stack.ledgerOf(pair.session ?? 0).snapshot();
  const { sent, received } = pair.device.host;
  assert.deepEqual([ledger.in.total, ledger.out.total], [sent.bytes, received.bytes]);
  assert.ok(ledger.in.bytes.record > 2 * 8, "two tags and two options");
});

test("F2: an order that meets a forgotten mapping waits for the device's next word", () => {
  const pair = new Pair();
  pair.world.run("2 minutes");
  const read = pair.order("read", "/3/0/9");
  pair.world.run("5 s");
  assert.notEqual(read(), "3837");
  pair.world.run("10 minutes");
  assert.equal(read(), "3837");
});

test("F5: an expiry with the same port changes nothing", () => {
  const pair = new Pair({ preset: "linux-home" });
  pair.world.run("3 minutes");
  pair.device.update();
  pair.world.run("5 s");
  assert.equal(pair.server.stack.ledgerOf(pair.session ?? 0).addressChanges, 0);
  const read = pair.order("read", "/3/0/9");
  pair.world.run("1 s");
  assert.equal(read(), "3837");
});

test("a request that somebody passes on from another address is answered there, and the device goes on with its server", () => {
  for (const often of [1, Infinity]) {
    const pair = new Pair({ behind: "open" });
    const relay = pair.world.host("relay");
    let relayed = 0;
    pair.server.host.link.up.tap(({ bytes, to }) => {
      if (bytes[0]! >>> 4 !== 4 || relayed === often) return "pass"; // a CON is a request
      relayed += 1;
      relay.inject({ from: { host: relay.address, port: 5_683 }, to, bytes });
      return "drop";
    });
    const observed = pair.order("observe", "/3303/0/5700", true);
    pair.world.run("1 minute");
    const sent = relay.received.datagrams;
    assert.ok(relayed > 0 && sent > 0, "answered by the way it came");
    for (let n = 0; n < 60; n++) {
      pair.device.set("/3303/0/5700", n);
      pair.device.update();
      pair.world.run("20 s");
    }
    assert.notEqual(observed(), "gone");
    assert.equal(pair.count("registered"), 1);
    assert.equal(pair.count("unreachable"), 0);
    assert.equal(relay.received.datagrams, sent, "what the device says itself goes to its server");
  }
});

test("F17: a server killed and back knows that the Update is new, and goes on with the session", () => {
  const pair = new Pair();
  const { session } = pair;
  pair.server.restart();
  assert.equal(pair.session, session);
  const datagrams = pair.during(() => {
    pair.device.update();
    pair.world.run("5 s");
  });
  assert.equal(datagrams, 2); // Update and 2.04
  const after = pair.during(() => {
    pair.device.update();
    pair.world.run("5 s");
  });
  assert.equal(after, 2);
  assert.equal(pair.count("registered"), 1);
  const read = pair.order("read", "/3/0/9");
  pair.world.run("5 s");
  assert.equal(read(), "3837");
});

test("F17: an order given while the server was down is delivered after it, without a word of the device", () => {
  const pair = new Pair();
  pair.server.restart();
  const read = pair.order("read", "/3/0/9");
  pair.world.run("10 s");
  assert.equal(read(), "3837");
});

test("F17: what is observed, and what waits, is asked for after a restart of the server, without a word of the device; twice", () => {
  for (const derivation of ["negotiated", "fixed"] as const) {
    const pair = new Pair({ derivation, behind: "open", lifetime: 86_400 });
    pair.order("observe", "/3303/0/5700", true);
    pair.world.run("5 s");
    for (let n = 0; n < 2; n++) {
      pair.server.host.link.set({ cut: true });
      const read = pair.order("read", "/3/0/9");
      pair.world.run("1 s");
      pair.server.host.link.set({ cut: false });
      pair.server.restart();
      pair.world.run("10 s");
      assert.equal(read(), "3837");
      const [observed] = pair.server.stack.server.observationsOf(ENDPOINT, pair.world.now);
      assert.equal(observed?.state, "active");
      const before = pair.heard.length;
      pair.device.set("/3303/0/5700", 30 + n);
      pair.world.run("5 s");
      assert.ok(pair.heard.slice(before).some(({ type }) => type === "notification"));
    }
  }
});

test("F21: a device that restarts with its state goes on in two datagrams, without it by B.2 in four", () => {
  for (const [kept, datagrams] of [
    [true, 2],
    ["credentials", 2],
    [false, 4],
  ] as const) {
    const pair = new Pair();
    const { session } = pair;
    const needed = pair.during(() => {
      pair.device.reboot({ kept });
      pair.world.run("5 s");
    });
    assert.equal(needed, datagrams, String(kept));
    assert.equal(pair.session, session);
    const read = pair.order("read", "/3/0/9");
    pair.world.run("5 s");
    assert.equal(read(), "3837", String(kept));
  }
});

test("F30: what was recorded is refused from another address, after a restart of the server, too", () => {
  const pair = new Pair();
  const recorded: Uint8Array[] = [];
  pair.device.host.link.watch(({ direction, bytes }) => {
    if (direction === "up") recorded.push(bytes.slice());
  });
  for (let i = 0; i < 3; i++) {
    pair.device.update();
    pair.world.run("5 s");
  }
  assert.equal(recorded.length, 3);
  const attacker = pair.world.host("attacker");
  const replay = (): void => {
    for (const bytes of recorded)
      attacker.inject({
        from: { host: attacker.address, port: 7_000 },
        to: pair.server.address,
        bytes,
      });
    pair.world.run("5 s");
  };
  const { session } = pair;
  const path = pair.server.stack.pathOf(session ?? 0)?.remote;
  const updates = pair.heard.filter(({ type }) => type === "updated").length;
  replay();
  assert.deepEqual(pair.server.stack.pathOf(session ?? 0)?.remote, path);
  pair.server.restart();
  replay();
  assert.equal(pair.heard.filter(({ type }) => type === "updated").length, updates);
  assert.deepEqual(pair.server.stack.pathOf(session ?? 0)?.remote, path);
  pair.device.update();
  pair.world.run("5 s");
  assert.equal(pair.session, session);
});

test("queue mode: an order for a sleeping device waits, and is delivered at its next word", () => {
  const pair = new Pair({
    client: { queueMode: true, tuning: { awakeWindow: 5_000 } },
    lifetime: 600,
  });
  pair.world.run("3 minutes");
  assert.ok(pair.device.asleep);
  const read = pair.order("read", "/3/0/9");
  pair.world.run("10 s");
  assert.equal(read(), "waiting");
  pair.world.run("15 minutes");
  assert.equal(read(), "3837");
});

test("a large resource is read in blocks, each protected for itself", () => {
  const pair = new Pair({ text: 3_000 });
  const read = pair.order("read", "/3303/0/5701");
  pair.world.run("10 s");
  assert.equal(read(), "43".repeat(3_000));
});

test("notifications come over OSCORE, from another address, too, and go on after a restart of either end", () => {
  const pair = new Pair({ lifetime: 120 });
  const observed = pair.order("observe", "/3303/0/5700", true);
  pair.world.run("5 s");
  assert.equal(observed(), toHex(new TextEncoder().encode("21.5")));
  const values = (): number => pair.heard.filter(({ type }) => type === "notification").length;
  const change = (value: number): void => {
    const before = values();
    pair.device.set("/3303/0/5700", value);
    pair.world.run("10 s");
    assert.equal(values(), before + 1, String(value));
  };
  change(22);
  pair.nat.clear();
  change(23);
  change(24);
  pair.server.restart();
  pair.device.update();
  pair.world.run("10 s");
  change(25);
  pair.device.reboot({ kept: true });
  pair.world.run("10 s");
  change(26);
});

test("F3: a NAT that forgets between an order and its answer leads to one execution, whoever restarts meanwhile", () => {
  for (const restarts of ["nobody", "server"] as const) {
    const pair = new Pair({ lifetime: 200 });
    pair.device.host.link.up.dropNext(1);
    const order = pair.order("execute", "/3/0/4");
    pair.world.run("500 ms");
    assert.equal(pair.executions, 1);
    pair.nat.clear();
    if (restarts === "server") pair.server.restart();
    pair.world.run("10 minutes");
    assert.equal(pair.executions, 1, restarts);
    assert.equal(order(), "", restarts);
  }
});

test("F17: an order that was obeyed after an Echo or new keys, and not answered, is not obeyed again by a killed server's next life", () => {
  for (const lost of ["the window", "the keys"] as const) {
    const pair = new Pair({ lifetime: 200 });
    const { device } = pair;
    if (lost === "the keys") device.host.link.up.dropNext(1); // it does not come to speak first
    device.reboot({ kept: true, ...(lost === "the keys" && { records: new Map() }) });
    if (lost === "the window") pair.world.run("10 s");
    pair.onExecute = () => device.host.link.up.dropNext(1);
    const order = pair.order("execute", "/3/0/4");
    pair.world.run("500 ms");
    assert.equal(pair.executions, 1, lost);
    pair.onExecute = () => {};
    pair.server.restart();
    pair.world.run("10 minutes");
    assert.equal(pair.executions, 1, lost);
    assert.equal(order(), "", lost);
  }
});

test("F21: a device that loses power as it obeys, and wants an Echo after it, does not obey again", () => {
  for (const restarts of ["the device", "both"] as const) {
    const pair = new Pair({ lifetime: 1_800 });
    pair.onExecute = () => pair.device.reboot({ kept: true });
    const order = pair.order("execute", "/3/0/4");
    pair.world.run("500 ms");
    pair.onExecute = () => {};
    if (restarts === "both") pair.server.restart();
    pair.device.update();
    pair.world.run("10 minutes");
    assert.equal(pair.executions, 1, restarts);
    const said = "the device restarted before it answered; it may have obeyed";
    assert.equal(order(), toHex(utf8(said)), restarts);
    assert.equal(pair.count("registered"), 1, restarts);
  }
});

test("F9, F11: with loss, reordering and every datagram many times over, what is asked is answered once", () => {
  for (let seed = 1; seed <= 12; seed++) {
    const link = { delay: 20, jitter: 60, loss: 0.15, duplicate: 0.5 };
    const pair = new Pair({ seed, lifetime: 200 });
    pair.device.host.link.set(link);
    for (let round = 0; round < 5; round++) {
      const order = pair.order("execute", "/3/0/4");
      pair.world.run("10 minutes");
      assert.equal(order(), "", `seed ${seed}, round ${round}`);
      assert.equal(pair.executions, round + 1, `seed ${seed}`);
    }
  }
});

test("F10: a message that comes after newer ones from the old address does not move the session back", () => {
  const pair = new Pair();
  const late: Uint8Array[] = [];
  pair.device.host.link.up.tap(({ bytes }) => {
    if (late.length > 0) return "pass";
    late.push(bytes.slice());
    return "drop";
  });
  const [before] = pair.nat.mappings;
  assert.ok(before);
  const from = pair.server.stack.pathOf(pair.session ?? 0)?.remote;
  assert.ok(from);
  pair.device.update(); // lost, kept by the network
  pair.world.run("100 ms");
  pair.nat.clear();
  pair.world.run("10 s"); // sent again by another mapping, and followed
  const now = pair.server.stack.pathOf(pair.session ?? 0)?.remote;
  assert.notDeepEqual(now, from);
  const other = pair.world.host("elsewhere");
  for (const bytes of late)
    other.inject({
      from: { host: other.address, port: from.port },
      to: pair.server.address,
      bytes,
    });
  pair.world.run("1 s");
  assert.deepEqual(pair.server.stack.pathOf(pair.session ?? 0)?.remote, now);
});

test("F12: bits that flip, and ends that are missing or too many, leave the session as it is", () => {
  const pair = new Pair();
  let sent: Uint8Array = new Uint8Array(0);
  pair.device.host.link.watch(({ direction, bytes }) => {
    if (direction === "up") sent = bytes.slice();
  });
  pair.device.update();
  pair.world.run("5 s");
  const updates = (): number => pair.heard.filter(({ type }) => type === "updated").length;
  const before = updates();
  const other = pair.world.host("elsewhere");
  const from = { host: other.address, port: 7_000 };
  const bent = [
    ...Array.from(sent, (_, at) => sent.map((byte, i) => (i === at ? byte ^ 0x10 : byte))),
    ...Array.from(sent, (_, at) => sent.subarray(0, at)),
    Uint8Array.from([...sent, 0]),
  ];
  for (const bytes of bent) other.inject({ from, to: pair.server.address, bytes });
  pair.world.run("5 s");
  assert.equal(updates(), before);
  const datagrams = pair.during(() => {
    pair.device.update();
    pair.world.run("5 s");
  });
  assert.equal(datagrams, 2);
  assert.equal(updates(), before + 1);
});

test("F22: a device put back to an earlier state is refused, and makes itself new keys", () => {
  const pair = new Pair();
  const old = pair.device.records;
  for (let i = 0; i < 300; i++) {
    pair.device.update();
    pair.world.run("1 s");
  }
  pair.device.reboot({ kept: true, records: old });
  pair.world.run("10 s");
  assert.equal(pair.count("unreachable"), 0);
  const read = pair.order("read", "/3/0/9");
  pair.world.run("5 s");
  assert.equal(read(), "3837");
});

test("F22: a device put back to before its notifications, behind a NAT that has moved it, is reached at once", () => {
  for (const derivation of ["negotiated", "fixed", "both"] as const) {
    const pair = new Pair({ derivation, lifetime: 86_400 });
    const old = pair.device.records;
    pair.order("observe", "/3303/0/5700", true);
    for (let n = 0; n < 300; n++) {
      pair.world.run("1 s");
      pair.device.set("/3303/0/5700", n);
    }
    pair.nat.renumber();
    pair.device.reboot({ kept: "credentials", records: old });
    pair.world.run("5 s");
    const read = pair.order("read", "/3/0/9");
    pair.world.run("5 s");
    assert.equal(read(), "3837", derivation);
  }
});

test("F23: a server put back to an earlier state uses no number again: all keys are made anew", () => {
  const pair = new Pair();
  pair.server.restart({ rolledBack: true });
  const datagrams = pair.during(() => {
    pair.device.update();
    pair.world.run("5 s");
  });
  assert.equal(datagrams, 4); // Update, response 1, request 2, 2.04
  const read = pair.order("read", "/3/0/9");
  pair.world.run("5 s");
  assert.equal(read(), "3837");
  pair.server.restart();
  pair.device.update();
  pair.world.run("5 s");
  assert.equal(pair.count("unreachable"), 0);
});

test("F24: a credential that is revoked ends session and registration at once, whatever the device says", () => {
  const pair = new Pair();
  pair.server.removeCredential("oscore:43");
  assert.equal(pair.session, undefined);
  pair.device.update();
  pair.world.run("5 minutes");
  assert.equal(pair.session, undefined);
  assert.equal(pair.count("updated"), 0);
});

test("F32: who copies messages and is faster does not keep the session", () => {
  const pair = new Pair();
  const { session } = pair;
  pair.order("read", "/3/0/9"); // its ACK proves the path
  pair.world.run("5 s");
  const thief = pair.world.host("thief");
  const tap = pair.device.host.link.up.tap(({ bytes }) => {
    const copy = bytes.slice();
    thief.inject({
      from: { host: thief.address, port: 7_000 },
      to: pair.server.address,
      bytes: copy,
    });
    return "pass";
  });
  const path = pair.server.stack.pathOf(session ?? 0)?.remote;
  for (let i = 0; i < 5; i++) {
    pair.device.update();
    pair.world.run("30 s");
    assert.deepEqual(pair.server.stack.pathOf(session ?? 0)?.remote, path);
  }
  tap.remove();
  const read = pair.order("read", "/3/0/9");
  pair.world.run("5 s");
  assert.equal(read(), "3837");
  assert.ok(thief.received.bytes <= 3 * thief.sent.bytes);
});
