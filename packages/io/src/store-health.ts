import type { StoreError } from "./store.ts";

/** Whether a store takes what is written to it. */
export type StoreHealth =
  | { readonly state: "working" }
  /** The last group was refused; it may pass, and is tried again and again. `since`: ms since 1970. */
  | {
      readonly state: "failing";
      readonly error: StoreError;
      readonly since: number;
      readonly refused: number;
    }
  /** Every write is refused until the store is opened again. */
  | {
      readonly state: "broken";
      readonly error: StoreError;
      readonly since: number;
      readonly refused: number;
    };

/** Follows what becomes of each group of a store, and tells when that changes. */
export class HealthMeter {
  onChange: ((health: StoreHealth) => void) | undefined;
  /** Writes that were refused, ever. */
  refusals = 0;
  #health: StoreHealth = WORKING;

  get health(): StoreHealth {
    return this.#health;
  }

  /** A group was confirmed. */
  worked(): void {
    if (this.#health.state === "failing") this.#turn(WORKING);
  }

  /** `calls` writes were refused by this error. */
  failed(error: StoreError, calls: number): void {
    const before = this.#health;
    this.refusals += calls;
    if (!TELLING.has(error.fault)) return;
    if (before.state === "working") {
      return this.#turn({ state: "failing", error, since: Date.now(), refused: calls });
    }
    const refused = before.refused + calls;
    if (before.state === "failing" && before.error.fault !== error.fault)
      this.#turn({ ...before, error, refused });
    else this.#health = { ...before, refused };
  }

  broke(error: StoreError): void {
    const before = this.#health;
    if (before.state === "broken") return;
    const refused = before.state === "failing" ? before.refused : 0;
    this.#turn({ state: "broken", error, since: Date.now(), refused });
  }

  #turn(health: StoreHealth): void {
    this.#health = health;
    this.onChange?.(health);
  }
}

const WORKING: StoreHealth = { state: "working" };
/** Faults that are the disk's, not the caller's. */
const TELLING: ReadonlySet<string> = new Set(["full", "busy", "locked", "readonly", "io"]);
