import type { Host, Sighting } from "@godwit/netsim";
import type { NamedDatagram, Upkeep } from "./row.ts";

/** Writes down what crosses a device's link: message by message, or counted over long spans. */
export class Recorder {
  readonly #host: Host;
  readonly #name: (datagram: Uint8Array) => string;
  #datagrams: NamedDatagram[] = [];
  #stop: (() => void) | undefined;

  constructor(device: Host, name: (datagram: Uint8Array) => string) {
    this.#host = device;
    this.#name = name;
  }

  /** The datagrams that cross while `play` runs. */
  during(play: () => void): readonly NamedDatagram[] {
    this.#datagrams = [];
    this.#stop = this.#host.link.watch((sighting) => this.#add(sighting));
    try {
      play();
    } finally {
      this.#stop();
    }
    return this.#datagrams;
  }

  /** A count of what crosses from now on; each call of what it returns tells how much it was so far. */
  count(): () => Upkeep {
    const { sent, received } = this.#host;
    return () => {
      const { sent: up, received: down } = this.#host;
      const packets = up.datagrams - sent.datagrams;
      return {
        packets,
        datagrams: packets + down.datagrams - received.datagrams,
        bytes: up.bytes - sent.bytes + down.bytes - received.bytes,
      };
    };
  }

  #add({ direction, bytes, icmp }: Sighting): void {
    if (icmp !== undefined) return;
    const from = direction === "up" ? "client" : "server";
    this.#datagrams.push({ from, name: this.#name(bytes), bytes: bytes.length });
  }
}
