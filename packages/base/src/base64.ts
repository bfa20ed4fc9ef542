import { FormatError } from "./faults.ts";
import { Writer } from "./writer.ts";

/** Base64 with padding, RFC 4648 section 4. */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes[i]!, bytes[i + 1], bytes[i + 2]]; // i < length
    const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    text += ALPHABET[bits >>> 18]! + ALPHABET[(bits >>> 12) & 63]!; // six bits each
    text += b === undefined ? "=" : ALPHABET[(bits >>> 6) & 63]!;
    text += c === undefined ? "=" : ALPHABET[bits & 63]!;
  }
  return text;
}

/** Either alphabet of RFC 4648 (sections 4 and 5), padded or not. @throws FormatError */
export function fromBase64(text: string): Uint8Array {
  const end = text.endsWith("==")
    ? text.length - 2
    : text.endsWith("=")
      ? text.length - 1
      : text.length;
  if (end !== text.length && text.length % 4 !== 0)
    throw new FormatError("Base64 padding is misplaced");
  if (end % 4 === 1) throw new FormatError("Base64 breaks off");
  const out = new Writer(Math.ceil((end * 3) / 4));
  let bits = 0;
  let have = 0;
  for (let i = 0; i < end; i++) {
    const six = SIX_BITS.get(text[i]!); // i < length
    if (six === undefined) throw new FormatError("a letter that is not of Base64");
    bits = ((bits << 6) | six) & 0xfff;
    have += 6;
    if (have >= 8) out.u8((bits >>> (have -= 8)) & 0xff);
  }
  if ((bits & ((1 << have) - 1)) !== 0) throw new FormatError("Base64 ends in stray bits");
  return out.bytes();
}

/** Base64 as files have it: with its padding (RFC 4648 4); white space is free. @throws FormatError */
export function base64(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 4 !== 0) throw new FormatError("base64 comes in groups of four characters");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(digits)) throw new FormatError("not base64");
  return fromBase64(digits);
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SIX_BITS: ReadonlyMap<string, number> = new Map([
  ...Array.from(ALPHABET, (letter, i): [string, number] => [letter, i]),
  ["-", 62],
  ["_", 63],
]);
