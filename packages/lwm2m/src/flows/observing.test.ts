import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, utf8 } from "@godwit/base";
import {
  CON,
  Code,
  OptionNumber,
  RST,
  decodeMessage,
  encodeMessage,
  findUint,
  isRequest,
  uriPath,
  type Message,
} from "@godwit/coap";
import { TABLES } from "@godwit/dtls";
import { World, natPreset } from "@godwit/netsim";
import { pair, type PairOptions, type TestDevice, type TestServer } from "./kit.test.ts";
import { lose, requestsOf } from "./taps.test.ts";

// Observations have owners: whoever drops one by protocol makes the other know, or sets it up again.

const TEMPERATURE = "/3303/0/5700";
const CID = { identity: "dev01", strategy: "cid" } as const;
const RESUME = { identity: "dev01", strategy: "resume" } as const;

function stage(options: PairOptions = {}): {
  readonly world: World;
  readonly server: TestServer;
  readonly device: TestDevice;
} {
  const world = new World({ seed: 11 });
  const { server, device } = pair(world, { lifetime: 86_400, ...options });
  server.observe(device, TEMPERATURE);
  world.run("5 s");
  agree(server, device);
  return { world, server, device };
}

/** What the server believes to be observed is what the device reports. */
function agree(
  server: TestServer,
  device: TestDevice,
  paths: readonly string[] = [TEMPERATURE],
): void {
  assert.deepEqual(
    server.observed(device).toSorted(),
    paths.map((path) => `${path} active`).toSorted(),
  );
  assert.deepEqual(device.observed, paths.toSorted());
}

/** The value is another one; what the server heard because of it. */
function reports(
  { world, server, device }: ReturnType<typeof stage>,
  value: number,
  within: Parameters<World["run"]>[0] = "10 s",
): readonly string[] {
  const before = server.notifications().length;
  device.set(TEMPERATURE, { type: "float", value });
  world.run(within);
  return server.notifications().slice(before);
}

/** The device is off, and the server has found out: what follows waits. */
function goesAway({ world, server, device }: ReturnType<typeof stage>): void {
  device.host.off();
  server.read(device, "/3/0/9"); // in vain
  world.run("5 min");
}

/** Observe requests that reached the device's link, with their tokens. */
function observes(device: TestDevice): Message[] {
  const seen: Message[] = [];
  lose(device.host.link.down, (message) => {
    if (isObserve(message)) seen.push(message);
    return false;
  });
  return seen;
}

function isObserve({ code, options }: Message): boolean {
  return isRequest(code) && findUint(options, OptionNumber.Observe) === 0;
}

test("Register: the device drops all before it, the server wants all again and asks for each after the 2.01", () => {
  const staged = stage();
  const { world, server, device } = staged;
  server.observe(device, "/3/0/9");
  world.run("5 s");
  const order: string[] = [];
  lose(device.host.link.up, (message) => {
    if (uriPath(message.options)[0] === "rd")
      order.push(`Register, observed ${device.observed.length}`);
    return false;
  });
  lose(device.host.link.down, (message) => {
    if (message.code === Code.Created) order.push("2.01");
    if (isObserve(message)) order.push(`Observe /${uriPath(message.options).join("/")}`);
    return false;
  });
  server.remove(device);
  world.run("1 s");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} wanted`, "/3/0/9 wanted"]);
  device.update();
  world.run("10 s");
  assert.deepEqual(order.slice(1), [
    "Register, observed 0",
    "2.01",
    `Observe ${TEMPERATURE}`,
    "Observe /3/0/9",
  ]);
  agree(server, device, [TEMPERATURE, "/3/0/9"]);
  assert.deepEqual(reports(staged, 30), [`${TEMPERATURE} 30`]);
});

test("new address: nothing changes, by a NAT that rebinds or by another socket", () => {
  for (const happens of ["rebound", "socket"] as const) {
    const world = new World({ seed: 12 });
    const nat = world.nat("linux-random");
    const { server, device } = pair(world, { behind: nat, lifetime: 86_400 });
    server.observe(device, TEMPERATURE);
    world.run("5 s");
    const asked = observes(device);
    const registered = device.count("registered");
    nat.clear();
    if (happens === "socket") device.startFrom(56_831);
    else device.update();
    world.run("5 s");
    agree(server, device);
    assert.deepEqual(reports({ world, server, device }, 30), [`${TEMPERATURE} 30`], happens);
    assert.equal(asked.length, 0, happens);
    assert.equal(device.count("registered"), registered, happens);
  }
});

test("new association of the same credential, then Update: both go on with the same token", () => {
  const staged = stage({ security: RESUME });
  const { world, server, device } = staged;
  const tokens = server.coapTokens();
  world.run("1 minute");
  assert.deepEqual(reports(staged, 30), [`${TEMPERATURE} 30`]);
  assert.equal(device.stack.ledger.snapshot().handshakes.resumed, 1);
  assert.deepEqual(server.coapTokens(), tokens);
  agree(server, device);
});

for (const [name, options] of [
  ["udp", {}],
  ["dtls cid", { security: CID }],
  ["dtls resume", { security: RESUME }],
] as const) {
  test(`${name}: a confirmable notification times out with /1/x/6 true: the observation stays, the newest value follows the Update`, () => {
    const staged = stage({ ...options, server: {}, lifetime: 604_800 });
    const { world, server, device } = staged;
    world.run("24 h"); // the next notification is confirmable
    server.host.link.set({ cut: true });
    assert.deepEqual(reports(staged, 31, "2 minutes"), []);
    assert.deepEqual(reports(staged, 32, "5 minutes"), []);
    assert.deepEqual(device.observed, [TEMPERATURE]);
    const registered = device.count("registered");
    const sent = device.host.sent.datagrams;
    server.host.link.set({ cut: false });
    world.run("20 minutes"); // the longest pause between two tries
    assert.ok(device.host.sent.datagrams - sent < 12, "and nothing is said in vain");
    assert.deepEqual(server.notifications().slice(-1), [`${TEMPERATURE} 32`]);
    assert.equal(device.count("registered"), registered);
    agree(server, device);
    assert.deepEqual(reports(staged, 33), [`${TEMPERATURE} 33`]);
  });
}

test("RFC 7641 4.5, /1/x/6 false: a confirmable notification times out: the device drops all and registers at its next contact", () => {
  const staged = stage({ security: CID, lifetime: 604_800 });
  const { world, server, device } = staged;
  device.configure({ 6: false });
  world.run("24 h");
  server.host.link.set({ cut: true });
  assert.deepEqual(reports(staged, 31, "3 minutes"), []);
  assert.deepEqual(device.observed, []);
  server.host.link.set({ cut: false });
  world.run("20 minutes");
  assert.equal(device.count("registered"), 2);
  agree(server, device);
  assert.deepEqual(reports(staged, 32), [`${TEMPERATURE} 32`]);
});

test("what is observed is gone, and the last word of it is lost: the device registers, and the server knows", () => {
  const staged = stage();
  const { world, server, device } = staged;
  server.host.link.set({ cut: true });
  device.values.delete(TEMPERATURE);
  device.changed(TEMPERATURE);
  world.run("3 minutes");
  server.host.link.set({ cut: false });
  world.run("20 minutes");
  assert.deepEqual([server.observed(device), device.observed], [[`${TEMPERATURE} refused`], []]);
});

test("restart of the server, also the second one: it resumes what is active, without a word to the device", () => {
  const staged = stage({ security: CID });
  const { world, server, device } = staged;
  const received = device.host.received.datagrams;
  for (const value of [30, 31, 32]) {
    server.crash("1 minute");
    world.run("2 minutes");
    assert.deepEqual(reports(staged, value), [`${TEMPERATURE} ${value}`]);
    agree(server, device);
  }
  assert.equal(device.host.received.datagrams, received);
});

test("restart of the device without its state: it registers and is observed again; twice", () => {
  const staged = stage();
  const { world, server, device } = staged;
  for (const value of [30, 31]) {
    device.reboot({ kept: false, outage: "1 minute" });
    world.run("2 minutes");
    agree(server, device);
    assert.deepEqual(reports(staged, value), [`${TEMPERATURE} ${value}`]);
  }
});

test("restart of the device: notifications go on above the values of Observe that it used, so that none is taken for old", () => {
  const staged = stage();
  const { world, server, device } = staged;
  for (let value = 0; value < 100; value++) {
    reports(staged, value, "4 s");
    if (value % 10 !== 9) continue;
    device.reboot({ kept: true, outage: "1 s" });
    world.run("3 s");
  }
  const heard = new Set(server.notifications().map((text) => text.split(" ")[1]));
  assert.deepEqual(
    [...heard].map(Number),
    Array.from({ length: 100 }, (_, value) => value),
  );
});

/** A device that forgot what is observed, though it kept its registration: such as one that is none of ours. */
function forget(device: TestDevice): void {
  device.reboot({ kept: true, change: ({ observations: _gone, ...rest }) => rest });
}

test("nothing by dueBy (pmax and 93 s) although the device spoke: the server sends Observe with the same token", () => {
  const staged = stage();
  const { world, server, device } = staged;
  server.writeAttributes(device, "/3303", "pmax=600");
  world.run("15 minutes");
  const asked = observes(device);
  const tokens = server.coapTokens();
  forget(device);
  world.run("1 minute");
  assert.deepEqual([server.observed(device), device.observed], [[`${TEMPERATURE} active`], []]);
  world.run("12 minutes");
  assert.equal(asked.length, 1);
  assert.deepEqual([...asked[0]!.token], tokens[0]);
  agree(server, device);
  assert.deepEqual(reports(staged, 30), [`${TEMPERATURE} 30`]);
});

test("nothing by dueBy: without pmax it is 24 h; a device that does not speak is not asked before it does", () => {
  const staged = stage({ lifetime: 604_800 });
  const { world, server, device } = staged;
  const asked = observes(device);
  forget(device);
  world.run("23 h");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} active`]);
  world.run("2 h");
  assert.deepEqual(
    server.observed(device),
    [`${TEMPERATURE} active`],
    "it spoke after it had reported, and was asked",
  );
  assert.equal(asked.length, 1);
  world.run("25 h");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} silent`]);
  assert.equal(asked.length, 1, "it has not spoken since");
  device.update();
  world.run("10 s");
  assert.equal(asked.length, 2);
  agree(server, device);
});

test("a silent observation: after two tries in vain the event observationSilent, then a try an hour, and all is well once it reports", () => {
  const staged = stage({ lifetime: 300 });
  const { world, server, device } = staged;
  server.writeAttributes(device, TEMPERATURE, "pmax=60");
  world.run("1 minute");
  forget(device);
  const lost = lose(device.host.link.down, isObserve, Number.POSITIVE_INFINITY);
  world.run("30 minutes");
  const silent = server.events.filter(({ type }) => type === "observationSilent");
  assert.equal(silent.length, 1);
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} silent`]);
  const early = lost.dropped();
  assert.ok(early >= 2);
  let waiting = 0;
  for (let minute = 0; minute < 6 * 60; minute++) {
    world.run("1 minute");
    waiting += server.registration(device)?.waitingOperations ?? 0;
  }
  assert.equal(waiting, 0, "nobody has asked for anything");
  assert.ok(lost.dropped() - early <= 6 * 2 * 5, "two transmissions of five an hour at most");
  assert.equal(server.events.filter(({ type }) => type === "observationSilent").length, 1);
  assert.equal(
    server.stack.server
      .observationsOf(device.endpoint, world.now)[0]
      ?.reason.startsWith("nothing was reported by the time it was due; asked again"),
    true,
  );
  lost.stop();
  world.run("70 minutes");
  agree(server, device);
});

test("RFC 7641 3.6: a notification from a new address is answered by RST: the device is asked again once it is known there", () => {
  const world = new World({ seed: 12 });
  const nat = world.nat("linux-random");
  const { server, device } = pair(world, { behind: nat, lifetime: 86_400 });
  server.observe(device, TEMPERATURE);
  world.run("5 s");
  const asked = observes(device);
  const resets: number[] = [];
  device.host.link.down.watch(({ bytes }) => {
    const { type, mid } = decodeMessage(new Uint8Array(bytes), 8);
    if (type === RST) resets.push(mid);
  });
  nat.clear();
  const token = Uint8Array.from(server.coapTokens()[0]!);
  const message = { type: CON, code: Code.Content, mid: 4_711, token, options: [] } as const;
  const bytes = encodeMessage({ ...message, payload: utf8("22") });
  const from = { host: device.host.address, port: 56_830 };
  device.host.inject({ from, to: server.address, bytes }); // as a device does that does not know of its NAT
  world.run("5 s");
  assert.deepEqual(resets, [4_711]);
  assert.equal(asked.length, 0);
  device.update();
  world.run("5 s");
  assert.equal(asked.length, 1);
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} active`]);
});

test("RFC 7252 4.2: a device that rejects each Observe by RST is not asked again before it registers, also over a restart", () => {
  const staged = stage();
  const { world, server, device } = staged;
  const asked = observes(device);
  const rejects = device.host.link.down.tap(({ from, to, bytes }) => {
    const message = decodeMessage(new Uint8Array(bytes), 8);
    if (!isObserve(message)) return "pass";
    const reset = encodeMessage({
      ...message,
      type: RST,
      code: 0,
      token: EMPTY,
      options: [],
      payload: EMPTY,
    });
    device.host.inject({ from: to, to: from, bytes: reset });
    return "drop";
  });
  server.remove(device);
  device.update();
  world.run("1 h");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} refused`]);
  assert.equal(asked.length, 1);
  const [view] = server.stack.server.observationsOf(device.endpoint, world.now);
  assert.match(view?.reason ?? "", /rejects the question \(RST\)/);
  server.crash("10 s");
  device.update();
  world.run("1 h");
  assert.equal(asked.length, 1);
  rejects.remove();
  server.remove(device);
  device.update();
  world.run("10 s");
  agree(server, device);
});

test("4.04 of an instance that vanished: refused, and wanted again when the object list has it", () => {
  const staged = stage();
  const { world, server, device } = staged;
  device.values.delete(TEMPERATURE);
  device.announce([{ id: 3, version: undefined, instances: [0] }]);
  device.changed(TEMPERATURE);
  world.run("10 s");
  assert.deepEqual([server.observed(device), device.observed], [[`${TEMPERATURE} refused`], []]);
  const [view] = server.stack.server.observationsOf(device.endpoint, world.now);
  assert.equal(view?.reason, "the device answered 4.04 NotFound");
  server.crash("10 s");
  world.run("1 minute");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} refused`], "over a restart, too");
  device.values.set(TEMPERATURE, { type: "float", value: 25 });
  device.announce([
    { id: 3, version: undefined, instances: [0] },
    { id: 3303, version: undefined, instances: [0] },
  ]);
  world.run("10 s");
  agree(server, device);
  assert.deepEqual(reports(staged, 30), [`${TEMPERATURE} 30`]);
});

test("4.04 of an instance that vanished is lost with the session under it: the device registers, and both ends agree", () => {
  const world = new World({ seed: 0 });
  const nat = world.nat("rfc4787", { ports: "random" });
  const { server, device } = pair(world, { security: RESUME, behind: nat, lifetime: 3_600 });
  server.observe(device, TEMPERATURE);
  world.run("10 s");
  nat.renumber();
  world.run("5 s");
  device.set(TEMPERATURE, { type: "float", value: 1 });
  world.run("5 s");
  device.values.delete(TEMPERATURE);
  device.announce([{ id: 3, version: undefined, instances: [0] }]);
  device.changed(TEMPERATURE);
  world.run("30 s");
  device.values.set(TEMPERATURE, { type: "float", value: 21 });
  device.announce([
    { id: 3, version: undefined, instances: [0] },
    { id: 3303, version: undefined, instances: [0] },
  ]);
  world.run("15 minutes");
  assert.deepEqual(
    [server.observed(device), device.observed],
    [[`${TEMPERATURE} active`], [TEMPERATURE]],
  );
});

test("RFC 7641 3.6: a notification is answered by RST: the device drops it and registers, at most once a minute", () => {
  const staged = stage();
  const { world, server, device } = staged;
  const forgets = (): void => {
    server.tables.get("observation")?.clear();
    server.crash("1 s");
    world.run("2 s");
    server.read(device, "/3/0/9"); // to a path that was not proven since, no RST goes
    device.update();
    world.run("1 s");
  };
  forgets();
  reports(staged, 30, "3 s");
  assert.deepEqual(device.observed, []);
  assert.equal(device.count("registered"), 2, "at once");
  server.observe(device, TEMPERATURE);
  world.run("2 s");
  forgets();
  reports(staged, 31, "20 s");
  assert.deepEqual(device.observed, []);
  assert.equal(device.count("registered"), 2, "not within a minute");
  world.run("40 s");
  assert.equal(device.count("registered"), 3);
});

test("silence longer than the NAT is known to remember: raw UDP sends an Update first, DTLS without CID resumes, with CID nothing", () => {
  for (const [name, options, updates, resumed] of [
    ["udp", {}, 1, 0],
    ["udp in queue mode", { queueMode: true }, 1, 0],
    ["dtls resume", { security: RESUME }, 1, 1],
    ["dtls cid", { security: CID }, 0, 0],
  ] as const) {
    const world = new World({ seed: 13 });
    const { server, device } = pair(world, {
      ...options,
      behind: world.nat("linux-random"),
      lifetime: 86_400,
    });
    server.observe(device, TEMPERATURE);
    world.run("5 s");
    const updated = device.count("updated");
    world.run("10 s");
    assert.deepEqual(reports({ world, server, device }, 30), [`${TEMPERATURE} 30`], name);
    assert.equal(device.count("updated"), updated, `${name}: not while the NAT remembers`);
    world.run("10 minutes");
    assert.deepEqual(reports({ world, server, device }, 31), [`${TEMPERATURE} 31`], name);
    assert.equal(device.count("updated") - updated, updates, name);
    assert.equal(device.stack.ledger.snapshot().handshakes.resumed, resumed, name);
    agree(server, device);
  }
});

test("a keep-alive that still learns how fast a NAT of 12 s forgets loses no reading", () => {
  for (const seed of [1, 2, 3]) {
    const world = new World({ seed });
    const nat = world.nat(natPreset("linux-random", { oneWay: 10_000, twoWay: 12_000 }));
    const { server, device } = pair(world, { behind: nat, keepAlive: "auto", lifetime: 86_400 });
    server.observe(device, TEMPERATURE);
    world.run("5 s");
    const wanted: string[] = [];
    for (let n = 1; n <= 30; n++) {
      world.run(`${25 + ((7 * n * seed) % 16)} s`);
      device.set(TEMPERATURE, { type: "float", value: n });
      wanted.push(`${TEMPERATURE} ${n}`);
    }
    world.run("30 s");
    const arrived = new Set(server.notifications());
    assert.deepEqual(
      wanted.filter((one) => !arrived.has(one)),
      [],
      `seed ${seed}`,
    );
  }
});

test("a NAT that restarts in the middle of frequent readings: they arrive again within 8 minutes, for one in 5 minutes is confirmable", () => {
  for (const [name, options] of [
    ["udp", {}],
    ["dtls resume", { security: RESUME }],
    ["dtls cid", { security: CID }],
  ] as const) {
    const world = new World({ seed: 17 });
    const nat = world.nat("linux-random");
    const { server, device } = pair(world, { ...options, behind: nat, lifetime: 86_400 });
    server.observe(device, TEMPERATURE);
    world.run("5 s");
    let made = 0;
    const tick = (): void => {
      device.set(TEMPERATURE, { type: "float", value: ++made });
      world.after(10_000, tick);
    };
    tick();
    world.run("1 h");
    const before = server.notifications().length;
    assert.ok(before >= made - 1, `${name}: ${before} of ${made}`);
    nat.renumber();
    world.run(name === "dtls cid" ? "1 minute" : "8 minutes");
    const [lost, then] = [made, server.notifications().length];
    world.run("10 minutes");
    assert.equal(server.notifications().length - then, made - lost, name);
    agree(server, device);
  }
});

test("what keep-alive has learned of the NAT decides when an Update goes before a notification; a fixed interval is believed", () => {
  for (const [keepAlive, silence, updates] of [
    ["off", "26 s", 1],
    [110, "100 s", 0],
  ] as const) {
    const world = new World({ seed: 14 });
    const nat = world.nat("linux-home");
    const { server, device } = pair(world, { behind: nat, lifetime: 86_400, keepAlive });
    server.observe(device, TEMPERATURE);
    world.run("3 minutes");
    device.update();
    world.run("1 s");
    const asked = requestsOf(device);
    world.run(silence);
    reports({ world, server, device }, 30, "3 s");
    assert.equal(asked.length, updates, String(keepAlive));
  }
});

test("RFC 7641 2: an Observe that is answered without Observe fails, and says so; nothing is observed on either end", () => {
  const world = new World({ seed: 15 });
  const { server, device } = pair(world, { tuning: { maxObservations: 1 } });
  server.observe(device, TEMPERATURE);
  const second = server.observe(device, "/3/0/9");
  world.run("5 s");
  const state = second.view?.state;
  assert.match(
    state?.name === "failed" ? state.reason : "",
    /2\.05, and does not observe \/3\/0\/9/,
  );
  agree(server, device);
});

test("an observation that several want is one to the device, and ends with the last of them; also over a restart", () => {
  const staged = stage();
  const { world, server, device } = staged;
  const tokens = server.coapTokens();
  const joined = server.observe(device, TEMPERATURE, "chart");
  world.run("5 s");
  assert.equal(joined.state, "done", "with the value of now");
  assert.deepEqual(server.coapTokens(), tokens);
  agree(server, device);
  const nobody = server.cancelObserve(device, TEMPERATURE, "stranger");
  const first = server.cancelObserve(device, TEMPERATURE);
  world.run("5 s");
  assert.deepEqual([nobody.state, first.state], ["failed", "done"]);
  server.crash("1 s");
  world.run("5 s");
  assert.deepEqual(reports(staged, 30), [`${TEMPERATURE} 30`]);
  server.cancelObserve(device, TEMPERATURE, "chart");
  device.update();
  world.run("5 s");
  assert.deepEqual([server.observed(device), device.observed], [[], []]);
  assert.equal(server.tables.get("observation")?.size, 0, "and nothing is left of it");
});

test("an owner of this run only wants nothing after a restart: the device is told, and a new run may observe again", () => {
  for (const again of [false, true]) {
    const world = new World({ seed: 18 });
    const { server, device } = pair(world, { lifetime: 86_400 });
    server.observe(device, TEMPERATURE, "run:loop 1");
    world.run("5 s");
    server.crash("1 s");
    world.run("1 s");
    assert.deepEqual(server.observed(device), []);
    if (again) server.observe(device, TEMPERATURE, "run:loop 2");
    device.update();
    world.run("10 s");
    agree(server, device, again ? [TEMPERATURE] : []);
    assert.equal(device.count("registered"), 1);
  }
});

test("an owner of this run only wants nothing after a restart: what waits for a device that is gone is gone, too", () => {
  const world = new World({ seed: 18 });
  const { server, device } = pair(world, { lifetime: 86_400 });
  server.observe(device, TEMPERATURE, "run:loop 1");
  world.run("5 s");
  device.deregister();
  world.run("5 s");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} wanted`]);
  server.crash("1 s");
  world.run("2 s");
  assert.deepEqual(server.observed(device), []);
  assert.equal(server.tables.get("observation")?.size, 0);
});

test("an owner of this run only wants nothing after a restart: its order, sent only then, leaves nothing observed", () => {
  const world = new World({ seed: 18 });
  const { server, device } = pair(world, { lifetime: 86_400 });
  device.host.off();
  const order = server.observe(device, TEMPERATURE, "run:loop 1");
  world.run("5 s");
  server.restartWith();
  device.host.on();
  device.update();
  world.run("5 s");
  assert.equal(order.state, "done");
  device.update();
  world.run("5 s");
  agree(server, device, []);
});

test("a limit: as many owners of one observation as it says, and no more", () => {
  const staged = stage({ server: { maxOwnersPerObservation: 2 } });
  const { world, server, device } = staged;
  server.observe(device, TEMPERATURE, "one");
  world.run("2 s");
  const refused = server.observe(device, TEMPERATURE, "two");
  server.observe(device, TEMPERATURE, "one");
  world.run("2 s");
  const said = server.events.findLast(
    (event) => event.type === "operation" && event.operation.id === refused.id,
  );
  const state = said?.type === "operation" ? said.operation.state : undefined;
  assert.equal(state?.name === "failed" && state.reason, "2 others observe this path already");
  agree(server, device);
});

test("an order to observe what waits for its device is shown as wanted, ends with its order, and leaves nothing", () => {
  const world = new World({ seed: 16 });
  const { server, device } = pair(world, { lifetime: 86_400 });
  server.host.link.set({ cut: true });
  const order = server.observe(device, TEMPERATURE);
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} wanted`]);
  world.run("2 s");
  assert.deepEqual(server.observed(device), [`${TEMPERATURE} asking`]);
  world.run("3 minutes");
  assert.deepEqual([order.state, server.observed(device)], ["waiting", [`${TEMPERATURE} wanted`]]);
  world.run("25 h");
  assert.deepEqual([order.state, server.observed(device)], ["expired", []]);
  assert.equal(server.tables.get("observation")?.size, 0);
});

test("two ask for one path while the device is away: when the first gives up, or leaves, the second is served", () => {
  for (const how of ["expires", "cancels", "leaves"] as const) {
    const world = new World({ seed: 12 });
    const { server, device } = pair(world, { lifetime: 86_400 });
    world.run("5 s");
    goesAway({ world, server, device });
    const first = server.observe(
      device,
      TEMPERATURE,
      "first",
      how === "expires" ? "1 min" : "1 day",
    );
    const second = server.observe(device, TEMPERATURE, "second");
    world.run("1 s");
    if (how === "cancels") server.cancel(first);
    if (how === "leaves") server.cancelObserve(device, TEMPERATURE, "first");
    world.run("2 min");
    assert.equal(server.observed(device).length, 1, how);
    server.restartWith();
    assert.equal(server.observed(device).length, 1, how);
    device.host.on();
    device.reboot({ kept: true });
    world.run("10 min");
    assert.equal(second.state, "done", how);
    agree(server, device);
    device.set(TEMPERATURE, { type: "float", value: 77 });
    world.run("10 s");
    assert.equal(server.notifications().at(-1), `${TEMPERATURE} 77`, how);
    server.cancelObserve(device, TEMPERATURE, "second");
    device.update();
    world.run("10 s");
    agree(server, device, []);
  }
});

test("two ask for one path while the device is away: when both give up nobody is left who wants it", () => {
  const world = new World({ seed: 12 });
  const { server, device } = pair(world, { lifetime: 86_400 });
  world.run("5 s");
  device.host.off();
  const orders = ["first", "second"].map((owner) => server.observe(device, TEMPERATURE, owner));
  world.run("1 s");
  for (const order of orders) server.cancel(order);
  world.run("1 s");
  assert.deepEqual(server.observed(device), []);
  assert.equal(server.tables.get("observation")?.size, 0);
});

test("orders of one path that wait for the device are obeyed in their order, over a restart too: who asks after an end observes", () => {
  for (const restarts of [0, 1, 2])
    for (const [owner, last] of [
      [undefined, undefined],
      ["chart", "chart"],
      ["chart", undefined],
    ]) {
      const world = new World({ seed: 13 });
      const { server, device } = pair(world, { lifetime: 86_400 });
      world.run("5 s");
      goesAway({ world, server, device });
      server.observe(device, TEMPERATURE, owner);
      server.cancelObserve(device, TEMPERATURE, owner);
      const wanted = server.observe(device, TEMPERATURE, last);
      world.run("1 s");
      for (let n = 0; n < restarts; n++) server.restartWith();
      device.host.on();
      device.reboot({ kept: true });
      world.run("10 min");
      assert.equal(wanted.state, "done");
      agree(server, device);
      server.cancelObserve(device, TEMPERATURE, last);
      device.update();
      world.run("10 s");
      agree(server, device, []);
    }
});

test("the end of an observation that one run wanted, still waiting at a restart, ends nobody else's", () => {
  const world = new World({ seed: 14 });
  const { server, device } = pair(world, { lifetime: 86_400 });
  server.observe(device, TEMPERATURE);
  server.observe(device, TEMPERATURE, "run:page 1");
  world.run("5 s");
  goesAway({ world, server, device });
  const end = server.cancelObserve(device, TEMPERATURE, "run:page 1");
  world.run("1 s");
  assert.equal(end.state, "waiting");
  server.restartWith();
  device.host.on();
  device.reboot({ kept: true });
  world.run("10 min");
  assert.equal(end.state, "failed", "this owner wants nothing any more");
  agree(server, device);
});

test("a directory that is put back, twice from one copy: what it has as observed is asked for again, and no number is given out twice", () => {
  const { world, server, device } = stage();
  const copy = server.copy();
  const numbers: number[] = [];
  for (let life = 0; life < 3; life++) {
    if (life > 0) server.putBack(copy);
    device.update();
    world.run("10 s");
    agree(server, device);
    const order = server.cancelObserve(device, TEMPERATURE);
    device.update();
    world.run("10 s");
    assert.equal(order.state, "done");
    agree(server, device, []);
    numbers.push(order.id, server.stack.server.operationId());
  }
  assert.equal(new Set(numbers).size, numbers.length);
});

test("a server that was put back to before a session with a Connection ID has the readings again within the hour", () => {
  const world = new World({ seed: 15 });
  const { server, device } = pair(world, { lifetime: 86_400, security: CID });
  server.observe(device, TEMPERATURE);
  world.run("5 s");
  agree(server, device);
  const { tables } = server;
  tables.delete(TABLES.association);
  server.restartWith(new Map([...tables].map(([table, rows]) => [table, new Map(rows)])));
  let value = 0;
  const heard = (): number => server.notifications().length;
  const before = heard();
  for (let minute = 0; minute < 70 && heard() === before; minute++) {
    device.set(TEMPERATURE, { type: "float", value: ++value });
    world.run("1 minute");
  }
  assert.ok(heard() > before, "within the hour");
  agree(server, device);
});
