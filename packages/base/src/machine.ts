/** Milliseconds on the shell's clock. Cores never ask for the time; they are told it. */
export type Instant = number;

/** What every protocol core looks like to the loop that drives it. */
export interface Machine<Input, Output> {
  /** Feeds one event. Never throws for what a peer sent; throws UsageError for what our caller broke. */
  handle(input: Input, now: Instant): void;
  /** Runs what is due at `now`. Calling it early or twice does no harm. */
  wake(now: Instant): void;
  /** Drain to `undefined` after every `handle` and `wake`. */
  poll(): Output | undefined;
  /** When to call `wake` next, if ever. */
  readonly wakeAt: Instant | undefined;
}

/** Ends a switch over a union: the compiler proves that no case is left. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}

/** The earlier of two instants, where `undefined` is never. */
export function earlier(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b;
  return b === undefined || a < b ? a : b;
}
