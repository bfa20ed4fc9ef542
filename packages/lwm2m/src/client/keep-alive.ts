import { UsageError, type Rng } from "@godwit/base";
import { SHORTEST_KEEP_ALIVE, type ClientTuning } from "./tuning.ts";

//   searching ──probe of N s answered──> low = N ─┐
//      │  └─────probe of N s lost──────> high = N ┴─> close enough? ──> settled: 0.8 · low
//      │  └──a silence of 15 s was lost──> inVain: no keep-alive
//      └──the server cannot delay answers──> unsupported: 25 s
//   settled ──an Update was lost, the address changed, a check was lost──> searching
//
// What held once need not hold now: another NAT, or the same after a restart. Linux gives a new flow 30 s and one that
// is older than 2 s 120 s; a mapping that ended is never old enough again where each exchange takes less. So every
// tenth sign of life is a question that has to survive the silence.

/** `off`, a fixed number of seconds, or `auto`: finds out how long the way to the server stays open. */
export type KeepAliveStrategy = "off" | "auto" | number;

/** What was learned, to be kept over a restart. */
export type BindingKnowledge = {
  /** `inVain`: the NAT forgets faster than anything may be sent to keep it from it. */
  readonly state: "searching" | "settled" | "unsupported" | "inVain";
  /** Seconds of silence that were survived; undefined: none yet. */
  readonly low: number | undefined;
  /** Seconds of silence that were not. */
  readonly high: number | undefined;
};

/** How long to be silent, and which silence to try next. */
export class KeepAlive {
  readonly #strategy: KeepAliveStrategy;
  readonly #tuning: ClientTuning;
  readonly #rng: Rng;
  #state: BindingKnowledge["state"] = "searching";
  #low: number | undefined;
  #high: number | undefined;
  #beats = 0;

  constructor(
    strategy: KeepAliveStrategy,
    tuning: ClientTuning,
    rng: Rng,
    known: BindingKnowledge | undefined,
  ) {
    if (typeof strategy === "number" && !(strategy >= SHORTEST_KEEP_ALIVE)) {
      throw new UsageError(
        `keep-alive every ${strategy} s: at least ${SHORTEST_KEEP_ALIVE} s, or "off", or "auto"`,
      );
    }
    this.#strategy = strategy;
    this.#tuning = tuning;
    this.#rng = rng;
    if (known === undefined) return;
    this.#state = known.state;
    this.#low = known.low;
    this.#high = known.high;
  }

  get on(): boolean {
    return this.#strategy !== "off" && this.#state !== "inVain";
  }

  get knowledge(): BindingKnowledge {
    return { state: this.#state, low: this.#low, high: this.#high };
  }

  /** Seconds between two signs of life, before jitter. */
  get interval(): number {
    if (typeof this.#strategy === "number") return this.#strategy;
    const { fallbackInterval, safety } = this.#tuning;
    const fallback = fallbackInterval / 1_000;
    if (this.#low === undefined) {
      // Even the first silence tried was too long for this NAT.
      const shorter = this.#high === undefined ? fallback : this.#high * safety;
      return Math.max(SHORTEST_KEEP_ALIVE, Math.min(fallback, shorter));
    }
    return Math.max(SHORTEST_KEEP_ALIVE, this.#low * safety);
  }

  /** Whether the NAT was seen to survive some silence, or somebody says so. */
  get isKnown(): boolean {
    return typeof this.#strategy === "number" || this.#low !== undefined;
  }

  /** ms of silence that the NAT is known to survive; while nothing is known, what most NATs do, and less while it is being found out. */
  get remembered(): number {
    if (typeof this.#strategy === "number") return this.#strategy * 1_000;
    const { fallbackInterval, safety, shortestBinding } = this.#tuning;
    if (this.#low !== undefined) return this.#low * 1_000;
    if (this.#strategy === "auto" && this.#state !== "unsupported") return shortestBinding;
    const shorter = this.#high === undefined ? Infinity : this.#high * safety * 1_000;
    return Math.min(fallbackInterval, shorter);
  }

  /** How long to wait until the next sign of life, in ms, with jitter. A fixed interval is never exceeded. */
  beat(): number {
    const { keepAliveJitter } = this.#tuning;
    const spread =
      typeof this.#strategy === "number" ? -this.#rng.float() : 2 * this.#rng.float() - 1;
    const beat = this.interval * 1_000 * (1 + spread * keepAliveJitter);
    return Math.max(SHORTEST_KEEP_ALIVE * 1_000, Math.round(beat));
  }

  /** Seconds of silence to try next, if there is something to find out. */
  probe(): number | undefined {
    if (this.#strategy !== "auto" || this.#state !== "searching") return undefined;
    const { firstProbe, longestProbe } = this.#tuning;
    if (this.#high === undefined) {
      return Math.min(longestProbe, this.#low === undefined ? firstProbe : this.#low * 2);
    }
    return Math.max(SHORTEST_KEEP_ALIVE, Math.round(((this.#low ?? 0) + this.#high) / 2));
  }

  /** Asked at each sign of life: every so often it is to be a probe of so many seconds, the longest silence we leave. */
  check(): number | undefined {
    if (this.#strategy !== "auto" || this.#state !== "settled" || this.#low === undefined)
      return undefined;
    this.#beats += 1;
    const { checkEvery, keepAliveJitter } = this.#tuning;
    if (this.#beats % checkEvery !== 0) return undefined;
    return Math.min(this.#low, Math.ceil(this.interval * (1 + keepAliveJitter)));
  }

  /** Silence of `seconds` was survived. */
  survived(seconds: number): void {
    this.#low = Math.max(this.#low ?? 0, seconds);
    if (this.#high !== undefined && this.#high <= this.#low) this.#high = undefined;
    this.#settle();
  }

  /** Silence of `seconds` was not. */
  died(seconds: number): void {
    this.#high = Math.min(this.#high ?? Infinity, seconds);
    if (this.#low !== undefined && this.#low >= this.#high) this.#low = undefined;
    this.#settle();
  }

  /** The server answers early or not at all to such questions: use what is known, or what suits most NATs. */
  unsupported(): void {
    this.#state = this.#low === undefined ? "unsupported" : "settled";
  }

  /** What was learned may be about another NAT: look again, from where we were. */
  doubt(): void {
    if (this.#state === "unsupported") return;
    this.#state = "searching";
    this.#high = undefined;
    this.#low = undefined;
  }

  #settle(): void {
    const { longestProbe, probePrecision } = this.#tuning;
    const low = this.#low ?? 0;
    const close =
      this.#high !== undefined && this.#high - low <= Math.max(probePrecision, low / 10);
    const shortest = this.#high !== undefined && this.#high <= SHORTEST_KEEP_ALIVE;
    const settled = close || low >= longestProbe;
    // The search may have ended on a new flow: the first sign of life looks at once whether it holds as long.
    if (settled && this.#state === "searching") this.#beats = this.#tuning.checkEvery - 1;
    this.#state = shortest ? "inVain" : settled ? "settled" : "searching";
  }
}
