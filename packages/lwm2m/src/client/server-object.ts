import { UsageError } from "@godwit/base";
import { parseBinding } from "../binding.ts";
import type { Attributes } from "../attributes.ts";
import { SERVER } from "../definitions/server.ts";
import { MAX_LIFETIME } from "../registration.ts";
import { inRange, valueOf, type Plain, type Value, type ValueNode } from "../value.ts";

/** The instance of /1 that tells how to behave towards one server. Held here, because the client obeys it. */
export class ServerObject {
  readonly instance: number;
  readonly #values = new Map<number, Value>();

  constructor(instance: number, values: Readonly<Record<number, Plain>>) {
    this.instance = instance;
    this.configure(DEFAULTS);
    this.configure(values);
  }

  /** @throws UsageError for a value that does not fit */
  configure(values: Readonly<Record<number, Plain>>): void {
    for (const [id, plain] of Object.entries(values)) {
      const definition = SERVER.resources.find((resource) => resource.id === Number(id));
      if (definition === undefined || definition.multiple)
        throw new UsageError(`/1/x/${id} cannot be set`);
      const value = valueOf(definition.type, plain);
      const fault = this.fault(Number(id), value);
      if (fault !== undefined) throw new UsageError(fault);
      this.#values.set(Number(id), value);
    }
  }

  /** Why the resource cannot have this value, if so. */
  fault(id: number, value: Value): string | undefined {
    const range = SERVER.resources.find((resource) => resource.id === id)?.range;
    if (!inRange(value, range)) return `/1/x/${id} is out of range`;
    if (SECONDS.has(id) && !inRange(value, { from: 0, to: MAX_LIFETIME }))
      return `/1/x/${id} is out of range`;
    if (id !== BINDING || value.type !== "string") return undefined;
    try {
      return parseBinding(value.value.replace("Q", ""), "1.2").transports.includes("U")
        ? undefined
        : "only binding U is there";
    } catch {
      return "no such binding";
    }
  }

  write(id: number, value: Value): void {
    this.#values.set(id, value);
  }

  /** What can be written goes, as far as it need not be there. */
  clearWritable(): void {
    for (const { id, operations, mandatory } of SERVER.resources) {
      if (operations === "RW" && !mandatory) this.#values.delete(id);
    }
  }

  has(id: number): boolean {
    return this.#values.has(id) || EXECUTABLE.includes(id);
  }

  /** Those that exist, executables included. */
  get resources(): readonly number[] {
    return [...this.#values.keys(), ...EXECUTABLE].toSorted((a, b) => a - b);
  }

  nodes(resource?: number): readonly ValueNode[] {
    return Array.from(this.#values)
      .filter(([id]) => resource === undefined || resource === id)
      .toSorted(([a], [b]) => a - b)
      .map(([id, value]) => ({ path: [1, this.instance, id], value }));
  }

  /** For a snapshot; `configure` takes it back. */
  plain(): Readonly<Record<number, Plain>> {
    return Object.fromEntries(Array.from(this.#values, ([id, { value }]) => [id, value]));
  }

  /** Seconds; 0 never ends. */
  get lifetime(): number {
    return this.#number(1, 0);
  }

  get disableTimeout(): number {
    return this.#number(5, 86_400);
  }

  get initialDelay(): number {
    return this.#number(14, 0);
  }

  get bootstrapOnFailure(): boolean {
    return this.#values.get(16)?.value !== false;
  }

  get retryCount(): number {
    return this.#number(17, 5);
  }

  /** Seconds before the second attempt; doubled for each further one. */
  get retryTimer(): number {
    return this.#number(18, 60);
  }

  get sequenceDelay(): number {
    return this.#number(19, 86_400);
  }

  get sequenceCount(): number {
    return this.#number(20, 1);
  }

  /** Notifications that do not arrive are sent later; else the observation ends. */
  get storesNotifications(): boolean {
    return this.#values.get(6)?.value !== false;
  }

  get confirmableNotifications(): boolean {
    return this.#number(26, 0) === 1;
  }

  /** What counts for observations where nothing is attached. */
  get periods(): Attributes {
    const pmin = this.#number(2, 0);
    const pmax = this.#number(3, 0);
    return { ...(pmin > 0 && { pmin }), ...(pmax > 0 && { pmax }) };
  }

  /** "U", with a Q in it where a 1.0 server asked for queue mode. */
  get binding(): string {
    const value = this.#values.get(BINDING);
    return value?.type === "string" ? value.value : "U";
  }

  #number(id: number, absent: number): number {
    const value = this.#values.get(id)?.value;
    return typeof value === "number" ? value : absent;
  }
}

const BINDING = 7;
const EXECUTABLE = [4, 8];
const SECONDS: ReadonlySet<number> = new Set([1, 2, 3, 5, 14, 17, 18, 19, 20]);
const DEFAULTS: Readonly<Record<number, Plain>> = { 0: 1, 1: 86_400, 6: true, 7: "U" };
