import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng, utf8 } from "@godwit/base";
import { CON, Code, OptionNumber, encodeMessage, request } from "@godwit/coap";
import { oscore } from "@godwit/client";
import { executeRequest, isFinal, parseNodePath, type ServerEvent } from "@godwit/lwm2m";
import { World, type Host, type Nat } from "@godwit/netsim";
import { SimulatedDevice, type DeviceEvent } from "./device.ts";
import { SimulatedServer } from "./server.ts";
import { Values } from "./values.ts";

// Behind a NAT with few ports a device stands where another one stood, whatever the two speak. Sessions of OSCORE travel in the
// sessions of plain UDP, by their paths: they must not go along when a registration without security changes its own.

const PATH = "/3303/0/5700";
const SECRET = "0102030405060708090a0b0c0d0e0f10";
const READINGS = 12;

class Fleet {
  readonly world: World;
  readonly server: SimulatedServer;
  readonly devices: SimulatedDevice[] = [];
  readonly arrived = new Map<string, Set<number>>();
  readonly registered = new Map<string, number>();
  readonly ended = new Map<number, string>();
  readonly stranger: Host;
  readonly #nat: Nat;
  readonly #enrolled: string[] = [];

  constructor(seed: number, ways: readonly ("plain" | "queue" | "oscore")[]) {
    this.world = new World({ seed });
    this.stranger = this.world.host("stranger");
    const nat = this.world.nat("linux-random", {
      oneWay: 10_000,
      twoWay: 15_000,
      portRange: [50_000, 50_000 + ways.length],
    });
    this.#nat = nat;
    const onEvent = (event: ServerEvent): void => this.#heard(event);
    this.server = new SimulatedServer(this.world, { nosec: true }, { onEvent });
    for (const [i, way] of ways.entries()) {
      const endpoint = `${way}-${i}`;
      const ids = { senderId: `1${i}`, recipientId: `2${i}` };
      if (way === "oscore")
        this.server.addCredential({
          kind: "oscore",
          endpoint,
          senderId: hex(ids.recipientId),
          recipientId: hex(ids.senderId),
          masterSecret: hex(SECRET),
          derivation: "negotiated",
        });
      const device = new SimulatedDevice(this.world, this.server.address, {
        endpoint,
        values: new Values({ "/3/0/9": 87, [PATH]: 0 }),
        behind: nat,
        ...(way === "oscore" && {
          security: oscore({ ...ids, masterSecret: SECRET, derivation: "negotiated" }),
        }),
        client: { server: { 1: 86_400 }, queueMode: way === "queue" },
        onEvent: ({ type }: DeviceEvent) => {
          if (type === "registered") this.#count(endpoint);
        },
      });
      this.devices.push(device);
      device.start();
      this.world.run("3 s");
      this.#operate(endpoint, "observe", PATH);
      this.world.run("1 s");
    }
  }

  /** A reading of each device, and an order for each a second after it. */
  round(value: number): void {
    for (const device of this.devices) device.set(PATH, value);
    this.world.run("1 s");
    for (const { endpoint } of this.devices) this.#operate(endpoint, "execute", "/3/0/4");
    this.world.run("8 s");
  }

  /** The device speaks from another address. */
  leave(device: SimulatedDevice): void {
    this.#nat.clear();
    device.update();
  }

  registrations(endpoint: string): number {
    return this.#enrolled.filter((one) => one === endpoint).length;
  }

  /** What has not arrived, and who registered more often than once. */
  get wrong(): readonly string[] {
    return this.devices.flatMap(({ endpoint }) => {
      const has = this.arrived.get(endpoint);
      const missing = Array.from({ length: READINGS }, (_, i) => i + 1).filter((n) => !has?.has(n));
      return missing.length === 0 ? [] : [`${endpoint} lacks ${missing.join()}`];
    });
  }

  get unanswered(): readonly string[] {
    return [...this.ended].flatMap(([id, state]) => (state === "done" ? [] : [`${id} ${state}`]));
  }

  #operate(endpoint: string, kind: "observe" | "execute", path: string): void {
    const { server } = this.server.stack;
    const id = server.operationId();
    this.ended.set(id, "waiting");
    this.server.feed({
      type: "operate",
      id,
      endpoint,
      kind,
      path,
      request:
        kind === "observe"
          ? request(Code.GET, { path, observe: 0 })
          : executeRequest(parseNodePath(path)),
      expiresAt: this.world.now + 86_400_000,
      ...(kind === "observe" && { owner: "user" }),
    });
  }

  #count(endpoint: string): void {
    this.registered.set(endpoint, (this.registered.get(endpoint) ?? 0) + 1);
  }

  #heard(event: ServerEvent): void {
    if (event.type === "registered") this.#enrolled.push(event.registration.endpoint);
    if (event.type === "operation" && isFinal(event.operation.state))
      this.ended.set(event.operation.id, event.operation.state.name);
    if (event.type !== "notification") return;
    const values = this.arrived.get(event.endpoint) ?? new Set<number>();
    this.arrived.set(event.endpoint, values);
    values.add(Number(new TextDecoder().decode(event.response.payload)));
  }
}

for (const restarts of [false, true])
  test(`F6: plain UDP, queue mode and OSCORE change their addresses among each other: no reading and no order is lost${restarts ? ", though the server dies now and then" : ""}`, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const fleet = new Fleet(seed, ["plain", "oscore", "queue", "oscore", "plain"]);
      const rng = seededRng(seed);
      for (let value = 1; value <= READINGS; value++) {
        fleet.world.run(22_000 + Math.floor(rng.float() * 15_000));
        if (restarts && value % 4 === 0) fleet.server.restart();
        fleet.world.run("4 s");
        fleet.round(value);
      }
      for (let i = 0; i < 3; i++) {
        fleet.world.run("20 s");
        for (const device of fleet.devices) device.update();
      }
      fleet.world.run("5 s");
      assert.deepEqual(fleet.wrong, [], `seed ${seed}`);
      assert.deepEqual(fleet.unanswered, [], `seed ${seed}`);
      if (!restarts)
        assert.deepEqual(
          [...fleet.registered.values()],
          fleet.devices.map(() => 1),
          `seed ${seed}`,
        );
    }
  });

test("a Register from an address that a device under OSCORE leaves at that moment is obeyed once, though it arrives twice", () => {
  let moved = 0;
  for (const [seed, gap] of [0, 1, 5, 20, 60, 0, 1, 5, 20, 60].entries()) {
    const fleet = new Fleet(seed, ["oscore"]);
    const { world, server } = fleet;
    const [device] = fleet.devices;
    assert.ok(device);
    const path = server.stack.pathOf(
      server.stack.server.registration(device.endpoint, world.now)!.session,
    );
    assert.ok(path);
    // From the address that the device has, as the NAT could give it to another one.
    const register = (): void =>
      fleet.stranger.inject({ from: path.remote, to: server.address, bytes: REGISTER });
    register();
    world.run(gap);
    fleet.leave(device);
    world.run("100 ms");
    register(); // what the network brings twice
    world.run("2 s");
    assert.equal(fleet.registrations("newcomer"), 1, `${gap} ms`);
    const registration = server.stack.server.registration(device.endpoint, world.now);
    assert.ok(registration);
    if (server.stack.pathOf(registration.session)?.remote.port !== path.remote.port) moved += 1;
  }
  assert.ok(moved >= 3, String(moved)); // the NAT has two ports to give
});

const REGISTER = encodeMessage({
  type: CON,
  code: Code.POST,
  mid: 4_711,
  token: Uint8Array.of(7),
  options: [
    { number: OptionNumber.UriPath, value: utf8("rd") },
    { number: OptionNumber.ContentFormat, value: Uint8Array.of(40) },
    ...["ep=newcomer", "lt=300", "lwm2m=1.1", "b=U"].map((query) => {
      return { number: OptionNumber.UriQuery, value: utf8(query) };
    }),
  ],
  payload: utf8("</3/0>"),
});
