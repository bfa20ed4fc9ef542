import { FormatError } from "@godwit/base";
import { shown } from "./refusal.ts";

/**
 * The arguments of a request by name: "lt=300" has the value "300", a bare "Q" has none. Where `known` is given, all
 * other names are passed over. @throws FormatError if a name is there twice
 */
export function readQuery(
  query: readonly string[],
  known?: ReadonlySet<string>,
): Map<string, string | undefined> {
  const parameters = new Map<string, string | undefined>();
  for (const argument of query) {
    const split = argument.indexOf("=");
    const name = split < 0 ? argument : argument.slice(0, split);
    if (known?.has(name) === false) continue;
    if (parameters.has(name)) throw new FormatError(`${shown(name)} is there twice`);
    parameters.set(name, split < 0 ? undefined : argument.slice(split + 1));
  }
  return parameters;
}
