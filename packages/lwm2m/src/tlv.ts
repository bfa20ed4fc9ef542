import { FormatError, Reader, UsageError, Writer, fromUtf8, unreachable, utf8 } from "@godwit/base";
import type { Definitions } from "./definition.ts";
import { formatNodePath, isWithin, type NodePath, UNASSIGNED } from "./node-path.ts";
import { type Value, type ValueNode, type ValueType, type Whole, whole, wholeOf } from "./value.ts";

// OMA TLV (OMA TS Core 7.4.3):
//
//   type byte   7 6  kind: 00 object instance, 01 resource instance, 10 multiple resource, 11 resource
//               5    id of 16 bits instead of 8
//               4 3  length field of 0, 8, 16, 24 bits; with 0 the length is in bits 2-0
//   identifier, length, value
//
// Object instances hold resources, multiple resources hold resource instances, and that is all the nesting there is.

/**
 * `nodes` as TLV, as the answer to a request for `path`: from a path without an instance the instances are wrapped.
 *
 * @throws UsageError if a node does not lie under `path`
 */
export function encodeTlv(path: NodePath, nodes: readonly ValueNode[]): Uint8Array {
  const w = new Writer(64 + nodes.length * 8);
  for (const node of nodes) {
    if (!isWithin(node.path, path) || node.path.length < 2) {
      throw new UsageError(
        `${formatNodePath(node.path)} does not belong under ${formatNodePath(path)}`,
      );
    }
  }
  if (path.length === 0) throw new UsageError("TLV needs at least an object");
  if (path.length === 1) {
    for (const [instance, inside] of grouped(nodes, 1)) {
      if (instance === UNASSIGNED) {
        writeResources(w, inside); // Create: the client is to choose the id
        continue;
      }
      const body = new Writer();
      writeResources(body, inside);
      writeEntry(w, OBJECT_INSTANCE, instance, body.bytes());
    }
  } else if (path.length === 4) {
    for (const node of nodes) writeLeaf(w, RESOURCE_INSTANCE, node);
  } else {
    writeResources(w, nodes);
  }
  return w.bytes();
}

/**
 * The nodes in a TLV payload that came for `path`. Types come from `definitions`; a resource that is not known there is opaque.
 * Instances that were not wrapped get id 0 in a single-instance object, else {@link UNASSIGNED}.
 *
 * @throws FormatError for anything that is not well-formed, not under `path`, twice there, or more than the limit
 */
export function decodeTlv(
  path: NodePath,
  payload: Uint8Array,
  definitions: Definitions,
): readonly ValueNode[] {
  const [object, instance, resource, resourceInstance] = path;
  if (object === undefined) throw new FormatError("TLV has no names for objects");
  const decoder = new Decoder(object, definitions);
  const r = new Reader(payload);
  while (r.left > 0) {
    const entry = readEntry(r);
    switch (entry.kind) {
      case OBJECT_INSTANCE:
        decoder.instance(entry);
        break;
      case RESOURCE:
      case MULTIPLE_RESOURCE:
        decoder.resource(entry, instance ?? decoder.unwrapped);
        break;
      case RESOURCE_INSTANCE:
        if (instance === undefined || resource === undefined) {
          throw new FormatError("resource instance outside a resource");
        }
        decoder.resourceInstance(entry, [object, instance, resource]);
        break;
      default:
        unreachable(entry.kind);
    }
  }
  const asked = resourceInstance === undefined ? path : path.slice(0, 4);
  for (const node of decoder.nodes) {
    if (!isWithin(node.path, asked)) {
      throw new FormatError(`${formatNodePath(node.path)} came for ${formatNodePath(path)}`);
    }
  }
  return decoder.nodes;
}

/** Collects nodes under one object. */
class Decoder {
  readonly nodes: ValueNode[] = [];
  /** The instance of what came without a wrapper. */
  readonly unwrapped: number;
  readonly #object: number;
  readonly #definitions: Definitions;
  readonly #seen = new Set<string>();

  constructor(object: number, definitions: Definitions) {
    this.#object = object;
    this.#definitions = definitions;
    this.unwrapped = definitions.object(object)?.multiple === false ? 0 : UNASSIGNED;
  }

  instance({ id, value }: Entry): void {
    const path = [this.#object, id];
    this.#once(path);
    const r = new Reader(value);
    if (r.left === 0) this.#add({ path, value: undefined });
    while (r.left > 0) {
      const entry = readEntry(r);
      if (entry.kind !== RESOURCE && entry.kind !== MULTIPLE_RESOURCE) {
        throw new FormatError("an object instance holds resources only");
      }
      this.resource(entry, id);
    }
  }

  resource({ kind, id, value }: Entry, instance: number): void {
    const path = [this.#object, instance, id];
    this.#once(path);
    if (kind === RESOURCE) {
      this.#add({ path, value: decodeValue(value, this.#type(id)) });
      return;
    }
    const r = new Reader(value);
    if (r.left === 0) this.#add({ path, value: undefined });
    while (r.left > 0) {
      const entry = readEntry(r);
      if (entry.kind !== RESOURCE_INSTANCE) {
        throw new FormatError("a multiple resource holds resource instances only");
      }
      this.resourceInstance(entry, path);
    }
  }

  resourceInstance({ id, value }: Entry, resource: NodePath): void {
    const path = [...resource, id];
    this.#once(path);
    this.#add({ path, value: decodeValue(value, this.#type(resource[2]!)) }); // a resource path has three ids
  }

  #type(resource: number): ValueType {
    return this.#definitions.resource(this.#object, resource)?.type ?? "opaque";
  }

  #once(path: NodePath): void {
    const name = path.join("/");
    if (this.#seen.has(name)) throw new FormatError(`/${name} is there twice`);
    this.#seen.add(name);
  }

  #add(node: ValueNode): void {
    if (this.nodes.length === MAX_NODES) throw new FormatError(`more than ${MAX_NODES} values`);
    this.nodes.push(node);
  }
}

/** The bytes of one value (OMA TS Core appendix C, column TLV). */
export function encodeValue(value: Value): Uint8Array {
  switch (value.type) {
    case "string":
    case "corelnk":
      return utf8(value.value);
    case "integer":
    case "time":
      return signed(value.value);
    case "unsigned":
      return unsigned(value.value);
    case "float":
      return float(value.value);
    case "boolean":
      return Uint8Array.of(value.value ? 1 : 0);
    case "opaque":
      return value.value;
    case "objlnk":
      return new Writer(4).u16(value.value.object).u16(value.value.instance).bytes();
    default:
      return unreachable(value);
  }
}

/** @throws FormatError if the bytes are not of this type */
export function decodeValue(bytes: Uint8Array, type: ValueType): Value {
  switch (type) {
    case "string":
    case "corelnk":
      return { type, value: fromUtf8(bytes) };
    case "integer":
    case "time":
      return { type, value: wholeOf(type, BigInt.asIntN(8 * bytes.length, big(bytes, type))) };
    case "unsigned":
      return { type, value: whole(big(bytes, type)) };
    case "float":
      return { type, value: readFloat(bytes) };
    case "boolean":
      if (bytes.length !== 1 || bytes[0]! > 1)
        throw new FormatError("a Boolean is one byte, 0 or 1"); // length 1
      return { type, value: bytes[0] === 1 };
    case "opaque":
      return { type, value: bytes };
    case "objlnk": {
      const r = new Reader(bytes);
      const link = { object: r.u16(), instance: r.u16() };
      r.end("an object link");
      return { type, value: link };
    }
    case "none":
      throw new FormatError("an executable resource has no value");
    default:
      return unreachable(type);
  }
}

function writeResources(w: Writer, nodes: readonly ValueNode[]): void {
  for (const [resource, inside] of grouped(nodes, 2)) {
    const single = inside.find((node) => node.path.length === 3 && node.value !== undefined);
    if (single !== undefined) {
      if (inside.length > 1) throw new UsageError(`${formatNodePath(single.path)} is there twice`);
      writeLeaf(w, RESOURCE, single);
      continue;
    }
    const body = new Writer();
    for (const node of inside) if (node.path.length === 4) writeLeaf(body, RESOURCE_INSTANCE, node);
    writeEntry(w, MULTIPLE_RESOURCE, resource, body.bytes());
  }
}

function writeLeaf(w: Writer, kind: Kind, node: ValueNode): void {
  const id = node.path.at(-1);
  if (id === undefined || node.value === undefined)
    throw new UsageError("a leaf has an id and a value");
  writeEntry(w, kind, id, encodeValue(node.value));
}

/** The nodes by the id at `depth`, in the order in which the ids come first; shorter paths (an empty parent) bring none. */
function grouped(nodes: readonly ValueNode[], depth: number): Map<number, ValueNode[]> {
  const groups = new Map<number, ValueNode[]>();
  for (const node of nodes) {
    const id = node.path[depth];
    if (id === undefined) continue;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [node]);
    else group.push(node);
  }
  return groups;
}

function writeEntry(w: Writer, kind: Kind, id: number, value: Uint8Array): void {
  const wide = id > 0xff;
  const n = value.length;
  if (n > 0xff_ffff) throw new UsageError(`${n} bytes do not fit a TLV`);
  const width = n < 8 ? 0 : n <= 0xff ? 1 : n <= 0xffff ? 2 : 3;
  w.u8((kind << 6) | (wide ? 0x20 : 0) | (width << 3) | (width === 0 ? n : 0));
  if (wide) w.u16(id);
  else w.u8(id);
  if (width === 1) w.u8(n);
  else if (width === 2) w.u16(n);
  else if (width === 3) w.u24(n);
  w.append(value);
}

function readEntry(r: Reader): Entry {
  const type = r.u8();
  const kind = (type >>> 6) as Kind; // two bits, four kinds
  const id = (type & 0x20) === 0 ? r.u8() : r.u16();
  if (id === UNASSIGNED) throw new FormatError("id 65535 is reserved");
  const width = (type >>> 3) & 3;
  const length = width === 0 ? type & 7 : width === 1 ? r.u8() : width === 2 ? r.u16() : r.u24();
  return { kind, id, value: r.take(length) };
}

function big(bytes: Uint8Array, type: ValueType): bigint {
  if (![1, 2, 4, 8].includes(bytes.length)) {
    throw new FormatError(`${type} of ${bytes.length} bytes, not 1, 2, 4 or 8`);
  }
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

function signed(value: Whole): Uint8Array {
  if (value < -(2n ** 63n) || value >= 2n ** 63n)
    throw new UsageError(`${value} does not fit 64 bits`);
  if (value >= -0x80 && value < 0x80) return Uint8Array.of(Number(value));
  if (value >= -0x8000 && value < 0x8000) return new Writer(2).u16(Number(value) & 0xffff).bytes();
  if (value >= -0x8000_0000 && value < 0x8000_0000) {
    return new Writer(4).u32(Number(value) >>> 0).bytes();
  }
  return new Writer(8).u64(BigInt.asUintN(64, BigInt(value))).bytes();
}

function unsigned(value: Whole): Uint8Array {
  if (value < 0 || value >= 2n ** 64n)
    throw new UsageError(`${value} does not fit 64 bits unsigned`);
  if (value <= 0xff) return Uint8Array.of(Number(value));
  if (value <= 0xffff) return new Writer(2).u16(Number(value)).bytes();
  if (value <= 0xffff_ffff) return new Writer(4).u32(Number(value)).bytes();
  return new Writer(8).u64(BigInt(value)).bytes();
}

/** Four bytes where they hold the value exactly. */
function float(value: number): Uint8Array {
  const short = Math.fround(value) === value || Number.isNaN(value);
  const bytes = new Uint8Array(short ? 4 : 8);
  const view = new DataView(bytes.buffer);
  if (short) view.setFloat32(0, value);
  else view.setFloat64(0, value);
  return bytes;
}

function readFloat(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length === 4) return view.getFloat32(0);
  if (bytes.length === 8) return view.getFloat64(0);
  throw new FormatError(`float of ${bytes.length} bytes, not 4 or 8`);
}

type Kind =
  | typeof OBJECT_INSTANCE
  | typeof RESOURCE_INSTANCE
  | typeof MULTIPLE_RESOURCE
  | typeof RESOURCE;
type Entry = { readonly kind: Kind; readonly id: number; readonly value: Uint8Array };

const OBJECT_INSTANCE = 0b00;
const RESOURCE_INSTANCE = 0b01;
const MULTIPLE_RESOURCE = 0b10;
const RESOURCE = 0b11;

/** One payload's values: far above any object in the registry, far below what would hurt. */
export const MAX_NODES = 4_096;
