import { UsageError, unreachable } from "@godwit/base";
import { Code } from "@godwit/coap";
import {
  builtInRegistry,
  formatNodePath,
  isWithin,
  parseNodePath,
  refused,
  valueOf,
  type ObjectEntry,
  type Operation,
  type Outcome,
  type Plain,
  type ValueNode,
} from "@godwit/lwm2m";

/** What a simulated device holds, by path: `{ "/3303/0/5700": 21.5 }`. */
export class Values {
  readonly #values = new Map<string, Plain>();

  /** @throws UsageError for a path that no definition of ours has, or a value that does not fit it */
  constructor(values: Readonly<Record<string, Plain>>) {
    for (const [path, value] of Object.entries(values)) this.set(path, value);
  }

  set(path: string, value: Plain): void {
    nodeOf(path, value);
    this.#values.set(path, value);
  }

  /** Every object with a value and its instances, as a Register announces them. */
  objects(versions: Readonly<Record<number, string>> = {}): readonly ObjectEntry[] {
    const instances = new Map<number, Set<number>>();
    for (const path of this.#values.keys()) {
      const [object = 0, instance = 0] = parseNodePath(path);
      instances.set(object, (instances.get(object) ?? new Set()).add(instance));
    }
    return [...instances]
      .toSorted(([a], [b]) => a - b)
      .map(([id, those]) => ({
        id,
        version: versions[id],
        instances: [...those].toSorted((a, b) => a - b),
      }));
  }

  /** Does what a server asked. Nothing is created or deleted, and executing changes nothing. */
  perform(operation: Operation): Outcome {
    switch (operation.type) {
      case "read": {
        const nodes = this.#within(operation.path);
        return nodes.length > 0 ? { type: "values", nodes } : NOT_FOUND;
      }
      case "discover": {
        const paths = this.#within(operation.path).map(({ path }) => path);
        return paths.length > 0 ? { type: "resources", paths } : NOT_FOUND;
      }
      case "write":
        for (const { path, value } of operation.nodes) {
          if (value !== undefined) this.#values.set(formatNodePath(path), value.value);
        }
        return { type: "done" };
      case "execute":
        return { type: "done" };
      case "create":
      case "delete":
        return refused(Code.MethodNotAllowed, "instances are fixed");
      default:
        return unreachable(operation);
    }
  }

  #within(ancestor: readonly number[]): readonly ValueNode[] {
    return [...this.#values]
      .map(([path, value]) => nodeOf(path, value))
      .filter(({ path }) => isWithin(path, ancestor));
  }
}

function nodeOf(text: string, plain: Plain): ValueNode {
  const path = parseNodePath(text);
  const [object = 0, , resource = 0] = path;
  const definition = REGISTRY.resource(object, resource);
  if (definition === undefined) throw new UsageError(`${text} is not defined`);
  return { path, value: valueOf(definition.type, plain) };
}

const REGISTRY = builtInRegistry();
const NOT_FOUND = refused(Code.NotFound, "");
