// A NAT box (RFC 4787). Outbound: find or make the mapping of (inside end, remote end), prolong it, put its public
// end in the source's place. Inbound: find the mapping that owns the public end, ask the filter, prolong it if the
// box does so, put its inside end in the destination's place. Nothing wakes for a mapping: whoever meets one
// looks whether it still lives, and the table is swept before it grows.

import { below, UsageError, type Instant, type Rng, type SocketAddress } from "@godwit/base";
import { endpointOf, hostOf, portOf, type Endpoint } from "./address-book.ts";
import type { Core } from "./core.ts";
import { milliseconds, type Duration } from "./duration.ts";
import { Link } from "./link.ts";
import type { LinkOptions } from "./link-settings.ts";
import { PortPool } from "./nat-ports.ts";
import { checkNat, type NatSettings } from "./nat-settings.ts";
import { newTimer, refresh, type LifeTimer } from "./nat-timer.ts";
import type { Packet, Receiver } from "./packet.ts";
import { Site, type Access } from "./site.ts";
import { TUNING } from "./tuning.ts";

export type NatOptions = {
  readonly name?: string;
  /** Its public address, or a pool of them. Without: a free one. */
  readonly address?: string | readonly string[];
  /** The NAT box it stands behind. Without: on the Internet. */
  readonly behind?: Access;
  /** The link outside the box; takes no time unless it says so. Loss, size limit, reordering are set here. */
  readonly link?: LinkOptions;
};

/** What a NAT box has done. */
export type NatCounts = {
  /** Datagrams translated outwards and inwards, hairpinned ones in both. */
  readonly outbound: number;
  readonly inbound: number;
  readonly created: number;
  readonly expired: number;
  /** Ended by a command, a restart, a new address, or another host that took the port. */
  readonly cleared: number;
  /** No public port, or no table entry, was left. */
  readonly exhausted: number;
  /** Inbound to a public port without a mapping. */
  readonly noMapping: number;
  /** Inbound to a live mapping that does not admit the sender. */
  readonly wrongSource: number;
  readonly hairpinned: number;
};

/** A live mapping. `remotes`: the ends it was used with. `expires`: on the world's clock. */
export type MappingView = {
  readonly internal: SocketAddress;
  readonly external: SocketAddress;
  readonly remotes: readonly SocketAddress[];
  readonly expires: Instant;
};

export class Nat implements Access, Receiver {
  readonly name: string;
  /** Outside the box: `up` to the Internet, `down` from it. */
  readonly link: Link;
  /** @internal */
  readonly site: Site;
  readonly #core: Core;
  readonly #outside: Access;
  readonly #rng: Rng;
  readonly #pool: PortPool;
  readonly #inward = new Map<Endpoint, Mapping[]>();
  readonly #outward = new Map<Endpoint, Map<number, Mapping>>();
  #settings: NatSettings;
  #addresses: readonly string[] = [];
  #size = 0;
  #sweepAt = FIRST_SWEEP;
  #earliest: Instant = -Infinity;
  #downUntil: Instant = -Infinity;
  #counts = {
    outbound: 0,
    inbound: 0,
    created: 0,
    expired: 0,
    cleared: 0,
    exhausted: 0,
    noMapping: 0,
    wrongSource: 0,
    hairpinned: 0,
  };

  /** @internal */
  constructor(
    core: Core,
    internet: Access,
    name: string,
    settings: NatSettings,
    options: NatOptions,
  ) {
    this.#core = core;
    this.name = name;
    this.#settings = checkNat(settings);
    this.#outside = options.behind ?? internet;
    this.#rng = core.rng(`nat ${name}`);
    this.#pool = new PortPool(this.#rng);
    this.site = new Site(core, "inside", { accept: (packet) => this.#outbound(packet) });
    this.link = new Link(core, name, options.link ?? {}, {
      up: (packet) => this.#outside.egress(packet),
      down: (packet) => this.#inbound(packet),
      beyond: (packet) => this.#outside.site.realm.route(packet),
      relay: true,
    });
    this.#take(options.address);
  }

  get settings(): NatSettings {
    return this.#settings;
  }

  /** The NAT box this one stands behind. */
  get outer(): Nat | undefined {
    return this.#outside instanceof Nat ? this.#outside : undefined;
  }

  /** Its first public address. */
  get address(): string {
    return this.#addresses[0]!; // taking gives at least one
  }

  get addresses(): readonly string[] {
    return this.#addresses;
  }

  get counts(): NatCounts {
    return { ...this.#counts };
  }

  /** What lives now, in the order of inside sockets. */
  get mappings(): readonly MappingView[] {
    return this.#live().map((mapping) => ({
      internal: this.#core.book.address(mapping.internal),
      external: this.#core.book.address(mapping.external),
      remotes: [...mapping.flows.keys()].map((remote) => this.#core.book.address(remote)),
      expires: expiry(mapping),
    }));
  }

  /**
   * Other behaviour from now on. New times hold from the next packet of a mapping. A change of how mappings are
   * made ends those that are there.
   */
  set(settings: Partial<NatSettings>): void {
    const before = this.#settings;
    this.#settings = checkNat({ ...before, ...settings });
    const { mapping, portScope } = this.#settings;
    if (mapping !== before.mapping || portScope !== before.portScope) this.clear();
  }

  /** Ends `n` mappings drawn by lot, or all. */
  clear(n?: number): void {
    for (const mapping of this.#draw(n)) {
      this.#counts.cleared++;
      this.#remove(mapping, this.#core.now);
    }
  }

  /** Gives `n` live mappings drawn by lot, or all, another public port; the old ones are dead. */
  reassign(n?: number): void {
    for (const mapping of this.#draw(n)) {
      const external = this.#pick(mapping.internal, mapping.key);
      if (external === undefined || external === mapping.external) continue;
      this.#unlist(mapping);
      this.#pool.free(mapping.external, this.#core.now, this.#settings);
      mapping.external = external;
      this.#list(mapping);
    }
  }

  /** Other public addresses; all mappings end, as with masquerading. Without an argument: a free one. */
  renumber(address?: string | readonly string[]): void {
    this.clear();
    const old = this.#addresses;
    this.#take(address);
    for (const each of old)
      if (!this.#addresses.includes(each)) this.#outside.site.realm.release(each);
  }

  /** Forgets everything, and passes nothing for `downFor`. */
  reboot(downFor: Duration = 0): void {
    this.clear();
    this.#pool.forget();
    this.#downUntil = this.#core.now + milliseconds(downFor);
  }

  /** The public ports that host `from` has now belong to host `to`, port by port: an address reused by another. */
  handOver(from: { readonly address: string }, to: { readonly address: string }): void {
    const { book } = this.#core;
    const [old, heir] = [book.number(from.address), book.number(to.address)];
    for (const mapping of this.#live()) {
      if (hostOf(mapping.internal) !== old) continue;
      const internal = endpointOf(heir, portOf(mapping.internal));
      const own = this.#outward.get(internal)?.get(mapping.key);
      if (own !== undefined) this.#remove(own, this.#core.now);
      this.#unindex(mapping);
      mapping.internal = internal;
      this.#index(mapping);
    }
  }

  /** @internal From the outside. */
  accept(packet: Packet): void {
    this.link.down.enter(packet);
  }

  /** @internal From a host that stands inside. */
  egress(packet: Packet): void {
    this.site.realm.route(packet);
  }

  #outbound(packet: Packet): void {
    const { now } = this.#core;
    if (now < this.#downUntil) return this.#core.drop(packet, "nat-down");
    if (packet.icmp !== undefined) return this.#outboundIcmp(packet);
    const hairpin = this.#pool.owns(hostOf(packet.destination));
    if (hairpin && this.#settings.hairpin === "none")
      return this.#core.drop(packet, "nat-no-hairpin");
    const mapping = this.#mappingFor(packet.source, packet.destination);
    if (mapping === undefined) {
      this.#counts.exhausted++;
      return this.#core.drop(packet, "nat-exhausted");
    }
    this.#touch(mapping, packet.destination, "out");
    this.#counts.outbound++;
    if (!hairpin || this.#settings.hairpin === "external") packet.source = mapping.external;
    if (!hairpin) return this.link.up.enter(packet);
    this.#counts.hairpinned++;
    this.#inbound(packet);
  }

  #inbound(packet: Packet): void {
    if (this.#core.now < this.#downUntil) return this.#core.drop(packet, "nat-down");
    if (packet.icmp !== undefined) return this.#inboundIcmp(packet);
    let lives = false;
    const mappings = this.#inward.get(packet.destination) ?? [];
    for (let i = mappings.length - 1; i >= 0; i--) {
      const mapping = mappings[i]!; // below length
      if (!this.#isLive(mapping)) continue;
      lives = true;
      if (!this.#admits(mapping, packet.source)) continue;
      this.#touch(mapping, packet.source, "in");
      this.#counts.inbound++;
      packet.destination = mapping.internal;
      return this.site.realm.deliver(packet);
    }
    if (lives) this.#counts.wrongSource++;
    else this.#counts.noMapping++;
    this.#core.drop(packet, lives ? "nat-filtered" : "nat-no-mapping");
  }

  /** RFC 7857 7.1: an outbound error goes out under the mapping it is about, and prolongs nothing. */
  #outboundIcmp(packet: Packet): void {
    const mapping = this.#outward.get(packet.source)?.get(this.#key(packet.destination));
    if (mapping === undefined || !this.#isLive(mapping) || this.#settings.icmp === "drop")
      return this.#core.drop(packet, "nat-icmp");
    packet.source = mapping.external;
    this.link.up.enter(packet);
  }

  /** RFC 4787 REQ-12: an error finds the host it is about; whether it ends the mapping is a setting. */
  #inboundIcmp(packet: Packet): void {
    const mapping = this.#inward
      .get(packet.destination)
      ?.find((each) => each.flows.has(packet.source) && this.#isLive(each));
    if (mapping === undefined || this.#settings.icmp === "drop")
      return this.#core.drop(packet, "nat-icmp");
    packet.destination = mapping.internal;
    if (this.#settings.icmp === "end-mapping") {
      this.#counts.cleared++;
      this.#remove(mapping, this.#core.now);
    }
    this.site.realm.deliver(packet);
  }

  /** What tells the mappings of one inside socket apart. */
  #key(remote: Endpoint): number {
    switch (this.#settings.mapping) {
      case "EIM":
        return 0;
      case "ADM":
        return hostOf(remote);
      case "APDM":
        return remote;
    }
  }

  #mappingFor(internal: Endpoint, remote: Endpoint): Mapping | undefined {
    const key = this.#key(remote);
    const known = this.#outward.get(internal)?.get(key);
    if (known !== undefined) {
      if (this.#isLive(known)) return known;
      this.#expire(known);
    }
    this.#sweep();
    if (this.#size >= this.#settings.maxEntries) return undefined;
    const external = this.#pick(internal, key);
    if (external === undefined) return undefined;
    if (this.#settings.ports === "overload") {
      for (const earlier of [...(this.#inward.get(external) ?? [])]) {
        this.#counts.cleared++;
        this.#remove(earlier, this.#core.now);
      }
    }
    const latest = newTimer(this.#core.now, this.#settings);
    const mapping = { internal, external, key, latest, flows: new Map([[remote, latest]]) };
    this.#counts.created++;
    this.#size++;
    this.#index(mapping);
    this.#list(mapping);
    return mapping;
  }

  #pick(internal: Endpoint, key: number): Endpoint | undefined {
    const settings = this.#settings;
    return this.#pool.pick({
      internal,
      settings,
      now: this.#core.now,
      taken: (external) => {
        const there = this.#inward.get(external);
        if (there === undefined) return false;
        for (const mapping of [...there]) if (!this.#isLive(mapping)) this.#expire(mapping);
        return there.some((mapping) => settings.portScope === "mapping" || mapping.key === key);
      },
      neighbour: settings.contiguity ? this.#externalOf(neighbour(internal)) : undefined,
    });
  }

  #externalOf(internal: Endpoint): Endpoint | undefined {
    for (const mapping of this.#outward.get(internal)?.values() ?? [])
      if (this.#isLive(mapping)) return mapping.external;
    return undefined;
  }

  #admits(mapping: Mapping, remote: Endpoint): boolean {
    const { now } = this.#core;
    switch (this.#settings.filtering) {
      case "EIF":
        return true;
      case "ADF":
        for (const [known, timer] of mapping.flows)
          if (hostOf(known) === hostOf(remote) && timer.expires > now) return true;
        return false;
      case "APDF": {
        const timer = mapping.flows.get(remote);
        return timer !== undefined && timer.expires > now;
      }
    }
  }

  #touch(mapping: Mapping, remote: Endpoint, direction: "out" | "in"): void {
    const { now } = this.#core;
    const settings = this.#settings;
    const byFlow = settings.refreshBy === "flow";
    let timer = mapping.flows.get(remote);
    if (timer === undefined || timer.expires <= now) {
      // An uninvited sender is let in by EIF without being entered where it may not prolong anything.
      const enters = direction === "out" || (byFlow && settings.inboundRefresh);
      timer = byFlow && enters ? newTimer(now, settings) : mapping.latest;
      if (enters) {
        if (mapping.flows.size >= TUNING.maxFlowsPerMapping) forgetOldest(mapping.flows);
        mapping.flows.set(remote, timer);
      }
    }
    refresh(timer, direction, now, settings);
    if (timer.expires > mapping.latest.expires) mapping.latest = timer;
    if (timer.expires < this.#earliest) this.#earliest = timer.expires;
  }

  #isLive(mapping: Mapping): boolean {
    const { now } = this.#core;
    if (mapping.latest.expires > now) return true;
    for (const timer of mapping.flows.values()) {
      if (timer.expires <= now) continue;
      mapping.latest = timer;
      return true;
    }
    return false;
  }

  #live(): Mapping[] {
    const all: Mapping[] = [];
    for (const mappings of this.#outward.values())
      for (const mapping of mappings.values()) if (this.#isLive(mapping)) all.push(mapping);
    return all;
  }

  #draw(n: number | undefined): Mapping[] {
    const all = this.#live();
    if (n === undefined) return all;
    const drawn: Mapping[] = [];
    while (drawn.length < n && all.length > 0)
      drawn.push(...all.splice(below(this.#rng, all.length), 1));
    return drawn;
  }

  /** Throws out the dead before the table doubles, and at the limit, but not where nothing can have died. */
  #sweep(): void {
    const { now } = this.#core;
    if (this.#size < Math.min(this.#sweepAt, this.#settings.maxEntries) || now < this.#earliest)
      return;
    this.#earliest = Infinity;
    for (const mappings of [...this.#outward.values()]) {
      for (const mapping of [...mappings.values()]) {
        if (!this.#isLive(mapping)) this.#expire(mapping);
        else this.#earliest = Math.min(this.#earliest, expiry(mapping));
      }
    }
    this.#sweepAt = Math.max(FIRST_SWEEP, this.#size * 2);
  }

  #expire(mapping: Mapping): void {
    this.#counts.expired++;
    this.#remove(mapping, expiry(mapping));
  }

  #remove(mapping: Mapping, at: Instant): void {
    this.#size--;
    this.#unindex(mapping);
    this.#unlist(mapping);
    this.#pool.free(mapping.external, at, this.#settings);
  }

  #index(mapping: Mapping): void {
    const known = this.#outward.get(mapping.internal);
    if (known !== undefined) known.set(mapping.key, mapping);
    else this.#outward.set(mapping.internal, new Map([[mapping.key, mapping]]));
  }

  #unindex(mapping: Mapping): void {
    const mappings = this.#outward.get(mapping.internal);
    mappings?.delete(mapping.key);
    if (mappings?.size === 0) this.#outward.delete(mapping.internal);
  }

  #list(mapping: Mapping): void {
    const there = this.#inward.get(mapping.external);
    if (there !== undefined) there.push(mapping);
    else this.#inward.set(mapping.external, [mapping]);
  }

  #unlist(mapping: Mapping): void {
    const there = this.#inward.get(mapping.external);
    if (there === undefined) return;
    there.splice(there.indexOf(mapping), 1);
    if (there.length === 0) this.#inward.delete(mapping.external);
  }

  #take(address: string | readonly string[] | undefined): void {
    const { site } = this.#outside;
    const wanted = address === undefined ? [site.freeNatAddress()] : [address].flat();
    if (wanted.length === 0) throw new UsageError(`${this.name} needs an address`);
    for (const each of wanted) if (!this.#addresses.includes(each)) site.realm.claim(each, this);
    this.#addresses = wanted;
    this.#pool.reset(wanted.map((each) => this.#core.book.number(each)));
  }
}

type Mapping = {
  internal: Endpoint;
  external: Endpoint;
  readonly key: number;
  /** The timer that runs longest, as far as known; with refresh by mapping the only one. */
  latest: LifeTimer;
  /** Remote ends this mapping was used with. */
  readonly flows: Map<Endpoint, LifeTimer>;
};

function expiry(mapping: Mapping): Instant {
  let last = mapping.latest.expires;
  for (const timer of mapping.flows.values()) if (timer.expires > last) last = timer.expires;
  return last;
}

function forgetOldest(flows: Map<Endpoint, LifeTimer>): void {
  for (const oldest of flows.keys()) {
    flows.delete(oldest);
    return;
  }
}

function neighbour(internal: Endpoint): Endpoint {
  return internal % 2 === 0 ? internal + 1 : internal - 1;
}

const FIRST_SWEEP = 1_024;
