// Everything that happens, happens in one queue ordered by (time, sequence). `run` takes events out until a point
// in virtual time; each is a packet that arrives, a machine that wakes, or a line of a test's script. Chance comes
// from generators derived from one seed, so equal worlds have equal traces.

import { UsageError, type Instant, type Rng } from "@godwit/base";
import { AWS_NLB, Balancer, type BalancerOptions } from "./balancer.ts";
import { Core, type WorldCounts } from "./core.ts";
import { DatagramLog } from "./datagram-log.ts";
import { milliseconds, type Duration } from "./duration.ts";
import type { Timed } from "./event-queue.ts";
import { Host, type HostOptions } from "./host.ts";
import type { Link, LinkDirection } from "./link.ts";
import { natPreset, type NatPresetName } from "./nat-presets.ts";
import { RFC4787, type NatSettings } from "./nat-settings.ts";
import { Nat, type NatOptions } from "./nat.ts";
import { PcapWriter } from "./pcap-writer.ts";
import { Site, type Access } from "./site.ts";
import { TUNING } from "./tuning.ts";

/** Where datagrams can be watched: a link, or one direction of it. */
export type Point = Link | LinkDirection;

/**
 * A network in virtual time. Nothing in it knows the wall clock.
 *
 * ```ts
 * const world = new World({ seed: 7 });
 * const nat = world.nat("linux-home");
 * const device = world.host("device", { behind: nat });
 * const server = world.host("server", { address: "198.51.100.9" });
 * device.attach(5683, clientMachine);
 * server.attach(5683, serverMachine);
 * world.run("31 minutes");
 * ```
 */
export class World {
  readonly #core: Core;
  readonly #internet: Access;
  readonly #names = new Set<string>();
  #instant: Instant = -Infinity;
  #atInstant = 0;
  #events = 0;

  /** `start`: what the clock shows first, in ms; a date of today unless given, so that no number is small by accident. */
  constructor({ seed, start = TUNING.start }: { readonly seed: number; readonly start?: Instant }) {
    this.#core = new Core(seed, start);
    const site = new Site(this.#core, "internet");
    this.#internet = { site, egress: (packet) => site.realm.route(packet) };
  }

  get now(): Instant {
    return this.#core.now;
  }

  /** What became of all datagrams so far. */
  get counts(): WorldCounts {
    return this.#core.counts();
  }

  /** Events that have fired. */
  get events(): number {
    return this.#events;
  }

  /** A generator derived from the world's seed, for a machine that takes chance as an argument. */
  rng(label: string): Rng {
    return this.#core.rng(`rng ${label}`);
  }

  host(name: string, options: HostOptions = {}): Host {
    return new Host(this.#core, this.#internet, this.#name(name), options);
  }

  /**
   * A NAT box: a preset's name or settings (what they leave out is as RFC 4787 asks), and what differs.
   * `double-nat` gives the inner one of a home and a carrier box; the carrier's is its `outer`.
   */
  nat(
    kind: NatPresetName | "double-nat" | Partial<NatSettings> = "rfc4787",
    options: NatOptions & Partial<NatSettings> = {},
  ): Nat {
    const { name, address, behind, link, ...overrides } = options;
    if (kind === "double-nat") {
      const outer = this.nat("cgn-block", {
        ...(name === undefined ? {} : { name: `${name}-outer` }),
        ...(behind === undefined ? {} : { behind }),
      });
      return this.nat("linux-home", { ...options, behind: outer });
    }
    const settings =
      typeof kind === "string" ? natPreset(kind, overrides) : { ...RFC4787, ...kind, ...overrides };
    return new Nat(
      this.#core,
      this.#internet,
      this.#name(name ?? "nat", name === undefined),
      settings,
      {
        ...(address === undefined ? {} : { address }),
        ...(behind === undefined ? {} : { behind }),
        ...(link === undefined ? {} : { link }),
      },
    );
  }

  /** A load balancer on the Internet. Hosts that stand `behind` it are its targets. */
  balancer(kind: "aws-nlb" = "aws-nlb", options: BalancerOptions = {}): Balancer {
    const { name = kind, address, ...settings } = options;
    const unique = this.#name(name, options.name === undefined);
    return new Balancer(this.#core, this.#internet, unique, { ...AWS_NLB, ...settings }, address);
  }

  /** Runs `step` at an instant, or `after` so long from now. */
  at(instant: Instant, step: () => void): void {
    if (instant < this.now) throw new UsageError(`${instant} is past`);
    this.#core.queue.set({ at: 0, order: 0, place: -1, fire: step }, instant);
  }

  after(span: Duration, step: () => void): void {
    this.at(this.now + milliseconds(span), step);
  }

  /** Lets so much time pass, and all that is due in it happen. */
  run(span: Duration): void {
    const end = this.now + milliseconds(span);
    for (let event = this.#core.queue.take(end); event; event = this.#core.queue.take(end))
      this.#fire(event);
    this.#core.now = end;
  }

  /** Runs until `done` holds after some event, at most for `limit`. Says whether it held. */
  runUntil(done: () => boolean, limit: Duration): boolean {
    if (done()) return true;
    const end = this.now + milliseconds(limit);
    for (let event = this.#core.queue.take(end); event; event = this.#core.queue.take(end)) {
      this.#fire(event);
      if (done()) return true;
    }
    this.#core.now = end;
    return false;
  }

  /** 16 hex digits over every datagram sent, delivered and dropped, with its time, ends and content. */
  traceHash(): string {
    return this.#core.trace.hex();
  }

  /** Keeps the datagrams that cross these points from now on, at most `limit`. */
  log(points: Point | readonly Point[], limit?: number): DatagramLog {
    const log = new DatagramLog(limit);
    for (const point of [points].flat()) point.watch((sighting) => log.add(sighting));
    return log;
  }

  /** Captures these points from now on, each as an interface of its link's name, up to `limit` bytes. */
  capture(points: Point | readonly Point[], limit?: number): PcapWriter {
    const capture = new PcapWriter(limit);
    for (const point of [points].flat()) point.watch((sighting) => capture.add(sighting));
    return capture;
  }

  #fire(event: Timed): void {
    const core = this.#core;
    core.now = event.at;
    this.#events++;
    if (event.at !== this.#instant) {
      this.#instant = event.at;
      this.#atInstant = 0;
    } else if (++this.#atInstant > TUNING.maxEventsPerInstant)
      throw new UsageError(`time stands still at ${event.at}: something wakes or answers for ever`);
    event.fire();
  }

  /** Names tell links and generators apart, so two parts may not share one. */
  #name(wanted: string, numbered = false): string {
    let name = numbered ? `${wanted}-1` : wanted;
    for (let n = 2; numbered && this.#names.has(name); n++) name = `${wanted}-${n}`;
    if (this.#names.has(name)) throw new UsageError(`${name} exists`);
    this.#names.add(name);
    return name;
  }
}
