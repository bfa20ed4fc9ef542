import { closeSync, openSync, rmSync } from "node:fs";
import { syncFile } from "./atomic-file.ts";
import { onlineBackup, openSqlite, storeError, type Sqlite } from "./sqlite.ts";

/**
 * Copies a database as it stands at one moment into a file that must not exist yet: a single file, forced to disk. Where
 * the runtime has SQLite's online backup, whoever writes to the database meanwhile waits for a few pages at most.
 */
export async function backUp(db: Sqlite, file: string): Promise<void> {
  let made = false;
  try {
    closeSync(openSync(file, "wx", 0o600));
    made = true;
    const online = onlineBackup();
    if (online === undefined) db.prepare("VACUUM INTO ?").run(file);
    else await online(db, file, { rate: PAGES_PER_STEP });
    const copy = openSqlite(file);
    try {
      copy.exec("PRAGMA journal_mode = DELETE"); // without a log
    } finally {
      copy.close();
    }
    syncFile(file);
  } catch (error) {
    if (made) rmSync(file, { force: true });
    throw storeError(error, `cannot write ${file}`);
  }
}

/** A step holds the database: about a millisecond. */
const PAGES_PER_STEP = 100;
