import { z } from "zod";

/** A whole number of a query. */
export function numberBetween(least: number, most: number): z.ZodType<number, string> {
  return numeric(/^\d{1,9}$/, least, most);
}

/** Seconds of a query, not necessarily whole; nothing is 0. */
export function secondsUpTo(most: number): z.ZodType<number, string> {
  return numeric(/^(?:\d{1,9}(?:\.\d{1,3})?)?$/, 0, most);
}

/** `?name`, or `?name=true`. */
export const flag: z.ZodType<string | undefined> = z
  .enum(["", "true"], { error: "write it without a value" })
  .optional();

function numeric(form: RegExp, least: number, most: number): z.ZodType<number, string> {
  const error = `write a number from ${least} to ${most}`;
  return z
    .string({ error })
    .regex(form, error)
    .transform(Number)
    .refine((value) => value >= least && value <= most, { error });
}
