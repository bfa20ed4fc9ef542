import { FormatError } from "@godwit/base";
import { shown } from "./refusal.ts";
import { atLeast, type Lwm2mVersion } from "./version.ts";

/** How the client can be reached: transport letters, and whether it sleeps (OMA TS Core 6.2.1.2). */
export type Binding = {
  /** "U", "UT"… in the client's order. */
  readonly transports: string;
  /** Queue mode. Part of the letters in 1.0, a parameter of its own from 1.1. */
  readonly queue: boolean;
};

/** Reads the `b` parameter. From 1.1 the queue flag is not in it and comes out false. @throws FormatError */
export function parseBinding(text: string, version: Lwm2mVersion): Binding {
  const wrong = `binding "${shown(text)}" is not of LwM2M ${version}`;
  if (!atLeast(version, "1.1")) {
    if (!BINDINGS_1_0.has(text)) throw new FormatError(wrong);
    return { transports: text.replace("Q", ""), queue: text.includes("Q") };
  }
  const letters = new Set(text);
  const known = version === "1.1" ? "UTSN" : "UTSNMH";
  const fine =
    letters.size === text.length && Array.from(letters).every((letter) => known.includes(letter));
  if (text === "" || !fine) throw new FormatError(wrong);
  return { transports: text, queue: false };
}

/** The `b` parameter, with the queue flag in it for 1.0. */
export function formatBinding({ transports, queue }: Binding, version: Lwm2mVersion): string {
  if (atLeast(version, "1.1") || !queue) return transports;
  return transports === "US" ? "UQS" : `${transports}Q`;
}

export const DEFAULT_TRANSPORTS = "U";

const BINDINGS_1_0: ReadonlySet<string> = new Set(["U", "UQ", "S", "SQ", "US", "UQS"]);
