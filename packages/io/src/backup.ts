import { randomBytes } from "node:crypto";
import {
  constants,
  copyFileSync,
  existsSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { utf8 } from "@godwit/base";
import { syncDirectory, syncFile } from "./atomic-file.ts";
import { requestBackup } from "./backup-request.ts";
import { DATA_TABLE, lossOf } from "./data.ts";
import { DataFiles, timeName } from "./data-files.ts";
import { inspectStore, readStore } from "./inspect-store.ts";
import { makeDirectory } from "./make-directory.ts";
import { backUp } from "./sqlite-backup.ts";
import { openSqlite, rowsOf, storeError, type Sqlite } from "./sqlite.ts";
import { ownerOf } from "./sqlite-open.ts";
import { StoreError } from "./store.ts";

export type Backup = {
  readonly file: string;
  readonly bytes: number;
  readonly fromRunningServer: boolean;
};

/**
 * Writes a consistent copy of a data directory's store into one file, which must not exist yet, while a server runs on it
 * or while none does. `to` may be a directory: then the file is named after the time. Never holds the master key.
 * Rejects with what is in the way.
 */
export async function backUpData(directory: string, to: string, now: number): Promise<Backup> {
  const files = new DataFiles(directory);
  if (!existsSync(files.database))
    throw new Error(`${directory} is no data directory: there is no godwit.db in it`);
  const isDirectory = to.endsWith("/") || (existsSync(to) && statSync(to).isDirectory());
  const file = isDirectory ? join(to, `godwit-${timeName(now)}.db`) : to;
  if (existsSync(file)) throw new Error(`${file} exists already; nothing was written over it`);
  if (isWithin(resolve(file), resolve(directory)))
    throw new Error(
      `${file} is in the data directory: name a place outside it, best on another disk`,
    );
  makeDirectory(dirname(resolve(file)));
  const partial = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const fromRunningServer = !(await copyStopped(files, partial));
    if (fromRunningServer) move(await requestBackup(directory, () => isOpen(files)), partial);
    edit(partial, files.database, (db) => {
      check(db, files.database);
      put(db, "backup", new Date(now).toISOString());
    });
    renameSync(partial, file);
    syncDirectory(dirname(resolve(file)));
    return { file, bytes: statSync(file).size, fromRunningServer };
  } finally {
    rmSync(partial, { force: true });
  }
}

/** False: a process has it open. */
async function copyStopped(files: DataFiles, to: string): Promise<boolean> {
  try {
    const loss = lossOf(files);
    if (loss !== undefined)
      throw new StoreError(
        "loss",
        `commits that were acknowledged are missing: ${loss}. Nothing was backed up`,
      );
    await readStore(files.database, (db) => backUp(db, to));
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.fault === "locked") return false;
    throw error;
  }
}

function isWithin(file: string, directory: string): boolean {
  return file.startsWith(directory.endsWith(sep) ? directory : `${directory}${sep}`);
}

function isOpen(files: DataFiles): boolean {
  try {
    inspectStore(files.database, `r:${DATA_TABLE}`);
    return false;
  } catch (error) {
    return error instanceof StoreError && error.fault === "locked";
  }
}

export type Restored = {
  /** The backup that was taken. */
  readonly source: string;
  /** When it was made, as it says itself. */
  readonly madeAt: string | undefined;
  /** Where the store is now that was there before. */
  readonly replaced: string | undefined;
};

export type RestoreOptions = {
  /** A backup, a directory of backups (the newest is taken), or a data directory that was copied. */
  readonly from: string;
  readonly directory: string;
  /** Tables whose records must not be used again: sequence numbers and what was agreed with them. */
  readonly drop: readonly string[];
  /** Looks at the copy before it takes its place; rejects where it must not. */
  readonly admit: (read: (table: string) => readonly Uint8Array[]) => Promise<void>;
};

/**
 * Makes a backup the store of a data directory. A store that is there is kept under another name. The next start knows
 * that the store is older than it was. Rejects with what is in the way; then nothing has changed.
 */
export async function restoreData({
  from,
  directory,
  drop,
  admit,
}: RestoreOptions): Promise<Restored> {
  const source = sourceOf(from);
  const files = new DataFiles(directory);
  if (isOpen(files))
    throw new StoreError("locked", `${directory} is in use by a server: stop it first`);
  makeDirectory(directory);
  const copy = `${files.database}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await readStore(source, (db) => backUp(db, copy));
    let madeAt: string | undefined;
    edit(copy, source, (db) => {
      check(db, source);
      madeAt = valueOf(db, "backup");
    });
    await edit(copy, source, (db) => admit((table) => valuesOf(db, table)));
    edit(copy, source, (db) => {
      for (const table of drop) if (hasTable(db, table)) db.exec(`DELETE FROM "r:${table}"`);
      put(
        db,
        "rolledBack",
        `the store was restored from a backup${madeAt === undefined ? "" : ` of ${madeAt}`}`,
      );
    });
    syncFile(copy);
    files.setAside(Date.now());
    const replaced = files.settleAside();
    renameSync(copy, files.database);
    for (const file of [files.mark, files.counter]) rmSync(file, { force: true });
    syncDirectory(directory);
    return { source, madeAt, replaced };
  } finally {
    rmSync(copy, { force: true });
  }
}

function sourceOf(from: string): string {
  if (!existsSync(from)) throw new Error(`${from}: there is no such file`);
  if (!statSync(from).isDirectory()) return from;
  const backups = readdirSync(from).filter((name) => /^godwit-.*Z\.db$/.test(name));
  const newest = backups.toSorted().at(-1);
  const copied = join(from, "godwit.db");
  const isCopied = existsSync(copied);
  if (newest !== undefined && isCopied)
    throw new Error(
      `${from} holds a store (godwit.db) and backups (${newest}): name the file that you mean. Nothing was restored`,
    );
  if (newest !== undefined) return join(from, newest);
  if (isCopied) return copied;
  throw new Error(`${from} holds no backup: no godwit-….db, and no godwit.db`);
}

/** Across file systems, too. */
function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
    copyFileSync(from, to, constants.COPYFILE_EXCL);
    syncFile(to);
    rmSync(from, { force: true });
  }
}

/** Acts on a copy; `named` is what people know it by. */
function edit<T>(copy: string, named: string, act: (db: Sqlite) => T): T {
  const db = openSqlite(copy, { timeout: 0 });
  let done: T;
  try {
    done = act(db);
  } catch (error) {
    db.close();
    if (error instanceof Error && !("errcode" in error)) throw error;
    const known = storeError(error, `cannot read ${named}`);
    if (known.fault !== "corrupt") throw known;
    throw new StoreError("corrupt", `${named} is damaged: ${known.message}`, error);
  }
  if (done instanceof Promise) return done.finally(() => db.close()) as T;
  db.close();
  return done;
}

/** Throws where the database is not a whole store of ours. */
function check(db: Sqlite, file: string): void {
  ownerOf(db, file);
  if (!rowsOf(db, "name", "sqlite_schema").some(([name]) => name === "godwit"))
    throw new StoreError("foreign", `${file} is not a Godwit store`);
  const verdict = rowsOf(db, "quick_check", "pragma_quick_check")[0]?.[0];
  if (verdict !== "ok") throw new StoreError("corrupt", `${file} is damaged: ${String(verdict)}`);
}

function hasTable(db: Sqlite, table: string): boolean {
  return rowsOf(db, "name", "sqlite_schema WHERE type = 'table'").some(
    ([name]) => name === `r:${table}`,
  );
}

function valuesOf(db: Sqlite, table: string): readonly Uint8Array[] {
  if (!hasTable(db, table)) return [];
  return rowsOf(db, "value", `"r:${table}"`).map(([value]) => value as Uint8Array);
}

function valueOf(db: Sqlite, key: string): string | undefined {
  if (!hasTable(db, DATA_TABLE)) return undefined;
  const value = rowsOf(db, "value", `"r:${DATA_TABLE}" WHERE key = '${key}'`)[0]?.[0];
  return value === undefined ? undefined : Buffer.from(value as Uint8Array).toString();
}

/** `key` and `text` are ours: no quotes in them. */
function put(db: Sqlite, key: string, text: string): void {
  const value = Buffer.from(utf8(text)).toString("hex");
  db.exec(
    `CREATE TABLE IF NOT EXISTS "r:${DATA_TABLE}" (key TEXT PRIMARY KEY, value BLOB NOT NULL);
     INSERT OR REPLACE INTO "r:${DATA_TABLE}" VALUES ('${key}', x'${value}')`,
  );
}
