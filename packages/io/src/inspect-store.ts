import { existsSync, rmSync } from "node:fs";
import { FormatError, fromUtf8 } from "@godwit/base";
import { openSqlite, rowsOf, storeError, type Sqlite } from "./sqlite.ts";
import { adviceFor, ownerOf } from "./sqlite-open.ts";
import { StoreError } from "./store.ts";

/** What a store's database says of itself, its log included. */
export type StoreState = {
  /** Groups that are committed in it. */
  readonly commits: number;
  /** The small table that a data directory keeps of itself. */
  readonly data: ReadonlyMap<string, string>;
};

/**
 * Looks into a store that nobody has open, and changes neither the database nor its log. Undefined where there is no
 * store yet. Throws StoreError with fault `locked` while another process has it, and with what to do where it cannot be
 * read.
 */
export function inspectStore(file: string, table: string): StoreState | undefined {
  if (!existsSync(file)) return undefined;
  return readStore(file, (db) => stateOf(db, table));
}

/** Runs `read` on a store's database that nobody has open, as it is. */
export function readStore<T>(file: string, read: (db: Sqlite) => T): T {
  let db: Sqlite | undefined;
  const leave = (): void => {
    const opened = db !== undefined && closed(db);
    if (opened) rmSync(`${file}-shm`, { force: true }); // the index of the log; only a reader makes one
  };
  const worded = (error: unknown): StoreError => {
    const known = storeError(error, `cannot open ${file}`);
    return new StoreError(known.fault, adviceFor(known, file), error);
  };
  let done: T;
  try {
    db = openSqlite(file, { timeout: 0, readOnly: true });
    ownerOf(db, file);
    done = read(db);
  } catch (error) {
    leave();
    throw worded(error);
  }
  if (done instanceof Promise) {
    const rethrow = (error: unknown): never => {
      throw worded(error);
    };
    return done.catch(rethrow).finally(leave) as T;
  }
  leave();
  return done;
}

function stateOf(db: Sqlite, table: string): StoreState | undefined {
  const names = rowsOf(db, "name", "sqlite_schema WHERE type = 'table'").map(([name]) => name);
  if (!names.includes("godwit")) return undefined;
  const commits = Number(rowsOf(db, "commits", "godwit")[0]?.[0]);
  const rows = names.includes(table) ? rowsOf(db, "key, value", `"${table}"`) : [];
  const data = textsOf(rows.map(([key, value]) => ({ key: String(key), value })));
  return { commits, data };
}

/** Records that are text, by key; one that is damaged, or empty, is not there. */
export function textsOf(
  rows: Iterable<{ readonly key: string; readonly value: unknown }>,
): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { key, value } of rows) {
    const text = textOf(value);
    if (text !== undefined && text !== "") texts.set(key, text);
  }
  return texts;
}

/** undefined: damaged. */
function textOf(value: unknown): string | undefined {
  try {
    return value instanceof Uint8Array ? fromUtf8(value) : undefined;
  } catch (fault) {
    if (fault instanceof FormatError) return undefined;
    throw fault;
  }
}

/** False: it was another's. */
function closed(db: Sqlite): boolean {
  try {
    db.exec("SELECT count(*) FROM sqlite_schema");
    return true;
  } catch {
    return false;
  } finally {
    db.close();
  }
}
