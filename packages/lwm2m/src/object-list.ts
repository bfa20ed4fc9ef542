import { FormatError } from "@godwit/base";
import { formatLinks, linkAttribute, parseLinks, type Link } from "@godwit/coap";
import { impliedVersion } from "./definition.ts";
import {
  formatNodePath,
  parseRoot,
  pathOfSegments,
  withoutRoot,
  type NodePath,
} from "./node-path.ts";
import { shown } from "./refusal.ts";
import type { Lwm2mVersion } from "./version.ts";

/** One object of a client: its instances, and its version where the list names one. */
export type ObjectEntry = {
  readonly id: number;
  /** As announced; see {@link objectVersions} for what its absence means. */
  readonly version: string | undefined;
  /** In ascending order; empty when only the object is announced. */
  readonly instances: readonly number[];
};

/** What a client announces in Register and Update (OMA TS Core 6.2.1). */
export type ObjectList = {
  /** Segments of the alternate path that precede every path of the client. */
  readonly root: readonly string[];
  /** Content-Formats announced on the root link. */
  readonly formats: readonly number[];
  readonly objects: readonly ObjectEntry[];
};

/** How a list is written. */
export type ListStyle = {
  /**
   * Whether the version of an object with one instance sits on the link of that: 5 bytes less. Leshan's server (2.0.0-M15)
   * refuses such a list.
   */
  readonly versionOnInstance?: boolean | undefined;
};

/**
 * Reads the payload of a Register or Update. Links that name neither an object nor an instance of one are other people's; what
 * must not be announced (/0, /21, /23, /24) is left out; unknown attributes are nobody's business.
 *
 * @throws FormatError
 */
export function parseObjectList(payload: Uint8Array | string): ObjectList {
  const links = parseLinks(payload, { maxLength: MAX_LIST_BYTES, maxLinks: MAX_LINKS });
  const { root, formats } = readRoot(links);
  const objects = new Map<number, { version: string | undefined; instances: Set<number> }>();
  for (const link of links) {
    const path = objectPath(link.target, root);
    if (path === undefined) continue;
    const [id, instance] = path;
    if (UNANNOUNCED.has(id)) continue;
    let entry = objects.get(id);
    if (entry === undefined)
      objects.set(id, (entry = { version: undefined, instances: new Set() }));
    const version = readVersion(link);
    if (version !== undefined && entry.version !== undefined && version !== entry.version) {
      throw new FormatError(`object ${id} has two versions`);
    }
    entry.version ??= version;
    if (instance !== undefined) entry.instances.add(instance);
  }
  return {
    root,
    formats,
    objects: Array.from(objects, ([id, { version, instances }]) => ({
      id,
      version,
      instances: Array.from(instances).toSorted((a, b) => a - b),
    })),
  };
}

/** The payload. A version sits on the object's link. */
export function formatObjectList(
  { root, formats, objects }: ObjectList,
  { versionOnInstance = false }: ListStyle = {},
): string {
  const prefix = root.map((segment) => `/${segment}`).join("");
  const link = (path: readonly number[], version?: string): Link => ({
    target: prefix + formatNodePath(path),
    attributes: version === undefined ? [] : [{ name: "ver", value: version }],
  });
  const links: Link[] = [];
  if (root.length > 0 || formats.length > 0) {
    const attributes = root.length > 0 ? [{ name: "rt", value: ROOT_TYPE }] : [];
    if (formats.length > 0) attributes.push({ name: "ct", value: formats.join(" ") });
    links.push({ target: prefix === "" ? "/" : prefix, attributes });
  }
  for (const { id, version, instances } of objects) {
    const [only, ...more] = instances;
    if (only === undefined) links.push(link([id], version));
    else if (more.length === 0 && versionOnInstance) links.push(link([id, only], version));
    else {
      if (version !== undefined) links.push(link([id], version));
      for (const instance of instances) links.push(link([id, instance]));
    }
  }
  return formatLinks(links);
}

/** The version of each object of the list, implied ones included. */
export function objectVersions(list: ObjectList, lwm2m: Lwm2mVersion): Map<number, string> {
  return new Map(list.objects.map(({ id, version }) => [id, version ?? impliedVersion(id, lwm2m)]));
}

/** Whether the list has what a path names: its instance, or its object where it names no more. */
export function listsPath({ objects }: ObjectList, [object, instance]: NodePath): boolean {
  const entry = objects.find(({ id }) => id === object);
  if (entry === undefined) return false;
  return instance === undefined || entry.instances.includes(instance);
}

export function sameObjectList(a: ObjectList, b: ObjectList): boolean {
  return formatObjectList(a) === formatObjectList(b);
}

function readRoot(links: readonly Link[]): Pick<ObjectList, "root" | "formats"> {
  const marked = links.filter((link) => linkAttribute(link, "rt")?.split(" ").includes(ROOT_TYPE));
  if (marked.length > 1) throw new FormatError(`two links have rt="${ROOT_TYPE}"`);
  const link = marked[0] ?? links.find(({ target }) => target === "/");
  if (link === undefined) return { root: [], formats: [] };
  const ct = linkAttribute(link, "ct");
  const formats = ct === undefined || ct === "" ? [] : ct.split(" ").filter((text) => text !== "");
  return {
    root: parseRoot(link.target),
    formats: formats.map((text) => {
      if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
        throw new FormatError(`ct "${shown(text)}" is no Content-Format`);
      }
      return Number(text);
    }),
  };
}

function objectPath(
  target: string,
  root: readonly string[],
): readonly [number, number | undefined] | undefined {
  if (!target.startsWith("/")) return undefined;
  const segments = withoutRoot(target.slice(1).split("/"), root);
  if (segments === undefined || !/^\d/.test(segments[0] ?? "")) return undefined;
  if (segments.length > 2) throw new FormatError(`"${shown(target)}" is no object or instance`);
  const [id, instance] = pathOfSegments(segments);
  return id === undefined ? undefined : [id, instance];
}

function readVersion(link: Link): string | undefined {
  const version = linkAttribute(link, "ver");
  if (version === undefined) return undefined;
  if (!/^\d{1,4}\.\d{1,4}$/.test(version)) {
    throw new FormatError(`ver "${shown(version)}" of ${shown(link.target)} is no version`);
  }
  return version;
}

const ROOT_TYPE = "oma.lwm2m";
/** Credentials and brokers; a list that names them is read without them. */
const UNANNOUNCED: ReadonlySet<number> = new Set([0, 21, 23, 24]);

/** The longest object list, in bytes: a gateway with a thousand instances fits. */
export const MAX_LIST_BYTES = 32_768;
/** The most links in one list. */
export const MAX_LINKS = 2_048;
