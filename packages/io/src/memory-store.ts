import type { StoreChange } from "@godwit/base";
import { HealthMeter } from "./store-health.ts";
import { StoreError, type Store, type StoreDone, type StoreRecord } from "./store.ts";

/**
 * A store without a disk, for tests: it commits when told or by itself, and fails where told. `survivors` opens
 * what a crash would have left, or a copy that is put back later; `disk` makes it refuse until it is well again, and
 * `damage` does to a record what a bad disk does.
 */
export class MemoryStore implements Store {
  /** How many writes have been tried; the next one has this number. */
  writes = 0;
  broken: StoreError | undefined;
  /** What every write is refused with until it is `well` again. */
  disk: "well" | "full" | "readonly" | "io" = "well";
  readonly meter: HealthMeter = new HealthMeter();
  readonly #tables: Map<string, Map<string, Uint8Array>>;
  readonly #options: MemoryStoreOptions;
  #queue: Call[] = [];
  #scheduled = false;
  #crashed = false;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: MemoryStoreOptions = {}, tables: Tables = new Map()) {
    this.#options = options;
    this.#tables = tables;
  }

  *load(table: string): Iterable<StoreRecord> {
    for (const [key, value] of this.#tables.get(table) ?? []) yield { key, value };
  }

  write(changes: readonly StoreChange[], done: StoreDone): void {
    this.#queue.push({ changes, done });
    if (this.#options.commit === "told" || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.commit();
    });
  }

  /** Commits and answers what waits, as one group. */
  commit(): void {
    const calls = this.#queue;
    this.#queue = [];
    for (const call of calls) this.#apply(call);
    const idle = this.#idle;
    if (this.#queue.length > 0) return;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  flush(): Promise<void> {
    if (this.#queue.length === 0 || this.#crashed) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async close(): Promise<void> {
    await this.flush();
    this.#closed = true;
  }

  /** Has a fault of kind `crash` or `crashAfter` struck? From then on nothing is written or answered. */
  get crashed(): boolean {
    return this.#crashed;
  }

  /** A new store with what is committed now: the next start after a crash. */
  survivors(options: MemoryStoreOptions = {}): MemoryStore {
    const copy: Tables = new Map();
    for (const [table, records] of this.#tables) copy.set(table, new Map(records));
    return new MemoryStore(options, copy);
  }

  /** Changes one byte of a record, the last unless `at` is given, or cuts the record before it. False: there is none. */
  damage(table: string, key: string, how: "flip" | "cut" = "flip", at = -1): boolean {
    const records = this.#tables.get(table);
    const value = records?.get(key);
    if (records === undefined || value === undefined || value.length === 0) return false;
    const place = at < 0 ? value.length - 1 : Math.min(at, value.length - 1);
    const harmed = how === "cut" ? value.slice(0, place) : value.slice();
    if (how === "flip") harmed[place]! ^= 0xff; // within the record
    records.set(key, harmed);
    return true;
  }

  /** The keys that a table has. */
  keys(table: string): readonly string[] {
    return [...(this.#tables.get(table)?.keys() ?? [])];
  }

  #apply({ changes, done }: Call): void {
    if (this.#crashed) return;
    if (this.#closed) return done(new StoreError("closed", "the store is closed"));
    const injected = this.#options.fault?.(this.writes++);
    const fault = injected ?? (this.disk === "well" ? undefined : this.disk);
    if (fault === "crash") this.#crashed = true;
    if (fault === "full" || fault === "io" || fault === "readonly") {
      const error = new StoreError(fault, `injected: ${fault}`);
      this.meter.failed(error, 1);
      return done(error);
    }
    if (this.#crashed) return;
    for (const { table, key, value } of changes) {
      let records = this.#tables.get(table);
      if (records === undefined) this.#tables.set(table, (records = new Map()));
      if (value === undefined) records.delete(key);
      else records.set(key, value.slice());
    }
    this.meter.worked();
    if (fault === "crashAfter") this.#crashed = true;
    else done();
  }
}

/** A store in memory; see {@link MemoryStore}. */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new MemoryStore(options);
}

export type MemoryStoreOptions = {
  /** `turn` (the default): at the end of the turn. `told`: when `commit` is called. */
  readonly commit?: "turn" | "told";
  /**
   * Asked for each write, counted from 0. `full`, `io`: refused with that error. `crash`: lost, and the store dead
   * from here on. `crashAfter`: written, but dead before the answer.
   */
  readonly fault?: (write: number) => "full" | "io" | "crash" | "crashAfter" | undefined;
};

type Tables = Map<string, Map<string, Uint8Array>>;
type Call = { readonly changes: readonly StoreChange[]; readonly done: StoreDone };
