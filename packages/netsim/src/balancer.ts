import { below, UsageError, type Instant, type Rng, type SocketAddress } from "@godwit/base";
import { endpointOf, hostOf, portOf, type Endpoint } from "./address-book.ts";
import type { Core } from "./core.ts";
import type { Packet, Receiver } from "./packet.ts";
import type { Access, Resident, Site } from "./site.ts";
import { TUNING } from "./tuning.ts";

export type BalancerSettings = {
  /** A flow without datagrams for so long is forgotten; its next datagram may reach another target. In ms. */
  readonly timeout: number;
  /** How a new flow finds its target. */
  readonly choose: "random" | "round-robin" | "hash";
  /** Every so many ms it looks which targets are on and leaves the others out. null: it never looks. */
  readonly probe: number | null;
  /** Flows at once; a further one makes it forget the oldest. */
  readonly maxFlows: number;
};

export type BalancerOptions = Partial<BalancerSettings> & {
  readonly name?: string;
  /** The address clients speak to. Without: a free one. */
  readonly address?: string;
};

/** AWS NLB: 5-tuple flows, client address kept, 120 s, and UDP targets are not probed. */
export const AWS_NLB: BalancerSettings = {
  timeout: 120_000,
  choose: "random",
  probe: null,
  maxFlows: TUNING.maxBalancerFlows,
};

/** One public address before several hosts. What a target sends outside a live flow leaves with its own address. */
export class Balancer implements Access, Receiver {
  readonly name: string;
  readonly address: string;
  /** @internal */
  readonly site: Site;
  readonly #core: Core;
  readonly #internet: Access;
  readonly #rng: Rng;
  readonly #number: number;
  readonly #targets: Resident[] = [];
  readonly #flows = new Map<number, Map<Endpoint, Flow>>();
  #settings: BalancerSettings;
  #size = 0;
  #turn = 0;
  #steered: Resident | undefined;
  #alive = new Set<Resident>();
  #probed: Instant = -Infinity;

  /** @internal */
  constructor(
    core: Core,
    internet: Access,
    name: string,
    settings: BalancerSettings,
    address: string = internet.site.freeHostAddress(),
  ) {
    this.name = name;
    this.address = address;
    this.site = internet.site;
    this.#core = core;
    this.#internet = internet;
    this.#settings = settings;
    this.#rng = core.rng(`balancer ${name}`);
    this.#number = core.book.number(address);
    this.site.realm.claim(address, this);
  }

  get settings(): BalancerSettings {
    return this.#settings;
  }

  /** Names of the hosts that get datagrams. */
  get targets(): readonly string[] {
    return this.#targets.map((target) => target.name);
  }

  /** Where the flow of `client` to `port` goes now. */
  target(client: SocketAddress, port: number): string | undefined {
    const flow = this.#flows.get(port)?.get(this.#core.book.endpoint(client));
    return flow !== undefined && flow.expires > this.#core.now ? flow.target.name : undefined;
  }

  set(settings: Partial<BalancerSettings>): void {
    this.#settings = { ...this.#settings, ...settings };
  }

  /** Forgets all flows. */
  clear(): void {
    this.#flows.clear();
    this.#size = 0;
  }

  /** New flows go to this target until another is named, or to any again. */
  steer(target: Resident | undefined): void {
    if (target !== undefined && !this.#targets.includes(target))
      throw new UsageError(`${target.name} is no target of ${this.name}`);
    this.#steered = target;
  }

  /** Each live flow goes to another target, where there is one. */
  rebalance(): void {
    for (const flows of this.#flows.values()) {
      for (const [client, flow] of flows) {
        const others = this.#targets.filter((target) => target !== flow.target);
        flow.target = this.#pick(client, others) ?? flow.target;
      }
    }
  }

  /** @internal */
  join(host: Resident): void {
    this.#targets.push(host);
    this.#alive.add(host);
  }

  /** @internal */
  leave(host: Resident): void {
    this.#targets.splice(this.#targets.indexOf(host), 1);
    this.#alive.delete(host);
    for (const flows of this.#flows.values())
      for (const [client, flow] of flows)
        if (flow.target === host && flows.delete(client)) this.#size--;
    if (this.#steered === host) this.#steered = undefined;
  }

  /** @internal From a client. */
  accept(packet: Packet): void {
    const port = portOf(packet.destination);
    const flow =
      packet.icmp === undefined
        ? this.#flow(port, packet.source)
        : this.#flows.get(port)?.get(packet.source);
    if (flow === undefined) return this.#core.drop(packet, "no-target");
    if (packet.icmp === undefined) flow.expires = this.#core.now + this.#settings.timeout;
    packet.destination = endpointOf(this.#core.book.number(flow.target.address), port);
    flow.target.accept(packet);
  }

  /** @internal From a target. */
  egress(packet: Packet): void {
    const port = portOf(packet.source);
    const flow = this.#flows.get(port)?.get(packet.destination);
    const own =
      flow !== undefined &&
      flow.expires > this.#core.now &&
      this.#core.book.number(flow.target.address) === hostOf(packet.source);
    if (own) {
      if (packet.icmp === undefined) flow.expires = this.#core.now + this.#settings.timeout;
      packet.source = endpointOf(this.#number, port);
    }
    this.#internet.egress(packet);
  }

  #flow(port: number, client: Endpoint): Flow | undefined {
    this.#probe();
    const flows = this.#flows.get(port) ?? new Map<Endpoint, Flow>();
    const known = flows.get(client);
    if (known !== undefined && known.expires > this.#core.now && this.#alive.has(known.target))
      return known;
    const candidates = this.#targets.filter((target) => this.#alive.has(target));
    const target = this.#pick(client, candidates);
    if (target === undefined) return undefined;
    if (known === undefined && this.#size >= this.#settings.maxFlows) this.#forgetOne();
    if (known === undefined) this.#size++;
    const flow = { target, expires: 0 };
    flows.delete(client); // last in order, as it is the youngest
    flows.set(client, flow);
    this.#flows.set(port, flows);
    return flow;
  }

  #pick(client: Endpoint, candidates: readonly Resident[]): Resident | undefined {
    if (this.#steered !== undefined && candidates.includes(this.#steered)) return this.#steered;
    if (candidates.length === 0) return undefined;
    switch (this.#settings.choose) {
      case "random":
        return candidates[below(this.#rng, candidates.length)];
      case "round-robin":
        return candidates[this.#turn++ % candidates.length];
      case "hash":
        return candidates[(Math.imul(client | 0, 0x9e37_79b1) >>> 8) % candidates.length];
    }
  }

  #probe(): void {
    const { probe } = this.#settings;
    if (probe === null || this.#core.now - this.#probed < probe) return;
    this.#probed = this.#core.now;
    this.#alive = new Set(this.#targets.filter((target) => target.isOn));
  }

  #forgetOne(): void {
    for (const flows of this.#flows.values())
      for (const oldest of flows.keys()) {
        flows.delete(oldest);
        this.#size--;
        return;
      }
  }
}

type Flow = { target: Resident; expires: Instant };
