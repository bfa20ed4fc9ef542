import type { SocketAddress } from "@godwit/base";
import {
  ServerStack,
  type ServerStackInput,
  type ServerStackOutput,
  type ServerTuning,
} from "@godwit/lwm2m";
import type { Node, World } from "@godwit/netsim";

/** A server in a simulated world. What it stores is durable at once. */
export class SimulatedServer {
  readonly #node: Node<ServerStackInput, ServerStackOutput>;

  constructor(world: World, tuning: Partial<ServerTuning>) {
    const stack = new ServerStack({ rng: world.rng("server"), server: tuning, now: world.now });
    this.#node = world
      .host("server", { link: { delay: 0 } })
      .attach<ServerStackInput, ServerStackOutput>(COAP_PORT, stack, {
        onOutput: (output) => {
          if (output.type === "store")
            this.#node.feed({ type: "stored", ticket: output.ticket, ok: true });
        },
      });
  }

  get address(): SocketAddress {
    return this.#node.address;
  }
}

const COAP_PORT = 5_683;
