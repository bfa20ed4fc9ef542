import { UsageError } from "@godwit/base";
import { dtls12Cid, dtls12Resume } from "./dtls12.ts";
import { oscore } from "./oscore.ts";
import type { Row, Strategy } from "./row.ts";
import { udp } from "./udp.ts";

/** Plays strategies in simulated worlds, message by message. Without names: all there are. */
export function compare(
  names: readonly string[] = strategyNames(),
  onStrategy: (name: string) => void = () => undefined,
): readonly Row[] {
  const strategies = names.map((name) => {
    const strategy = STRATEGIES.get(name);
    if (strategy !== undefined) return { name, strategy };
    throw new UsageError(`no strategy "${name}"; there is ${strategyNames().join(", ")}`);
  });
  return strategies.flatMap(({ name, strategy }) => {
    onStrategy(name);
    return strategy();
  });
}

export function strategyNames(): readonly string[] {
  return [...STRATEGIES.keys()];
}

const STRATEGIES: ReadonlyMap<string, Strategy> = new Map([
  ["udp", udp],
  ["dtls12-resume", dtls12Resume],
  ["dtls12-cid", dtls12Cid],
  ["oscore", oscore],
]);
