import { UsageError } from "./faults.ts";

/** Bytes from hex; spaces are free, so vectors can be grouped the way the RFC prints them. */
export function hex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 2 !== 0) throw new UsageError("hex needs an even number of digits");
  if (/[^0-9a-f]/i.test(digits)) throw new UsageError("hex takes the digits 0-9 and a-f only");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Lower-case hex without spaces. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
