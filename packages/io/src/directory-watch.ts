import {
  existsSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { BACKUP_FILE, backupFile } from "./backup-request.ts";
import type { DataFiles } from "./data-files.ts";
import type { SqliteStore } from "./sqlite-store.ts";
import { StoreError } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";

/**
 * Looks at an open data directory again and again: a process that has a file open does not notice that it was deleted,
 * and goes on promising what is lost with it. Makes the backups that `godwit backup` asks for by a file.
 */
export class DirectoryWatch {
  readonly #files: DataFiles;
  readonly #store: SqliteStore;
  readonly #opened: ReadonlyMap<string, string>;
  readonly #timer: NodeJS.Timeout;
  #making: Promise<void> | undefined;

  constructor(files: DataFiles, store: SqliteStore) {
    this.#files = files;
    this.#store = store;
    const watched = [files.database, `${files.database}-wal`];
    this.#opened = new Map(watched.map((file) => [file, nameOf(file)]));
    this.#timer = setInterval(() => this.#look(), IO_TUNING.watchEvery);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#making;
  }

  #look(): void {
    for (const [file, opened] of this.#opened) {
      const now = seen(file);
      if (now === opened) continue;
      const what = now === "gone" ? "was deleted" : now === "" ? "cannot be read" : "was replaced";
      clearInterval(this.#timer);
      return this.#store.break(
        new StoreError(
          "gone",
          `${file} ${what} while the server ran: stop the server, then put the directory back or restore a backup (godwit restore)`,
        ),
      );
    }
    if (this.#making !== undefined) return;
    try {
      this.#takeRequest();
    } catch {
      // A directory that cannot be listed for once: what is wrong shows at the files.
    }
  }

  #takeRequest(): void {
    const names = readdirSync(this.#files.directory);
    const id = names
      .map((name) => BACKUP_FILE.exec(name))
      .find((one) => one?.[2] === "request")?.[1];
    if (id === undefined) return;
    rmSync(backupFile(this.#files.directory, id, "request"), { force: true });
    this.#making = this.#make(id).finally(() => (this.#making = undefined));
  }

  async #make(id: string): Promise<void> {
    const { directory } = this.#files;
    const [partial, ready] = [
      backupFile(directory, id, "partial"),
      backupFile(directory, id, "ready"),
    ];
    try {
      this.#checkRoom();
      await this.#store.backup(partial);
      renameSync(partial, ready);
      // Whoever asked takes it away at once; if he was killed meanwhile, nobody does.
      setTimeout(() => rmSync(ready, { force: true }), FORGOTTEN_AFTER).unref();
    } catch (error) {
      rmSync(partial, { force: true });
      const words = error instanceof Error ? error.message : String(error);
      if (existsSync(directory))
        writeFileSync(backupFile(directory, id, "failed"), words, { mode: 0o600 });
    }
  }

  /** A backup must not be what fills the disk of a server that runs. */
  #checkRoom(): void {
    const { bavail, bsize } = statfsSync(this.#files.directory);
    const needed = 2 * statSync(this.#files.database).size + RESERVE;
    if (bavail * bsize >= needed) return;
    throw new StoreError(
      "full",
      `a backup of a running server is made beside ${basename(this.#files.database)} first, which needs ${needed >> 20} MiB there; free are ${Math.floor((bavail * bsize) / 2 ** 20)} MiB`,
    );
  }
}

/** Removes what a server that was killed left of a backup. */
export function removeHalfBackups(directory: string): void {
  for (const name of readdirSync(directory)) {
    const state = BACKUP_FILE.exec(name)?.[2];
    if (state !== undefined && state !== "request") rmSync(join(directory, name), { force: true });
  }
}

/** Which file it is; its device counts, since it is the same run of the machine. */
function nameOf(file: string): string {
  const { dev, ino } = statSync(file, { bigint: true });
  return process.platform === "win32" ? "there" : `${dev} ${ino}`;
}

function seen(file: string): string {
  try {
    return nameOf(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" ? "gone" : "";
  }
}

const RESERVE = 16 * 1024 * 1024;
/** ms */
const FORGOTTEN_AFTER = 600_000;
