import type { Core } from "./core.ts";
import type { Packet, Receiver } from "./packet.ts";
import { Realm } from "./realm.ts";

/** A place where hosts and NAT boxes can stand: an address space, and addresses for those who name none. */
export class Site {
  readonly realm: Realm;
  readonly #hostPool: AddressPool;
  readonly #natPool: AddressPool;

  constructor(core: Core, kind: "internet" | "inside", gateway?: Receiver) {
    this.realm = new Realm(core, gateway);
    this.#hostPool = kind === "internet" ? PUBLIC_HOSTS : PRIVATE_HOSTS;
    this.#natPool = kind === "internet" ? PUBLIC_NATS : PRIVATE_NATS;
  }

  freeHostAddress(): string {
    return this.#free(this.#hostPool);
  }

  freeNatAddress(): string {
    return this.#free(this.#natPool);
  }

  #free(pool: AddressPool): string {
    let n = this.#given.get(pool) ?? 0;
    while (this.realm.has(pool(n))) n++;
    this.#given.set(pool, n + 1);
    return pool(n);
  }

  readonly #given = new Map<AddressPool, number>();
}

/** What stands between a host and its realm. */
export interface Access {
  readonly site: Site;
  /** Packets of hosts that stand here, on their way out. */
  egress(packet: Packet): void;
  /** A host has come to stand here, or goes. */
  join?(host: Resident): void;
  leave?(host: Resident): void;
}

/** What a load balancer knows of its targets. */
export interface Resident extends Receiver {
  readonly name: string;
  readonly address: string;
  readonly isOn: boolean;
}

type AddressPool = (n: number) => string;

// RFC 5737 documentation blocks first, then the RFC 2544 benchmark block for crowds.
const PUBLIC_HOSTS: AddressPool = (n) =>
  n < 254 ? `198.51.100.${n + 1}` : `198.18.${(n >> 8) & 255}.${n & 255}`;
const PUBLIC_NATS: AddressPool = (n) =>
  n < 254 ? `203.0.113.${n + 1}` : `198.19.${(n >> 8) & 255}.${n & 255}`;
const PRIVATE_HOSTS: AddressPool = (n) =>
  `10.${((n + 2) >> 16) & 255}.${((n + 2) >> 8) & 255}.${(n + 2) & 255}`;
const PRIVATE_NATS: AddressPool = (n) => `100.64.${((n + 2) >> 8) & 255}.${(n + 2) & 255}`;
