/** Bytes as a string of as many characters: a key for maps, and a third of the memory of a typed array. */
export function latin1(bytes: Uint8Array): string {
  if (bytes.length >= ROPE_FROM) return String.fromCharCode(...bytes);
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!); // within
  return text;
}

export function fromLatin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Whether `text` is what `latin1` makes of `bytes`. */
export function isLatin1(text: string | Uint8Array, bytes: Uint8Array): boolean {
  if (typeof text !== "string" || text.length !== bytes.length) return false;
  for (let i = 0; i < bytes.length; i++) if (text.charCodeAt(i) !== bytes[i]) return false;
  return true;
}

/** A hash for bytes and for what `latin1` makes of them: different for different ones of one length up to four. */
export function hashLatin1(text: string | Uint8Array): number {
  let hash = 0;
  if (typeof text === "string") {
    for (let i = 0; i < text.length; i++) hash = mixed(hash, text.charCodeAt(i), i);
  } else {
    for (let i = 0; i < text.length; i++) hash = mixed(hash, text[i]!, i); // within
  }
  return hash;
}

function mixed(hash: number, byte: number, at: number): number {
  return at < 4 ? (hash << 8) | byte : (Math.imul(hash, 31) + byte) | 0;
}

/** From this length on the engine keeps a sum of strings as a rope of its parts, at 32 bytes for each character. */
const ROPE_FROM = 13;
