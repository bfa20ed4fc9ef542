import { FormatError } from "@godwit/base";
import {
  Code,
  ContentFormat,
  OptionNumber,
  findObserve,
  findUint,
  uriPath,
  uriQuery,
  type Request,
} from "@godwit/coap";
import { checkLevel, parseAttributes, type AttributeChange } from "../attributes.ts";
import type { Definitions, ObjectDefinition, ResourceDefinition } from "../definition.ts";
import {
  UNASSIGNED,
  formatNodePath,
  pathOfSegments,
  withoutRoot,
  type NodePath,
} from "../node-path.ts";
import { RefusalError, orRefused, type Refusal } from "../refusal.ts";
import { decodeNodes, valueFormat } from "../value-format.ts";
import { inRange, type ValueNode } from "../value.ts";
import { atLeast, type Lwm2mVersion } from "../version.ts";
import type { Operation } from "./events.ts";

/** What a request can be about. */
export interface Announced {
  hasObject(object: number): boolean;
  hasInstance(object: number, instance: number): boolean;
}

export type OperationContext = {
  readonly root: readonly string[];
  readonly lwm2m: Lwm2mVersion;
  readonly definitions: Definitions;
  readonly announced: Announced;
};

/** What the server asks, and how it wants it answered. */
export type Asked =
  | {
      readonly type: "read";
      readonly path: NodePath;
      /** Content-Format asked for. */
      readonly accept: number | undefined;
      /** Attributes for this observation alone; `undefined`: no observation. */
      readonly observe: AttributeChange | undefined;
    }
  | { readonly type: "discover"; readonly path: NodePath; readonly depth: number }
  | { readonly type: "writeAttributes"; readonly path: NodePath; readonly change: AttributeChange }
  | {
      readonly type: "perform";
      readonly operation: Exclude<Operation, { type: "read" | "discover" }>;
    };

/**
 * What a management request means (OMA TS Core 6.3, Transport 6.4.4), or the refusal it deserves: 4.01 on /0, /21 and /23, 4.04 for
 * what is not there, 4.05 for what cannot be done with it, 4.06 and 4.15 for formats, 4.00 for what is malformed.
 */
export function readOperation(request: Request, context: OperationContext): Asked | Refusal {
  return orRefused(() => {
    const path = targetOf(request, context);
    switch (request.code) {
      case Code.GET:
        return get(request, path, context);
      case Code.PUT:
        return put(request, path, context);
      case Code.POST:
        return post(request, path, context);
      case Code.DELETE:
        return { type: "perform", operation: remove(path, context) };
      default:
        throw new RefusalError(Code.MethodNotAllowed, "no such operation");
    }
  });
}

function targetOf(request: Request, { root, definitions, announced }: OperationContext): NodePath {
  const segments = withoutRoot(uriPath(request.options), root);
  if (segments === undefined) throw notFound("nothing outside the alternate path");
  let path: NodePath;
  try {
    path = pathOfSegments(
      segments.length > 1 && segments.at(-1) === "" ? segments.slice(0, -1) : segments,
    );
  } catch {
    throw notFound("no such path");
  }
  const [object, instance] = path;
  if (object === undefined) throw notAllowed("nothing is done with the root");
  if (HIDDEN.has(object)) throw new RefusalError(Code.Unauthorized, `/${object} is for bootstrap`);
  if (!announced.hasObject(object)) throw notFound(`no object ${object}`);
  if (instance !== undefined && !announced.hasInstance(object, instance)) {
    throw notFound(`no instance ${formatNodePath([object, instance])}`);
  }
  const resource = resourceAt(path, definitions);
  if (path.length === 4 && resource !== undefined && !resource.multiple) {
    throw notAllowed(`${formatNodePath(path.slice(0, 3))} has no instances`);
  }
  return path;
}

function get(request: Request, path: NodePath, context: OperationContext): Asked {
  const accept = findUint(request.options, OptionNumber.Accept);
  const query = uriQuery(request.options);
  const observing = findObserve(request.options) === 0;
  if (accept === ContentFormat.LinkFormat && !observing) {
    return { type: "discover", path, depth: depthOf(query, path) };
  }
  if (accept !== undefined && valueFormat(accept) === undefined) {
    throw new RefusalError(Code.NotAcceptable, `nothing in Content-Format ${accept}`);
  }
  const resource = resourceAt(path, context.definitions);
  if (resource !== undefined && !resource.operations.includes("R")) {
    throw notAllowed(`${formatNodePath(path)} cannot be read`);
  }
  if (!observing) return { type: "read", path, accept, observe: undefined };
  if (query.length > 0 && !atLeast(context.lwm2m, "1.2")) {
    throw new FormatError(`Observe has no attributes in LwM2M ${context.lwm2m}`);
  }
  const observe = parseAttributes(query, context.lwm2m);
  checkLevel(observe, path, resource?.type);
  return { type: "read", path, accept, observe };
}

/** OMA TS Core 6.3.2: two levels down from an object, one from anything deeper. */
function depthOf(query: readonly string[], path: NodePath): number {
  for (const argument of query) {
    if (!argument.startsWith("depth=")) continue;
    if (!/^depth=[0-3]$/.test(argument)) throw new FormatError("depth is 0..3");
    return Number(argument.slice(6));
  }
  return path.length === 1 ? 2 : 1;
}

function put(request: Request, path: NodePath, context: OperationContext): Asked {
  const query = uriQuery(request.options);
  const written =
    request.payload.length > 0 ||
    findUint(request.options, OptionNumber.ContentFormat) !== undefined;
  if (query.length > 0) {
    if (written) throw new FormatError("attributes and a payload");
    const change = parseAttributes(query, context.lwm2m);
    checkLevel(change, path, resourceAt(path, context.definitions)?.type);
    return { type: "writeAttributes", path, change };
  }
  if (!written) throw new FormatError("neither attributes nor a payload");
  return { type: "perform", operation: write(request, path, "replace", context) };
}

function post(request: Request, path: NodePath, context: OperationContext): Asked {
  if (path.length === 1) return { type: "perform", operation: create(request, path, context) };
  if (path.length === 4) throw notAllowed("a resource instance is written by PUT");
  const resource = resourceAt(path, context.definitions);
  const executes =
    path.length === 3 &&
    (resource === undefined ? request.payload.length === 0 : resource.type === "none");
  if (executes)
    return { type: "perform", operation: { type: "execute", path, args: argumentsOf(request) } };
  if (path.length === 3 && resource !== undefined && !resource.multiple) {
    throw notAllowed(`${formatNodePath(path)} cannot be executed`);
  }
  return { type: "perform", operation: write(request, path, "update", context) };
}

function write(
  request: Request,
  path: NodePath,
  mode: "replace" | "update",
  context: OperationContext,
): Extract<Operation, { type: "write" }> {
  if (path.length < 2) throw notAllowed("an object is not written");
  const target = resourceAt(path, context.definitions);
  if (target !== undefined) checkWritable(target, path);
  const nodes = payloadNodes(request, path, context.definitions);
  for (const node of nodes) {
    const resource = resourceAt(node.path, context.definitions);
    if (resource === undefined) {
      if (context.definitions.object(path[0] ?? 0) !== undefined && node.path.length > 2) {
        throw notFound(`no resource ${formatNodePath(node.path)}`);
      }
      continue; // without a definition only the application can judge
    }
    checkWritable(resource, node.path);
    checkNode(node, resource, context.announced);
  }
  return { type: "write", mode, path, nodes };
}

/** OMA TS Core 6.3.5: mandatory resources must be there, what is not writable is passed over. */
function create(
  request: Request,
  path: NodePath,
  { definitions, announced }: OperationContext,
): Extract<Operation, { type: "create" }> {
  const [object = 0] = path;
  const definition = definitions.object(object);
  if (object === 1 || object === 3) throw notAllowed(`/${object} is not created`);
  const all = request.payload.length === 0 ? [] : payloadNodes(request, path, definitions);
  const ids = new Set(all.map((node) => node.path[1] ?? UNASSIGNED));
  if (ids.size > 1) throw new FormatError("more than one instance");
  const [id = UNASSIGNED] = ids;
  const instance = definition?.multiple === false ? 0 : id === UNASSIGNED ? undefined : id;
  if (instance !== undefined && announced.hasInstance(object, instance)) {
    throw new FormatError(`${formatNodePath([object, instance])} exists`);
  }
  const nodes: ValueNode[] = [];
  const given = new Set<number>();
  for (const node of all) {
    if (node.path.length < 3) continue; // an instance without resources
    const resource = resourceAt(node.path, definitions);
    if (resource !== undefined && !resource.operations.includes("W")) continue;
    if (resource === undefined && definition !== undefined) continue;
    if (resource !== undefined) checkNode(node, resource, announced);
    if (node.path[2] !== undefined) given.add(node.path[2]);
    nodes.push(node);
  }
  const missing = missingResource(definition, given);
  if (missing !== undefined)
    throw new FormatError(`/${object}/x/${missing.id} ${missing.name} is missing`);
  return { type: "create", object, instance, nodes };
}

function missingResource(
  definition: ObjectDefinition | undefined,
  given: ReadonlySet<number>,
): ResourceDefinition | undefined {
  return definition?.resources.find(
    ({ id, mandatory, operations }) => mandatory && operations.includes("W") && !given.has(id),
  );
}

function remove(
  path: NodePath,
  { definitions, lwm2m }: OperationContext,
): Extract<Operation, { type: "delete" }> {
  const [object] = path;
  if (path.length === 2 && object !== 1 && object !== 3) return { type: "delete", path };
  if (path.length !== 4 || !atLeast(lwm2m, "1.2"))
    throw notAllowed(`${formatNodePath(path)} is not deleted`);
  const resource = resourceAt(path, definitions);
  if (resource !== undefined) checkWritable(resource, path);
  return { type: "delete", path };
}

function payloadNodes(
  request: Request,
  path: NodePath,
  definitions: Definitions,
): readonly ValueNode[] {
  const format = findUint(request.options, OptionNumber.ContentFormat);
  if (format === undefined) throw new FormatError("Content-Format is missing");
  if (valueFormat(format) === undefined) {
    throw new RefusalError(Code.UnsupportedContentFormat, `Content-Format ${format} is not read`);
  }
  return decodeNodes(format, path, request.payload, definitions);
}

function checkWritable(resource: ResourceDefinition, path: NodePath): void {
  if (!resource.operations.includes("W"))
    throw notAllowed(`${formatNodePath(path)} cannot be written`);
}

function checkNode(
  { path, value }: ValueNode,
  resource: ResourceDefinition,
  announced: Announced,
): void {
  const where = formatNodePath(path);
  if (path.length === 4 && !resource.multiple) throw notAllowed(`${where} is no multiple resource`);
  if (value === undefined) return;
  if (path.length === 3 && resource.multiple)
    throw new FormatError(`${where} is a multiple resource`);
  if (!inRange(value, resource.range)) throw new FormatError(`${where} is out of range`);
  if (value.type !== "objlnk") return;
  const { object, instance } = value.value;
  const nowhere = object === UNASSIGNED && instance === UNASSIGNED;
  const there =
    instance === UNASSIGNED ? announced.hasObject(object) : announced.hasInstance(object, instance);
  if (!nowhere && !there) throw new FormatError(`${where} links to nothing`);
}

/** OMA TS Core 6.3.4: `0='a',1`; for /1/x/8 some servers put them into the query. */
function argumentsOf(request: Request): ReadonlyMap<number, string> {
  const format = findUint(request.options, OptionNumber.ContentFormat) ?? ContentFormat.Text;
  if (request.payload.length > 0 && format !== ContentFormat.Text) {
    throw new RefusalError(Code.UnsupportedContentFormat, "arguments are text");
  }
  let text = new TextDecoder().decode(request.payload); // what is no argument fails below
  if (text === "") text = uriQuery(request.options).join(",");
  const args = new Map<number, string>();
  if (text === "") return args;
  let at = 0;
  do {
    ARGUMENT.lastIndex = at;
    const match = ARGUMENT.exec(text);
    if (match === null) throw new FormatError("arguments are like 0='a',1");
    const digit = Number(match[1]);
    if (args.has(digit)) throw new FormatError(`argument ${digit} is there twice`);
    args.set(digit, match[2] ?? "");
    at += match[0].length;
  } while (text[at++] === ",");
  if (at <= text.length) throw new FormatError("arguments are like 0='a',1");
  return args;
}

function resourceAt(path: NodePath, definitions: Definitions): ResourceDefinition | undefined {
  const [object, , resource] = path;
  return object === undefined || resource === undefined
    ? undefined
    : definitions.resource(object, resource);
}

function notFound(why: string): RefusalError {
  return new RefusalError(Code.NotFound, why);
}

function notAllowed(why: string): RefusalError {
  return new RefusalError(Code.MethodNotAllowed, why);
}

const HIDDEN: ReadonlySet<number> = new Set([0, 21, 23]);
/** CHAR of OMA TS Core 6.3.4: no blank, quote, apostrophe or backslash. */
const ARGUMENT = /(\d)(?:='([\x21\x23-\x26\x28-\x5b\x5d-\x7e]*)')?/y;
