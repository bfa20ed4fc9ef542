import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { openSqlite, rowsOf, storeError, type Sqlite } from "./sqlite.ts";
import { StoreError } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";

/** Opens a store's database for this process alone, made if there is none. Throws StoreError that says what to do. */
export function openDatabase(file: string, options: { readonly maxBytes: number }): Sqlite {
  let db: Sqlite | undefined;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    createPrivately(file);
    db = openSqlite(file, { timeout: 0 });
    // Exclusive: the lock is held until the process ends, however it ends, and the log's index needs no shared memory.
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    checkOwner(db, file);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY");
    db.exec(`PRAGMA cache_size = -${IO_TUNING.storeCacheBytes >> 10}`);
    db.exec(`PRAGMA wal_autocheckpoint = ${IO_TUNING.storeCheckpointPages}`);
    if (options.maxBytes < Infinity) {
      db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(options.maxBytes / PAGE))}`);
    }
    db.exec(`BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS godwit (id INTEGER PRIMARY KEY CHECK (id = 1),
      commits INTEGER NOT NULL); INSERT OR IGNORE INTO godwit VALUES (1, 0);
      UPDATE godwit SET commits = commits + 1;
      PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
    db.exec("PRAGMA synchronous = NORMAL"); // commits are forced out by SqliteStore; checkpoints by SQLite
    return db;
  } catch (error) {
    if (db !== undefined) letGo(db, "foreign");
    const known = storeError(error, `cannot open ${file}`);
    throw new StoreError(known.fault, adviceFor(known, file), error);
  }
}

/** SQLite would make it readable for everybody; the log takes its mode from it. */
function createPrivately(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    // An existing file must not even be opened and closed here: that would drop the locks this process may hold.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/**
 * Closes for good. Closing alone would keep the lock for as long as a prepared statement waits for the garbage
 * collector; and ours becomes a single file again that may be copied as it is.
 */
export function letGo(db: Sqlite, owner: "ours" | "foreign"): void {
  try {
    if (owner === "ours") db.exec("PRAGMA journal_mode = DELETE");
    db.exec("PRAGMA locking_mode = NORMAL; SELECT count(*) FROM sqlite_schema");
  } catch {
    // A disk that fails here has failed before, and the caller was told then.
  } finally {
    db.close();
  }
}

function checkOwner(db: Sqlite, file: string): void {
  db.exec("BEGIN IMMEDIATE"); // takes the lock before anything is believed
  ownerOf(db, file);
  db.exec("COMMIT");
}

/** Throws StoreError where the database is not a store of ours, or of a later version. */
export function ownerOf(db: Sqlite, file: string): void {
  const one = (column: string, from: string): unknown => rowsOf(db, column, from)[0]?.[0];
  const owner = one("application_id", "pragma_application_id");
  const version = Number(one("user_version", "pragma_user_version"));
  const tables = Number(one("count(*)", "sqlite_schema"));
  if (owner !== APPLICATION_ID && (owner !== 0 || tables > 0)) {
    throw new StoreError("foreign", notOurs(file));
  }
  if (version <= SCHEMA_VERSION) return;
  throw new StoreError(
    "newer",
    `${file} was written by a later version (schema ${version}, this one knows ${SCHEMA_VERSION}); upgrade, or restore a backup made before`,
  );
}

/** What went wrong with the file, with what to do about it. */
export function adviceFor({ fault, message, cause }: StoreError, file: string): string {
  const { code } = (cause ?? {}) as NodeJS.ErrnoException;
  if (code === "EEXIST" || code === "ENOTDIR") return `${dirname(file)} is not a directory`;
  if (fault === "locked") return `${file} is in use by ${holder(file)}; one process at a time`;
  if (fault === "corrupt") return damaged(file);
  if (fault === "foreign") return notOurs(file);
  if (fault === "full") return `${message}; make room on the disk of ${dirname(file)}`;
  if (fault !== "readonly") return message;
  return `${message}; give ${dirname(file)} to the user who runs this, or choose another directory`;
}

export function damaged(file: string): string {
  return `${file} is damaged; restore a backup, or move it away and start with --accept-loss to begin without what it held`;
}

function notOurs(file: string): string {
  return `${file} is not a Godwit store; it was left as it is`;
}

function holder(file: string): string {
  try {
    return `process ${Number(readFileSync(`${file}.pid`, "utf8"))}`;
  } catch {
    return "another process";
  }
}

const APPLICATION_ID = 0x4764_7774; // "Gdwt"
const SCHEMA_VERSION = 2;
const PAGE = 4_096;
