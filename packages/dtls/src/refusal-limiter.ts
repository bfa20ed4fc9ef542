import { type Instant, type Ledger, type Path, addressPrefix } from "@godwit/base";
import type { DtlsTuning } from "./tuning.ts";

/**
 * How often the same is told, on the wire and to the layer above: so often in a period to one source, and so often a second in
 * all. What is kept back is counted.
 */
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
    if (this.tell(addressPrefix(path.remote.host), `alert ${alert}`, now) !== undefined)
      return true;
    this.#ledger.drop("alertsKept");
    return false;
  }

  /** Whether the layer above may be told once more why a handshake failed; see `tell`. */
  mayTell(path: Path, why: string, now: Instant): number | undefined {
    const reason = why.replace(/\d+/g, ""); // numbers in it may be the peer's
    const kept = this.tell(addressPrefix(path.remote.host), reason, now);
    if (kept === undefined) this.#ledger.drop("failuresKept");
    return kept;
  }

  /**
   * Whether `what` may be told once more because of `source`: how many like it were kept back since it was told last, or
   * undefined if this one is kept back, too.
   */
  tell(source: string, what: string, now: Instant): number | undefined {
    const { refusalPeriod, refusalsPerSource, refusalsPerSecond, maxRefusalSources } = this.#tuning;
    const key = `${source} ${what}`;
    const known = this.#sources.get(key);
    const isOver = known === undefined || now - known.since >= refusalPeriod;
    const entry = isOver ? { since: now, told: 0, kept: known?.kept ?? 0 } : known;
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
    if (entry.told >= refusalsPerSource || this.#inSecond >= refusalsPerSecond) {
      entry.kept += 1;
      return undefined;
    }
    this.#inSecond += 1;
    entry.told += 1;
    const { kept } = entry;
    entry.kept = 0;
    return kept;
  }

  /** Forgets sources that nothing came from for a period. */
  forget(now: Instant): void {
    for (const [key, { since }] of this.#sources) {
      if (now - since < this.#tuning.refusalPeriod) return;
      this.#sources.delete(key);
    }
  }
}

type Source = { readonly since: Instant; told: number; kept: number };
