import { UsageError } from "@godwit/base";
import type { Range, ValueType } from "./value.ts";
import type { Lwm2mVersion } from "./version.ts";

/** Letters of OMA TS Core 7.x: R read, W write, E execute; none = bootstrap interface only. */
export type Operations = "" | "R" | "W" | "RW" | "E";

export type ResourceDefinition = {
  readonly id: number;
  readonly name: string;
  readonly operations: Operations;
  readonly multiple: boolean;
  readonly mandatory: boolean;
  readonly type: ValueType;
  readonly range?: Range;
  readonly units?: string;
};

export type ObjectDefinition = {
  readonly id: number;
  readonly name: string;
  /** "1.1" */
  readonly version: string;
  readonly multiple: boolean;
  readonly mandatory: boolean;
  /** Any device management operation on it is answered 4.01 (/0, /21, /23). */
  readonly hidden: boolean;
  readonly resources: readonly ResourceDefinition[];
};

/** What a codec needs to know: the definition of a resource in the versions that one device has. */
export interface Definitions {
  object(object: number): ObjectDefinition | undefined;
  resource(object: number, resource: number): ResourceDefinition | undefined;
}

/** Object definitions by id and version. */
export class Registry {
  readonly #objects = new Map<number, Map<string, Entry>>();

  constructor(definitions: Iterable<ObjectDefinition>) {
    for (const definition of definitions) {
      let versions = this.#objects.get(definition.id);
      if (versions === undefined) this.#objects.set(definition.id, (versions = new Map()));
      if (versions.has(definition.version)) {
        throw new UsageError(
          `object ${definition.id} version ${definition.version} is defined twice`,
        );
      }
      versions.set(definition.version, {
        definition,
        resources: new Map(definition.resources.map((resource) => [resource.id, resource])),
      });
    }
  }

  /**
   * The definition of exactly this version; else the nearest of the same major version, for minor versions only add
   * resources (OMA TS Core 7.2). Without a version: the newest.
   */
  object(id: number, version?: string): ObjectDefinition | undefined {
    return this.#entry(id, version)?.definition;
  }

  resource(object: number, resource: number, version?: string): ResourceDefinition | undefined {
    return this.#entry(object, version)?.resources.get(resource);
  }

  /** The definitions as one device has them: `versions` by object id; an object not named there is taken at its newest. */
  of(versions: ReadonlyMap<number, string>): Definitions {
    return {
      object: (id) => this.object(id, versions.get(id)),
      resource: (object, resource) => this.resource(object, resource, versions.get(object)),
    };
  }

  #entry(id: number, version: string | undefined): Entry | undefined {
    const versions = this.#objects.get(id);
    if (versions === undefined) return undefined;
    const exact = version === undefined ? undefined : versions.get(version);
    if (exact !== undefined) return exact;
    const [major, minor] = version === undefined ? [undefined, Infinity] : numbers(version);
    let best: Entry | undefined;
    let distance = Infinity;
    for (const [known, entry] of versions) {
      const [knownMajor, knownMinor] = numbers(known);
      if (major !== undefined && knownMajor !== major) continue;
      const rank =
        major === undefined ? -(knownMajor * 1_000 + knownMinor) : Math.abs(knownMinor - minor);
      if (rank < distance) [best, distance] = [entry, rank];
    }
    return best;
  }
}

/**
 * The object version that a missing `ver` means, by the LwM2M version of the registration (OMA TS Core table 6.2.2).
 * Objects outside the table are 1.0.
 */
export function impliedVersion(object: number, lwm2m: Lwm2mVersion): string {
  return IMPLIED[lwm2m][object] ?? "1.0";
}

/** One row of a definition: id, name, operations, "S"ingle or "M"ultiple with "M"andatory or "O"ptional, type, more. */
export type Row = readonly [
  id: number,
  name: string,
  operations: Operations,
  shape: "SM" | "SO" | "MM" | "MO",
  type: ValueType,
  more?: { readonly range?: Range; readonly units?: string },
];

export function resources(rows: readonly Row[]): readonly ResourceDefinition[] {
  return rows.map(([id, name, operations, shape, type, more]) => ({
    id,
    name,
    operations,
    multiple: shape.startsWith("M"),
    mandatory: shape.endsWith("M"),
    type,
    ...more,
  }));
}

type Entry = {
  readonly definition: ObjectDefinition;
  readonly resources: ReadonlyMap<number, ResourceDefinition>;
};

function numbers(version: string): [number, number] {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return [major, minor];
}

const IMPLIED: Readonly<Record<Lwm2mVersion, Readonly<Record<number, string>>>> = {
  "1.0": {},
  "1.1": { 0: "1.1", 1: "1.1", 3: "1.1", 4: "1.2" },
  "1.2": { 0: "1.2", 1: "1.2", 2: "1.1", 3: "1.2", 4: "1.3", 5: "1.1", 21: "2.0" },
};
