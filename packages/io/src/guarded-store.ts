import type { StoreChange } from "@godwit/base";
import { MemoryStore } from "./memory-store.ts";
import { SqliteStore } from "./sqlite-store.ts";
import { StoreError, type Store, type StoreDone, type StoreRecord } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";
import { within } from "./waiting.ts";

/**
 * A store that somebody else wrote, held to its contract: a `write` that throws has failed, one that has not answered after
 * `patience` ms has failed, and each is answered once. Ours are returned as they are.
 */
export function guardedStore(store: Store, patience: number = IO_TUNING.storePatience): Store {
  if (store instanceof MemoryStore || store instanceof SqliteStore) return store;
  return new GuardedStore(store, patience);
}

class GuardedStore implements Store {
  readonly #store: Store;
  readonly #patience: number;

  constructor(store: Store, patience: number) {
    this.#store = store;
    this.#patience = patience;
  }

  get broken(): StoreError | undefined {
    return this.#store.broken;
  }

  get meter(): Store["meter"] {
    return this.#store.meter;
  }

  *load(table: string): Iterable<StoreRecord> {
    try {
      yield* this.#store.load(table);
    } catch (error) {
      throw error instanceof StoreError ? error : failed("cannot be read", error);
    }
  }

  write(changes: readonly StoreChange[], done: StoreDone): void {
    let answered = false;
    const answer = (error?: unknown): void => {
      if (answered) return;
      answered = true;
      clearTimeout(timer);
      done(error === undefined || error instanceof StoreError ? error : failed("fails", error));
    };
    const timer = setTimeout(() => answer(this.#late()), this.#patience);
    try {
      this.#store.write(changes, answer);
    } catch (error) {
      queueMicrotask(() => answer(error));
    }
  }

  async flush(): Promise<void> {
    await within(this.#patience, "the store's flush", () => this.#store.flush());
  }

  async close(): Promise<void> {
    await within(this.#patience, "the store's close", () => this.#store.close());
  }

  #late(): StoreError {
    return new StoreError("io", `the store has not answered for ${this.#patience / 1_000} s`);
  }
}

function failed(what: string, cause: unknown): StoreError {
  const words = cause instanceof Error ? cause.message : String(cause);
  return new StoreError("io", `the store ${what}: ${words}`, cause);
}
