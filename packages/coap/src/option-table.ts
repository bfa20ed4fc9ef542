import { isUtf8 } from "@godwit/base";
import { OptionNumber, isCritical } from "./option-numbers.ts";
import type { Option } from "./message.ts";

/** What the specification of an option says about its value. */
export type OptionDefinition = {
  readonly number: number;
  /** As registered: "Uri-Path". */
  readonly name: string;
  readonly format: "empty" | "opaque" | "uint" | "string";
  /** Bounds of the value's length in bytes, both inclusive. */
  readonly minLength: number;
  readonly maxLength: number;
  readonly repeatable: boolean;
};

export type OptionTable = ReadonlyMap<number, OptionDefinition>;

/** Every option of RFC 7252, 7641, 7959, 7967, 8613, 8768, 9175, 9177 and 9668. */
export const OPTION_TABLE: OptionTable = new Map(
  [
    define(OptionNumber.IfMatch, "If-Match", "opaque", 0, 8, true),
    define(OptionNumber.UriHost, "Uri-Host", "string", 1, 255),
    define(OptionNumber.ETag, "ETag", "opaque", 1, 8, true),
    define(OptionNumber.IfNoneMatch, "If-None-Match", "empty", 0, 0),
    define(OptionNumber.Observe, "Observe", "uint", 0, 3),
    define(OptionNumber.UriPort, "Uri-Port", "uint", 0, 2),
    define(OptionNumber.LocationPath, "Location-Path", "string", 0, 255, true),
    define(OptionNumber.Oscore, "OSCORE", "opaque", 0, 255),
    define(OptionNumber.UriPath, "Uri-Path", "string", 0, 255, true),
    define(OptionNumber.ContentFormat, "Content-Format", "uint", 0, 2),
    define(OptionNumber.MaxAge, "Max-Age", "uint", 0, 4),
    define(OptionNumber.UriQuery, "Uri-Query", "string", 0, 255, true),
    define(OptionNumber.HopLimit, "Hop-Limit", "uint", 1, 1),
    define(OptionNumber.Accept, "Accept", "uint", 0, 2),
    define(OptionNumber.QBlock1, "Q-Block1", "uint", 0, 3),
    define(OptionNumber.LocationQuery, "Location-Query", "string", 0, 255, true),
    define(OptionNumber.Edhoc, "EDHOC", "empty", 0, 0),
    define(OptionNumber.Block2, "Block2", "uint", 0, 3),
    define(OptionNumber.Block1, "Block1", "uint", 0, 3),
    define(OptionNumber.Size2, "Size2", "uint", 0, 4),
    define(OptionNumber.QBlock2, "Q-Block2", "uint", 0, 3, true),
    define(OptionNumber.ProxyUri, "Proxy-Uri", "string", 1, 1034),
    define(OptionNumber.ProxyScheme, "Proxy-Scheme", "string", 1, 255),
    define(OptionNumber.Size1, "Size1", "uint", 0, 4),
    define(OptionNumber.Echo, "Echo", "opaque", 1, 40),
    define(OptionNumber.NoResponse, "No-Response", "uint", 0, 1),
    define(OptionNumber.RequestTag, "Request-Tag", "opaque", 0, 8, true),
  ].map((definition) => [definition.number, definition]),
);

/** The part of the table that names these options: what one side of a conversation understands. */
export function optionSubset(numbers: Iterable<number>): OptionTable {
  const wanted = new Set(numbers);
  return new Map([...OPTION_TABLE].filter(([number]) => wanted.has(number)));
}

/** The registered name of an option, or "option 9999". */
export function optionName(number: number): string {
  return OPTION_TABLE.get(number)?.name ?? `option ${number}`;
}

/**
 * Applies RFC 7252 5.4 to the options of a received message. An option counts as unrecognized if `known` does not name
 * it, if its length is outside the defined range (5.4.3), if it is a string that is not UTF-8 (3.2), or from its second
 * occurrence on if it is not repeatable (5.4.5). `accepted` lacks every unrecognized elective option; `refused` is the first unrecognized critical one: a
 * server answers it with 4.02 and its name, a client rejects the response, and both reject a NON message.
 *
 * `options` are in the order of the wire, sorted by number.
 */
export function checkOptions(
  options: readonly Option[],
  known: OptionTable,
): { readonly accepted: readonly Option[]; readonly refused: Option | undefined } {
  let accepted: Option[] | undefined; // made when the first option is dropped: most messages lose none
  let refused: Option | undefined;
  let previous = -1;
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!; // i < length
    const { number, value } = option;
    const definition = known.get(number);
    const fine =
      definition !== undefined &&
      value.length >= definition.minLength &&
      value.length <= definition.maxLength &&
      (definition.format !== "string" || isUtf8(value)) &&
      (number !== previous || definition.repeatable);
    previous = number;
    if (fine) {
      accepted?.push(option);
    } else {
      accepted ??= options.slice(0, i);
      if (isCritical(number)) refused ??= option;
    }
  }
  return { accepted: accepted ?? options, refused };
}

function define(
  number: number,
  name: string,
  format: OptionDefinition["format"],
  minLength: number,
  maxLength: number,
  repeatable = false,
): OptionDefinition {
  return { number, name, format, minLength, maxLength, repeatable };
}
