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

/** The narrowest pair of order statistics that covers the median with at least 95 %; below 6 values the extremes, which cover less. */
export function medianInterval(values: readonly number[]): readonly [number, number] {
  if (values.length === 0) throw new RangeError("no values, no interval");
  const sorted = values.toSorted((a, b) => a - b);
  const n = sorted.length;
  let outside = 0;
  let from = 0;
  // P(fewer than k + 1 values lie below the median), both sides together, for each k.
  for (let k = 0, ways = 1; k < n / 2; k++) {
    outside += 2 * ways * 0.5 ** n;
    if (outside > 0.05) break;
    from = k;
    ways = (ways * (n - k)) / (k + 1);
  }
  return [sorted[from]!, sorted[n - 1 - from]!]; // from < n / 2
}
