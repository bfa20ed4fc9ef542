import { type Instant, addressPrefix } from "@godwit/base";
import type { ServerHandshake } from "./server-handshake.ts";
import type { DtlsTuning } from "./tuning.ts";

/**
 * The handshakes that a server runs, by path. A host has a share of them, and so has a network (see `addressPrefix`). At a
 * limit those that have waited long enough for their client give way to new ones, the oldest first: of a host and of a network
 * its own, of all those whose network has more than the newcomer's. So a flood from one place shuts nobody out elsewhere.
 */
export class RunningHandshakes {
  readonly #tuning: DtlsTuning;
  readonly #byPath = new Map<string, ServerHandshake>();
  readonly #byHost = new Map<string, Set<ServerHandshake>>();
  readonly #byNetwork = new Map<string, Set<ServerHandshake>>();

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

  get(path: string): ServerHandshake | undefined {
    return this.#byPath.get(path);
  }

  /** All of them now, the oldest first. */
  values(): ServerHandshake[] {
    return [...this.#byPath.values()];
  }

  /** Whether one more from `host` may begin, and which one gives way to it. */
  room(
    host: string,
    now: Instant,
  ): { readonly gone: ServerHandshake | undefined } | "share" | "full" {
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

  set(path: string, handshake: ServerHandshake): void {
    const { host } = handshake.path.remote;
    this.#byPath.set(path, handshake);
    joined(this.#byHost, host).add(handshake);
    joined(this.#byNetwork, addressPrefix(host)).add(handshake);
  }

  delete(path: string): void {
    const handshake = this.#byPath.get(path);
    if (handshake === undefined) return;
    const { host } = handshake.path.remote;
    this.#byPath.delete(path);
    left(this.#byHost, host, handshake);
    left(this.#byNetwork, addressPrefix(host), handshake);
  }

  /** One of the oldest that waits for its client and has for a while. */
  #idle(handshakes: Iterable<ServerHandshake>, now: Instant): ServerHandshake | undefined {
    const { halfOpenGrace } = this.#tuning;
    return firstOf(handshakes, (one) => one.waits && now - one.wentOnAt >= halfOpenGrace);
  }

  /** One of the oldest that waits and whose host, or network, has more than `size` and one. */
  #ofLarger(
    handshakes: Iterable<ServerHandshake>,
    groups: ReadonlyMap<string, ReadonlySet<ServerHandshake>>,
    size: number,
  ): ServerHandshake | undefined {
    const isHost = groups === this.#byHost;
    return firstOf(handshakes, (one) => {
      const { host } = one.path.remote;
      const group = groups.get(isHost ? host : addressPrefix(host));
      return one.waits && group !== undefined && group.size > size + 1;
    });
  }
}

/** The first of the oldest few that `fits`: no newcomer costs a look at all. */
function firstOf(
  handshakes: Iterable<ServerHandshake>,
  fits: (handshake: ServerHandshake) => boolean,
): ServerHandshake | undefined {
  let looked = 0;
  for (const one of handshakes) {
    if (fits(one)) return one;
    if (++looked === LOOKS) return undefined;
  }
  return undefined;
}

function joined(groups: Map<string, Set<ServerHandshake>>, name: string): Set<ServerHandshake> {
  const known = groups.get(name);
  if (known !== undefined) return known;
  const group = new Set<ServerHandshake>();
  groups.set(name, group);
  return group;
}

function left(
  groups: Map<string, Set<ServerHandshake>>,
  name: string,
  handshake: ServerHandshake,
): void {
  const group = groups.get(name);
  group?.delete(handshake);
  if (group?.size === 0) groups.delete(name);
}

const LOOKS = 16;
