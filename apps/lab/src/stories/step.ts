import type { Model } from "./model.ts";
import type { Story } from "./story.ts";

/** What chance chose for one step; each command makes of it what it needs. */
export type StepChoice = {
  /** Which device. */
  readonly device: number;
  readonly a: number;
  readonly b: number;
  /** How long the story goes on before one looks. */
  readonly wait: number;
};

/** One sort of step. */
export type Command = {
  readonly name: string;
  /** Whether it is about one device, or about all. */
  readonly about: "device" | "world";
  /** How often it is drawn beside the others. */
  readonly weight: number;
  /** Whether it can be done now. */
  readonly can: (model: Model, choice: StepChoice) => boolean;
  /** Does it. Returns what was done, in words. */
  readonly act: (story: Story, choice: StepChoice) => string;
};

/** The entry of a list at this place, counted round and round. */
export function pick<T>(list: readonly T[], n: number): T {
  return list[n % list.length]!; // none of the lists is empty
}

/** "10 minutes", for people. */
export function inWords(ms: number): string {
  for (const [unit, name] of UNITS)
    if (ms >= unit && ms % unit === 0) return `${ms / unit} ${name}`;
  return `${ms} ms`;
}

/** How long the story goes on after a step, in ms; the simplest first. */
export const WAITS: readonly number[] = [
  1_000, 20, 200, 10_000, 60_000, 120_000, 600_000, 600_000, 3_600_000, 21_600_000,
];
/** How long an outage lasts. */
export const OUTAGES: readonly number[] = [1_000, 30_000, 600_000, 7_200_000];

const UNITS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"],
] as const;
