import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

/**
 * How many groups of a store were confirmed by the disk, in a file beside it: whatever happens to the store's log
 * afterwards, it is known what must be in there. Written in place after each group. The death of this process costs
 * nothing of it; after a loss of power it may lag, never lead.
 */
export class CommitCounter {
  readonly #fd: number;
  readonly #line: Buffer = Buffer.alloc(LENGTH);

  /** Throws what the system throws. */
  constructor(file: string, commits: number) {
    this.#fd = openSync(file, openFlags(file), 0o600);
    this.note(commits);
    fsyncSync(this.#fd);
  }

  /** Never throws: a disk that does not take it leaves the count of before, as it may. */
  note(commits: number): void {
    this.#line.write(lineOf(commits), "latin1");
    try {
      writeSync(this.#fd, this.#line, 0, LENGTH, 0);
    } catch {
      // it lags
    }
  }

  close(): void {
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
