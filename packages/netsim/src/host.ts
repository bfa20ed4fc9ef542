import { UsageError, type Instant, type Machine } from "@godwit/base";
import { endpointOf, type Endpoint } from "./address-book.ts";
import type { Core } from "./core.ts";
import { Link, type Tally } from "./link.ts";
import type { LinkOptions } from "./link-settings.ts";
import {
  Node,
  type AttachOptions,
  type Network,
  type Output,
  type TakesDatagrams,
} from "./node.ts";
import type { Packet, Receiver } from "./packet.ts";
import type { Access } from "./site.ts";
import { TUNING } from "./tuning.ts";

export type HostOptions = {
  /** One address or several; the first is the one sockets get that name none. Without: a free one. */
  readonly address?: string | readonly string[];
  /** The NAT box or load balancer it stands behind. Without: on the Internet. */
  readonly behind?: Access;
  readonly link?: LinkOptions;
  /** How the host's clock differs from the world's. */
  readonly clock?: ClockSkew;
  /** Answers datagrams to closed ports with an ICMP error. Default true. */
  readonly icmp?: boolean;
};

/** The host's clock shows `world * (1 + ppm / 1e6) + offset`. */
export type ClockSkew = { readonly offset?: number; readonly ppm?: number };

/** A machine's home: addresses, sockets, a power switch, a clock and one link. */
export class Host implements Receiver {
  readonly name: string;
  readonly link: Link;
  readonly #core: Core;
  readonly #internet: Access;
  readonly #icmp: boolean;
  readonly #network: Network;
  readonly #sockets = new Map<Endpoint, Node<never, Output>>();
  readonly #nodes = new Set<Node<never, Output>>();
  #behind: Access;
  #addresses: string[] = [];
  #nextPort = TUNING.ephemeralPort;
  #isOn = true;
  #offset = 0;
  #rate = 1;

  /** @internal */
  constructor(core: Core, internet: Access, name: string, options: HostOptions) {
    this.#core = core;
    this.#internet = internet;
    this.#behind = options.behind ?? internet;
    this.#icmp = options.icmp ?? true;
    this.name = name;
    this.link = new Link(
      core,
      name,
      { delay: TUNING.linkDelay, ...options.link },
      {
        up: (packet) => this.#behind.egress(packet),
        down: (packet) => this.#arrive(packet),
        beyond: (packet) => this.#behind.site.realm.route(packet),
        relay: false,
      },
    );
    this.#network = {
      core,
      host: this,
      send: (packet) => this.link.up.enter(packet),
      bind: (endpoint, node) => this.#bind(endpoint, node),
      unbind: (endpoint) => this.#sockets.delete(endpoint),
      freePort: (host) => this.#freePort(host),
    };
    this.#settle(options.address);
    if (options.clock !== undefined) this.setClock(options.clock);
  }

  get address(): string {
    return this.#addresses[0]!; // settling gives at least one
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** What it has sent: datagrams and UDP payload bytes. */
  get sent(): Tally {
    return this.link.up.entered;
  }

  /** What has reached it. */
  get received(): Tally {
    return this.link.down.left;
  }

  /** What this host's clock shows. */
  get now(): Instant {
    return this.#core.now * this.#rate + this.#offset;
  }

  /**
   * Opens a UDP socket and puts `machine` behind it. `port` undefined: a free one. The world drains `poll`
   * after every `handle` and `wake`, sends its datagrams by their path, wakes it at `wakeAt`, and hands all
   * other outputs to `onOutput`. A path whose local end is 0.0.0.0, :: or port 0 leaves from this socket.
   * Throws UsageError when the port is taken.
   */
  attach<I, O extends Output>(
    port: number | undefined,
    machine: Machine<I, O> & TakesDatagrams,
    options: AttachOptions<O> = {},
  ): Node<I, O> {
    const node = new Node<I, O>(this.#network, machine, options);
    this.#nodes.add(node as unknown as Node<never, Output>); // seen from here its inputs and outputs do not matter
    node.bind(port, options.address);
    node.start();
    return node;
  }

  /** Puts a datagram with any source on the wire: the forger's tool. */
  inject(datagram: {
    readonly from: { readonly host: string; readonly port: number };
    readonly to: { readonly host: string; readonly port: number };
    readonly bytes: Uint8Array;
  }): void {
    const { book } = this.#core;
    const { from, to, bytes } = datagram;
    this.link.up.enter(this.#core.send(book.endpoint(from), book.endpoint(to), bytes));
  }

  /** Power off: nothing is delivered, nothing wakes. What the machines know stays. */
  off(): void {
    this.#isOn = false;
    for (const node of this.#nodes) node.reschedule();
  }

  /** Power on, or back from suspend: what fell due meanwhile is woken at once. */
  on(): void {
    this.#isOn = true;
    for (const node of this.#nodes) node.reschedule();
  }

  /** Steps the clock, or makes it run fast or slow from now on. */
  setClock(skew: ClockSkew): void {
    this.#rate = 1 + (skew.ppm ?? 0) / 1_000_000;
    this.#offset = skew.offset ?? 0;
    for (const node of this.#nodes) node.reschedule();
  }

  /** Another network, other addresses: sockets keep their ports on the first new address. */
  move(to: { readonly address?: string | readonly string[]; readonly behind?: Access }): void {
    for (const address of this.#addresses) this.#behind.site.realm.release(address);
    this.#behind.leave?.(this);
    this.#behind = to.behind ?? this.#internet;
    const ports = [...this.#sockets].map(([endpoint, node]) => ({ endpoint, node }));
    this.#settle(to.address);
    for (const { endpoint, node } of ports) node.rebind(endpoint);
  }

  /** @internal */
  accept(packet: Packet): void {
    this.link.down.enter(packet);
  }

  /** @internal The world's time at which this host's clock will show `at`. */
  worldTime(at: Instant): Instant {
    return (at - this.#offset) / this.#rate;
  }

  /** @internal */
  closed(node: Node<never, Output>): void {
    this.#nodes.delete(node);
  }

  #settle(address: string | readonly string[] | undefined): void {
    const { site } = this.#behind;
    const wanted = address === undefined ? [site.freeHostAddress()] : [address].flat();
    if (wanted.length === 0) throw new UsageError(`${this.name} needs an address`);
    for (const each of wanted) site.realm.claim(each, this);
    this.#addresses = wanted;
    this.#behind.join?.(this);
  }

  #bind(endpoint: Endpoint, node: Node<never, Output>): void {
    if (this.#sockets.has(endpoint))
      throw new UsageError(`${this.name}: port ${endpoint % 0x1_0000} is taken`);
    this.#sockets.set(endpoint, node);
  }

  #freePort(hostNumber: number): number {
    for (let tried = 0; tried <= 0xffff; tried++) {
      const port = this.#nextPort;
      this.#nextPort = port === 0xffff ? TUNING.ephemeralPort : port + 1;
      if (!this.#sockets.has(endpointOf(hostNumber, port))) return port;
    }
    throw new UsageError(`${this.name} has no port left`);
  }

  #arrive(packet: Packet): void {
    if (!this.#isOn) return this.#core.drop(packet, "host-off");
    const node = this.#sockets.get(packet.destination);
    if (node === undefined) {
      this.#core.drop(packet, "no-socket");
      if (this.#icmp && packet.icmp === undefined)
        this.link.up.enter(this.#core.report(packet, { kind: "port-unreachable" }));
      return;
    }
    this.#core.deliver(packet);
    node.arrive(packet);
  }
}
