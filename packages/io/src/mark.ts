import { readFileSync } from "node:fs";
import { contentSum } from "./content-sum.ts";
import { isFileIdentity, type FileIdentity } from "./file-identity.ts";

/** What is noted beside a store of how far it and its clock had come, and of which files they were. */
export type Mark = {
  /** Of the data directory; earlier versions had none. */
  readonly id?: string;
  /** How many times the directory had been opened. */
  readonly generation: number;
  /** Groups that the disk had confirmed. */
  readonly commits: number;
  readonly instant: number;
  /** What the wall clock said, less `instant`. */
  readonly skew: number;
  /** The skew of a wall clock that is right, as far as is known; `skew` unless given. */
  readonly base?: number;
  /** The last instant before time that was off could not be told from a wall clock that was set. */
  readonly sure?: number;
  readonly boot?: Boot;
  readonly database?: FileIdentity;
  /** The file that holds this. */
  readonly mark?: FileIdentity;
};

/** A run of the machine, and how long it had been up, ms. */
export type Boot = { readonly id: string; readonly uptime: number };

/** The mark as its file has it: JSON whose last field is a sum over the rest, so that a flipped bit is no other number. */
export function formatMark(mark: Mark): string {
  const content = JSON.stringify(mark);
  return `${content.slice(0, -1)},"sum":"${contentSum(content)}"}`;
}

/** Undefined where there is none, or none that can be read or that is as it was written, which proves as little. */
export function readMark(file: string): Mark | undefined {
  let read: unknown;
  try {
    const text = readFileSync(file, "utf8");
    // Earlier versions wrote no sum.
    const [, content, sum] = /^(\{.*),"sum":"([^"]*)"\}\s*$/s.exec(text) ?? [];
    if (content !== undefined && contentSum(`${content}}`) !== sum) return undefined;
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { id, generation, commits, instant, skew, base, sure, boot, database, mark } =
    read as Partial<Record<keyof Mark, unknown>>;
  if (!isInteger(generation) || !isInteger(commits)) return undefined;
  if (!isInteger(instant) || !isInteger(skew)) return undefined;
  return {
    generation,
    commits,
    instant,
    skew,
    ...(typeof id === "string" ? { id } : {}),
    ...(isInteger(base) ? { base } : {}),
    ...(isInteger(sure) ? { sure } : {}),
    ...(isBoot(boot) ? { boot } : {}),
    ...(isFileIdentity(database) ? { database } : {}),
    ...(isFileIdentity(mark) ? { mark } : {}),
  };
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function isBoot(value: unknown): value is Boot {
  if (typeof value !== "object" || value === null) return false;
  const { id, uptime } = value as Partial<Record<keyof Boot, unknown>>;
  return typeof id === "string" && typeof uptime === "number";
}
