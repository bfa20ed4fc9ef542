import { UsageError } from "./faults.ts";

/** Whether `value` is an unsigned integer below `end`, which is 2^53 at most. */
export function fits(value: number, end: number): boolean {
  return value >= 0 && value < end && Number.isInteger(value);
}

/** @throws UsageError that names the field's width and the value */
export function misfit(width: string, value: number | bigint): never {
  throw new UsageError(`${value} does not fit ${width}`);
}
