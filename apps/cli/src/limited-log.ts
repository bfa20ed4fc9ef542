/** What is logged because of what somebody else did: a device, a stranger, the disk. */
export type LimitedLine = {
  readonly level: "info" | "warn" | "error";
  /** Lines of one reason and one source are limited together. */
  readonly reason: string;
  readonly source: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
};

/** Where lines go: a logger, or whatever writes them for people. */
type Lines = Readonly<
  Record<LimitedLine["level"], (fields: Readonly<Record<string, unknown>>, message: string) => void>
>;

/**
 * A log that nobody can fill from outside. In each minute it writes the first lines of a reason and source, and the first of
 * a reason from all sources together; then it counts, and says at the end of the minute how many it has left out.
 */
export class LimitedLog {
  readonly #log: Lines;
  readonly #limits: LogLimits;
  readonly #written = new Map<string, number>();
  readonly #suppressed = new Map<string, Suppressed>();
  readonly #reports: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Lines, limits: Partial<LogLimits> = {}) {
    this.#log = log;
    this.#limits = { ...LIMITS, ...limits };
  }

  /** `limits`: for this line, in place of the log's. */
  write(line: LimitedLine, limits: Partial<Omit<LogLimits, "window">> = {}): void {
    const { level, reason, source, fields, message } = line;
    const { perReason, perSource, window } = { ...this.#limits, ...limits };
    this.#timer ??= setTimeout(() => this.flush(), window).unref();
    const own = `${reason} ${source}`;
    const ofSource = this.#written.get(own) ?? 0;
    const ofReason = this.#written.get(reason) ?? 0;
    if (ofSource < perSource && ofReason < perReason) {
      this.#written.set(own, ofSource + 1);
      this.#written.set(reason, ofReason + 1);
      return this.#log[level](fields, message);
    }
    this.#suppress(ofSource > 0 ? { reason, source } : { reason }, line, 1); // too many sources to name each
  }

  /** `report`: asked at the end of each minute for what came and was never written here, to `leaveOut` it. */
  beforeFlush(report: () => void): void {
    this.#reports.push(report);
  }

  /** So many lines of a reason, from whatever source, that nobody has made. */
  leaveOut(line: Pick<LimitedLine, "level" | "reason" | "message">, times: number): void {
    this.#suppress({ reason: line.reason }, line, times);
  }

  #suppress(
    whose: Suppressed["whose"],
    { level, message }: Pick<LimitedLine, "level" | "message">,
    times: number,
  ): void {
    const key = JSON.stringify(whose);
    const known = this.#suppressed.get(key);
    this.#suppressed.set(key, { whose, level, message, count: (known?.count ?? 0) + times });
  }

  /** Ends the minute: says what was left out. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const report of this.#reports) report();
    this.#written.clear();
    for (const { whose, level, message, count } of this.#suppressed.values()) {
      this.#log[level]({ ...whose, suppressed: count }, `${message}: ${count} more suppressed`);
    }
    this.#suppressed.clear();
  }
}

type LogLimits = {
  /** ms. */
  readonly window: number;
  /** Lines in a window, of one reason and source. */
  readonly perSource: number;
  /** Of one reason from all sources; so many keys are remembered at most, for each reason. */
  readonly perReason: number;
};

type Suppressed = {
  readonly whose: { readonly reason: string; readonly source?: string };
  readonly level: LimitedLine["level"];
  readonly message: string;
  readonly count: number;
};

export const LINES_PER_SOURCE = 5;
const LIMITS: LogLimits = { window: 60_000, perSource: LINES_PER_SOURCE, perReason: 60 };
