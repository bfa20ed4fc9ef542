/**
 * Lets lines about the same thing through a few at a time, so that nobody fills the log by what he sends. What is left out is
 * counted, and the next line says how many it stands for.
 */
export class LogLimit {
  readonly #now: () => number;
  /** By what they are about; the one that began first is first. */
  readonly #periods = new Map<string, Period>();
  #second = Number.NEGATIVE_INFINITY;
  #inSecond = 0;

  /** `now`: ms, only ever forward. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** How many lines about `what` were left out since the last one; undefined where this one is to be left out, too. */
  pass(what: string): number | undefined {
    const now = this.#now();
    const period = this.#periodOf(what, now);
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#inSecond = 0;
    }
    if (period.lines >= LINES || this.#inSecond >= LINES_PER_SECOND) {
      period.leftOut += 1;
      return undefined;
    }
    this.#inSecond += 1;
    period.lines += 1;
    const { leftOut } = period;
    period.leftOut = 0;
    return leftOut;
  }

  #periodOf(what: string, now: number): Period {
    const known = this.#periods.get(what);
    if (known !== undefined && now - known.since < PERIOD) return known;
    const period = { since: now, lines: 0, leftOut: known?.leftOut ?? 0 };
    this.#periods.delete(what);
    this.#periods.set(what, period);
    const [oldest] = this.#periods.keys();
    if (this.#periods.size > MOST && oldest !== undefined) this.#periods.delete(oldest);
    return period;
  }
}

type Period = { readonly since: number; lines: number; leftOut: number };

/** Lines about the same thing in one period. */
export const LINES = 5;
/** ms */
export const PERIOD = 10_000;
/** Lines about whatever. */
export const LINES_PER_SECOND = 50;
/** Things that are remembered. */
export const MOST = 1_000;
