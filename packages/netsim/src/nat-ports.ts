import { below, type Instant, type Rng } from "@godwit/base";
import { endpointOf, hostOf, portOf, type Endpoint } from "./address-book.ts";
import type { NatSettings } from "./nat-settings.ts";

/** Who asks for a public port. */
export type PortRequest = {
  readonly internal: Endpoint;
  readonly now: Instant;
  readonly settings: NatSettings;
  /** Whether a live mapping stands in the way on this public endpoint. */
  readonly taken: (external: Endpoint) => boolean;
  /** The public endpoint of the inside port next door, for contiguity. */
  readonly neighbour: Endpoint | undefined;
};

/** The public addresses of one NAT box and their ports: pairing, blocks, and ports that rest after use. */
export class PortPool {
  readonly #rng: Rng;
  #addresses: readonly number[] = [];
  readonly #paired = new Map<number, number>();
  readonly #resting = new Map<Endpoint, Instant>();
  readonly #blocks = new Map<number, Block>();
  #restSweepAt = FIRST_SWEEP;
  #next = 0;

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  /** Public addresses by number. Pairings, blocks and resting ports are forgotten. */
  reset(addresses: readonly number[]): void {
    this.#addresses = addresses;
    this.forget();
  }

  forget(): void {
    this.#paired.clear();
    this.#resting.clear();
    this.#blocks.clear();
    this.#next = 0;
  }

  owns(hostNumber: number): boolean {
    return this.#addresses.includes(hostNumber);
  }

  /** A port was given back at `at`. */
  free(external: Endpoint, at: Instant, settings: NatSettings): void {
    if (settings.holdDown === 0) return;
    this.#resting.set(external, at + settings.holdDown);
    if (this.#resting.size < this.#restSweepAt) return;
    for (const [port, until] of this.#resting) if (until <= at) this.#resting.delete(port);
    this.#restSweepAt = Math.max(FIRST_SWEEP, this.#resting.size * 2);
  }

  /** A public endpoint for a new mapping, or undefined when none is left. */
  pick(request: PortRequest): Endpoint | undefined {
    const { internal, settings } = request;
    const address = this.#address(hostOf(internal), settings);
    const free = (port: number): boolean => {
      const external = endpointOf(address, port);
      return !request.taken(external) && this.#rested(external, request.now); // asking may free it
    };
    const port = this.#port(address, request, free);
    return port === undefined ? undefined : endpointOf(address, port);
  }

  #port(
    address: number,
    request: PortRequest,
    free: (port: number) => boolean,
  ): number | undefined {
    const { settings, neighbour } = request;
    const wanted = portOf(request.internal);
    if (settings.ports === "overload") return wanted;
    if (settings.ports === "block") return this.#fromBlock(address, request, free);
    if (settings.contiguity && neighbour !== undefined && hostOf(neighbour) === address) {
      const next = portOf(neighbour) + (wanted % 2 === 0 ? -1 : 1);
      if (inRange(next, settings) && free(next)) return next;
    }
    if (settings.ports === "preserve" && inRange(wanted, settings) && free(wanted)) return wanted;
    const [low, high] = rangeFor(wanted, settings);
    const step = settings.parity ? 2 : 1;
    const first = settings.parity && low % 2 !== wanted % 2 ? low + 1 : low;
    const count = Math.floor((high - first) / step) + 1;
    if (count <= 0) return undefined;
    const start = settings.ports === "sequential" ? this.#next : below(this.#rng, count);
    for (let tried = 0; tried < count; tried++) {
      const place = (start + tried) % count;
      const port = first + place * step;
      if (!free(port)) continue;
      if (settings.ports === "sequential") this.#next = (place + 1) % count;
      return port;
    }
    return undefined;
  }

  #fromBlock(
    address: number,
    { internal, settings }: PortRequest,
    free: (port: number) => boolean,
  ): number | undefined {
    const block = this.#block(address, hostOf(internal), settings, free);
    if (block === undefined) return undefined;
    for (let tried = 0; tried < settings.blockSize; tried++) {
      const place = (block.next + tried) % settings.blockSize;
      if (!free(block.first + place)) continue;
      block.next = (place + 1) % settings.blockSize;
      return block.first + place;
    }
    return undefined;
  }

  /** The host's block; a new one; or one of a host that uses none of its ports any more. */
  #block(
    address: number,
    subscriber: number,
    { portRange: [low, high], blockSize }: NatSettings,
    free: (port: number) => boolean,
  ): Block | undefined {
    const known = this.#blocks.get(subscriber);
    if (known?.address === address && known.size === blockSize) return known;
    const used = new Map<number, number>();
    for (const [owner, block] of this.#blocks)
      if (block.address === address) used.set(block.first, owner);
    const firsts: number[] = [];
    for (let at = low; at + blockSize - 1 <= high; at += blockSize) firsts.push(at);
    const first =
      firsts.find((at) => !used.has(at)) ?? firsts.find((at) => allFree(at, blockSize, free));
    if (first === undefined) return undefined;
    const owner = used.get(first);
    if (owner !== undefined) this.#blocks.delete(owner);
    const block = { address, first, size: blockSize, next: 0 };
    this.#blocks.set(subscriber, block);
    return block;
  }

  #address(subscriber: number, settings: NatSettings): number {
    const draw = (): number => this.#addresses[below(this.#rng, this.#addresses.length)]!; // at least one
    if (this.#addresses.length === 1) return this.#addresses[0]!; // it has one
    if (settings.pooling === "arbitrary" && settings.ports !== "block") return draw();
    const known = this.#paired.get(subscriber);
    if (known !== undefined) return known;
    const address = draw();
    if (this.#paired.size >= settings.maxEntries) this.#paired.clear();
    this.#paired.set(subscriber, address);
    return address;
  }

  #rested(external: Endpoint, now: Instant): boolean {
    const until = this.#resting.get(external);
    if (until === undefined) return true;
    if (until > now) return false;
    this.#resting.delete(external);
    return true;
  }
}

type Block = {
  readonly address: number;
  readonly first: number;
  readonly size: number;
  next: number;
};

function allFree(first: number, size: number, free: (port: number) => boolean): boolean {
  for (let port = first; port < first + size; port++) if (!free(port)) return false;
  return true;
}

function inRange(port: number, { portRange: [low, high] }: NatSettings): boolean {
  return port >= low && port <= high;
}

/** RFC 4787 REQ-3a: 0-1023 and 1024-65535 do not mix, unless the range has no port of the class. */
function rangeFor(wanted: number, settings: NatSettings): readonly [number, number] {
  const [low, high] = settings.portRange;
  if (!settings.keepClass) return [low, high];
  if (wanted < WELL_KNOWN)
    return low < WELL_KNOWN ? [low, Math.min(high, WELL_KNOWN - 1)] : [low, high];
  return high >= WELL_KNOWN ? [Math.max(low, WELL_KNOWN), high] : [low, high];
}

const WELL_KNOWN = 1_024;
const FIRST_SWEEP = 1_024;
