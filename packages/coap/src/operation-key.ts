import type { Request } from "./message.ts";
import { OptionNumber, isCritical, isNoCacheKey } from "./option-numbers.ts";

/**
 * What block-wise messages of one operation have in common: method and options, but for those that vary from block to
 * block (RFC 7959 2.4, RFC 9175 3.3). Request-Tag is part of it. A string whose characters are bytes, for use in maps.
 */
export function operationKey(request: Request): string {
  return keyOf(request, VARYING);
}

/**
 * What two observations of one resource have in common (RFC 7641 3.1, 3.3.1): method, options of the cache key without
 * ETag, and the body of a FETCH (RFC 8132 2.3.3).
 */
export function observationKey(request: Request): string {
  return keyOf(request, VARYING_OBSERVED) + latin1(request.payload);
}

function keyOf(request: Request, varying: ReadonlySet<number>): string {
  let key = String.fromCharCode(request.code);
  for (const { number, value } of request.options) {
    if (varying.has(number) || (isNoCacheKey(number) && !isCritical(number))) continue;
    key += String.fromCharCode(number, value.length) + latin1(value);
  }
  return key;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const VARYING: ReadonlySet<number> = new Set([
  OptionNumber.Block1,
  OptionNumber.Block2,
  // Not of the cache key, and only in the first request of a transfer (RFC 7641 2, RFC 7959 2.6).
  OptionNumber.Observe,
  // Conditions on the operation as a whole: If-None-Match goes with block 0 alone (RFC 7959 2.10).
  OptionNumber.IfNoneMatch,
  OptionNumber.ETag,
  // Says which answers are worth sending, may differ on the last block (RFC 7967 2).
  OptionNumber.NoResponse,
]);

const VARYING_OBSERVED: ReadonlySet<number> = new Set([...VARYING, OptionNumber.RequestTag]);
