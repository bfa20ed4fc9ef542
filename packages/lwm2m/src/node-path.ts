import { FormatError, UsageError } from "@godwit/base";

/**
 * Where something is in the data model: `[object]`, `[object, instance]`, `[object, instance, resource]` or
 * `[object, instance, resource, resource instance]`, each 0..65534. The empty path is the root, `/`.
 */
export type NodePath = readonly number[];

/** Stands for an instance id that the client has yet to choose (Create without an id). Never on a path of a request. */
export const UNASSIGNED = 65_535;

export const ROOT: NodePath = [];

/** A path from its ids. @throws UsageError if an id is out of range or there are more than four. */
export function nodePath(...ids: readonly number[]): NodePath {
  if (ids.length > DEPTH) throw new UsageError(`a path has at most ${DEPTH} ids`);
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id > LAST_ID)
      throw new UsageError(`id ${id} is not 0..${LAST_ID}`);
  }
  return ids;
}

/**
 * Reads "/3303/0/5700"; "/" is the root. Numbers have no sign and no leading zeros.
 * @throws FormatError for anything else, a trailing slash included.
 */
export function parseNodePath(text: string): NodePath {
  if (text === "/") return ROOT;
  if (!text.startsWith("/")) throw new FormatError("a path begins with /");
  if (text.length > LONGEST) throw new FormatError("path too long");
  return pathOfSegments(text.slice(1).split("/"));
}

/** {@link parseNodePath} for what a program gives. @throws UsageError */
export function givenPath(text: unknown): NodePath {
  try {
    if (typeof text !== "string") throw new FormatError("it is no text");
    return parseNodePath(text);
  } catch (fault) {
    if (!(fault instanceof FormatError)) throw fault;
    const given = typeof text === "string" ? JSON.stringify(text.slice(0, LONGEST)) : typeof text;
    throw new UsageError(
      `${given} is no path such as /3303/0/5700: ${fault.message}`,
      "INVALID_PATH",
    );
  }
}

/** The path whose ids are these segments, as Uri-Path options carry them. @throws FormatError */
export function pathOfSegments(segments: readonly string[]): NodePath {
  if (segments.length > DEPTH) throw new FormatError(`a path has at most ${DEPTH} ids`);
  return segments.map((segment) => {
    const id = PLAIN_NUMBER.test(segment) ? Number(segment) : Infinity;
    if (id > LAST_ID) throw new FormatError(`"${segment.slice(0, 16)}" is not an id 0..${LAST_ID}`);
    return id;
  });
}

/** "/3303/0/5700"; the root is "/". */
export function formatNodePath(path: NodePath): string {
  return `/${path.join("/")}`;
}

/** The Uri-Path segments of `path` under the client's alternate root. */
export function segmentsOfPath(path: NodePath, root: readonly string[] = []): readonly string[] {
  return [...root, ...path.map(String)];
}

/** What follows the alternate root, or undefined if the segments do not begin with it. */
export function withoutRoot(
  segments: readonly string[],
  root: readonly string[],
): readonly string[] | undefined {
  if (root.some((segment, i) => segments[i] !== segment)) return undefined;
  return root.length === 0 ? segments : segments.slice(root.length);
}

/**
 * Reads an alternate path such as "/lwm2m" into segments (OMA TS Core 6.2.1: it has no numeric segment, so that it cannot be taken
 * for an object). "/" and "" mean none. @throws FormatError
 */
export function parseRoot(text: string): readonly string[] {
  if (text === "/" || text === "") return [];
  if (!text.startsWith("/")) throw new FormatError("an alternate path begins with /");
  if (text.length > LONGEST_ROOT) throw new FormatError("alternate path too long");
  const segments = text.slice(1).split("/");
  for (const segment of segments) {
    if (segment === "" || segment === "." || segment === "..")
      throw new FormatError("empty or dotted segment in the alternate path");
    if (/^\d+$/.test(segment)) throw new FormatError("numeric segment in the alternate path");
  }
  return segments;
}

/** Whether `path` is `ancestor` or lies below it. */
export function isWithin(path: NodePath, ancestor: NodePath): boolean {
  return ancestor.length <= path.length && ancestor.every((id, i) => path[i] === id);
}

export function samePath(a: NodePath, b: NodePath): boolean {
  return a.length === b.length && isWithin(a, b);
}

/** Sorts by ids, parents before children. */
export function comparePaths(a: NodePath, b: NodePath): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = a[i]! - b[i]!; // i is within both
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

const DEPTH = 4;
const LAST_ID = 65_534;
const PLAIN_NUMBER = /^(?:0|[1-9]\d{0,4})$/;
const LONGEST = "/65534/65534/65534/65534".length;
/** Bytes matter on every management request that carries the root. */
const LONGEST_ROOT = 64;
