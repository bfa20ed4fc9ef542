import { UsageError } from "@godwit/base";
import type { Option } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, readUint, uintOption } from "./options.ts";

/** In a request: tell me of changes (RFC 7641 2). */
export const OBSERVE_REGISTER = 0;
/** In a request: tell me no more (RFC 7641 3.6). */
export const OBSERVE_DEREGISTER = 1;

/** Observe with a request's 0 or 1, or with the low 24 bits of a notification's sequence number (RFC 7641 3.4). */
export function observeOption(value: number): Option {
  if (!Number.isSafeInteger(value) || value < 0) throw new UsageError(`no Observe value: ${value}`);
  return uintOption(OptionNumber.Observe, value % 0x100_0000);
}

/** The value of Observe, undefined without the option or if it has more than 3 bytes and so does not count (RFC 7252 5.4.3). */
export function findObserve(options: readonly Option[]): number | undefined {
  const option = findOption(options, OptionNumber.Observe);
  return option === undefined || option.value.length > 3 ? undefined : readUint(option.value);
}

/**
 * Whether a notification with value `v2` that arrived at `t2` was sent after the freshest one so far, `v1` at `t1`
 * (RFC 7641 3.4). Times in ms; after `span` any notification is newer.
 */
export function isNewer(v1: number, t1: number, v2: number, t2: number, span = 128_000): boolean {
  return (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF) || t2 > t1 + span;
}

/** Half of the 24-bit circle. */
const HALF = 0x80_0000;
