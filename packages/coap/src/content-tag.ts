/**
 * An entity tag made from the content (RFC 7252 5.10.6): the same body has the same tag however often it is made
 * anew, on whatever server, so that a transfer survives the loss of the kept answer. FNV-1a, 32 bit.
 */
export function contentTag(body: Uint8Array): Uint8Array {
  let hash = OFFSET_BASIS;
  for (let i = 0; i < body.length; i++) hash = Math.imul(hash ^ body[i]!, PRIME); // i < length
  return Uint8Array.of(hash >>> 24, hash >>> 16, hash >>> 8, hash);
}

const OFFSET_BASIS = 0x811c_9dc5;
const PRIME = 0x0100_0193;
