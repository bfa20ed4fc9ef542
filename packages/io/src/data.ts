import { randomBytes } from "node:crypto";
import { basename } from "node:path";
import { utf8, type StoreChange } from "@godwit/base";
import { writeFileAtomic, writeFileAtomicSync, type Content } from "./atomic-file.ts";
import type { Clock } from "./clock.ts";
import { readCommitCounter, CommitCounter } from "./commit-counter.ts";
import { DataFiles } from "./data-files.ts";
import {
  fileIdentity,
  identityKindOf,
  mayBeSameFile,
  type FileIdentity,
  type IdentityKind,
} from "./file-identity.ts";
import { DirectoryWatch, removeHalfBackups } from "./directory-watch.ts";
import { inspectStore, textsOf, type StoreState } from "./inspect-store.ts";
import { KeptClock } from "./kept-clock.ts";
import { removeLeftOvers } from "./left-overs.ts";
import { formatMark, readMark, type Boot, type Mark } from "./mark.ts";
import { sqliteStore, type SqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";
import { StoreError } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";

/**
 * A process's data directory: its store, its clock, and the knowledge whether the store is the one it left.
 *
 * Sequence numbers are reserved ahead in the store, so that none is used twice after a crash (RFC 8613 B.1.1). A
 * store that was put back from a copy undoes that. So three things are noted beside it:
 *
 *   godwit.db.commits  how many groups the disk has confirmed, after each group: a store with fewer has lost some
 *   mark.json          the same from time to time, with the identity of the database and of the mark itself: in a copy
 *                      of the directory, put back as a whole, these are other files
 *   a second mark      on another volume, if wanted: it also notices a volume that was put back as a whole
 *
 * The counts may lag, never lead. Nothing on a machine notices when all of the machine was put back.
 */
export type Data = {
  readonly store: SqliteStore;
  /** Goes on where it was, whatever has been done to the wall clock. */
  readonly clock: Clock;
  readonly files: DataFiles;
  /** How many times this directory has been opened. */
  readonly generation: number;
  /**
   * The store is older than it was, or may be. Sequence numbers in it have been used: drop every association and
   * sender context. Stays true over restarts until `rollbackSettled` has been written.
   */
  readonly rolledBack: boolean;
  /** Why it is taken for rolled back, in words. */
  readonly rollbackReason: string | undefined;
  /** Write this in one call with what drops the associations. */
  readonly rollbackSettled: StoreChange;
  close(): Promise<void>;
};

export type DataOptions = SqliteStoreOptions & {
  /** Where a second mark is kept, besides `mark.json` in the directory: on another volume. */
  readonly markFile?: string;
  /**
   * Go on without groups that were confirmed and are missing. Without it `openData` rejects with a StoreError of fault
   * `loss`, and sets the files aside.
   */
  readonly acceptLoss?: boolean;
  /** What people should know: of the wall clock, of files that were set aside. */
  readonly onNotice?: (text: string) => void;
  /** Which run of the machine this is; the system's unless given. */
  readonly boot?: () => Boot | undefined;
};

/** Opens a data directory, made if there is none; rejects with StoreError where that is not possible. */
export async function openData(directory: string, options: DataOptions = {}): Promise<Data> {
  const files = new DataFiles(directory, options.markFile);
  const notice = options.onNotice ?? (() => {});
  const marks = new Marks(files);
  let accepted: string | undefined;
  const loss = marks.lossOf(inspect(files));
  if (loss === undefined && options.acceptLoss === true)
    notice("nothing is missing: leave --accept-loss away, or a later loss is accepted unseen");
  if (loss !== undefined) {
    if (options.acceptLoss !== true) throw refusal(files, loss);
    accepted = goOnWithout(files, loss, notice);
  }
  const store = sqliteStore(files.database, options);
  try {
    const before = textsOf(store.load(DATA_TABLE));
    const kind = identityKindOf(directory);
    if (kind === "none") notice(NO_IDENTITIES);
    const known = numberIn(before.get("generation"));
    if (known === undefined && marks.newest === undefined) markBeginning(files, kind);
    const reason =
      before.get("rolledBack") ??
      accepted ??
      (known === undefined ? marks.doubtOfUncounted() : marks.doubt(kind));
    const generation = Math.max(known ?? 0, marks.generation) + 1;
    store.raiseCommits(marks.commits);
    const id = before.get("id") ?? marks.newest?.id ?? randomBytes(8).toString("hex");
    const changes = [change("generation", `${generation}`), change("id", id)];
    if (reason !== undefined) changes.push(change("rolledBack", reason));
    await write(store, changes);
    removeLeftOvers(directory);
    removeHalfBackups(directory);
    const clock = new KeptClock(marks.newest, options.boot);
    if (clock.notice !== undefined) notice(clock.notice);
    const watch = new DirectoryWatch(files, store);
    const keeper = new MarkKeeper({ files, kind, id, generation, store, clock, notice });
    return {
      store,
      clock: clock.clock,
      files,
      generation,
      rolledBack: reason !== undefined,
      rollbackReason: reason === LEGACY_REASON ? OLDER : reason,
      rollbackSettled: change("rolledBack", undefined),
      async close() {
        await watch.close();
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

/** What is known to be missing from a store that nobody has open, in words. Throws StoreError where it cannot be read. */
export function lossOf(files: DataFiles): string | undefined {
  return new Marks(files).lossOf(inspect(files));
}

/** What may be compared with the marks. Undefined: there is no store; what is wrong with it is said when it is opened. */
function inspect(files: DataFiles): StoreState | "absent" | "unreadable" {
  try {
    return inspectStore(files.database, `r:${DATA_TABLE}`) ?? "absent";
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.fault === "io" || error.fault === "readonly") return "unreadable";
    throw error;
  }
}

/** All that is noted beside the store. */
class Marks {
  readonly generation: number;
  readonly commits: number;
  readonly newest: Mark | undefined;
  readonly #files: DataFiles;
  readonly #own: Mark | undefined;
  readonly #all: readonly Mark[];

  constructor(files: DataFiles) {
    this.#files = files;
    this.#own = readMark(files.mark);
    const second = files.secondMark === undefined ? undefined : readMark(files.secondMark);
    this.#all = [this.#own, second].filter((mark) => mark !== undefined);
    this.newest = this.#all.toSorted(
      (a, b) => b.generation - a.generation || b.commits - a.commits,
    )[0];
    this.generation = Math.max(0, ...this.#all.map((mark) => mark.generation));
    const counted = readCommitCounter(files.counter) ?? 0;
    this.commits = Math.max(counted, ...this.#all.map((mark) => mark.commits));
  }

  /** What is known to be missing, in words. */
  lossOf(state: StoreState | "absent" | "unreadable"): string | undefined {
    if (state === "unreadable") return undefined;
    const name = basename(this.#files.database);
    if (state === "absent") {
      if (this.commits > 0 && this.#files.aside !== undefined)
        return `commit ${this.commits} was confirmed, and what an earlier start found and set aside has fewer`;
      if (this.commits > 0) return `${name} is gone, and ${this.commits} commits were in it`;
      return this.#files.hasLog ? `${name} is gone, and its log ${name}-wal is there` : undefined;
    }
    this.#checkOwner(state.data.get("id"));
    if (state.data.has("rolledBack")) return undefined; // a restored one says so itself, and trusts no number
    // Where its generation is damaged nothing is known to be missing, and no number is trusted: `doubtOfUncounted`.
    const generation = numberIn(state.data.get("generation")) ?? Infinity;
    if (state.commits >= this.commits && generation >= this.generation) return undefined;
    const seen = `${name} is at commit ${state.commits}, and commit ${this.commits} was confirmed`;
    return `${seen}: its log ${name}-wal was lost or damaged, or an older copy was put in its place`;
  }

  #checkOwner(id: string | undefined): void {
    for (const mark of this.#all) {
      if (id === undefined || mark.id === undefined || mark.id === id) continue;
      const file = mark === this.#own ? this.#files.mark : this.#files.secondMark;
      throw new StoreError(
        "foreign",
        `${file} is the mark of another data directory; it was left as it is`,
      );
    }
  }

  /** The same of one that does not say how often it was opened. */
  doubtOfUncounted(): string | undefined {
    if (this.generation === 0) return undefined; // it never was
    return `${basename(this.#files.database)} does not say which of its openings was the last: that record is damaged or gone, and nothing shows that the store is not older than it was`;
  }

  /** Why a store that lacks nothing that is known may be old all the same. */
  doubt(kind: IdentityKind): string | undefined {
    const own = this.#own;
    if (own === undefined)
      return `${basename(this.#files.mark)} is gone or damaged: nothing shows that this store is not older than it was`;
    const database = fileIdentity(this.#files.database, kind);
    const mark = fileIdentity(this.#files.mark, kind);
    const copied =
      (kind === "none" && own.mark !== undefined) ||
      !mayBeSameFile(own.mark, mark) ||
      this.#all.some((one) => !mayBeSameFile(one.database, database));
    return copied ? COPIED : undefined;
  }
}

function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Sets the files aside, and says what can be done. */
function refusal(files: DataFiles, loss: string): StoreError {
  const aside = files.setAside(Date.now()) ?? files.aside;
  const kept = aside === undefined ? "" : ` What is left was set aside as ${aside}.`;
  return new StoreError(
    "loss",
    `commits that were acknowledged are missing: ${loss}.${kept} Restore a backup (godwit restore), or start with --accept-loss to go on with what is left: devices then need new keys`,
  );
}

/** Makes what is left the store. Returns why it is taken for rolled back. */
function goOnWithout(files: DataFiles, loss: string, notice: (text: string) => void): string {
  files.setAside(Date.now());
  const { aside } = files;
  if (aside !== undefined) files.copyBack(aside);
  const kept = files.settleAside();
  const where = kept === undefined ? "nothing was left" : `what was left is kept as ${kept}`;
  notice(`acknowledged commits are missing, and that was accepted: ${loss}; ${where}`);
  return `acknowledged commits are missing (${loss})`;
}

/** Notes from time to time how far the store and the clock have come. */
class MarkKeeper {
  readonly #options: MarkKeeperOptions;
  readonly #counter: CommitCounter;
  readonly #timer: NodeJS.Timeout;
  readonly #database: FileIdentity | undefined;
  #noted: Mark;
  #lagging = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: MarkKeeperOptions) {
    this.#options = options;
    const { files, kind, store } = options;
    this.#database = fileIdentity(files.database, kind);
    this.#noted = this.#mark();
    this.#counter = new CommitCounter(files.counter, store.commits);
    store.onConfirmed = (commits) => this.#counter.note(commits);
    for (const file of this.#marks) writeMark(file, this.#content(this.#noted));
    this.#timer = setInterval(() => this.#note(), IO_TUNING.markEvery);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#writing;
    const mark = this.#mark();
    this.#counter.close();
    if (this.#options.store.broken?.fault === "gone") return; // what is there now is another's
    try {
      for (const file of this.#marks) writeFileAtomicSync(file, this.#content(mark));
    } catch (error) {
      // It lags, as it may: a full disk must not make a stop fail.
      this.#options.notice(`the mark could not be written: ${(error as Error).message}`);
    }
  }

  get #marks(): readonly string[] {
    const { mark, secondMark } = this.#options.files;
    return secondMark === undefined ? [mark] : [mark, secondMark];
  }

  #note(): void {
    const jump = this.#options.clock.lookForJump();
    if (jump !== undefined) this.#options.notice(jump);
    if (this.#options.store.broken?.fault === "gone") return;
    const mark = this.#mark();
    const moved = Math.abs(mark.skew - this.#noted.skew) > SKEW_NOISE;
    if (mark.commits === this.#noted.commits && !moved) return;
    const content = this.#content(mark);
    this.#writing = this.#writing
      .then(() => Promise.all(this.#marks.map((file) => writeFileAtomic(file, content))))
      .then(
        () => {
          this.#noted = mark;
          this.#lagging = false;
        },
        (error: Error) => {
          if (!this.#lagging) this.#options.notice(`the mark cannot be written: ${error.message}`);
          this.#lagging = true; // as it may; the next one is written when the disk is well again
        },
      );
  }

  #mark(): Mark {
    const { id, generation, store, clock } = this.#options;
    return {
      id,
      generation,
      commits: store.commits,
      ...clock.mark(),
      ...(this.#database === undefined ? {} : { database: this.#database }),
    };
  }

  #content(mark: Mark): Content {
    return contentOf(mark, this.#options.kind);
  }
}

/** The identity of the file is in the file. */
function contentOf(mark: Mark, kind: IdentityKind): Content {
  return (fd) => {
    const own = fileIdentity(fd, kind);
    return formatMark({ ...mark, ...(own === undefined ? {} : { mark: own }) });
  };
}

/** Throws in words: a path that somebody gave may be wrong. */
function writeMark(file: string, content: Content): void {
  try {
    writeFileAtomicSync(file, content);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "its directory does not exist" : message;
    throw new StoreError("io", `cannot write the mark ${file}: ${why}`, error);
  }
}

/** Before anything is in the store: a death from here on is not taken for a mark that was lost. */
function markBeginning(files: DataFiles, kind: IdentityKind): void {
  const mark: Mark = { generation: 0, commits: 0, instant: Date.now(), skew: 0 };
  writeFileAtomicSync(files.mark, contentOf(mark, kind));
}

type MarkKeeperOptions = {
  readonly files: DataFiles;
  readonly kind: IdentityKind;
  readonly id: string;
  readonly generation: number;
  readonly store: SqliteStore;
  readonly clock: KeptClock;
  readonly notice: (text: string) => void;
};

function change(key: string, value: string | undefined): StoreChange {
  return { table: DATA_TABLE, key, value: value === undefined ? undefined : utf8(value) };
}

function write(store: SqliteStore, changes: readonly StoreChange[]): Promise<void> {
  return new Promise((resolve, reject) => {
    store.write(changes, (error?: StoreError) => (error === undefined ? resolve() : reject(error)));
  });
}

/** What a data directory keeps of itself. */
export const DATA_TABLE = "data";
const COPIED =
  "the data directory is a restored copy: its files are not the ones that were written last, so the store may be older than it was";
/** What earlier versions wrote in place of a reason. */
const LEGACY_REASON = "1";
const OLDER = "the store is older than it was: a backup was restored";
const NO_IDENTITIES =
  "this file system does not tell a file from its copy: a data directory that is put back from a copy is noticed only with a second mark on another one (--mark)";
/** Wall clocks are slewed by less than this between two looks. */
const SKEW_NOISE = 1_000;
