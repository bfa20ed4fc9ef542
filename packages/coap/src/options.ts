import { EMPTY, FormatError, UsageError, fromUtf8, utf8 } from "@godwit/base";
import type { Option, Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";

/** What {@link request} can put into a request besides its code. */
export type RequestParts = {
  /** "/rd/ab" or its segments. Text as it is: nothing is percent-decoded, "?" is a letter like others. */
  readonly path?: string | readonly string[];
  /** One string for each Uri-Query: "ep=name". */
  readonly query?: readonly string[];
  readonly contentFormat?: number;
  readonly accept?: number;
  /** 0 registers, 1 deregisters (RFC 7641 2). */
  readonly observe?: number;
  /** More options, in any order. */
  readonly options?: readonly Option[];
  /** Text becomes UTF-8. */
  readonly payload?: Uint8Array | string;
};

/** What {@link response} can put into a response besides its code. */
export type ResponseParts = {
  readonly contentFormat?: number;
  /** "/rd/ab" or its segments. */
  readonly locationPath?: string | readonly string[];
  /** Seconds. */
  readonly maxAge?: number;
  /** More options, in any order. */
  readonly options?: readonly Option[];
  /** Text becomes UTF-8. */
  readonly payload?: Uint8Array | string;
};

/** A request from its parts: `request(Code.GET, { path: "/3/0/9", accept: 0 })`. Throws UsageError for a part too long. */
export function request(code: number, parts: RequestParts = {}): Request {
  const options = [...(parts.options ?? [])];
  addPath(options, OptionNumber.UriPath, parts.path);
  for (const query of parts.query ?? []) options.push(text255(OptionNumber.UriQuery, query));
  addUint(options, OptionNumber.ContentFormat, parts.contentFormat, 0xffff);
  addUint(options, OptionNumber.Accept, parts.accept, 0xffff);
  addUint(options, OptionNumber.Observe, parts.observe, 0xff_ffff);
  return { code, options: sortOptions(options), payload: bytesOf(parts.payload) };
}

/** A response from its parts: `response(Code.Created, { locationPath: "/rd/ab" })`. Throws UsageError for a part too long. */
export function response(code: number, parts: ResponseParts = {}): Response {
  const options = [...(parts.options ?? [])];
  addUint(options, OptionNumber.ContentFormat, parts.contentFormat, 0xffff);
  addPath(options, OptionNumber.LocationPath, parts.locationPath);
  addUint(options, OptionNumber.MaxAge, parts.maxAge, 0xffff_ffff);
  return { code, options: sortOptions(options), payload: bytesOf(parts.payload) };
}

/** An unsigned number up to 2^32 - 1 without leading zeros; 0 is the empty value (RFC 7252 3.2). */
export function uintOption(number: number, value: number): Option {
  return { number, value: uintBytes(value) };
}

export function stringOption(number: number, text: string): Option {
  return { number, value: utf8(text) };
}

export function opaqueOption(number: number, value: Uint8Array): Option {
  return { number, value };
}

/**
 * The number in a uint option. Leading zeros are read, though nobody should send them (RFC 7252 3.2).
 *
 * @throws FormatError if it does not fit 32 bits
 */
export function readUint(value: Uint8Array): number {
  let number = 0;
  for (let i = 0; i < value.length; i++) {
    number = number * 256 + value[i]!; // i < length
    if (number > 0xffff_ffff) throw new FormatError("uint option above 32 bits");
  }
  return number;
}

/** The shortest bytes of an unsigned number up to 2^32 - 1. */
export function uintBytes(value: number): Uint8Array {
  if (!(value >= 0 && value <= 0xffff_ffff) || !Number.isInteger(value))
    throw new UsageError(`no 32-bit uint: ${value}`);
  const length =
    value === 0 ? 0 : value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xff_ffff ? 3 : 4;
  const bytes = new Uint8Array(length);
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = value;
    value >>>= 8;
  }
  return bytes;
}

/** The first option of this number. */
export function findOption(options: readonly Option[], number: number): Option | undefined {
  for (let i = 0; i < options.length; i++) if (options[i]!.number === number) return options[i];
  return undefined;
}

/** The value of the first option of this number, as an unsigned number. Throws FormatError as {@link readUint} does. */
export function findUint(options: readonly Option[], number: number): number | undefined {
  const option = findOption(options, number);
  return option && readUint(option.value);
}

/** The value of the first option of this number, as text. Throws FormatError if it is not UTF-8. */
export function findString(options: readonly Option[], number: number): string | undefined {
  const option = findOption(options, number);
  return option && fromUtf8(option.value);
}

/** The texts of all options of this number. Throws FormatError if one is not UTF-8. */
export function allStrings(options: readonly Option[], number: number): string[] {
  const all: string[] = [];
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!; // i < length
    if (option.number === number) all.push(fromUtf8(option.value));
  }
  return all;
}

/** The segments of the path asked for; none is "/". Throws FormatError if one is not UTF-8. */
export function uriPath(options: readonly Option[]): string[] {
  return allStrings(options, OptionNumber.UriPath);
}

/** The arguments asked with, each "name=value" or a bare name. Throws FormatError if one is not UTF-8. */
export function uriQuery(options: readonly Option[]): string[] {
  return allStrings(options, OptionNumber.UriQuery);
}

/** The segments of the location given. Throws FormatError if one is not UTF-8. */
export function locationPath(options: readonly Option[]): string[] {
  return allStrings(options, OptionNumber.LocationPath);
}

/** `options` with `option` behind those of its number; `options` are sorted and stay as they are. */
export function withOption(options: readonly Option[], option: Option): Option[] {
  let at = options.length;
  while (at > 0 && options[at - 1]!.number > option.number) at--; // at > 0
  return options.toSpliced(at, 0, option);
}

/** `options` without those of this number. */
export function withoutOption(options: readonly Option[], number: number): Option[] {
  return options.filter((option) => option.number !== number);
}

/** Sorted by number, in a new array; options of one number keep their order. */
export function sortOptions(options: readonly Option[]): Option[] {
  return options.toSorted((a, b) => a.number - b.number);
}

/** `["rd", "ab"]` as "/rd/ab", and no segments as "/". */
export function formatPath(segments: readonly string[]): string {
  return `/${segments.join("/")}`;
}

/** "/rd/ab" or "rd/ab" as its segments; "/" and "" have none, "/rd/" has an empty second one (RFC 7252 6.4). */
export function parsePath(path: string): string[] {
  const relative = path.startsWith("/") ? path.slice(1) : path;
  return relative === "" ? [] : relative.split("/");
}

function addPath(options: Option[], number: number, path: RequestParts["path"]): void {
  if (path === undefined) return;
  for (const segment of typeof path === "string" ? parsePath(path) : path)
    options.push(text255(number, segment));
}

function addUint(options: Option[], number: number, value: number | undefined, max: number): void {
  if (value === undefined) return;
  if (value > max) throw new UsageError(`option ${number} takes at most ${max}`);
  options.push(uintOption(number, value));
}

function text255(number: number, text: string): Option {
  const option = stringOption(number, text);
  if (option.value.length > 255) throw new UsageError(`option ${number} takes at most 255 bytes`);
  return option;
}

function bytesOf(payload: Uint8Array | string | undefined): Uint8Array {
  return typeof payload === "string" ? utf8(payload) : (payload ?? EMPTY);
}
