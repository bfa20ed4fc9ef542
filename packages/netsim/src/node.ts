import {
  UsageError,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
  type SocketAddress,
} from "@godwit/base";
import { endpointOf, portOf, type Endpoint } from "./address-book.ts";
import type { Core } from "./core.ts";
import type { Timed } from "./event-queue.ts";
import type { IcmpError, Packet } from "./packet.ts";

/** What a machine may say; datagrams are sent, the rest goes to `onOutput`. */
export type Output = { readonly type: string };

/** A machine whose inputs include datagrams. */
export interface TakesDatagrams {
  handle(input: DatagramEvent, now: Instant): void;
}

export type AttachOptions<O> = {
  /** The host's address to bind to. Default: its first. */
  readonly address?: string;
  /** Gets what is no datagram. It may feed this node or others. */
  readonly onOutput?: (output: Exclude<O, { readonly type: "datagram" }>, now: Instant) => void;
  /** Gets ICMP errors about what this socket sent; unconnected UDP sockets do not pass them on. */
  readonly onIcmp?: (error: IcmpError, path: Path, now: Instant) => void;
};

/** What a node asks of its host. */
export type Network = {
  readonly core: Core;
  readonly host: {
    readonly name: string;
    readonly address: string;
    readonly addresses: readonly string[];
    readonly isOn: boolean;
    readonly now: Instant;
    worldTime(at: Instant): Instant;
    closed(node: Node<never, Output>): void;
  };
  readonly send: (packet: Packet) => void;
  readonly bind: (endpoint: Endpoint, node: Node<never, Output>) => void;
  readonly unbind: (endpoint: Endpoint) => void;
  readonly freePort: (hostNumber: number) => number;
};

/** One machine at its socket, run by the world. */
export class Node<I, O extends Output> implements Timed {
  /** @internal */
  at: Instant = 0;
  /** @internal */
  order = 0;
  /** @internal */
  place = -1;
  readonly #network: Network;
  readonly #core: Core;
  readonly #options: AttachOptions<O>;
  readonly #endpoints: Endpoint[] = [];
  readonly #former = new Set<Endpoint>();
  #machine: Machine<I, O> & TakesDatagrams;
  #draining = false;
  #clock: Instant = -Infinity;

  /** @internal */
  constructor(
    network: Network,
    machine: Machine<I, O> & TakesDatagrams,
    options: AttachOptions<O>,
  ) {
    this.#network = network;
    this.#core = network.core;
    this.#machine = machine;
    this.#options = options;
  }

  get machine(): Machine<I, O> {
    return this.#machine;
  }

  /** Its first socket's own address. */
  get address(): SocketAddress {
    return this.#core.book.address(this.#first());
  }

  /** From its first socket to `remote`. */
  path(remote: SocketAddress): Path {
    return { local: this.address, remote };
  }

  /** Gives the machine an input, at its host's time. */
  feed(input: I): void {
    if (!this.#network.host.isOn) throw new UsageError(`${this.#network.host.name} is off`);
    this.#machine.handle(input, this.#now());
    this.#drain();
  }

  /** Opens a further socket for the same machine. */
  bind(port: number | undefined, address: string = this.#network.host.address): SocketAddress {
    if (!this.#network.host.addresses.includes(address))
      throw new UsageError(`${this.#network.host.name} does not have ${address}`);
    const host = this.#core.book.number(address);
    const endpoint = this.#core.book.endpoint({
      host: address,
      port: port ?? this.#network.freePort(host),
    });
    this.#network.bind(endpoint, this.#erased());
    this.#endpoints.push(endpoint);
    this.#former.delete(endpoint);
    return this.#core.book.address(endpoint);
  }

  /** Closes one of its sockets: nothing arrives there any more, and what is sent from there is dropped. */
  unbind(address: SocketAddress): void {
    const endpoint = this.#core.book.endpoint(address);
    const at = this.#endpoints.indexOf(endpoint);
    if (at < 0) throw new UsageError(`${address.host}:${address.port} is no socket of this node`);
    this.#endpoints.splice(at, 1);
    this.#network.unbind(endpoint);
    this.#former.add(endpoint);
  }

  /** The machine is gone, another takes its sockets: a reboot, with or without what was stored. */
  replace(machine: Machine<I, O> & TakesDatagrams): void {
    this.#machine = machine;
    this.#clock = -Infinity;
    this.#drain();
  }

  /** Closes its sockets. The machine gets nothing any more. */
  close(): void {
    for (const endpoint of this.#endpoints.splice(0)) {
      this.#network.unbind(endpoint);
      this.#former.add(endpoint);
    }
    this.#core.queue.stop(this);
    this.#network.host.closed(this.#erased());
  }

  /** @internal */
  start(): void {
    this.#drain();
  }

  /** @internal */
  arrive(packet: Packet): void {
    const { book } = this.#core;
    const path = { local: book.address(packet.destination), remote: book.address(packet.source) };
    if (packet.icmp !== undefined)
      return this.#options.onIcmp?.(packet.icmp, path, this.#network.host.now);
    this.#machine.handle({ type: "datagram", path, bytes: packet.bytes }, this.#now());
    this.#drain();
  }

  /** @internal */
  fire(): void {
    const now = this.#now();
    const due = this.#machine.wakeAt;
    // A clock that runs fast or slow rounds: the instant it was set for has come even if it shows a hair less.
    if (due !== undefined && due > now && due - now < ROUNDING) this.#clock = due;
    this.#machine.wake(Math.max(now, this.#clock));
    this.#drain();
  }

  /** @internal Its host went on or off, or its clock was set. */
  reschedule(): void {
    this.#clock = -Infinity;
    if (this.#network.host.isOn && this.#endpoints.length > 0) this.#drain();
    else this.#core.queue.stop(this);
  }

  /** @internal Its host has other addresses now: the socket at `old` goes to the first of them. */
  rebind(old: Endpoint): void {
    this.#network.unbind(old);
    this.#former.add(old);
    const moved = endpointOf(this.#core.book.number(this.#network.host.address), portOf(old));
    this.#network.bind(moved, this.#erased());
    this.#former.delete(moved);
    this.#endpoints[this.#endpoints.indexOf(old)] = moved;
  }

  #drain(): void {
    if (!this.#network.host.isOn) return;
    if (this.#draining) return; // fed from onOutput: the loop below it goes on
    this.#draining = true;
    try {
      for (let out = this.#machine.poll(); out !== undefined; out = this.#machine.poll()) {
        if (out.type === "datagram") this.#send(out as unknown as DatagramEvent);
        else
          this.#options.onOutput?.(
            out as Exclude<O, { readonly type: "datagram" }>,
            this.#network.host.now,
          );
      }
    } finally {
      this.#draining = false;
    }
    const at = this.#machine.wakeAt;
    if (at === undefined) this.#core.queue.stop(this);
    else if (this.#network.host.isOn && this.#endpoints.length > 0) this.#sleep(at);
    else this.#core.queue.stop(this);
  }

  #send({ path, bytes }: DatagramEvent): void {
    const { book } = this.#core;
    const source = this.#source(path.local);
    const packet = this.#core.send(source, book.endpoint(path.remote), bytes);
    if (this.#former.has(source)) this.#core.drop(packet, "stale-source");
    else this.#network.send(packet);
  }

  #source(local: SocketAddress): Endpoint {
    if (local.port === 0 || local.host === "0.0.0.0" || local.host === "::") return this.#first();
    const source = this.#core.book.endpoint(local);
    if (!this.#endpoints.includes(source) && !this.#former.has(source))
      throw new UsageError(
        `${this.#network.host.name} sends from ${local.host}:${local.port}, which is no socket of its`,
      );
    return source;
  }

  #first(): Endpoint {
    const first = this.#endpoints[0];
    if (first === undefined)
      throw new UsageError(`${this.#network.host.name}: the socket is closed`);
    return first;
  }

  #sleep(at: Instant): void {
    const { queue, now } = this.#core;
    const due = Math.max(now, this.#network.host.worldTime(at));
    if (this.place === -1 || this.at !== due) queue.set(this, due);
  }

  /** Never back, whatever rounding makes of a clock that runs fast or slow. */
  #now(): Instant {
    const now = Math.max(this.#network.host.now, this.#clock);
    this.#clock = now;
    return now;
  }

  #erased(): Node<never, Output> {
    return this as unknown as Node<never, Output>; // seen from the host its inputs and outputs do not matter
  }
}

const ROUNDING = 0.001; // ms
