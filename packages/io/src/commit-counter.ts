import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { IO_TUNING } from "./tuning.ts";

/**
 * How many groups of a store were confirmed by the disk, in a file beside it: whatever happens to the store's log
 * afterwards, it is known what must be in there. Written in place after a group, but in a row of many not after each:
 * then it lags by `IO_TUNING.counterEvery` if this process dies. After a loss of power it may lag by more. It never leads.
 */
export class CommitCounter {
  readonly #fd: number;
  readonly #line: Buffer = Buffer.alloc(LENGTH);
  #commits: number;
  #writtenAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Throws what the system throws. */
  constructor(file: string, commits: number) {
    this.#fd = openSync(file, openFlags(file), 0o600);
    this.#commits = commits;
    this.#write();
    fsyncSync(this.#fd);
  }

  note(commits: number): void {
    this.#commits = commits;
    if (this.#timer !== undefined) return;
    const rest = this.#writtenAt + IO_TUNING.counterEvery - performance.now();
    if (rest <= 0) return this.#write();
    this.#timer = setTimeout(() => this.#write(), rest);
    this.#timer.unref();
  }

  /** Never throws: a disk that does not take it leaves the count of before, as it may. */
  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writtenAt = performance.now();
    this.#line.write(lineOf(this.#commits), "latin1");
    try {
      writeSync(this.#fd, this.#line, 0, LENGTH, 0);
    } catch {
      // it lags
    }
  }

  close(): void {
    this.#write();
    try {
      fsyncSync(this.#fd);
    } catch {
      // it lags
    }
    closeSync(this.#fd);
  }
}

/** The count in a file; undefined where there is none, or none that can be read. */
export function readCommitCounter(file: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
  const commits = Number(/^(\d{16}) /.exec(text)?.[1]);
  return Number.isSafeInteger(commits) && text === lineOf(commits) ? commits : undefined;
}

/** The number twice: a torn line is not believed. */
function lineOf(commits: number): string {
  const digits = String(commits).padStart(16, "0");
  return `${digits} ${digits}\n`;
}

function openFlags(file: string): string {
  try {
    readFileSync(file);
    return "r+";
  } catch {
    return "w+";
  }
}

const LENGTH = 34;
