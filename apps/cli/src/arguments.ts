import { SHORTEST_KEEP_ALIVE } from "@godwit/lwm2m";
import { isIP } from "node:net";
import { parseAddress } from "@godwit/server";
import { InvalidArgumentError } from "commander";

/** Whole seconds of a lifetime. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d{1,10}$/.test(text) || value > 0xffff_ffff) {
    throw new InvalidArgumentError("Write whole seconds; 0 is for ever.");
  }
  return value;
}

/** A span of time in seconds, not necessarily whole. */
export function span(text: string): number {
  const value = Number(text);
  if (/^\d{1,7}(?:\.\d{1,3})?$/.test(text)) return value;
  throw new InvalidArgumentError("Write seconds, such as 10 or 0.5.");
}

export function keepAlive(text: string): "off" | "auto" | number {
  if (text === "off" || text === "auto") return text;
  const value = Number(text);
  if (/^\d{1,6}$/.test(text) && value >= SHORTEST_KEEP_ALIVE) return value;
  throw new InvalidArgumentError(`Write off, auto, or seconds from ${SHORTEST_KEEP_ALIVE} up.`);
}

/** The address of a web server. */
export function webAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.hostname !== "") return text;
  throw new InvalidArgumentError("Write http://HOST[:PORT] or https://HOST[:PORT].");
}

/** Where a server listens; 0 is any free port. */
export function listenAddress(text: string): string {
  try {
    parseAddress(text);
  } catch {
    throw new InvalidArgumentError("Write HOST:PORT, such as 127.0.0.1:5683 or [::]:5683.");
  }
  return text;
}

/** The same for UDP, which wants an address and not a name: each of a name's addresses would be a socket of its own. */
export function listenUdp(text: string): string {
  const { host } = parseAddress(listenAddress(text));
  if (isIP(host.replace(/%.*$/, "")) !== 0) return text;
  throw new InvalidArgumentError(
    "Write an IP address of this machine, not a name; 0.0.0.0 and [::] are all of them.",
  );
}

/** The server of a device: one of `schemes`. */
export function deviceServer(...schemes: readonly ["coap", ...string[]]): (text: string) => string {
  return (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const bare = /^[a-z]+:\/\/(?:\[[^\]]+\]|[^/:@?#\s]+)(?::\d{1,5})?\/?$/i.test(text);
    const known = url !== undefined && schemes.some((scheme) => url.protocol === `${scheme}:`);
    if (known && bare && url.port !== "0") return text;
    throw new InvalidArgumentError(
      `Write ${schemes.map((scheme) => `${scheme}://HOST[:PORT]`).join(" or ")}.`,
    );
  };
}

/** The name of a device: RFC 3986 and OMA leave it free; it is sent as one query option of CoAP. */
export function endpointName(text: string): string {
  const bytes = Buffer.byteLength(text);
  if (bytes >= 1 && bytes <= MAX_NAME) return text;
  throw new InvalidArgumentError(`Write a name of 1 to ${MAX_NAME} bytes; this one has ${bytes}.`);
}

/** What endpoint names begin with; a number of up to 5 digits follows. */
export function namePrefix(text: string): string {
  if (Buffer.byteLength(text) <= MAX_NAME - 5) return text;
  throw new InvalidArgumentError(`Write at most ${MAX_NAME - 5} bytes.`);
}

/** The name of a file or a directory. */
export function fileName(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Write the name of a file.");
}

export function directoryName(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Write the name of a directory.");
}

export function countUpTo(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,9}$/.test(text) && value >= 1 && value <= most) return value;
    throw new InvalidArgumentError(`Write a number from 1 to ${most}.`);
  };
}

/** An option of CoAP has 255 bytes (RFC 7252 5.10), "ep=" among them. */
const MAX_NAME = 252;
