import type { Resources } from "./object-tree.ts";

/** A device that says nothing of itself says this (OMA TS Core appendix E.4: mandatory resources). */
export function defaultDevice(): Resources {
  return {
    0: "Godwit",
    1: "Device SDK",
    4: () => undefined,
    11: { values: { 0: 0 } },
    13: () => Math.floor(Date.now() / 1_000),
    14: utcOffset(new Date()),
    16: "U",
  };
}

/** "+02:00" (ISO 8601), of where this runs. */
function utcOffset(now: Date): string {
  const minutes = -now.getTimezoneOffset();
  const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
}
