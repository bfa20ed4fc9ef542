import { Code } from "@godwit/coap";
import {
  applyAttributes,
  checkConsistent,
  effectiveAttributes,
  type AttributeChange,
  type Attributes,
} from "../attributes.ts";
import { formatNodePath, isWithin, parseNodePath, samePath, type NodePath } from "../node-path.ts";
import { orRefused, refused, type Refusal } from "../refusal.ts";

/** What the server attached to paths (OMA TS Core 7.3), a bounded number of them. */
export class AttachedAttributes {
  readonly #byPath = new Map<string, Attributes>();
  readonly #limit: number;

  constructor(limit: number, kept: readonly (readonly [path: string, attributes: Attributes])[]) {
    this.#limit = limit;
    for (const [path, attributes] of kept) this.#byPath.set(path, attributes);
  }

  get all(): readonly (readonly [path: string, attributes: Attributes])[] {
    return Array.from(this.#byPath);
  }

  at(path: NodePath): Attributes | undefined {
    return this.#byPath.get(formatNodePath(path));
  }

  /** Write-Attributes. Returns why not, if so. */
  change(path: NodePath, change: AttributeChange): Refusal | undefined {
    const name = formatNodePath(path);
    const attributes = applyAttributes(this.#byPath.get(name) ?? {}, change);
    const fault = inconsistency({ ...this.inherited(path), ...attributes });
    if (fault !== undefined) return fault;
    if (Object.keys(attributes).length === 0) this.#byPath.delete(name);
    else if (!this.#byPath.has(name) && this.#byPath.size >= this.#limit)
      return refused(Code.InternalServerError, "too many attributes");
    else this.#byPath.set(name, attributes);
    return undefined;
  }

  /** What Discover shows of the path it is asked for: also what is attached above it. */
  withInherited(path: NodePath): Attributes {
    let merged: Attributes = {};
    for (let ids = 1; ids <= path.length; ids++)
      merged = { ...merged, ...this.at(path.slice(0, ids)) };
    return merged;
  }

  /** Of the levels above `path`. */
  inherited(path: NodePath): Attributes {
    return effectiveAttributes(path.slice(0, -1), (at) => this.at(at));
  }

  /** What counts for an observation of `path`; `own` came with its Observe (1.2) and replaces what is attached there. */
  effective(path: NodePath, own: Attributes | undefined, defaults: Attributes): Attributes {
    return effectiveAttributes(
      path,
      (at) => {
        if (own === undefined) return this.at(at);
        return samePath(at, path) ? own : undefined;
      },
      defaults,
    );
  }

  /** What was attached to it is gone with it. */
  deleted(path: NodePath): void {
    for (const name of this.#byPath.keys())
      if (isWithin(parseNodePath(name), path)) this.#byPath.delete(name);
  }
}

/** Why these cannot stand together, if so. */
export function inconsistency(attributes: Attributes): Refusal | undefined {
  const checked = orRefused(() => {
    checkConsistent(attributes);
    return { type: "fine" as const };
  });
  return checked.type === "refused" ? checked : undefined;
}
