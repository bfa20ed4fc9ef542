// Plain CoAP over UDP. Registering costs one exchange; after that the session lives as long as the NAT's mapping
// does, so a device that wants to be reached says something before each mapping ends.

import { World, type Nat } from "@godwit/netsim";
import type { ClientOptions } from "@godwit/lwm2m";
import { SimulatedDevice } from "../simulation/device.ts";
import { SimulatedServer } from "../simulation/server.ts";
import { coapName } from "./datagram-name.ts";
import { EXAMPLE, exampleValues, publishedBytes } from "./published.ts";
import { Recorder } from "./recorder.ts";
import type { NamedDatagram, Row, Settings, Step } from "./row.ts";

export function udp(): readonly Row[] {
  return [...asPublished(), ...byDefault(), withStateKept()];
}

/** Its Update is its keep-alive: one exchange in each lifetime, which is as long as the NAT's memory. */
function asPublished(): readonly Row[] {
  const stage = setUp({
    locationLength: EXAMPLE.locationLength,
    // It forgets an instant after the next Update has passed.
    nat: { oneWay: EXAMPLE.seconds * 1_000, twoWay: EXAMPLE.seconds * 1_000 },
    client: {
      server: { 1: EXAMPLE.seconds },
      verbose: true,
      versionOnInstance: true,
      tuning: { updateMargin: 1, updateJitter: 0 },
    },
  });
  return registerAndUpdate("published", stage);
}

function byDefault(): readonly Row[] {
  return registerAndUpdate("defaults", setUp(OURS));
}

/** The device restarts and knows where it is registered: it need not register again. */
function withStateKept(): Row {
  const { world, device, recorder } = setUp(OURS);
  device.start();
  world.run(SETTLED);
  const restart = recorder.during(() => {
    device.reboot({ kept: true });
    world.run(SETTLED);
  });
  return row("register", "kept", restart);
}

function registerAndUpdate(settings: Settings, { world, device, recorder }: Stage): readonly Row[] {
  const register = recorder.during(() => {
    device.start();
    world.run(SETTLED);
  });
  const update = recorder.during(() => {
    device.update();
    world.run(0);
  });
  const upkeep = recorder.count();
  world.run(HOUR);
  const perHour = upkeep();
  world.run(DAY - HOUR);
  const perDay = upkeep();
  world.run(30 * DAY - DAY);
  const perMonth = upkeep();
  return [
    row("register", settings, register),
    { ...row("update", settings, update), perHour, perDay, perMonth },
  ];
}

function row(step: Step, settings: Settings, datagrams: readonly NamedDatagram[]): Row {
  const bytes = datagrams.reduce((sum, datagram) => sum + datagram.bytes, 0);
  const published = publishedBytes("udp", step);
  return { strategy: "udp", step, settings, datagrams, bytes, published };
}

type Play = {
  readonly locationLength?: number;
  readonly nat: Partial<Nat["settings"]>;
  readonly client: Partial<ClientOptions>;
};

type Stage = {
  readonly world: World;
  readonly device: SimulatedDevice;
  readonly recorder: Recorder;
};

/** Links take no time: how long an exchange takes changes no byte, and the timers are met to the millisecond. */
function setUp({ locationLength, nat, client }: Play): Stage {
  const world = new World({ seed: 1 });
  const server = new SimulatedServer(world, {
    nosec: true,
    ...(locationLength !== undefined && { openLocationLength: locationLength }),
  });
  const device = new SimulatedDevice(world, server.address, {
    endpoint: EXAMPLE.endpoint,
    values: exampleValues(),
    versions: EXAMPLE.versions,
    behind: world.nat("azure-5g", nat),
    link: { delay: 0 },
    client,
  });
  return { world, device, recorder: new Recorder(device.host, coapName) };
}

/** Our defaults, with the keep-alive of the published example; without jitter, so that figures can be compared. */
const OURS: Play = {
  nat: { oneWay: 300_000, twoWay: 300_000 },
  client: { keepAlive: EXAMPLE.seconds, tuning: { keepAliveJitter: 0 } },
};
const SETTLED = "1 s";
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
