import { SHORTEST_KEEP_ALIVE } from "@godwit/lwm2m";
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

export function countUpTo(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,9}$/.test(text) && value >= 1 && value <= most) return value;
    throw new InvalidArgumentError(`Write a number from 1 to ${most}.`);
  };
}
