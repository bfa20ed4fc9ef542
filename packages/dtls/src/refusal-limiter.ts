import { type Instant, type Ledger, type Path, addressPrefix } from "@godwit/base";
import type { DtlsTuning } from "./tuning.ts";

/** How often the same alert is sent: so often in a period to one network, and so often a second in all. What is kept back is counted. */
export class RefusalLimiter {
  readonly #tuning: DtlsTuning;
  readonly #ledger: Ledger;
  readonly #sources = new Map<string, Source>();
  #second = -Infinity;
  #inSecond = 0;

  /** `ledger`: where it is counted what is kept back. */
  constructor(tuning: DtlsTuning, ledger: Ledger) {
    this.#tuning = tuning;
    this.#ledger = ledger;
  }

  /** Sources remembered. */
  get size(): number {
    return this.#sources.size;
  }

  /** Whether the network of `path` may be told an alert once more. */
  mayAlert(path: Path, alert: number, now: Instant): boolean {
    const may = this.#spend(`${addressPrefix(path.remote.host)} ${alert}`, now);
    if (!may) this.#ledger.drop("alertsKept");
    return may;
  }

  #spend(key: string, now: Instant): boolean {
    const { refusalPeriod, refusalsPerSource, refusalsPerSecond, maxRefusalSources } = this.#tuning;
    const known = this.#sources.get(key);
    const isOver = known === undefined || now - known.since >= refusalPeriod;
    const entry = isOver ? { since: now, told: 0 } : known;
    if (isOver) {
      this.#sources.delete(key);
      this.#sources.set(key, entry); // the oldest stays first
      for (const oldest of this.#sources.keys()) {
        if (this.#sources.size <= maxRefusalSources) break;
        this.#sources.delete(oldest);
      }
    }
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#inSecond = 0;
    }
    if (entry.told >= refusalsPerSource || this.#inSecond >= refusalsPerSecond) return false;
    this.#inSecond += 1;
    entry.told += 1;
    return true;
  }

  /** Forgets sources that nothing came from for a period. */
  forget(now: Instant): void {
    for (const [key, { since }] of this.#sources) {
      if (now - since < this.#tuning.refusalPeriod) return;
      this.#sources.delete(key);
    }
  }
}

type Source = { readonly since: Instant; told: number };
