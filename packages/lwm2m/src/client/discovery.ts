import { formatLinks, type Link, type LinkAttribute } from "@godwit/coap";
import { attributeLinks, type Attributes } from "../attributes.ts";
import { comparePaths, formatNodePath, isWithin, type NodePath } from "../node-path.ts";

/**
 * The links of a Discover of `path` (OMA TS Core 6.3.2): what exists down to `depth` levels below it, with the attributes attached
 * to each (`path` itself has the inherited ones, too), the version on the object and the number of instances on multiple
 * resources.
 */
export function discoverLinks(
  path: NodePath,
  depth: number,
  existing: Iterable<NodePath>,
  attached: (path: NodePath) => Attributes | undefined,
  version: string | undefined,
): string {
  const paths = new Map<string, NodePath>();
  const instances = new Map<string, number>();
  for (const found of [path, ...existing]) {
    if (!isWithin(found, path)) continue;
    for (let length = path.length; length <= found.length; length++) {
      const part = found.slice(0, length);
      const name = formatNodePath(part);
      if (paths.has(name)) continue;
      paths.set(name, part);
      if (length !== 4) continue;
      const resource = formatNodePath(part.slice(0, 3));
      instances.set(resource, (instances.get(resource) ?? 0) + 1);
    }
  }
  const links = Array.from(paths.values())
    .filter((part) => part.length <= path.length + depth)
    .toSorted(comparePaths)
    .map((part): Link => {
      const target = formatNodePath(part);
      const attributes: LinkAttribute[] = [];
      if (part.length === 1 && version !== undefined)
        attributes.push({ name: "ver", value: version });
      const dim = instances.get(target);
      if (dim !== undefined) attributes.push({ name: "dim", value: String(dim) });
      attributes.push(...attributeLinks(attached(part) ?? {}));
      return { target, attributes };
    });
  return formatLinks(links);
}
