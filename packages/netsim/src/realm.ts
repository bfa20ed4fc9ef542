import { UsageError } from "@godwit/base";
import { hostOf } from "./address-book.ts";
import type { Core } from "./core.ts";
import type { Packet, Receiver } from "./packet.ts";

/** One address space: the Internet, or the inside of a NAT box. Inside addresses may repeat from realm to realm. */
export class Realm {
  readonly #core: Core;
  readonly #gateway: Receiver | undefined;
  readonly #owners = new Map<number, Receiver>();

  /** `gateway` takes what is for no address of this realm. */
  constructor(core: Core, gateway?: Receiver) {
    this.#core = core;
    this.#gateway = gateway;
  }

  claim(host: string, owner: Receiver): void {
    const number = this.#core.book.number(host);
    if (this.#owners.has(number)) throw new UsageError(`${host} is taken`);
    this.#owners.set(number, owner);
  }

  release(host: string): void {
    this.#owners.delete(this.#core.book.number(host));
  }

  has(host: string): boolean {
    return this.#owners.has(this.#core.book.number(host));
  }

  route(packet: Packet): void {
    const owner = this.#owners.get(hostOf(packet.destination)) ?? this.#gateway;
    if (owner === undefined) this.#core.drop(packet, "no-route");
    else owner.accept(packet);
  }

  /** To an owner of this realm or to nobody. */
  deliver(packet: Packet): void {
    const owner = this.#owners.get(hostOf(packet.destination));
    if (owner === undefined) this.#core.drop(packet, "no-route");
    else owner.accept(packet);
  }
}
