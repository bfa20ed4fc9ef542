import { copyFileSync, existsSync, readdirSync, renameSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { syncDirectory } from "./atomic-file.ts";

/** The files of a data directory. */
export class DataFiles {
  readonly directory: string;
  readonly database: string;
  readonly mark: string;
  readonly counter: string;
  /** A second mark, on another volume; undefined unless given. */
  readonly secondMark: string | undefined;

  constructor(directory: string, secondMark?: string) {
    this.directory = directory;
    this.database = join(directory, "godwit.db");
    this.mark = join(directory, "mark.json");
    this.counter = join(directory, "godwit.db.commits");
    this.secondMark = secondMark;
  }

  /** Whether there is a log that belongs to a database, with something in it. */
  get hasLog(): boolean {
    const log = `${this.database}-wal`;
    return existsSync(log) && statSync(log).size > 0;
  }

  /** Renames the database and its log, so that nothing writes over them. Returns the new name of the database; undefined if there was neither. */
  setAside(now: number): string | undefined {
    const aside = `${this.database}${ASIDE}${timeName(now)}`;
    let moved = false;
    for (const suffix of SUFFIXES) {
      if (!existsSync(`${this.database}${suffix}`)) continue;
      renameSync(`${this.database}${suffix}`, `${aside}${suffix}`);
      moved = true;
    }
    if (moved) syncDirectory(this.directory);
    return moved ? aside : undefined;
  }

  /** The newest that was set aside and not dealt with. */
  get aside(): string | undefined {
    const start = `${basename(this.database)}${ASIDE}`;
    const names = existsSync(this.directory) ? readdirSync(this.directory) : [];
    const known = names
      .filter((name) => name.startsWith(start))
      .map((name) => name.replace(/-(?:wal|shm)$/, ""));
    const newest = known.toSorted().at(-1);
    return newest === undefined ? undefined : join(this.directory, newest);
  }

  /** Makes a working copy of what was set aside. */
  copyBack(aside: string): void {
    for (const suffix of SUFFIXES) {
      if (existsSync(`${aside}${suffix}`))
        copyFileSync(`${aside}${suffix}`, `${this.database}${suffix}`);
    }
  }

  /** What was set aside has been dealt with: it is kept under names that say so. Returns the name of the newest database. */
  settleAside(): string | undefined {
    let settled: string | undefined;
    for (let aside = this.aside; aside !== undefined; aside = this.aside) {
      const kept = aside.replace(ASIDE, KEPT);
      for (const suffix of SUFFIXES) {
        if (existsSync(`${aside}${suffix}`)) renameSync(`${aside}${suffix}`, `${kept}${suffix}`);
      }
      settled ??= kept;
    }
    if (settled !== undefined) syncDirectory(dirname(settled));
    return settled;
  }
}

/** "2026-11-30T12-34-56-789Z": sorts by time, and is a file name everywhere. */
export function timeName(now: number): string {
  return new Date(now).toISOString().replaceAll(/[:.]/g, "-");
}

/** The log last: a database without its log is what is being noticed. */
const SUFFIXES = ["", "-shm", "-wal"] as const;
const ASIDE = ".set-aside-";
const KEPT = ".replaced-";
