import { closeSync, fdatasync, openSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { EMPTY, UsageError, type StoreChange } from "@godwit/base";
import type { StatementSyncInstance } from "@photostructure/sqlite";
import { syncDirectory } from "./atomic-file.ts";
import { adviceFor, damaged, letGo, openDatabase } from "./sqlite-open.ts";
import { backUp } from "./sqlite-backup.ts";
import { storeError, type Sqlite } from "./sqlite.ts";
import { HealthMeter, type StoreHealth } from "./store-health.ts";
import { StoreError, type Store, type StoreDone, type StoreRecord } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";

/**
 * The store on disk.
 *
 *   write ──▶ queue ──turn ends──▶ one transaction ──▶ fdatasync of the log, off the loop ──▶ done, done, done
 *               ▲                                              │
 *               └────────── what comes meanwhile waits ◀───────┘
 *
 * SQLite in WAL mode writes a transaction into its log without forcing it out (synchronous NORMAL); forcing it out
 * is done here, on the log's own descriptor, by the thread pool. The event loop never waits for the disk's cache,
 * and the slower the disk, the larger the groups become. A torn or lost tail of the log is recognised by SQLite's
 * checksums at the next start and was never acknowledged.
 */
export class SqliteStore implements Store {
  readonly meter: HealthMeter = new HealthMeter();
  readonly counters = { groups: 0, calls: 0, changes: 0, failed: 0 };
  /** Told after each group that the disk has confirmed, before its calls are answered. */
  onConfirmed: ((commits: number) => void) | undefined;
  readonly #db: Sqlite;
  readonly #file: string;
  readonly #options: Required<SqliteStoreOptions>;
  readonly #log: number;
  readonly #tables = new Map<string, Table>();
  readonly #begin: StatementSyncInstance;
  readonly #commit: StatementSyncInstance;
  readonly #rollback: StatementSyncInstance;
  readonly #mark: StatementSyncInstance;
  #queue: Call[] = [];
  /** Backups under way. */
  #backups = 0;
  #queuedBytes = 0;
  #state: "idle" | "scheduled" | "committing" | "syncing" | "closed" = "idle";
  #closing: Promise<void> | undefined;
  #commits: number;
  #durableCommits: number;
  #idle: (() => void)[] = [];
  #broken: StoreError | undefined;
  /** Runs while the store fails, until it takes a write again. */
  #probe: NodeJS.Timeout | undefined;

  constructor(file: string, options: SqliteStoreOptions = {}) {
    this.#file = file;
    this.#options = { ...SQLITE_DEFAULTS, ...options };
    this.#db = openDatabase(file, this.#options);
    try {
      this.#commits = this.#readCommits();
      this.#begin = this.#db.prepare("BEGIN IMMEDIATE");
      this.#commit = this.#db.prepare("COMMIT");
      this.#rollback = this.#db.prepare("ROLLBACK");
      this.#mark = this.#db.prepare("UPDATE godwit SET commits = ?");
      this.#findTables();
      this.#log = openSync(`${file}-wal`, "r+");
    } catch (error) {
      letGo(this.#db, "foreign");
      const known = storeError(error, `cannot open ${file}`);
      throw new StoreError(known.fault, adviceFor(known, file), error);
    }
    this.#durableCommits = this.#commits;
    syncDirectory(dirname(file));
    writeFileSync(`${file}.pid`, `${process.pid}\n`, { mode: 0o600 });
  }

  get broken(): StoreError | undefined {
    return this.#broken;
  }

  get health(): StoreHealth {
    return this.meter.health;
  }

  /** Refuses every write from now on: what was found outside shows that the store cannot be trusted any more. */
  break(error: StoreError): void {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    this.meter.broke(error);
  }

  /** Groups committed and forced to disk in this database's whole life. */
  get commits(): number {
    return this.#durableCommits;
  }

  /** Counts on from there, if that is more: after commits were lost none has the number of one of these. */
  raiseCommits(commits: number): void {
    this.#commits = Math.max(this.#commits, commits);
  }

  *load(table: string): Iterable<StoreRecord> {
    const known = this.#tables.get(checkName(table));
    if (known === undefined) return;
    const all = this.#db.prepare(`SELECT key, value FROM ${known.sqlName}`);
    all.setReturnArrays(true);
    const rows = all.iterate() as Iterator<[string, Uint8Array], unknown>;
    try {
      for (let row = this.#next(rows); row !== undefined; row = this.#next(rows)) {
        // Whatever else somebody has put there is no value: who reads it sets it aside.
        yield {
          key: unescapeKey(String(row[0])),
          value: row[1] instanceof Uint8Array ? row[1] : EMPTY,
        };
      }
    } finally {
      rows.return?.();
    }
  }

  write(changes: readonly StoreChange[], done: StoreDone): void {
    let bytes = CALL_OVERHEAD;
    for (const { table, key, value } of changes) {
      checkName(table);
      bytes += key.length + (value?.length ?? 0);
    }
    const refusal = this.#refusal(bytes);
    this.#queue.push({ changes, done, bytes: refusal === undefined ? bytes : 0, error: refusal });
    if (refusal === undefined) this.#queuedBytes += bytes;
    if (this.#state === "idle") this.#schedule();
    else if (this.#state === "closed") setImmediate(() => this.#run());
  }

  flush(): Promise<void> {
    if (this.#queue.length === 0 && (this.#state === "idle" || this.#state === "closed")) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  close(): Promise<void> {
    clearTimeout(this.#probe);
    this.#closing ??= this.flush().then(() => {
      clearTimeout(this.#probe);
      this.#state = "closed";
      closeSync(this.#log);
      // Where other files are in their place, SQLite must not touch those.
      if (this.#broken?.fault === "gone") return letGo(this.#db, "foreign");
      rmSync(`${this.#file}.pid`, { force: true });
      letGo(this.#db, "ours");
    });
    return this.#closing;
  }

  /**
   * A consistent copy of what is committed, in one file that must not exist yet, while the store goes on. Rejects with
   * StoreError; then there is no such file.
   */
  async backup(file: string): Promise<void> {
    this.#backups += 1;
    try {
      await backUp(this.#db, file);
    } finally {
      this.#backups -= 1;
    }
  }

  /** What SQLite throws at a damaged page, in our words. */
  #next(rows: Iterator<[string, Uint8Array], unknown>): [string, Uint8Array] | undefined {
    try {
      const { value, done } = rows.next();
      return done === true ? undefined : (value as [string, Uint8Array]);
    } catch (thrown) {
      const known = storeError(thrown, `cannot read ${this.#file}`);
      if (known.fault !== "corrupt") throw known;
      const error = new StoreError("corrupt", damaged(this.#file), thrown);
      this.break(error);
      throw error;
    }
  }

  #refusal(bytes: number): StoreError | undefined {
    if (this.broken !== undefined) return this.broken;
    if (this.#closing !== undefined) return new StoreError("closed", "the store is closed");
    if (this.#queuedBytes + bytes <= this.#options.queueBytes) return undefined;
    return new StoreError("busy", "the disk does not keep up: too many bytes wait to be written");
  }

  #schedule(): void {
    this.#state = "scheduled";
    // A step of a backup needs a moment without a transaction: who writes as fast as he can would never leave one.
    const giveWay = this.#backups > 0 ? IO_TUNING.backupGap : 0;
    const delay = Math.max(this.#options.groupDelay, giveWay);
    if (delay > 0) setTimeout(() => this.#run(), delay);
    else setImmediate(() => this.#run());
  }

  /** One group: a transaction, then the disk, then the answers. */
  #run(): void {
    const calls = this.#queue;
    this.#queue = [];
    if (this.#state === "closed") return this.#answer(calls);
    this.#state = "committing";
    const before = this.#commits;
    if (this.broken === undefined) this.#transact(calls);
    for (const call of calls) call.error ??= this.broken;
    const commits = this.#commits;
    if (commits === before) return this.#answer(calls);
    if (this.#options.durability === "process") {
      this.#durableCommits = commits;
      return this.#answer(calls);
    }
    this.#state = "syncing";
    this.#options.sync(this.#log, (error) => {
      if (error === null) this.#confirm(commits);
      else this.#distrust(calls, error);
      this.#answer(calls);
    });
  }

  #confirm(commits: number): void {
    this.#durableCommits = commits;
    this.onConfirmed?.(commits);
  }

  /** Writes a group. Calls that could not be written carry their error from here on. */
  #transact(calls: readonly Call[]): void {
    const fault = this.#attempt(calls);
    if (fault === undefined) return;
    // Where one call holds what SQLite does not take: each for itself, so that the others are not lost with it.
    const alone = fault.fault === "refused";
    for (const call of calls) call.error ??= alone ? this.#attempt([call]) : fault;
  }

  #attempt(calls: readonly Call[]): StoreError | undefined {
    try {
      const group = this.#gather(calls);
      if (group.size === 0 && !calls.some(isProbe)) return undefined;
      this.#begin.run();
      for (const [table, changes] of group) table.apply(changes);
      this.#mark.run(this.#commits + 1);
      this.#commit.run();
      this.#commits += 1;
      this.counters.groups += 1;
      return undefined;
    } catch (thrown) {
      const error = storeError(thrown, "cannot write");
      this.#undo(error);
      if (error.fault === "corrupt" || error.fault === "foreign") this.break(error);
      return error;
    }
  }

  /** The last value of each key. Tables are made outside the transaction, or a rollback would take them away. */
  #gather(calls: readonly Call[]): Map<Table, Map<string, Uint8Array | undefined>> {
    const group = new Map<Table, Map<string, Uint8Array | undefined>>();
    for (const call of calls) {
      if (call.error !== undefined) continue;
      for (const { table: name, key, value } of call.changes) {
        const table = this.#tables.get(name) ?? this.#createTable(name);
        let changes = group.get(table);
        if (changes === undefined) group.set(table, (changes = new Map()));
        changes.set(key, value);
        this.counters.changes += 1;
      }
    }
    return group;
  }

  #undo(error: StoreError): void {
    try {
      if (this.#db.isTransaction) this.#rollback.run();
    } catch (thrown) {
      this.break(storeError(thrown, `cannot roll back after "${error.message}"`));
    }
  }

  /**
   * After a failed fdatasync the kernel may drop the pages it could not write and call the next one a success: what
   * is in memory and what is on disk can no longer be told apart. Only opening the file again can.
   */
  #distrust(calls: readonly Call[], error: Error): void {
    const unsure = new StoreError(
      "io",
      `the disk did not confirm a write (${error.message}): ${this.#file} must be opened again`,
      error,
    );
    this.break(unsure);
    for (const call of calls) call.error ??= unsure;
  }

  /** Whether the disk works is asked of the groups themselves, and of an empty one now and then while it does not. */
  #judge(calls: readonly Call[]): void {
    let [error, failed] = [undefined as StoreError | undefined, 0];
    for (const call of calls) {
      if (call.error === undefined) continue;
      error = call.error;
      failed += 1;
    }
    if (error !== undefined) this.meter.failed(error, failed);
    else this.meter.worked();
    if (this.meter.health.state !== "failing" || this.#closing !== undefined) return;
    clearTimeout(this.#probe);
    this.#probe = setTimeout(() => {
      this.#queue.push({ changes: [], done: () => {}, bytes: 0, error: undefined, probe: true });
      if (this.#state === "idle") this.#schedule();
    }, IO_TUNING.storeProbeEvery);
    this.#probe.unref();
  }

  #answer(calls: readonly Call[]): void {
    if (this.#state !== "closed") this.#judge(calls);
    for (const { done, bytes, error } of calls) {
      this.#queuedBytes -= bytes;
      this.counters.calls += 1;
      if (error !== undefined) this.counters.failed += 1;
      try {
        done(error);
      } catch (bug) {
        process.nextTick(() => {
          throw bug; // the caller's bug stays his, and the other calls still get their answers
        });
      }
    }
    if (this.#state === "closed") return;
    if (this.#queue.length > 0) return this.#schedule();
    this.#state = "idle";
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  #createTable(name: string): Table {
    const sqlName = `"${TABLE_PREFIX}${name}"`;
    for (const known of this.#tables.keys()) {
      if (known.toLowerCase() === name.toLowerCase()) {
        throw new StoreError("refused", `table ${name} differs from ${known} only by case`);
      }
    }
    // With a rowid: an update then rewrites the record alone, not the index; twice as fast from 300 bytes on.
    this.#db.exec(
      `CREATE TABLE IF NOT EXISTS ${sqlName} (key TEXT PRIMARY KEY, value BLOB NOT NULL)`,
    );
    const table = new Table(this.#db, sqlName);
    this.#tables.set(name, table);
    return table;
  }

  #findTables(): void {
    const names = this.#db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'");
    for (const { name } of names.all() as { name: string }[]) {
      if (!name.startsWith(TABLE_PREFIX)) continue;
      this.#tables.set(name.slice(TABLE_PREFIX.length), new Table(this.#db, `"${name}"`));
    }
  }

  #readCommits(): number {
    const row = this.#db.prepare("SELECT commits FROM godwit").get() as { commits: number };
    return row.commits;
  }
}

/** A store in a SQLite file, made if there is none; throws StoreError where it cannot be opened. */
export function sqliteStore(file: string, options: SqliteStoreOptions = {}): SqliteStore {
  return new SqliteStore(file, options);
}

export type SqliteStoreOptions = {
  /**
   * `power` (the default): an acknowledged write survives a power cut. `process`: it survives the death of this
   * process, but not that of the machine.
   */
  readonly durability?: "power" | "process";
  /** How long a write may wait for company; ms. */
  readonly groupDelay?: number;
  /** Bytes that may wait to be written. */
  readonly queueBytes?: number;
  /** Bytes the database may grow to; beyond it writes fail with `full`. */
  readonly maxBytes?: number;
  /** Forces a file's content to disk. Replaced in tests to act as a failing disk. */
  readonly sync?: (fd: number, done: (error: Error | null) => void) => void;
};

/** One namespace with its prepared statements. */
class Table {
  readonly sqlName: string;
  readonly #put: StatementSyncInstance;
  readonly #putMany: StatementSyncInstance;
  readonly #remove: StatementSyncInstance;

  constructor(db: Sqlite, sqlName: string) {
    this.sqlName = sqlName;
    const upsert = (rows: number): string =>
      `INSERT INTO ${sqlName} (key, value) VALUES ${Array(rows).fill("(?,?)").join()} ` +
      "ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    this.#put = db.prepare(upsert(1));
    this.#putMany = db.prepare(upsert(ROWS));
    this.#remove = db.prepare(`DELETE FROM ${sqlName} WHERE key = ?`);
  }

  apply(changes: ReadonlyMap<string, Uint8Array | undefined>): void {
    let row: (string | Uint8Array)[] = [];
    for (const [plainKey, value] of changes) {
      const key = NEEDS_ESCAPE.test(plainKey) ? escapeKey(plainKey) : plainKey;
      if (value === undefined) {
        this.#remove.run(key);
        continue;
      }
      row.push(key, value);
      if (row.length < 2 * ROWS) continue;
      this.#putMany.run(...row);
      row = [];
    }
    for (let i = 0; i < row.length; i += 2) this.#put.run(row[i], row[i + 1]);
  }
}

type Call = {
  readonly changes: readonly StoreChange[];
  readonly done: StoreDone;
  readonly bytes: number;
  /** Only to see whether the disk takes a group. */
  readonly probe?: true;
  error: StoreError | undefined;
};

function isProbe({ probe }: Call): boolean {
  return probe === true;
}

function checkName(table: string): string {
  if (!TABLE_NAME.test(table)) throw new UsageError(`not a table name: ${JSON.stringify(table)}`);
  return table;
}

/** SQLite's text ends at a NUL in some builds; keys may come from devices and hold anything. */
function escapeKey(key: string): string {
  return key.replace(NEEDS_ESCAPES, (c) => (c === "\0" ? "\u00010" : "\u00011"));
}

function unescapeKey(key: string): string {
  return key.includes("\u0001")
    ? key.replace(ESCAPED, (c) => (c[1] === "0" ? "\0" : "\u0001"))
    : key;
}

const SQLITE_DEFAULTS: Required<SqliteStoreOptions> = {
  durability: "power",
  groupDelay: IO_TUNING.groupDelay,
  queueBytes: IO_TUNING.storeQueueBytes,
  maxBytes: Infinity,
  sync: fdatasync,
};

/** Rows per statement: binding many at once saves a third of the time, more than this nothing further. */
const ROWS = 10;
const CALL_OVERHEAD = 64;
const TABLE_PREFIX = "r:";
const TABLE_NAME = /^[A-Za-z][A-Za-z0-9_.:/-]{0,99}$/;
// oxlint-disable-next-line no-control-regex
const NEEDS_ESCAPE = /[\0\u0001]/;
// oxlint-disable-next-line no-control-regex
const NEEDS_ESCAPES = /[\0\u0001]/g;
// oxlint-disable-next-line no-control-regex
const ESCAPED = /\u0001[01]/g;
