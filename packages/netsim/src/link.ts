import type { Instant, Rng, SocketAddress } from "@godwit/base";
import type { Core, DropReason } from "./core.ts";
import { checkLink, PERFECT_LINK, type LinkOptions, type LinkSettings } from "./link-settings.ts";
import type { Carrier, IcmpError, Packet } from "./packet.ts";
import { Tap, type TapFilter } from "./tap.ts";

/** One datagram as a sniffer sees it. `bytes` is a view that is good only during the call. */
export type Sighting = {
  readonly at: Instant;
  readonly point: string;
  /** `up` leads away from the link's owner. */
  readonly direction: "up" | "down";
  readonly from: SocketAddress;
  readonly to: SocketAddress;
  /** UDP payload; empty for ICMP. */
  readonly bytes: Uint8Array;
  readonly icmp: IcmpError | undefined;
};

/** Datagrams and UDP payload bytes. */
export type Tally = { readonly datagrams: number; readonly bytes: number };

/**
 * Both directions between a host, or the outside of a NAT box, and what lies beyond. A sniffer at the owner
 * sees what the owner sends, before the link loses it, and what the link hands over.
 */
export class Link {
  readonly name: string;
  /** Away from the owner. */
  readonly up: LinkDirection;
  /** Towards the owner. */
  readonly down: LinkDirection;

  /** @internal */
  constructor(core: Core, name: string, options: LinkOptions, ends: LinkEnds) {
    this.name = name;
    this.down = new LinkDirection(core, name, "down", ends, ends.down, ends.beyond);
    this.up = new LinkDirection(core, name, "up", ends, ends.up, (p) => this.down.enter(p));
    this.set(options);
  }

  /** Changes settings from now on; what is under way arrives as it would have. */
  set(options: LinkOptions): void {
    const { up, down, ...both } = options;
    this.up.set({ ...both, ...up });
    this.down.set({ ...both, ...down });
  }

  /** Shows every datagram of both directions to `look`; returns the function that ends it. */
  watch(look: (sighting: Sighting) => void): () => void {
    const stops = [this.up.watch(look), this.down.watch(look)];
    return () => stops.forEach((stop) => stop());
  }
}

/** Where a link leads. */
export type LinkEnds = {
  readonly up: Sink;
  readonly down: Sink;
  /** Takes ICMP errors about packets that were too big on their way down. */
  readonly beyond: Sink;
  /** The owner only passes packets on: what takes no time need not go through the queue. */
  readonly relay: boolean;
};
export type Sink = (packet: Packet) => void;

export class LinkDirection implements Carrier {
  readonly name: string;
  readonly direction: "up" | "down";
  readonly #core: Core;
  readonly #point: string;
  readonly #sink: Sink;
  readonly #report: Sink;
  readonly #relay: boolean;
  readonly #rng: Rng;
  readonly #taps: Tap[] = [];
  readonly #watchers = new Set<(sighting: Sighting) => void>();
  #settings: LinkSettings = PERFECT_LINK;
  #plain = true;
  #dropNext = 0;
  #bad = false;
  #busyUntil: Instant = 0;
  #lastArrival: Instant = 0;
  #entered = { datagrams: 0, bytes: 0 };
  #left = { datagrams: 0, bytes: 0 };

  /** @internal */
  constructor(
    core: Core,
    point: string,
    direction: "up" | "down",
    ends: LinkEnds,
    sink: Sink,
    report: Sink,
  ) {
    this.#relay = ends.relay;
    this.name = `${point} ${direction}`;
    this.direction = direction;
    this.#core = core;
    this.#point = point;
    this.#sink = sink;
    this.#report = report;
    this.#rng = core.rng(`link ${this.name}`);
  }

  get settings(): LinkSettings {
    return this.#settings;
  }

  /** What came to this end of the link, before anything was lost. */
  get entered(): Tally {
    return { ...this.#entered };
  }

  /** What the link handed over, copies included. */
  get left(): Tally {
    return { ...this.#left };
  }

  set(settings: Partial<LinkSettings>): void {
    const s = checkLink({ ...this.#settings, ...settings });
    this.#settings = s;
    this.#lastArrival = 0;
    this.#bad &&= s.burst !== null;
    this.#plain =
      s.loss === 0 &&
      s.burst === null &&
      s.jitter === 0 &&
      s.reorder === null &&
      s.duplicate === 0 &&
      s.mtu === Infinity &&
      s.bandwidth === Infinity &&
      !s.cut;
  }

  /** The next `n` datagrams vanish. */
  dropNext(n = 1): void {
    this.#dropNext += n;
  }

  /** Shows every datagram to `filter`, which may drop, hold or change it before the link has it. */
  tap(filter: TapFilter): Tap {
    const tap = new Tap(
      this.#core,
      filter,
      (packet) => this.#carry(packet),
      () => {
        const at = this.#taps.indexOf(tap);
        if (at !== -1) this.#taps.splice(at, 1);
      },
    );
    this.#taps.push(tap);
    return tap;
  }

  /** Shows every datagram to `look`; returns the function that ends it. */
  watch(look: (sighting: Sighting) => void): () => void {
    this.#watchers.add(look);
    return () => this.#watchers.delete(look);
  }

  /** @internal */
  enter(packet: Packet): void {
    if (packet.icmp === undefined) count(this.#entered, packet);
    if (this.direction === "up" && this.#watchers.size > 0) this.#show(packet);
    if (this.#taps.length > 0 && packet.icmp === undefined) {
      const sighting = this.#sighting(packet);
      for (const tap of this.#taps) if (!tap.admit(packet, sighting)) return;
    }
    this.#carry(packet);
  }

  /** @internal */
  leave(packet: Packet): void {
    if (packet.icmp === undefined) {
      this.#core.inFlight--;
      count(this.#left, packet);
    }
    if (this.direction === "down" && this.#watchers.size > 0) this.#show(packet);
    this.#sink(packet);
  }

  #carry(packet: Packet): void {
    if (this.#dropNext > 0 && packet.icmp === undefined) {
      this.#dropNext--;
      return this.#core.drop(packet, "drop-next");
    }
    if (this.#plain) return this.#schedule(packet, this.#core.now + this.#settings.delay);
    const s = this.#settings;
    const reason = this.#loses(packet);
    if (reason !== undefined) return this.#core.drop(packet, reason);
    let sent = this.#core.now;
    if (s.bandwidth !== Infinity) {
      const begin = Math.max(sent, this.#busyUntil);
      if (begin - sent > s.maxQueueDelay) return this.#core.drop(packet, "queue-full");
      this.#busyUntil = begin + (this.#size(packet) * 8_000) / s.bandwidth;
      sent = this.#busyUntil;
    }
    const arrival = this.#arrival(sent);
    this.#schedule(packet, arrival);
    if (s.duplicate > 0 && this.#rng.float() < s.duplicate) {
      const twin = this.#core.duplicate(packet);
      this.#schedule(twin, arrival + this.#rng.float() * s.duplicateDelay);
    }
  }

  #loses(packet: Packet): DropReason | undefined {
    const s = this.#settings;
    if (s.cut) return "link-down";
    if (this.#size(packet) > s.mtu) {
      if (s.tooBig === "report" && packet.icmp === undefined)
        this.#report(this.#core.report(packet, { kind: "fragmentation-needed", mtu: s.mtu }));
      return "too-big";
    }
    if (s.burst !== null) {
      if (this.#rng.float() < (this.#bad ? s.burst.leave : s.burst.enter)) this.#bad = !this.#bad;
      if (this.#bad && this.#rng.float() < s.burst.loss) return "burst";
    }
    return s.loss > 0 && this.#rng.float() < s.loss ? "loss" : undefined;
  }

  #arrival(sent: Instant): Instant {
    const s = this.#settings;
    if (s.reorder !== null && this.#rng.float() < s.reorder.probability)
      return sent + s.delay + s.reorder.delay + this.#rng.float() * s.reorder.jitter;
    const arrival = sent + s.delay + (s.jitter > 0 ? this.#rng.float() * s.jitter : 0);
    this.#lastArrival = Math.max(arrival, this.#lastArrival);
    return this.#lastArrival;
  }

  /** To a host even what takes no time goes through the queue: nobody is handed a datagram while sending one. */
  #schedule(packet: Packet, at: Instant): void {
    if (packet.icmp === undefined) this.#core.inFlight++;
    if (this.#relay && this.#plain && this.#settings.delay === 0) return this.leave(packet);
    packet.carrier = this;
    this.#core.queue.set(packet, at);
  }

  #size(packet: Packet): number {
    const headers = this.#core.book.headers(packet.destination);
    return packet.icmp === undefined ? headers + packet.bytes.length : 2 * headers;
  }

  #sighting(packet: Packet): Sighting {
    const { book, now } = this.#core;
    return {
      at: now,
      point: this.#point,
      direction: this.direction,
      from: book.address(packet.source),
      to: book.address(packet.destination),
      bytes: packet.bytes,
      icmp: packet.icmp,
    };
  }

  #show(packet: Packet): void {
    const sighting = this.#sighting(packet);
    for (const look of this.#watchers) look(sighting);
  }
}

function count(tally: { datagrams: number; bytes: number }, packet: Packet): void {
  tally.datagrams++;
  tally.bytes += packet.bytes.length;
}
