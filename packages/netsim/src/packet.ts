import type { Instant } from "@godwit/base";
import type { Endpoint } from "./address-book.ts";
import type { Timed } from "./event-queue.ts";

/** An ICMP error. It travels as a packet of the reverse flow, which is how NATs find the mapping it is about. */
export type IcmpError = {
  readonly kind: "port-unreachable" | "fragmentation-needed";
  /** IP packet size that would have passed, for `fragmentation-needed`. */
  readonly mtu?: number;
};

/** What a packet is inside of while it waits for its instant. */
export interface Carrier {
  leave(packet: Packet): void;
}

/** One UDP datagram, or ICMP error, on its way. NATs rewrite its two ends. */
export class Packet implements Timed {
  at: Instant = 0;
  order = 0;
  place = -1;
  carrier: Carrier | undefined = undefined;
  source: Endpoint;
  destination: Endpoint;
  bytes: Uint8Array;
  readonly icmp: IcmpError | undefined;

  constructor(source: Endpoint, destination: Endpoint, bytes: Uint8Array, icmp?: IcmpError) {
    this.source = source;
    this.destination = destination;
    this.bytes = bytes;
    this.icmp = icmp;
  }

  fire(): void {
    this.carrier?.leave(this);
  }

  copy(): Packet {
    return new Packet(this.source, this.destination, new Uint8Array(this.bytes), this.icmp);
  }
}

/** Takes packets in: a host, a NAT box, a load balancer. */
export interface Receiver {
  accept(packet: Packet): void;
}
