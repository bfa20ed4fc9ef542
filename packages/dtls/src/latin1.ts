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

/** From this length on the engine keeps a sum of strings as a rope of its parts, at 32 bytes for each character. */
const ROPE_FROM = 13;
