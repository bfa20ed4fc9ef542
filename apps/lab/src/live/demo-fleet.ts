import { hex, type SocketAddress } from "@godwit/base";
import { oscore } from "@godwit/client";
import type { ClientDtlsOptions, ClientOptions, Credential } from "@godwit/lwm2m";
import { SimulatedDevice } from "../simulation/device.ts";
import { Values } from "../simulation/values.ts";
import { LiveNetwork, type MappingState } from "./live-network.ts";
import type { PaceOptions } from "./pace.ts";

/**
 * Six thermometers behind a NAT that forgets after 30 s: one keeps its mapping open, one sleeps between Updates, one
 * does neither, and neither do those with secured sessions: OSCORE, DTLS with Connection ID, DTLS that is resumed.
 * `speed` makes their time run faster than ours.
 */
export class DemoFleet {
  readonly #network: LiveNetwork;
  readonly #devices: readonly SimulatedDevice[];

  constructor(
    options: PaceOptions & {
      readonly server: SocketAddress;
      readonly secureServer: SocketAddress;
      readonly seed?: number;
    },
  ) {
    const network = new LiveNetwork({
      ...options,
      nat: "linux-random",
      // No stream timer: whatever was said, the mapping lives 30 s.
      natSettings: { oneWay: MAPPING, twoWay: MAPPING, streamAfter: 0 },
    });
    this.#network = network;
    this.#devices = FLEET.map(({ endpoint, client, dtls }, place) => {
      const values = new Values({
        "/3/0/0": "Godwit",
        "/3/0/1": "Simulated thermometer",
        "/3/0/2": `000${place + 1}`,
        "/3/0/9": 100,
        "/3/0/11/0": 0,
        "/3/0/16": "U",
        "/3303/0/5700": 20 + place,
        "/3303/0/5701": "Cel",
      });
      const device = new SimulatedDevice(
        network.world,
        dtls ? network.secureServer : network.server,
        {
          endpoint,
          values,
          behind: network.nat,
          client,
          ...(endpoint === PROTECTED && { security: SECURITY, coap: { emptyToken: true } }),
          ...(dtls !== undefined && { dtls: { ...dtls, credentials: pskOf(endpoint) } }),
        },
      );
      this.#live(device);
      return device;
    });
  }

  /** What the server must know of them. */
  get credentials(): readonly Credential[] {
    return [
      {
        kind: "oscore",
        endpoint: PROTECTED,
        senderId: hex(SERVER_ID),
        recipientId: hex(DEVICE_ID),
        masterSecret: hex(SECRET),
        derivation: "negotiated",
      },
      ...FLEET.filter(({ dtls }) => dtls !== undefined).map(({ endpoint }) => ({
        ...pskOf(endpoint),
        endpoint,
      })),
    ];
  }

  get endpoints(): readonly string[] {
    return this.#devices.map(({ endpoint }) => endpoint);
  }

  start(): void {
    for (const device of this.#devices) device.start();
  }

  /** What the NAT knows of each device, by endpoint name. */
  simulation(): Readonly<Record<string, MappingState>> {
    return Object.fromEntries(
      this.#devices.map(({ endpoint, address }) => [endpoint, this.#network.mappingOf(address)]),
    );
  }

  async close(): Promise<void> {
    await this.#network.close();
  }

  /** Its temperature drifts, and its battery empties. */
  #live(device: SimulatedDevice): void {
    const { world } = this.#network;
    const weather = world.rng(`weather of ${device.endpoint}`);
    let celsius = 18 + 6 * weather.float();
    const turn = (): void => {
      celsius += (21 - celsius) / 50 + (weather.float() - 0.5) / 2;
      device.set("/3303/0/5700", Math.round(celsius * 100) / 100);
      world.after(WEATHER, turn);
    };
    world.after(WEATHER, turn);
  }
}

const PROTECTED = "demo-oscore";
/** Of a demonstration on one machine: these are no secrets. */
const SECRET = "476f6477697420666c79696e67206172";
const DEVICE_ID = "01";
const SERVER_ID = "02";
const SECURITY = oscore({ senderId: DEVICE_ID, recipientId: SERVER_ID, masterSecret: SECRET });
/** What each of them does about the NAT. */
const FLEET: readonly {
  readonly endpoint: string;
  readonly client: Partial<ClientOptions>;
  readonly dtls?: Omit<ClientDtlsOptions, "credentials" | "stored" | "sealer">;
}[] = [
  // 25 s holds a mapping of 30 s.
  { endpoint: "demo-keep-alive", client: { keepAlive: 25, server: { 1: 300 } } },
  // An Update at half the lifetime; then it listens for 10 s.
  {
    endpoint: "demo-queue-mode",
    client: { queueMode: true, server: { 1: 120 }, tuning: { awakeWindow: 10_000 } },
  },
  { endpoint: "demo-no-keep-alive", client: { server: { 1: 180 } } },
  { endpoint: PROTECTED, client: { server: { 1: 180 } } },
  {
    endpoint: "demo-dtls-cid",
    client: { server: { 1: 180 } },
    dtls: { connectionId: new Uint8Array(0) },
  },
  // One unanswered message is enough: in this NAT it means that the way is gone.
  {
    endpoint: "demo-dtls-resume",
    client: { server: { 1: 180 } },
    dtls: { ladder: { unanswered: 1 } },
  },
];
function pskOf(identity: string): { kind: "psk"; identity: string; key: Uint8Array } {
  return { kind: "psk", identity, key: hex(SECRET) };
}

const MAPPING = 30_000;
const WEATHER = 5_000;
