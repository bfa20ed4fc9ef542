/** What several rounds of one measurement came to. */
export type Spread = { readonly median: number; readonly min: number; readonly max: number };

/** @throws RangeError for no values */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("no values, no median");
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle]!; // there is one
  const median = sorted.length % 2 === 1 ? upper : (sorted[middle - 1]! + upper) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** Nearest rank: the smallest value that at least `percent` of all are not above. Sorts `values` in place; 0 for none. */
export function percentiles(values: Float64Array, percents: readonly number[]): number[] {
  values.sort();
  return percents.map((percent) => {
    const rank = Math.max(1, Math.ceil((percent / 100) * values.length));
    return values[rank - 1] ?? 0;
  });
}
