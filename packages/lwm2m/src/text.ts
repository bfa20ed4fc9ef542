import {
  FormatError,
  UsageError,
  fromBase64,
  fromUtf8,
  toBase64,
  unreachable,
  utf8,
} from "@godwit/base";
import { wholeOf, type ObjectLink, type Value, type ValueType } from "./value.ts";

/** One value as text/plain (OMA TS Core 7.4.1, appendix C). */
export function encodeText(value: Value): Uint8Array {
  return utf8(formatValue(value));
}

/** @throws FormatError if the text is not of this type. */
export function decodeText(payload: Uint8Array, type: ValueType): Value {
  return parseValue(fromUtf8(payload), type);
}

/** The text of one value: decimal numbers without exponent, 0 and 1, padded Base64, "3:0". */
export function formatValue(value: Value): string {
  switch (value.type) {
    case "string":
    case "corelnk":
      return value.value;
    case "integer":
    case "unsigned":
    case "time":
      return String(value.value);
    case "float":
      if (!Number.isFinite(value.value)) throw new UsageError(`text has no ${value.value}`);
      return plainDecimal(value.value);
    case "boolean":
      return value.value ? "1" : "0";
    case "opaque":
      return toBase64(value.value);
    case "objlnk":
      return `${value.value.object}:${value.value.instance}`;
    default:
      return unreachable(value);
  }
}

/** Reads what `formatValue` prints, and exponents in floats. @throws FormatError */
export function parseValue(text: string, type: ValueType): Value {
  switch (type) {
    case "string":
    case "corelnk":
      return { type, value: text };
    case "integer":
    case "unsigned":
    case "time":
      if (!WHOLE.test(text)) throw new FormatError(`text is no ${type}`);
      return { type, value: wholeOf(type, BigInt(text)) };
    case "float":
      return { type, value: parseDecimal(text) };
    case "boolean":
      if (text !== "0" && text !== "1") throw new FormatError("a Boolean is 0 or 1");
      return { type, value: text === "1" };
    case "opaque":
      return { type, value: fromBase64(text) };
    case "objlnk":
      return { type, value: parseObjectLink(text) };
    case "none":
      throw new FormatError("an executable resource has no value");
    default:
      return unreachable(type);
  }
}

/** "3:0"; the null link is 65535:65535, and FFFF:FFFF in some old examples. @throws FormatError */
export function parseObjectLink(text: string): ObjectLink {
  if (text === "FFFF:FFFF") return { object: 65_535, instance: 65_535 };
  const [, object, instance] = LINK.exec(text) ?? [];
  const link = { object: Number(object), instance: Number(instance) };
  if (!(link.object <= 65_535 && link.instance <= 65_535)) {
    throw new FormatError("an object link is two ids, 0:0 to 65535:65535");
  }
  return link;
}

/** A finite decimal, exponent allowed. @throws FormatError */
export function parseDecimal(text: string): number {
  if (!DECIMAL.test(text)) throw new FormatError("text is no decimal number");
  const value = Number(text);
  if (!Number.isFinite(value)) throw new FormatError("number too large for a float");
  return value;
}

/** The shortest decimal of `value` that reads back as itself, without exponent. */
export function plainDecimal(value: number): string {
  const text = String(value);
  const [, sign = "", digits = "", fraction = "", exponent] = EXPONENT.exec(text) ?? [];
  if (exponent === undefined) return text;
  const shift = Number(exponent);
  const all = digits + fraction;
  const point = digits.length + shift;
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${all}`;
  if (point >= all.length) return `${sign}${all}${"0".repeat(point - all.length)}`;
  return `${sign}${all.slice(0, point)}.${all.slice(point)}`;
}

/** Twenty digits hold any 64-bit number; longer text is not worth a bigint. */
const WHOLE = /^-?\d{1,20}$/;
const DECIMAL = /^[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,4})?$/;
const EXPONENT = /^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/;
const LINK = /^(\d{1,5}):(\d{1,5})$/;
