import { UsageError, utf8 } from "@godwit/base";

/** A diagnostic payload (RFC 7252 5.5.2): UTF-8 of at most `limit` bytes, never cut inside a character. */
export function diagnostic(text: string, limit: number = DIAGNOSTIC_LIMIT): Uint8Array {
  if (!(limit >= 0)) throw new UsageError(`no limit: ${limit}`);
  const bytes = utf8(beginning(text, limit)); // a UTF-16 unit has one byte at least
  if (bytes.length <= limit) return bytes;
  let end = limit;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--; // end < length: back to the first byte of a character
  return bytes.subarray(0, end);
}

/** At most `limit` UTF-16 units, and no half of a pair at the end. */
function beginning(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const last = text.charCodeAt(limit - 1); // NaN for a limit of 0
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? limit - 1 : limit);
}

/** Short enough to leave a 1024-byte block, and an attacker, little to gain. */
export const DIAGNOSTIC_LIMIT = 64;
