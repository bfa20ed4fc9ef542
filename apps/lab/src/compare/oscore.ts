// OSCORE over UDP. There is no handshake: the first registration negotiates a context on the way (RFC 8613 B.2), and a
// device that keeps it needs nothing else ever again. No keep-alive is compared: the session outlives every mapping.

import { hex, toHex } from "@godwit/base";
import { oscore as oscoreSecurity } from "@godwit/client";
import { World } from "@godwit/netsim";
import { SimulatedDevice, type SimulatedDeviceOptions } from "../simulation/device.ts";
import { SimulatedServer } from "../simulation/server.ts";
import { coapName } from "./datagram-name.ts";
import { EXAMPLE, exampleValues, publishedBytes } from "./published.ts";
import { Recorder } from "./recorder.ts";
import type { NamedDatagram, Row, Settings, Step } from "./row.ts";

export function oscore(): readonly Row[] {
  const ours = setUp(OURS);
  const rows = [
    ...registerAndUpdate("published", setUp(PUBLISHED)),
    ...registerAndUpdate("defaults", ours),
  ];
  return [...rows, registerAgain(ours)];
}

function registerAndUpdate(settings: Settings, { world, device, recorder }: Stage): readonly Row[] {
  const register = recorder.during(() => {
    device.start();
    world.run(SETTLED);
  });
  const update = recorder.during(() => {
    device.update();
    world.run(SETTLED);
  });
  return [row("register", settings, register), row("update", settings, update)];
}

/** The device restarts with its context, but not with its registration. */
function registerAgain({ world, device, recorder }: Stage): Row {
  const restart = recorder.during(() => {
    device.reboot({ kept: "credentials" });
    world.run(SETTLED);
  });
  return row("register", "kept", restart);
}

function row(step: Step, settings: Settings, datagrams: readonly NamedDatagram[]): Row {
  const bytes = datagrams.reduce((sum, datagram) => sum + datagram.bytes, 0);
  const published = publishedBytes("oscore", step);
  return { strategy: "oscore", step, settings, datagrams, bytes, published };
}

type Play = {
  readonly locationLength: number;
  readonly device: Pick<SimulatedDeviceOptions, "client" | "coap" | "oscore">;
};

type Stage = {
  readonly world: World;
  readonly device: SimulatedDevice;
  readonly recorder: Recorder;
};

function setUp({ locationLength, device: how }: Play): Stage {
  const world = new World({ seed: 1 });
  const server = new SimulatedServer(world, { boundLocationLength: locationLength });
  const { endpoint } = EXAMPLE;
  server.addCredential({
    kind: "oscore",
    endpoint,
    senderId: SERVER_ID,
    recipientId: DEVICE_ID,
    masterSecret: SECRET,
    masterSalt: undefined,
    idContext: undefined,
    aead: undefined,
    hkdf: undefined,
    derivation: "negotiated",
  });
  const device = new SimulatedDevice(world, server.address, {
    endpoint,
    values: exampleValues(),
    versions: EXAMPLE.versions,
    behind: world.nat("azure-5g"),
    link: { delay: 0 },
    security: oscoreSecurity({
      senderId: toHex(DEVICE_ID),
      recipientId: toHex(SERVER_ID),
      masterSecret: toHex(SECRET),
    }),
    ...how,
  });
  return { world, device, recorder: new Recorder(device.host, coapName) };
}

/** The article's registration, in both requests that Appendix B.2 takes. */
const EXAMPLE_CLIENT = {
  server: { 1: EXAMPLE.seconds },
  verbose: true,
  versionOnInstance: true,
} as const;
const PUBLISHED: Play = {
  locationLength: EXAMPLE.locationLength,
  device: { client: EXAMPLE_CLIENT, oscore: { firstRequest: "application" } },
};
/** The same registration; but not spent on the request that is refused in any case. */
const OURS: Play = {
  locationLength: 1,
  device: { client: EXAMPLE_CLIENT, coap: { emptyToken: true } },
};
const SECRET = hex("0102030405060708090a0b0c0d0e0f10");
const SERVER_ID = hex("53");
const DEVICE_ID = hex("43");
const SETTLED = "1 s";
