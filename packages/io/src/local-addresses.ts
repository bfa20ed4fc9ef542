import { networkInterfaces } from "node:os";

/** "0.0.0.0" and "::" stand for every address of this host. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/**
 * The addresses a wildcard stands for now. "::" means both families, as it does for the kernel. Link-local
 * addresses carry their zone, without which they name nothing.
 */
export function localAddresses(wildcard: string): string[] {
  const found = new Set<string>();
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { address, family, scopeid } of addresses ?? []) {
      if (family === "IPv4") found.add(address);
      else if (wildcard === "::") found.add(scopeid ? `${address}%${name}` : address);
    }
  }
  return [...found];
}
