import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Code, request } from "@godwit/coap";
import { oscore } from "@godwit/client";
import type { ServerEvent } from "@godwit/lwm2m";
import { World, type Duration } from "@godwit/netsim";
import { SimulatedDevice, type DeviceEvent, type SimulatedDeviceOptions } from "./device.ts";
import { SimulatedServer } from "./server.ts";
import { Values } from "./values.ts";

// Observations under OSCORE: notifications are bound to the keys of the Observe, and go wherever the device is.

const ENDPOINT = "sensor";
const PATH = "/3303/0/5700";
const SECRET = "0102030405060708090a0b0c0d0e0f10";

class Observed {
  readonly world = new World({ seed: 5 });
  readonly nat = this.world.nat("linux-random");
  readonly server: SimulatedServer;
  readonly device: SimulatedDevice;
  readonly heard: ServerEvent[] = [];
  readonly said: DeviceEvent[] = [];
  made = 0;

  constructor({
    open = false,
    ...options
  }: Partial<SimulatedDeviceOptions> & { open?: boolean } = {}) {
    const onEvent = (event: ServerEvent): void => void this.heard.push(event);
    this.server = new SimulatedServer(this.world, {}, { onEvent });
    const ids = { senderId: "43", recipientId: "53" };
    this.server.addCredential({
      kind: "oscore",
      endpoint: ENDPOINT,
      senderId: hex(ids.recipientId),
      recipientId: hex(ids.senderId),
      masterSecret: hex(SECRET),
      derivation: "negotiated",
    });
    this.device = new SimulatedDevice(this.world, this.server.address, {
      endpoint: ENDPOINT,
      values: new Values({ "/3/0/9": 87, [PATH]: 20 }),
      ...(!open && { behind: this.nat }),
      security: oscore({ ...ids, masterSecret: SECRET, derivation: "negotiated" }),
      coap: { emptyToken: true },
      client: { server: { 1: 86_400 } },
      onEvent: (event) => void this.said.push(event),
      ...options,
    });
    this.device.start();
    this.world.run("5 s");
    this.observe();
    this.world.run("5 s");
  }

  observe(owner = "user"): void {
    const { server } = this.server.stack;
    this.server.feed({
      type: "operate",
      id: server.operationId(),
      endpoint: ENDPOINT,
      kind: "observe",
      path: PATH,
      request: request(Code.GET, { path: PATH, observe: 0 }),
      expiresAt: this.world.now + 86_400_000,
      owner,
    });
  }

  /** Another reading every `period`, for as long. */
  measure(period: number, span: Duration): void {
    let running = true;
    const tick = (): void => {
      if (!running) return;
      this.made += 1;
      this.device.set(PATH, 20 + this.made);
      this.world.after(period, tick);
    };
    this.world.after(period, tick);
    this.world.run(span);
    running = false;
    this.world.run("2 s"); // what is on its way
  }

  /** Readings that arrived, each once. */
  get arrived(): number {
    const values = this.heard.flatMap((event) =>
      event.type === "notification" ? [new TextDecoder().decode(event.response.payload)] : [],
    );
    return new Set(values.filter((value) => Number(value) > 20)).size;
  }

  get state(): string {
    const [view] = this.server.stack.server.observationsOf(ENDPOINT, this.world.now);
    return `${view?.state}, ${this.device.stack.client.observed.length} on the device`;
  }
}

test("OSCORE: a reading each 10 minutes for 3 days arrives behind a NAT that gives another port each time", () => {
  const pair = new Observed();
  pair.measure(600_000, "3 days");
  assert.ok(pair.made >= 431);
  assert.ok(pair.arrived >= pair.made * 0.95, `${pair.arrived} of ${pair.made}`);
  assert.equal(pair.state, "active, 1 on the device");
  const updates = pair.said.filter(({ type }) => type === "updated").length;
  assert.ok(updates < 10, `the session follows its device: ${updates} Updates`);
});

test("RFC 8613 B.2: new keys in mid-observation lead to a new Observe, and nearly every reading arrives", () => {
  for (const open of [false, true]) {
    // The device makes new keys after some 20 messages, with the next request of its own.
    const pair = new Observed({
      oscore: { renewAt: 20 / 2 ** 23 },
      client: { server: { 1: 600 } },
      open,
    });
    pair.measure(60_000, "91 minutes");
    assert.ok(pair.made >= 90);
    assert.ok(pair.arrived >= pair.made * 0.95, `${pair.arrived} of ${pair.made}`);
    const why = pair.heard.filter(
      (event) => event.type === "observation" && event.reason.includes("new keys"),
    );
    assert.ok(why.length >= 2, `keys were new ${why.length} times`);
    assert.equal(pair.state, "active, 1 on the device");
    assert.equal(pair.said.filter(({ type }) => type === "registered").length, 1);
  }
});

test("RFC 8613 B.1.3: after a restart of either end, also the second one, what was observed is observed again", () => {
  const pair = new Observed();
  for (const who of ["server", "device", "server", "server", "device"] as const) {
    if (who === "server") {
      pair.server.restart();
      pair.device.update();
    } else pair.device.reboot({ kept: true });
    pair.world.run("1 minute");
    pair.measure(30_000, "2 minutes");
    assert.equal(pair.state, "active, 1 on the device", who);
  }
  assert.ok(pair.arrived >= pair.made * 0.95, `${pair.arrived} of ${pair.made}`);
});

test("OSCORE: an outage around the daily confirmable notification ends nothing", () => {
  const pair = new Observed({ client: { server: { 1: 604_800 } } });
  pair.world.run("1430 minutes");
  pair.server.host.link.set({ cut: true });
  pair.measure(60_000, "20 minutes");
  pair.server.host.link.set({ cut: false });
  pair.world.run("30 minutes");
  const before = pair.arrived;
  pair.measure(60_000, "1 day");
  assert.ok(pair.arrived - before >= 1_400, `${pair.arrived - before} a day`);
});

test("OSCORE: another owner joins; asked again in vain, the observation is asked for anew and goes on", () => {
  const pair = new Observed();
  pair.observe("chart");
  pair.world.run("5 s");
  pair.measure(10_000, "1 minute");
  assert.equal(pair.arrived, pair.made);
  pair.server.host.link.set({ cut: true });
  pair.observe("table");
  pair.world.run("2 minutes");
  pair.server.host.link.set({ cut: false });
  pair.device.update();
  pair.world.run("10 s");
  const before = pair.arrived;
  pair.measure(10_000, "1 minute");
  assert.ok(pair.arrived - before >= 5);
  assert.equal(pair.state, "active, 1 on the device");
});

test("OSCORE: the server restarts and the NAT reboots at another address at once: the next reading is confirmable, and brings a registration", () => {
  for (const period of [32_000, 10_000]) {
    const pair = new Observed();
    pair.measure(period, "10 minutes");
    assert.equal(pair.arrived, pair.made);
    pair.server.restart();
    pair.nat.renumber();
    pair.measure(period, "6 minutes");
    const before = pair.made - pair.arrived;
    // After a silence each reading asks for an ACK; where there is none, one in 5 minutes does.
    assert.ok(period === 10_000 || before === 0, `${before} lost`);
    pair.measure(period, "10 minutes");
    assert.equal(pair.made - pair.arrived, before, "and none after that");
    assert.equal(pair.state, "active, 1 on the device");
  }
});
