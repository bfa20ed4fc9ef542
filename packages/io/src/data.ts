import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fromUtf8, utf8, type StoreChange } from "@godwit/base";
import { writeFileAtomic, writeFileAtomicSync } from "./atomic-file.ts";
import { systemClock, type Clock } from "./clock.ts";
import { sqliteStore, type SqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";
import type { StoreError } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";

/**
 * A process's data directory: its store, its clock, and the knowledge whether the store is the one it left.
 *
 * Sequence numbers are reserved ahead in the store, so that none is used twice after a crash (RFC 8613 B.1.1). A
 * store that was restored from a backup undoes that. So the count of its commits is noted beside it, in a mark: a
 * store that is behind its mark is an old one. The mark may lag, never lead.
 *
 * Kept apart from the database (`markFile`, on another volume for one), it also notices a volume that was put back
 * as a whole. Nothing on a machine notices when all of the machine was put back.
 */
export type Data = {
  readonly store: SqliteStore;
  /** Goes on where it was, whatever has been done to the wall clock. */
  readonly clock: Clock;
  /** How many times this directory has been opened. */
  readonly generation: number;
  /**
   * The store is older than it was. Sequence numbers in it have been used: drop every association and sender
   * context. Stays true over restarts until `rollbackSettled` has been written.
   */
  readonly rolledBack: boolean;
  /** Write this in one call with what drops the associations. */
  readonly rollbackSettled: StoreChange;
  close(): Promise<void>;
};

export type DataOptions = SqliteStoreOptions & {
  /** Where the mark is kept; `mark.json` in the directory unless given. */
  readonly markFile?: string;
};

/** Opens a data directory, made if there is none; rejects with StoreError where that is not possible. */
export async function openData(directory: string, options: DataOptions = {}): Promise<Data> {
  const store = sqliteStore(join(directory, "godwit.db"), options);
  try {
    const markFile = options.markFile ?? join(directory, "mark.json");
    const mark = readMark(markFile);
    const before = new Map([...store.load(TABLE)].map(({ key, value }) => [key, fromUtf8(value)]));
    const known = before.get("generation");
    const old = known !== undefined && isOld(Number(known), store.commits - 1, mark);
    const lost = known === undefined && mark !== undefined;
    const rolledBack = old || lost || before.has("rolledBack");
    const generation = Math.max(Number(known ?? 0), mark?.generation ?? 0) + 1;
    const changes = [change("generation", `${generation}`)];
    if (rolledBack) changes.push(change("rolledBack", "1"));
    await write(store, changes);
    const clock = systemClock(skewAfter(mark));
    const keeper = new MarkKeeper(markFile, generation, store, clock);
    return {
      store,
      clock,
      generation,
      rolledBack,
      rollbackSettled: change("rolledBack", undefined),
      async close() {
        await store.flush();
        await keeper.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Notes from time to time how far the store and the clock have come. */
class MarkKeeper {
  readonly #file: string;
  readonly #generation: number;
  readonly #store: SqliteStore;
  readonly #clock: Clock;
  readonly #timer: NodeJS.Timeout;
  #noted: Mark;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: string, generation: number, store: SqliteStore, clock: Clock) {
    this.#file = file;
    this.#generation = generation;
    this.#store = store;
    this.#clock = clock;
    this.#noted = this.#mark();
    writeFileAtomicSync(file, JSON.stringify(this.#noted));
    this.#timer = setInterval(() => this.#note(), IO_TUNING.markEvery);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    writeFileAtomicSync(this.#file, JSON.stringify(this.#mark()));
  }

  #note(): void {
    const mark = this.#mark();
    const moved = Math.abs(mark.skew - this.#noted.skew) > SKEW_NOISE;
    if (mark.commits === this.#noted.commits && !moved) return;
    this.#writing = this.#writing
      .then(() => writeFileAtomic(this.#file, JSON.stringify(mark)))
      .then(
        () => void (this.#noted = mark),
        () => {}, // the next one is written when the disk is well again; until then the mark lags, as it may
      );
  }

  #mark(): Mark {
    return {
      generation: this.#generation,
      commits: this.#store.commits,
      instant: this.#clock.now(),
      skew: this.#clock.skew,
    };
  }
}

type Mark = {
  readonly generation: number;
  readonly commits: number;
  readonly instant: number;
  readonly skew: number;
};

/** A store whose mark is gone cannot show that it is the newest. */
function isOld(generation: number, commits: number, mark: Mark | undefined): boolean {
  return mark === undefined || generation < mark.generation || commits < mark.commits;
}

/** The clock goes on from the run before, and never behind it, even if the wall clock has fallen back to 1970. */
function skewAfter(mark: Mark | undefined): number {
  if (mark === undefined) return 0;
  const skew = Math.min(mark.skew, Date.now() - mark.instant);
  return Math.abs(skew) > SKEW_NOISE ? skew : 0;
}

function readMark(file: string): Mark | undefined {
  try {
    const mark = JSON.parse(readFileSync(file, "utf8")) as Partial<Mark>;
    const { generation, commits, instant, skew } = mark;
    const all = [generation, commits, instant, skew];
    return all.every((n) => Number.isSafeInteger(n)) ? (mark as Mark) : undefined;
  } catch {
    return undefined; // none yet, or none that can be read, which proves as little
  }
}

function change(key: string, value: string | undefined): StoreChange {
  return { table: TABLE, key, value: value === undefined ? undefined : utf8(value) };
}

function write(store: SqliteStore, changes: readonly StoreChange[]): Promise<void> {
  return new Promise((resolve, reject) => {
    store.write(changes, (error?: StoreError) => (error === undefined ? resolve() : reject(error)));
  });
}

const TABLE = "data";
/** Wall clocks are slewed by less than this between two looks. */
const SKEW_NOISE = 1_000;
