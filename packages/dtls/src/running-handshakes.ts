import { type Instant, type Path, addressPrefix } from "@godwit/base";
import { PathKeys } from "./path-claim.ts";
import type { ServerHandshake } from "./server-handshake.ts";
import type { DtlsTuning } from "./tuning.ts";

/** What is looked at of a handshake. */
export type Running = Pick<ServerHandshake, "path" | "waits" | "wentOnAt">;

/**
 * The handshakes that a server runs, by path. A host has a share of them, and so has a network (see `addressPrefix`). At a
 * limit those that have waited long enough for their client give way to new ones, the oldest first: of a host and of a network
 * its own, of all those whose network has more than the newcomer's. So a flood from one place shuts nobody out elsewhere.
 */
export class RunningHandshakes<T extends Running = ServerHandshake> {
  readonly #tuning: DtlsTuning;
  readonly #keys = new PathKeys();
  readonly #byPath = new Map<string, T>();
  readonly #byHost = new Map<string, Set<T>>();
  readonly #byNetwork = new Map<string, Set<T>>();

  constructor(tuning: DtlsTuning) {
    this.#tuning = tuning;
  }

  get size(): number {
    return this.#byPath.size;
  }

  /** Hosts and networks that are counted: none once no handshake runs. */
  get counted(): number {
    return this.#byHost.size + this.#byNetwork.size;
  }

  at(path: Path): T | undefined {
    return this.size === 0 ? undefined : this.#byPath.get(this.#keys.of(path));
  }

  /** All of them now, the oldest first. */
  values(): T[] {
    return [...this.#byPath.values()];
  }

  /** Whether one more from `host` may begin, and which one gives way to it. */
  room(host: string, now: Instant): { readonly gone: T | undefined } | "share" | "full" {
    const { maxHandshakes, maxHandshakesPerHost, maxHandshakesPerNetwork } = this.#tuning;
    const own = this.#byHost.get(host);
    if (own !== undefined && own.size >= maxHandshakesPerHost) {
      const gone = this.#idle(own, now);
      return gone === undefined ? "share" : { gone };
    }
    const near = this.#byNetwork.get(addressPrefix(host));
    if (near !== undefined && near.size >= maxHandshakesPerNetwork) {
      const gone = this.#idle(near, now) ?? this.#ofLarger(near, this.#byHost, own?.size ?? 0);
      return gone === undefined ? "share" : { gone };
    }
    if (this.size < maxHandshakes) return { gone: undefined };
    const all = this.#byPath.values();
    const gone =
      this.#idle(all, now) ??
      this.#ofLarger(this.#byPath.values(), this.#byNetwork, near?.size ?? 0);
    return gone === undefined ? "full" : { gone };
  }

  /** Puts it at its path. */
  set(handshake: T): void {
    const { host } = handshake.path.remote;
    this.#byPath.set(this.#keys.of(handshake.path), handshake);
    joined(this.#byHost, host).add(handshake);
    joined(this.#byNetwork, addressPrefix(host)).add(handshake);
  }

  /** Takes it out, if it is the one at its path. */
  delete(handshake: T): void {
    if (this.at(handshake.path) !== handshake) return;
    const { host } = handshake.path.remote;
    this.#byPath.delete(this.#keys.of(handshake.path));
    left(this.#byHost, host, handshake);
    left(this.#byNetwork, addressPrefix(host), handshake);
  }

  /** One of the oldest that waits for its client and has for a while. */
  #idle(handshakes: Iterable<T>, now: Instant): T | undefined {
    const { halfOpenGrace } = this.#tuning;
    return firstOf(handshakes, (one) => one.waits && now - one.wentOnAt >= halfOpenGrace);
  }

  /** One of the oldest that waits and whose host, or network, has more than `size` and one. */
  #ofLarger(
    handshakes: Iterable<T>,
    groups: ReadonlyMap<string, ReadonlySet<T>>,
    size: number,
  ): T | undefined {
    const isHost = groups === this.#byHost;
    return firstOf(handshakes, (one) => {
      const { host } = one.path.remote;
      const group = groups.get(isHost ? host : addressPrefix(host));
      return one.waits && group !== undefined && group.size > size + 1;
    });
  }
}

/** The first of the oldest few that `fits`: no newcomer costs a look at all. */
function firstOf<T>(handshakes: Iterable<T>, fits: (handshake: T) => boolean): T | undefined {
  let looked = 0;
  for (const one of handshakes) {
    if (fits(one)) return one;
    if (++looked === LOOKS) return undefined;
  }
  return undefined;
}

function joined<T>(groups: Map<string, Set<T>>, name: string): Set<T> {
  const known = groups.get(name);
  if (known !== undefined) return known;
  const group = new Set<T>();
  groups.set(name, group);
  return group;
}

function left<T>(groups: Map<string, Set<T>>, name: string, handshake: T): void {
  const group = groups.get(name);
  group?.delete(handshake);
  if (group?.size === 0) groups.delete(name);
}

const LOOKS = 16;
