import { hashBytes } from "@godwit/base";

/**
 * An entity tag made from the content (RFC 7252 5.10.6): the same body has the same tag however often it is made
 * anew, on whatever server, so that a transfer survives the loss of the kept answer. FNV-1a, 32 bit.
 */
export function contentTag(body: Uint8Array): Uint8Array {
  const hash = hashBytes(body);
  return Uint8Array.of(hash >>> 24, hash >>> 16, hash >>> 8, hash);
}
