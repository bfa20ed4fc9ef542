import { UsageError } from "@godwit/base";

/** The 4 or 16 bytes of a printed IP address. Throws UsageError for anything else, a name too. */
export function ipBytes(host: string): Uint8Array {
  const bytes = host.includes(":") ? v6(host) : v4(host);
  if (bytes === undefined) throw new UsageError(`not an IP address: "${host}"`);
  return Uint8Array.from(bytes);
}

/** Bytes of the IP and UDP headers before a payload from or to `host`. */
export function headerSize(host: string): number {
  return host.includes(":") ? V6_HEADERS : V4_HEADERS;
}

function v4(text: string): number[] | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = parts.map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : 256));
  return bytes.every((byte) => byte < 256) ? bytes : undefined;
}

function v6(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(groups);
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? head : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  return [...head, ...Array<number>(16 - head.length - tail.length).fill(0), ...tail];
}

function groups(text: string): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  for (const group of text.split(":")) {
    if (group.includes(".")) {
      const mapped = v4(group);
      if (mapped === undefined) return undefined;
      bytes.push(...mapped);
      continue;
    }
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined;
    const value = Number.parseInt(group, 16);
    bytes.push(value >> 8, value & 0xff);
  }
  return bytes;
}

const V4_HEADERS = 20 + 8;
const V6_HEADERS = 40 + 8;
