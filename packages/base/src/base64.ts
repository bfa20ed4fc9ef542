import { FormatError } from "./faults.ts";

/** Bytes from base64 with its padding (RFC 4648 4); white space is free. Throws FormatError for anything else. */
export function base64(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 4 !== 0) throw new FormatError("base64 comes in groups of four characters");
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(digits)) throw new FormatError("not base64");
  const out = new Uint8Array((digits.length / 4) * 3);
  for (let group = 0; group < digits.length / 4; group++) {
    let bits = 0;
    for (let at = 0; at < 4; at++) {
      bits = (bits << 6) | Math.max(0, ALPHABET.indexOf(digits.charAt(group * 4 + at)));
    }
    out.set([(bits >>> 16) & 0xff, (bits >>> 8) & 0xff, bits & 0xff], group * 3);
  }
  const padding = digits.endsWith("==") ? 2 : digits.endsWith("=") ? 1 : 0;
  const whole = out.subarray(0, out.length - padding);
  if (out.subarray(whole.length).some((byte) => byte !== 0)) {
    throw new FormatError("base64 with bits after its end"); // two texts for the same bytes
  }
  return whole;
}

/** Base64 with its padding (RFC 4648 4). */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const left = Math.min(3, bytes.length - at);
    const bits = [0, 1, 2].reduce((sum, n) => (sum << 8) | (bytes[at + n] ?? 0), 0);
    for (let n = 0; n < 4; n++) {
      text += n <= left ? ALPHABET.charAt((bits >>> (18 - n * 6)) & 0x3f) : "=";
    }
  }
  return text;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
