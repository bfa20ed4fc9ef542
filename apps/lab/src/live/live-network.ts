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
  readonly #speed: number;
  readonly #ports: PublicPorts;
  readonly #pace: Pace;

  constructor(options: LiveNetworkOptions) {
    const { server, nat, natSettings = {}, seed = 1, speed = 1 } = options;
    this.world = new World({ seed });
    this.nat = this.world.nat(nat, natSettings);
    this.#speed = speed;
    const outlet = this.world
      .host("server", { link: { delay: 0 } })
      .attach(COAP_PORT, new Outlet(), {
        onOutput: ({ from, bytes }) => void this.#ports.send(from, bytes),
      });
    this.server = outlet.address;
    this.#pace = new Pace(this.world, systemClock(), options);
    this.#ports = new PublicPorts(server, (to, bytes) => {
      this.#pace.advance();
      outlet.feed({ type: "answer", to, bytes });
    });
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
    await this.#ports.close();
  }
}

const COAP_PORT = 5_683;
