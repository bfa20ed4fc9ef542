import { FormatError, UsageError } from "./faults.ts";

/** UTF-8 of a string. @throws UsageError for half a surrogate pair, which UTF-8 cannot carry: two such texts would become one */
export function utf8(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  if (bytes.length !== text.length && LONE_SURROGATE.test(text))
    throw new UsageError(`${JSON.stringify(text)} has half a surrogate pair and is no text`);
  return bytes;
}

/** The string in UTF-8 bytes; throws FormatError if they are not UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  if (bytes.length <= SHORT) {
    const ascii = shortAscii(bytes);
    if (ascii !== undefined) return ascii;
  }
  // Not by a decoder that throws: its errors would be made for every peer that sends anything else.
  const text = decoder.decode(bytes);
  if (text.includes(REPLACEMENT) && !isUtf8(bytes)) throw new FormatError("text is not UTF-8");
  return text;
}

/** Whether the bytes are UTF-8 (RFC 3629 4): no overlong form, no surrogate, nothing above U+10FFFF. */
export function isUtf8(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at++]!; // at < length
    if (first < 0x80) continue;
    if (first < 0xc2 || first > 0xf4) return false;
    const more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (at + more > bytes.length) return false;
    const second = bytes[at]!; // the line above checked the end
    const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    if (second < least || second > most) return false;
    for (let i = 1; i < more; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return false; // within
    at += more;
  }
  return true;
}

/** Most strings in the field are a few ASCII letters; the decoder's call costs more than the loop. */
function shortAscii(bytes: Uint8Array): string | undefined {
  let text = "";
  for (const byte of bytes) {
    if (byte > 0x7f) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

const SHORT = 16;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
/** What a decoder puts in place of what is not UTF-8; it may also have been sent. */
const REPLACEMENT = "\ufffd";
const LONE_SURROGATE = /\p{Surrogate}/u;
