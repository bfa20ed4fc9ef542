import { seededRng, type Instant, type Rng } from "@godwit/base";
import { AddressBook, type Endpoint } from "./address-book.ts";
import { EventQueue } from "./event-queue.ts";
import { Packet, type IcmpError } from "./packet.ts";

/** Why a datagram did not arrive. */
export type DropReason =
  | "loss" // a link lost it
  | "burst" // a link was in a bad phase
  | "drop-next" // a test asked for it
  | "tap" // a tap said so
  | "held-full" // a tap held too many
  | "link-down"
  | "too-big" // larger than the link's MTU
  | "queue-full" // waited too long for a slow link
  | "no-route" // nobody owns the address
  | "no-socket" // nobody listens on the port
  | "stale-source" // sent from an address the host has left
  | "host-off"
  | "nat-down"
  | "nat-exhausted" // no public port or no table entry left
  | "nat-no-mapping" // to a public port that no mapping owns
  | "nat-filtered" // from an endpoint the mapping does not admit
  | "nat-no-hairpin"
  | "nat-icmp" // an ICMP error the NAT does not pass
  | "no-target"; // no live host behind the load balancer

/** Datagrams of a whole world: sent + duplicated = delivered + all dropped + inFlight. ICMP errors are counted apart. */
export type WorldCounts = {
  readonly sent: number;
  readonly duplicated: number;
  readonly delivered: number;
  readonly inFlight: number;
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  readonly icmp: {
    readonly sent: number;
    readonly delivered: number;
    readonly dropped: number;
  };
};

/** What all parts of one world share: the clock, the queue, the books. */
export class Core {
  now: Instant;
  readonly seed: number;
  readonly queue: EventQueue = new EventQueue();
  readonly book: AddressBook = new AddressBook();
  readonly trace: Trace = new Trace();
  readonly #dropped = new Map<DropReason, number>();
  /** Datagrams inside links and taps at this moment; they count themselves in and out. */
  inFlight = 0;
  #sent = 0;
  #duplicated = 0;
  #delivered = 0;
  #icmpSent = 0;
  #icmpDelivered = 0;
  #icmpDropped = 0;

  constructor(seed: number, now: Instant) {
    this.seed = seed;
    this.now = now;
  }

  /** A generator of its own for each part, so that one part's draws do not move another's. */
  rng(label: string): Rng {
    let hash = 0x811c_9dc5 ^ this.seed;
    for (let i = 0; i < label.length; i++)
      hash = Math.imul(hash ^ label.charCodeAt(i), 0x0100_0193);
    return seededRng(Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d) ^ this.seed);
  }

  send(source: Endpoint, destination: Endpoint, bytes: Uint8Array): Packet {
    this.#sent++;
    this.trace.event(SENT, this.now, source, destination);
    this.trace.bytes(bytes);
    return new Packet(source, destination, new Uint8Array(bytes));
  }

  /** An ICMP error about `packet`, on its way back. */
  report(packet: Packet, icmp: IcmpError): Packet {
    this.#icmpSent++;
    this.trace.event(ICMP, this.now, packet.destination, packet.source);
    return new Packet(packet.destination, packet.source, NOTHING, icmp);
  }

  duplicate(packet: Packet): Packet {
    if (packet.icmp === undefined) this.#duplicated++;
    else this.#icmpSent++;
    return packet.copy();
  }

  deliver(packet: Packet): void {
    if (packet.icmp === undefined) this.#delivered++;
    else this.#icmpDelivered++;
    this.trace.event(DELIVERED, this.now, packet.source, packet.destination);
  }

  drop(packet: Packet, reason: DropReason): void {
    if (packet.icmp === undefined) this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1);
    else this.#icmpDropped++;
    this.trace.event(DROPPED, this.now, packet.source, packet.destination);
  }

  counts(): WorldCounts {
    return {
      sent: this.#sent,
      duplicated: this.#duplicated,
      delivered: this.#delivered,
      inFlight: this.inFlight,
      dropped: Object.fromEntries(this.#dropped),
      icmp: {
        sent: this.#icmpSent,
        delivered: this.#icmpDelivered,
        dropped: this.#icmpDropped,
      },
    };
  }
}

/** Two 32-bit lanes over everything that happened: equal for equal worlds, different after the first difference. */
export class Trace {
  #a = 0x811c_9dc5 | 0;
  #b = 0x2545_f491 | 0;

  event(kind: number, now: Instant, from: Endpoint, to: Endpoint): void {
    const micros = now * 1_000;
    this.#word(kind);
    this.#word(micros | 0);
    this.#word((micros / 0x1_0000_0000) | 0);
    this.#word(from | 0);
    this.#word(to | 0);
  }

  bytes(bytes: Uint8Array): void {
    this.#word(bytes.length);
    let a = this.#a;
    for (let i = 0; i < bytes.length; i++) a = Math.imul(a ^ bytes[i]!, 0x0100_0193); // below length
    this.#word(a);
  }

  hex(): string {
    const lane = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return lane(this.#a ^ (this.#a >>> 15)) + lane(this.#b ^ (this.#b >>> 13));
  }

  #word(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x0100_0193);
    this.#a ^= this.#a >>> 13;
    this.#b = Math.imul(((this.#b << 5) | (this.#b >>> 27)) ^ word, 0x27d4_eb2f);
  }
}

const NOTHING = new Uint8Array(0);
const SENT = 1;
const DELIVERED = 2;
const DROPPED = 3;
const ICMP = 4;
