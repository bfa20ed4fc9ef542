import { FormatError } from "./faults.ts";

/** UTF-8 of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The string in UTF-8 bytes; throws FormatError if they are not UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  if (bytes.length <= SHORT) {
    const ascii = shortAscii(bytes);
    if (ascii !== undefined) return ascii;
  }
  try {
    return decoder.decode(bytes);
  } catch {
    throw new FormatError("text is not UTF-8");
  }
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
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
