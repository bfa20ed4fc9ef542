import type { Nat } from "@godwit/netsim";

/** Who has had which public address: what is meant for one device may reach the next that has it. */
export class AddressesHad {
  readonly #nat: Nat;
  /** Inside hosts by public address and the port of the server that it leads to. */
  readonly #had = new Map<string, Set<string>>();

  constructor(nat: Nat) {
    this.#nat = nat;
    nat.link.up.watch(({ from, to }) => {
      const key = keyOf(from, to.port);
      const inside = nat.mappings.find(({ external, remotes }) =>
        remotes.some((remote) => keyOf(external, remote.port) === key),
      )?.internal.host;
      if (inside === undefined) return;
      const those = this.#had.get(key);
      if (those === undefined) this.#had.set(key, new Set([inside]));
      else those.add(inside);
    });
  }

  /** Whether the public address that `host` has towards a port of the server was another's before. */
  wereOthers(host: string, port: number): boolean {
    return this.#nat.mappings.some(
      ({ internal, external, remotes }) =>
        internal.host === host &&
        remotes.some((remote) => remote.port === port) &&
        (this.#had.get(keyOf(external, port))?.size ?? 0) > 1,
    );
  }
}

function keyOf(
  { host, port }: { readonly host: string; readonly port: number },
  to: number,
): string {
  return `${host}:${port} ${to}`;
}
