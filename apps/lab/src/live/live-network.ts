// Devices of a simulated world that speak with a real server:
//
//   device ── NAT ── outlet │ one loopback socket per public address ── real server
//   └────── simulated ──────┘ └──────────────── real ────────────────────────────┘
//
// The world runs by the real clock. What the server sends to a public port whose mapping is gone comes into the world
// there, and the NAT drops it in silence, as NATs do.

import type { SocketAddress } from "@godwit/base";
import { systemClock } from "@godwit/io";
import {
  World,
  type Nat,
  type NatOptions,
  type NatPresetName,
  type NatSettings,
} from "@godwit/netsim";
import { Outlet } from "./outlet.ts";
import { Pace, type PaceOptions } from "./pace.ts";
import { PublicPorts } from "./public-ports.ts";

export type LiveNetworkOptions = PaceOptions & {
  /** The real server, on loopback. */
  readonly server: SocketAddress;
  /** Where it speaks DTLS, on loopback too. */
  readonly secureServer: SocketAddress;
  readonly nat: NatPresetName;
  readonly natSettings?: NatOptions & Partial<NatSettings>;
  readonly seed?: number;
};

/** What a NAT knows of a device at this moment. */
export type MappingState = {
  readonly mapping: "open" | "forgotten";
  /** Real ms until it is forgotten; 0 when it is. */
  readonly closesIn: number;
};

export class LiveNetwork {
  readonly world: World;
  readonly nat: Nat;
  /** Where devices of this world find the server. */
  readonly server: SocketAddress;
  readonly secureServer: SocketAddress;
  readonly #speed: number;
  readonly #ports: readonly PublicPorts[];
  readonly #pace: Pace;

  constructor(options: LiveNetworkOptions) {
    const { server, secureServer, nat, natSettings = {}, seed = 1, speed = 1 } = options;
    this.world = new World({ seed });
    this.nat = this.world.nat(nat, natSettings);
    this.#speed = speed;
    const host = this.world.host("server", { link: { delay: 0 } });
    this.#pace = new Pace(this.world, systemClock(), options);
    const outlet = (port: number, outside: SocketAddress): Way => {
      const node = host.attach(port, new Outlet(), {
        onOutput: ({ from, bytes }) => void ports.send(from, bytes),
      });
      const ports = new PublicPorts(outside, (to, bytes) => {
        this.#pace.advance();
        node.feed({ type: "answer", to, bytes });
      });
      return { inside: node.address, ports };
    };
    const [plain, secure] = [outlet(COAP_PORT, server), outlet(COAPS_PORT, secureServer)];
    this.server = plain.inside;
    this.secureServer = secure.inside;
    this.#ports = [plain.ports, secure.ports];
  }

  /** What the NAT knows of the device at this inside address. */
  mappingOf(internal: SocketAddress): MappingState {
    const found = this.nat.mappings.find(
      (one) => one.internal.host === internal.host && one.internal.port === internal.port,
    );
    if (found === undefined) return { mapping: "forgotten", closesIn: 0 };
    return { mapping: "open", closesIn: (found.expires - this.world.now) / this.#speed };
  }

  async close(): Promise<void> {
    this.#pace.stop();
    await Promise.all(this.#ports.map((ports) => ports.close()));
  }
}

/** Where devices find the server, and its sockets outside. */
type Way = { readonly inside: SocketAddress; readonly ports: PublicPorts };

const COAP_PORT = 5_683;
const COAPS_PORT = 5_684;
