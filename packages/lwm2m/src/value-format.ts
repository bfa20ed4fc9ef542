import { FormatError, UsageError } from "@godwit/base";
import { ContentFormat } from "@godwit/coap";
import type { Definitions } from "./definition.ts";
import { formatNodePath, samePath, type NodePath } from "./node-path.ts";
import { decodeText, encodeText } from "./text.ts";
import { decodeTlv, encodeTlv } from "./tlv.ts";
import type { ValueNode } from "./value.ts";

/** One way to write values down. */
export interface ValueFormat {
  /** Whether `nodes`, as the answer to a request for `path`, have a form in this format. */
  fits(path: NodePath, nodes: readonly ValueNode[]): boolean;
  encode(path: NodePath, nodes: readonly ValueNode[]): Uint8Array;
  decode(path: NodePath, payload: Uint8Array, definitions: Definitions): readonly ValueNode[];
}

/** The format behind a Content-Format number, if values can be written in it. */
export function valueFormat(format: number): ValueFormat | undefined {
  return FORMATS.get(format);
}

/** @throws UsageError if the format is unknown or cannot hold these nodes */
export function encodeNodes(
  format: number,
  path: NodePath,
  nodes: readonly ValueNode[],
): Uint8Array {
  const known = FORMATS.get(format);
  if (known === undefined) throw new UsageError(`no values in Content-Format ${format}`);
  return known.encode(path, nodes);
}

/**
 * The values in the payload of a message about `path`. Byte values are views of `payload`.
 *
 * @throws FormatError for what is not well-formed; UsageError if the format is unknown, see {@link valueFormat}
 */
export function decodeNodes(
  format: number,
  path: NodePath,
  payload: Uint8Array,
  definitions: Definitions,
): readonly ValueNode[] {
  const known = FORMATS.get(format);
  if (known === undefined) throw new UsageError(`no values in Content-Format ${format}`);
  return known.decode(path, payload, definitions);
}

const TEXT: ValueFormat = {
  fits(path, nodes) {
    const value = only(path, nodes);
    return value !== undefined && (value.type !== "float" || Number.isFinite(value.value));
  },
  encode(path, nodes) {
    const value = only(path, nodes);
    if (value === undefined) throw new UsageError("text/plain holds one value");
    return encodeText(value);
  },
  decode(path, payload, definitions) {
    const type = definitions.resource(...leaf(path))?.type ?? "string";
    return [{ path, value: decodeText(payload, type) }];
  },
};

const OPAQUE: ValueFormat = {
  fits: (path, nodes) => only(path, nodes)?.type === "opaque",
  encode(path, nodes) {
    const value = only(path, nodes);
    if (value?.type !== "opaque") throw new UsageError("octet-stream holds one opaque value");
    return value.value;
  },
  decode(path, payload, definitions) {
    const type = definitions.resource(...leaf(path))?.type ?? "opaque";
    if (type !== "opaque") throw new FormatError(`${formatNodePath(path)} is ${type}, not opaque`);
    return [{ path, value: { type, value: payload } }];
  },
};

const TLV: ValueFormat = {
  fits: (path) => path.length > 0,
  encode: encodeTlv,
  decode: decodeTlv,
};

const FORMATS: ReadonlyMap<number, ValueFormat> = new Map([
  [ContentFormat.Text, TEXT],
  [ContentFormat.OctetStream, OPAQUE],
  [ContentFormat.Lwm2mTlv, TLV],
  [ContentFormat.OldLwm2mTlv, TLV],
]);

function only(path: NodePath, nodes: readonly ValueNode[]): ValueNode["value"] {
  const [node, ...more] = nodes;
  return node !== undefined && more.length === 0 && samePath(node.path, path)
    ? node.value
    : undefined;
}

function leaf(path: NodePath): [number, number] {
  const [object, , resource] = path;
  if (object === undefined || resource === undefined) {
    throw new FormatError(`${formatNodePath(path)} is not one value`);
  }
  return [object, resource];
}
