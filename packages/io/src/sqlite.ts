import { createRequire } from "node:module";
import type { DatabaseSyncInstance, SqliteModule } from "@photostructure/sqlite";
import { StoreError, type StoreFault } from "./store.ts";

export type Sqlite = DatabaseSyncInstance;

/**
 * Opens a SQLite database by the `node:sqlite` interface: the runtime's own where it has one, else the prebuilt
 * package of the same interface.
 */
export function openSqlite(
  file: string,
  options: { readonly timeout?: number; readonly readOnly?: boolean } = {},
): Sqlite {
  const { DatabaseSync } = loadSqlite();
  return new DatabaseSync(file, options);
}

/**
 * What a SELECT of `columns` yields. Leaves nothing behind that would keep a closed database locked, as a prepared
 * statement does until it is collected.
 */
export function rowsOf(db: Sqlite, columns: string, from: string): readonly (readonly unknown[])[] {
  const rows: unknown[][] = [];
  db.function("collect", { varargs: true }, (...row: unknown[]) => {
    rows.push(row);
    return null;
  });
  db.exec(`SELECT collect(${columns}) FROM ${from}`);
  return rows;
}

/** SQLite's online backup, where the runtime has it. */
export function onlineBackup(): OnlineBackup | undefined {
  return (loadSqlite() as { readonly backup?: OnlineBackup }).backup;
}

type OnlineBackup = (
  source: Sqlite,
  file: string,
  options: { readonly rate: number },
) => Promise<number>;

/** What SQLite threw, in the store's words. */
export function storeError(error: unknown, doing: string): StoreError {
  if (error instanceof StoreError) return error;
  const { errcode, code, syscall } = error as { errcode?: number; code?: string; syscall?: string };
  const text = error instanceof Error ? error.message : String(error);
  const fault =
    errcode !== undefined
      ? (FAULTS.get(errcode & 0xff) ?? "refused")
      : syscall !== undefined
        ? (SYSTEM_FAULTS.get(code ?? "") ?? "io")
        : MALFORMED.test(text) // iterators of the prebuilt package leave the code out
          ? "corrupt"
          : "refused";
  return new StoreError(fault, `${doing}: ${text}`, error);
}

function loadSqlite(): SqliteModule {
  loaded ??= (process.getBuiltinModule?.("node:sqlite") ??
    createRequire(import.meta.url)("@photostructure/sqlite")) as SqliteModule;
  return loaded;
}

let loaded: SqliteModule | undefined;

/** Primary result codes, https://www.sqlite.org/rescode.html. What is not listed concerns one statement alone. */
const FAULTS: ReadonlyMap<number, StoreFault> = new Map([
  [5, "locked"], // SQLITE_BUSY
  [6, "locked"], // SQLITE_LOCKED
  [8, "readonly"], // SQLITE_READONLY
  [10, "io"], // SQLITE_IOERR
  [11, "corrupt"], // SQLITE_CORRUPT
  [13, "full"], // SQLITE_FULL
  [14, "io"], // SQLITE_CANTOPEN
  [26, "foreign"], // SQLITE_NOTADB
]);

/** SQLITE_CORRUPT in words. */
const MALFORMED = /disk image is malformed/;

const SYSTEM_FAULTS: ReadonlyMap<string, StoreFault> = new Map([
  ["ENOSPC", "full"],
  ["EDQUOT", "full"],
  ["EROFS", "readonly"],
  ["EACCES", "readonly"],
  ["EPERM", "readonly"],
]);
