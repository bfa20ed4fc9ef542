import { readFileSync } from "node:fs";
import { endianness } from "node:os";
import type { SocketAddress } from "@godwit/base";

/**
 * Datagrams the kernel threw away because nobody read them in time, over all sockets bound to these addresses.
 * Undefined where the system does not tell (only Linux does).
 */
export function kernelDrops(addresses: readonly SocketAddress[]): number | undefined {
  const wanted = new Set(addresses.map(procAddress));
  let drops = 0;
  let told = false;
  for (const table of ["/proc/net/udp", "/proc/net/udp6"]) {
    try {
      drops += sumDrops(readFileSync(table, "latin1"), wanted);
      told = true;
    } catch {
      // no such table: not Linux, or no IPv6
    }
  }
  return told ? drops : undefined;
}

/** The sum of the last column, `drops`, over the lines whose second, `local_address`, is wanted. */
export function sumDrops(table: string, wanted: ReadonlySet<string>): number {
  let sum = 0;
  for (const line of table.split("\n").slice(1)) {
    const columns = line.trim().split(/\s+/);
    if (wanted.has(columns[1] ?? "")) sum += Number(columns.at(-1));
  }
  return sum;
}

/** As /proc/net prints it: 32-bit words in the machine's byte order, and the port. */
export function procAddress({ host, port }: SocketAddress): string {
  const bytes = host.includes(":") ? ipv6Bytes(host) : host.split(".").map(Number);
  let text = "";
  for (let word = 0; word < bytes.length; word += 4) {
    const four = bytes.slice(word, word + 4);
    if (endianness() === "LE") four.reverse();
    text += four.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return `${text}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

function ipv6Bytes(host: string): number[] {
  const plain = host.replace(/%.*/, "");
  const [head = "", tail] = plain.split("::");
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const zeros = tail === undefined ? 0 : 16 - left.length - right.length;
  return [...left, ...Array<number>(zeros).fill(0), ...right];
}

function groups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
