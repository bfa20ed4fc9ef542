// Management operations as CoAP requests (OMA TS Core 6.3, 6.4) and the values in their answers.

import { FormatError, UsageError } from "@godwit/base";
import {
  Code,
  ContentFormat,
  OptionNumber,
  findUint,
  request,
  uintOption,
  withOption,
  type Request,
  type Response,
} from "@godwit/coap";
import { decodeNodes, encodeNodes, valueFormat } from "../value-format.ts";
import type { Definitions } from "../definition.ts";
import { formatNodePath, isWithin, type NodePath } from "../node-path.ts";
import { type Plain, type ValueNode, valueOf } from "../value.ts";

/** `accept`: a Content-Format; without it the device chooses. */
export function readRequest(path: NodePath, accept?: number): Request {
  atLeast(path, 1, "Read");
  return request(Code.GET, { path: path.map(String), ...(accept === undefined ? {} : { accept }) });
}

export function observeRequest(
  path: NodePath,
  query: readonly string[] = [],
  accept?: number,
): Request {
  const read = readRequest(path, accept);
  const options = withOption(read.options, uintOption(OptionNumber.Observe, 0));
  if (query.length === 0) return { ...read, options };
  const asked = request(Code.GET, { query: [...query] }).options;
  return { ...read, options: [...options, ...asked].sort((a, b) => a.number - b.number) };
}

export function discoverRequest(path: NodePath): Request {
  atLeast(path, 1, "Discover");
  return request(Code.GET, { path: path.map(String), accept: ContentFormat.LinkFormat });
}

/** `attributes`: such as "pmin=10"; a bare name unsets. */
export function writeAttributesRequest(path: NodePath, attributes: readonly string[]): Request {
  atLeast(path, 1, "Write-Attributes");
  if (attributes.length === 0) throw new UsageError("Write-Attributes needs an attribute");
  return request(Code.PUT, { path: path.map(String), query: [...attributes] });
}

/** `args`: such as "0='file',1"; empty for none. */
export function executeRequest(path: NodePath, args = ""): Request {
  if (path.length !== 3)
    throw new UsageError("Execute takes a resource, /object/instance/resource");
  return request(Code.POST, {
    path: path.map(String),
    ...(args === "" ? {} : { contentFormat: ContentFormat.Text, payload: args }),
  });
}

export function deleteRequest(path: NodePath): Request {
  if (path.length !== 2 && path.length !== 4) {
    throw new UsageError("Delete takes an object instance or a resource instance");
  }
  return request(Code.DELETE, { path: path.map(String) });
}

/**
 * Write of one resource, or of several below an instance. `mode` "replace" (PUT) is the default; "update" (POST) leaves
 * what is not named. @throws UsageError for a value that does not fit its resource
 */
export function writeRequest(
  path: NodePath,
  nodes: readonly ValueNode[],
  mode: "replace" | "update" = "replace",
  format?: number,
): Request {
  atLeast(path, 2, "Write");
  const contentFormat = format ?? fittingFormat(path, nodes);
  return request(mode === "replace" ? Code.PUT : Code.POST, {
    path: path.map(String),
    contentFormat,
    payload: encodeNodes(contentFormat, path, nodes),
  });
}

export function createRequest(
  object: number,
  nodes: readonly ValueNode[],
  format: number = ContentFormat.Lwm2mTlv,
): Request {
  const path = [object];
  return request(Code.POST, {
    path: [String(object)],
    contentFormat: format,
    payload: encodeNodes(format, path, nodes),
  });
}

/** The value nodes for a write, typed by the definitions: `plain` for one resource, or an object of them by id. */
export function nodesOf(
  path: NodePath,
  value: Plain | Readonly<Record<string, Plain>>,
  definitions: Definitions,
): readonly ValueNode[] {
  if (isPlain(value)) return [typed(path, value, definitions)];
  return Object.entries(value).map(([id, plain]) => {
    if (!/^(?:0|[1-9]\d{0,4})$/.test(id)) throw new UsageError(`"${id}" is no resource id`);
    return typed([...path, Number(id)], plain, definitions);
  });
}

/**
 * The values in an answer about `path`; `undefined` if its Content-Format is none we read: then show the payload.
 * @throws FormatError
 */
export function valuesIn(
  path: NodePath,
  response: Response,
  definitions: Definitions,
): readonly ValueNode[] | undefined {
  const format = findUint(response.options, OptionNumber.ContentFormat) ?? ContentFormat.Text;
  if (valueFormat(format) === undefined || path.length === 0) return undefined;
  const nodes = decodeNodes(format, path, response.payload, definitions);
  const stray = nodes.find((node) => !isWithin(node.path, path));
  if (stray) throw new FormatError(`${formatNodePath(stray.path)} was not asked for`);
  return nodes;
}

function typed(path: NodePath, plain: Plain, definitions: Definitions): ValueNode {
  const definition = definitions.resource(path[0] ?? -1, path[2] ?? -1);
  return { path, value: valueOf(definition?.type ?? guess(plain), plain) };
}

/** For objects without a definition: what the JavaScript value most plainly is. */
function guess(plain: Plain): "string" | "integer" | "float" | "boolean" | "opaque" | "objlnk" {
  if (typeof plain === "string") return "string";
  if (typeof plain === "boolean") return "boolean";
  if (typeof plain === "bigint") return "integer";
  if (typeof plain === "number") return Number.isInteger(plain) ? "integer" : "float";
  return plain instanceof Uint8Array ? "opaque" : "objlnk";
}

function fittingFormat(path: NodePath, nodes: readonly ValueNode[]): number {
  for (const format of [ContentFormat.OctetStream, ContentFormat.Text]) {
    if (valueFormat(format)?.fits(path, nodes)) return format;
  }
  return ContentFormat.Lwm2mTlv;
}

function isPlain(value: Plain | Readonly<Record<string, Plain>>): value is Plain {
  return typeof value !== "object" || value instanceof Uint8Array || "instance" in value;
}

function atLeast(path: NodePath, ids: number, operation: string): void {
  if (path.length < ids) {
    const what = ids === 1 ? "an object id" : "an object and an instance id";
    throw new UsageError(`${operation} needs ${what} in its path, not ${formatNodePath(path)}`);
  }
}
