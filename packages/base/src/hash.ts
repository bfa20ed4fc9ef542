// Hashes for tables and tags. They have no secret: never for a table whose keys a stranger can choose at will.

/** Of text, from 0 on or from another number. */
export function hashText(text: string, seed = 0): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash, 31) + text.charCodeAt(i);
  return hash | 0;
}

/** FNV-1a of the bytes from `from` on, up to `to`, 32 bits with a sign. */
export function hashBytes(bytes: Uint8Array, from = 0, to: number = bytes.length): number {
  let hash = OFFSET_BASIS;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i]!, PRIME); // callers keep `to` within
  return hash;
}

const OFFSET_BASIS = 0x811c_9dc5 | 0;
const PRIME = 0x0100_0193;
