import { codeClass } from "./codes.ts";
import type { Option } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption } from "./options.ts";

/** RFC 7967 2.1: the bits of No-Response, to be added up. */
export const NoResponse = {
  Success: 0x02,
  ClientError: 0x08,
  ServerError: 0x10,
  All: 0x1a,
} as const;

/**
 * Whether the client that sent `options` wants no response of this code (RFC 7967 2.1). An empty value wants every
 * response; a value longer than one byte does not count.
 */
export function suppresses(options: readonly Option[], responseCode: number): boolean {
  const option = findOption(options, OptionNumber.NoResponse);
  if (option === undefined || option.value.length !== 1) return false;
  const bit = 1 << (codeClass(responseCode) - 1);
  return (option.value[0]! & bit & NoResponse.All) !== 0; // its length is 1
}
