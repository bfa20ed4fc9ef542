import { UsageError } from "@godwit/base";

/** Milliseconds, or words: "31 minutes", "12 s", "30 days", "1.5 h". */
export type Duration = number | string;

/** A duration in ms. Throws UsageError for words it does not know and for negative spans. */
export function milliseconds(duration: Duration): number {
  if (typeof duration === "number") {
    if (!(duration >= 0)) throw new UsageError(`no span of time: ${duration}`);
    return duration;
  }
  const [, amount, unit = ""] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/.exec(duration) ?? [];
  const scale = UNITS.get(unit);
  if (amount === undefined || scale === undefined)
    throw new UsageError(`no span of time: "${duration}"`);
  return Number(amount) * scale;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const UNITS: ReadonlyMap<string, number> = new Map(
  (
    [
      [1, "ms", "millisecond", "milliseconds"],
      [SECOND, "s", "second", "seconds"],
      [MINUTE, "min", "minute", "minutes"],
      [HOUR, "h", "hour", "hours"],
      [DAY, "d", "day", "days"],
      [7 * DAY, "w", "week", "weeks"],
      [365 * DAY, "y", "year", "years"],
    ] as const
  ).flatMap(([scale, ...names]) => names.map((name) => [name, scale] as const)),
);
