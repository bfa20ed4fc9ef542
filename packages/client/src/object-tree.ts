import { UsageError, check as checkRule, unreachable, whole, type Rule } from "@godwit/base";
import { Code } from "@godwit/coap";
import { TimeoutError, within } from "@godwit/io";
import {
  UNASSIGNED,
  formatNodePath,
  givenPath,
  isWithin,
  plainRule,
  refused,
  valueOf,
  type Operation,
  type NodePath,
  type ObjectEntry,
  type Outcome,
  type Plain,
  type Refusal,
  type Registry,
  type ResourceDefinition,
  type Value,
  type ValueNode,
} from "@godwit/lwm2m";
import type { DeviceLimits } from "./tuning.ts";

/** A value, or how to get it. */
export type Source = Plain | (() => Plain | Promise<Plain>);

/**
 * One resource of an instance: a value (which the server may replace where the object's definition lets it), a function
 * that measures it, or for an executable resource the function that does it. `read` and `write` together guard a
 * resource by code; several values by id make a multiple resource.
 */
export type Resource =
  | Source
  | ((args: ReadonlyMap<number, string>) => void | Promise<void>)
  | {
      readonly read?: () => Plain | Promise<Plain>;
      readonly write?: (value: Plain) => void | Promise<void>;
    }
  | { readonly values: Readonly<Record<number, Source>> };

/** The resources of one instance by id. */
export type Resources = Readonly<Record<number, Resource>>;

/** What a tree tells its device. */
export type TreeHost = {
  /** The server wrote this resource. */
  changed(path: NodePath): void;
  /** A function of this resource failed. */
  failed(fault: unknown, path: NodePath, source: "read" | "write" | "execute"): void;
};

/** The objects a device has, and what the server's operations do to them. */
export class ObjectTree {
  readonly #registry: Registry;
  readonly #instances = new Map<number, Map<number, Map<number, Resource>>>();
  readonly #host: TreeHost;
  readonly #limits: DeviceLimits;

  constructor(registry: Registry, limits: DeviceLimits, host: TreeHost) {
    this.#registry = registry;
    this.#limits = limits;
    this.#host = host;
  }

  /** @throws UsageError that names what cannot be, also for an instance that is there */
  add(object: number, instance: number, resources: Resources): void {
    const what = `add of ${object}/${instance}`;
    checkRule(what, "object", object, ID);
    checkRule(what, "instance", instance, ID);
    checkRule(what, "resources", resources, RESOURCES);
    const definition = this.#registry.object(object);
    if (definition === undefined) throw new UsageError(`object ${object} has no definition here`);
    if (definition.hidden || object === SERVER) {
      throw new UsageError(`object ${object} is the client's own`);
    }
    if (!definition.multiple && instance !== 0) {
      throw new UsageError(`object ${object} has one instance, 0`);
    }
    if (this.#instances.get(object)?.has(instance) === true) {
      throw new UsageError(
        `/${object}/${instance} is there already: remove it first, or set its values`,
      );
    }
    const made = new Map<number, Resource>();
    for (const [text, resource] of Object.entries(resources)) {
      const id = Number(text);
      const known = this.#registry.resource(object, id);
      if (known === undefined) throw new UsageError(`object ${object} has no resource ${id}`);
      check(known, resource);
      made.set(id, resource);
    }
    for (const known of definition.resources) {
      if (known.mandatory && !made.has(known.id)) {
        throw new UsageError(`object ${object} needs resource ${known.id}, ${known.name}`);
      }
    }
    const instances = this.#instances.get(object) ?? new Map<number, Map<number, Resource>>();
    instances.set(instance, made);
    this.#instances.set(object, instances);
  }

  remove(object: number, instance: number): void {
    this.#instances.get(object)?.delete(instance);
  }

  has(object: number): boolean {
    return (this.#instances.get(object)?.size ?? 0) > 0;
  }

  /** What a Register announces. */
  entries(): readonly ObjectEntry[] {
    return [...this.#instances]
      .filter(([, instances]) => instances.size > 0)
      .map(([id, instances]) => ({
        id,
        version: this.#registry.object(id)?.version,
        instances: [...instances.keys()].toSorted((a, b) => a - b),
      }))
      .toSorted((a, b) => a.id - b.id);
  }

  /** Replaces a value held here. @throws UsageError where the resource is code, or unknown */
  set(path: string, value: Plain): void {
    const at = givenPath(path);
    const [object = -1, instance = -1, id = -1] = at;
    const resources = this.#instances.get(object)?.get(instance);
    const known = this.#registry.resource(object, id);
    if (at.length !== 3 || resources === undefined || known === undefined) {
      throw new UsageError(`${path} is no resource of this device`);
    }
    if (!resources.has(id)) throw new UsageError(`${path} was not added`);
    if (!isHeld(resources.get(id))) throw new UsageError(`${path} is measured, not held`);
    checkRule(`set ${path}`, "value", value, plainRule);
    valueOf(known.type, value); // the caller's mistake is named now
    resources.set(id, value);
  }

  /** Does what the server wants; never rejects. What fails in the program's code is reported, and its words stay here. */
  async perform(operation: Operation): Promise<Outcome> {
    switch (operation.type) {
      case "read":
        return await this.#read(operation.path);
      case "discover":
        return { type: "resources", paths: this.#paths(operation.path) };
      case "write":
        return await this.#write(operation.path, operation.nodes, operation.mode);
      case "execute":
        return await this.#execute(operation.path, operation.args);
      case "create":
        return this.#create(operation);
      case "delete": {
        const [object = -1, instance = -1] = operation.path;
        this.remove(object, instance);
        return { type: "done" };
      }
      default:
        return unreachable(operation);
    }
  }

  /** What cannot be measured is left out; where that is all, the read is refused. */
  async #read(path: NodePath): Promise<Outcome> {
    const asked: Promise<ValueNode | Refusal>[] = [];
    const nodes: ValueNode[] = [];
    for (const { at, resource, known } of this.#below(path)) {
      if (known.operations === "E" || !known.operations.includes("R")) continue;
      const leaves = sources(at, resource);
      for (const [leaf, source] of leaves) {
        if (isWithin(leaf, path) || isWithin(path, leaf)) {
          asked.push(this.#measure(leaf, known, source));
        }
      }
      if (known.multiple && leaves.length === 0) nodes.push({ path: at, value: undefined });
    }
    let refusal: Refusal | undefined;
    for (const one of await Promise.all(asked)) {
      if ("path" in one) nodes.push(one);
      else refusal = one;
    }
    return refusal !== undefined && nodes.length === 0 ? refusal : { type: "values", nodes };
  }

  async #measure(
    path: NodePath,
    known: ResourceDefinition,
    source: Source,
  ): Promise<ValueNode | Refusal> {
    try {
      const what = `what measures ${formatNodePath(path)}`;
      const plain =
        typeof source === "function"
          ? await within<Plain>(this.#limits.readTimeout, what, source)
          : source;
      checkRule(formatNodePath(path), "its value", plain, plainRule);
      return { path, value: valueOf(known.type, plain) };
    } catch (fault) {
      this.#host.failed(fault, path, "read");
      return refusalFor(fault);
    }
  }

  #paths(path: NodePath): readonly NodePath[] {
    return [...this.#below(path)].flatMap(({ at, resource }) =>
      isMultiple(resource) ? [at, ...sources(at, resource).map(([leaf]) => leaf)] : [at],
    );
  }

  async #write(
    path: NodePath,
    nodes: readonly ValueNode[],
    mode: "replace" | "update",
  ): Promise<Outcome> {
    const [object = -1, instance = -1] = path;
    const resources = this.#instances.get(object)?.get(instance);
    if (resources === undefined) return refused(Code.NotFound, "no such instance");
    const plan = new Map<number, Record<number, Plain> | Plain>();
    for (const { path: at, value } of nodes) {
      const id = at[2] ?? -1;
      if (!resources.has(id)) return refused(Code.NotFound, `no resource ${formatNodePath(at)}`);
      if (value === undefined) plan.set(id, {});
      else if (at.length === 4) {
        const before = plan.get(id);
        const gathered =
          typeof before === "object" && !(before instanceof Uint8Array) ? before : {};
        plan.set(id, { ...(gathered as Record<number, Plain>), [at[3] ?? 0]: plainOf(value) });
      } else plan.set(id, plainOf(value));
    }
    for (const [id, plain] of plan) {
      const resource = resources.get(id);
      if (isGuarded(resource)) {
        if (resource.write === undefined) {
          return refused(Code.MethodNotAllowed, `resource ${id} is not written here`);
        }
        const { write } = resource;
        const failed = await this.#act([object, instance, id], "write", () =>
          write(plain as Plain),
        );
        if (failed !== undefined) return failed;
      } else if (isMultiple(resource)) {
        const kept = mode === "update" ? resource.values : {};
        resources.set(id, { values: { ...kept, ...(plain as Record<number, Plain>) } });
      } else if (isHeld(resource)) resources.set(id, plain as Plain);
      else return refused(Code.MethodNotAllowed, `resource ${id} is measured`);
      this.#host.changed([object, instance, id]);
    }
    return { type: "done" };
  }

  async #execute(path: NodePath, args: ReadonlyMap<number, string>): Promise<Outcome> {
    const [object = -1, instance = -1, id = -1] = path;
    const resource = this.#instances.get(object)?.get(instance)?.get(id);
    if (typeof resource !== "function") return refused(Code.NotFound, "nothing to execute");
    const execute = resource as (args: ReadonlyMap<number, string>) => void | Promise<void>;
    const failed = await this.#act([object, instance, id], "execute", () => execute(args));
    return failed ?? { type: "done" };
  }

  async #act(
    path: NodePath,
    source: "write" | "execute",
    act: () => void | Promise<void>,
  ): Promise<Refusal | undefined> {
    try {
      await within(this.#limits.actTimeout, `${source} of ${formatNodePath(path)}`, act);
      return undefined;
    } catch (fault) {
      this.#host.failed(fault, path, source);
      return refusalFor(fault);
    }
  }

  #create({ object, instance, nodes }: Extract<Operation, { type: "create" }>): Outcome {
    const taken = this.#instances.get(object);
    let id = instance ?? 0;
    while (instance === undefined && taken?.has(id) === true) id += 1;
    if (taken?.has(id) === true) return refused(Code.BadRequest, `instance ${id} exists`);
    const own = this.#registry
      .object(object)
      ?.resources.find(({ mandatory, operations }) => mandatory && operations === "R");
    if (own !== undefined)
      return refused(
        Code.BadRequest,
        `an instance of ${object} needs ${own.id}, which the device alone can give`,
      );
    const resources: Record<number, Resource> = {};
    for (const { path, value } of nodes) {
      if (value !== undefined && path.length === 3) resources[path[2] ?? 0] = plainOf(value);
    }
    try {
      this.add(object, id === UNASSIGNED ? 0 : id, resources);
    } catch (fault) {
      if (fault instanceof UsageError) return refused(Code.BadRequest, fault.message);
      throw fault;
    }
    return { type: "created", instance: id };
  }

  *#below(path: NodePath): IterableIterator<{
    at: NodePath;
    resource: Resource;
    known: ResourceDefinition;
  }> {
    const [object = -1] = path;
    for (const [instance, resources] of this.#instances.get(object) ?? []) {
      for (const [id, resource] of resources) {
        const at = [object, instance, id];
        const known = this.#registry.resource(object, id);
        if (known === undefined) continue;
        if (isWithin(at, path) || isWithin(path, at)) yield { at, resource, known };
      }
    }
  }
}

function check(known: ResourceDefinition, resource: Resource): void {
  const what = `resource ${known.id}, ${known.name}`;
  if (resource === null || resource === undefined) throw new UsageError(`${what} has no value`);
  if (known.operations === "E") {
    if (typeof resource !== "function")
      throw new UsageError(`${what} is executed: give a function`);
    return;
  }
  if (isMultiple(resource) !== known.multiple) {
    throw new UsageError(
      known.multiple ? `${what} has several values: { values: { 0: … } }` : `${what} has one value`,
    );
  }
  if (isMultiple(resource)) {
    for (const [id, source] of Object.entries(resource.values)) {
      checkRule(what, "id of a value", Number(id), ID);
      checkSource(`${what}: value ${id}`, known, source);
    }
  } else if (isGuarded(resource)) {
    for (const name of ["read", "write"] as const) {
      const given = resource[name];
      if (given !== undefined && typeof given !== "function")
        throw new UsageError(`${what}: ${name} must be a function`);
    }
  } else checkSource(what, known, resource as Source);
}

function checkSource(what: string, known: ResourceDefinition, source: Source): void {
  if (typeof source === "function") return;
  checkRule(what, "it", source, plainRule);
  valueOf(known.type, source);
}

/** The leaves of a resource with what they come from. */
function sources(at: NodePath, resource: Resource): [NodePath, Source][] {
  if (isMultiple(resource)) {
    return Object.entries(resource.values).map(([id, source]) => [[...at, Number(id)], source]);
  }
  if (isGuarded(resource)) return resource.read === undefined ? [] : [[at, resource.read]];
  return [[at, resource as Source]];
}

function refusalFor(fault: unknown): Refusal {
  return fault instanceof TimeoutError
    ? refused(Code.GatewayTimeout, "the device took too long")
    : refused(Code.InternalServerError, "");
}

function plainOf(value: Value): Plain {
  return value.value instanceof Uint8Array ? value.value.slice() : value.value;
}

function isMultiple(
  resource: Resource | undefined,
): resource is { values: Record<number, Source> } {
  return typeof resource === "object" && "values" in resource;
}

function isGuarded(resource: Resource | undefined): resource is {
  read?: () => Plain | Promise<Plain>;
  write?: (value: Plain) => void | Promise<void>;
} {
  return (
    typeof resource === "object" &&
    !(resource instanceof Uint8Array) &&
    ("read" in resource || "write" in resource)
  );
}

function isHeld(resource: Resource | undefined): boolean {
  return resource !== undefined && typeof resource !== "function" && !isGuarded(resource);
}

const ID: Rule = whole(0, UNASSIGNED - 1);
const RESOURCES: Rule = {
  wanted: "an object: resources by id",
  fits: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};
const SERVER = 1;
