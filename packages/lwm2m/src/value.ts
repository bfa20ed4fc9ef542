import { FormatError, UsageError, unreachable, type Rule } from "@godwit/base";

/** The data types of OMA TS Core appendix C. `none` is what executable resources have. */
export type ValueType =
  | "string"
  | "integer"
  | "unsigned"
  | "float"
  | "boolean"
  | "opaque"
  | "time"
  | "objlnk"
  | "corelnk"
  | "none";

/** A whole number of 64 bits, exact: a number while it is safe, else a bigint. */
export type Whole = number | bigint;

/** A reference to an object instance; 65535:65535 is the null link. */
export type ObjectLink = { readonly object: number; readonly instance: number };

/** One value with its type, as it is in the device. */
export type Value =
  | { readonly type: "string"; readonly value: string }
  /** Signed, 64 bits. */
  | { readonly type: "integer"; readonly value: Whole }
  /** Not negative, 64 bits. */
  | { readonly type: "unsigned"; readonly value: Whole }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "boolean"; readonly value: boolean }
  | { readonly type: "opaque"; readonly value: Uint8Array }
  /** Seconds since 1970-01-01T00:00:00Z, signed. */
  | { readonly type: "time"; readonly value: Whole }
  | { readonly type: "objlnk"; readonly value: ObjectLink }
  /** Links in RFC 6690 format, as text. */
  | { readonly type: "corelnk"; readonly value: string };

/**
 * A value at its place. A path of three ids is a single resource, of four an instance of a multiple resource. Without
 * a value the node says that something exists and is empty: an instance, or a multiple resource.
 */
export type ValueNode = {
  readonly path: readonly number[];
  readonly value: Value | undefined;
  /** Seconds since 1970 at which the value was true, where the format can say. */
  readonly time?: number;
};

/** What JavaScript code naturally has for a value. */
export type Plain = string | number | bigint | boolean | Uint8Array | ObjectLink;

/** {@link Plain} at run time, where a program without types gives a value. */
export const plainRule: Rule = {
  wanted: "a string, number, bigint, boolean, bytes, or { object, instance }",
  fits: (value) =>
    ["string", "number", "bigint", "boolean"].includes(typeof value) ||
    value instanceof Uint8Array ||
    (typeof value === "object" && value !== null && "object" in value && "instance" in value),
};

/** Bounds on a value; for strings and opaque values `from`..`to` count octets (OMA TS Core appendix D.1). */
export type Range =
  | { readonly from: number; readonly to: number }
  | { readonly oneOf: readonly number[] };

/** A typed value from what JavaScript has. @throws UsageError if it does not fit the type. */
export function valueOf(type: ValueType, plain: Plain): Value {
  const misfit = (): never => {
    throw new UsageError(`${typeof plain} ${show(plain)} is no ${type}`);
  };
  switch (type) {
    case "string":
    case "corelnk":
      return typeof plain === "string" ? { type, value: plain } : misfit();
    case "integer":
    case "unsigned":
    case "time":
      if (
        typeof plain !== "bigint" &&
        !(typeof plain === "number" && Number.isSafeInteger(plain))
      ) {
        return misfit();
      }
      return fits64(plain, type) ? { type, value: whole(BigInt(plain)) } : misfit();
    case "float":
      if (typeof plain === "bigint") return { type, value: Number(plain) };
      return typeof plain === "number" && Number.isFinite(plain)
        ? { type, value: plain }
        : misfit();
    case "boolean":
      return typeof plain === "boolean" ? { type, value: plain } : misfit();
    case "opaque":
      return plain instanceof Uint8Array ? { type, value: plain } : misfit();
    case "objlnk":
      if (typeof plain !== "object" || plain instanceof Uint8Array) return misfit();
      return is16(plain.object) && is16(plain.instance) ? { type, value: plain } : misfit();
    case "none":
      return misfit();
    default:
      return unreachable(type);
  }
}

/** The smallest exact form of a 64-bit number. */
export function whole(value: bigint): Whole {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;
}

/** Checks a decoded number against its type's 64 bits. @throws FormatError */
export function wholeOf(type: "integer" | "unsigned" | "time", value: bigint): Whole {
  if (!fits64(value, type)) throw new FormatError(`${type} beyond 64 bits`);
  return whole(value);
}

/** Whether the value lies within the range of its definition. */
export function inRange(value: Value, range: Range | undefined): boolean {
  if (range === undefined) return true;
  const measure = measured(value);
  if (measure === undefined) return true;
  return "oneOf" in range
    ? range.oneOf.some((one) => measure == one) // number or bigint, compared by value
    : measure >= range.from && measure <= range.to;
}

export function sameValue(a: Value, b: Value): boolean {
  if (a.type !== b.type) return false;
  if (a.type === "opaque" && b.type === "opaque") {
    return a.value.length === b.value.length && a.value.every((byte, i) => byte === b.value[i]);
  }
  if (a.type === "objlnk" && b.type === "objlnk") {
    return a.value.object === b.value.object && a.value.instance === b.value.instance;
  }
  return Object.is(a.value, b.value);
}

/** The number that gt, lt and st compare, if the value is numeric. Large integers lose their last bits here. */
export function numeric(value: Value): number | undefined {
  switch (value.type) {
    case "integer":
    case "unsigned":
    case "float":
    case "time":
      return Number(value.value);
    case "string":
    case "boolean":
    case "opaque":
    case "objlnk":
    case "corelnk":
      return undefined;
    default:
      return unreachable(value);
  }
}

function measured(value: Value): Whole | undefined {
  switch (value.type) {
    case "string":
    case "corelnk":
      return octets(value.value);
    case "opaque":
      return value.value.length;
    case "integer":
    case "unsigned":
    case "float":
    case "time":
      return value.value;
    case "boolean":
    case "objlnk":
      return undefined;
    default:
      return unreachable(value);
  }
}

/** UTF-8 length. */
function octets(text: string): number {
  let n = 0;
  for (const character of text) {
    const point = character.codePointAt(0)!; // an iterated character has one
    n += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x1_0000 ? 3 : 4;
  }
  return n;
}

function fits64(value: Whole, type: "integer" | "unsigned" | "time"): boolean {
  return type === "unsigned"
    ? value >= 0 && value < 1n << 64n
    : value >= -(1n << 63n) && value < 1n << 63n;
}

function is16(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 65_535;
}

function show(plain: Plain): string {
  return typeof plain === "object" ? "" : String(plain).slice(0, 32);
}
