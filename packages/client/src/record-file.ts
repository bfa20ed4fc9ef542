import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { hex, toHex, utf8, type StoreChange } from "@godwit/base";
import {
  StoreError,
  writeFileAtomic,
  type Store,
  type StoreDone,
  type StoreRecord,
} from "@godwit/io";

/**
 * A few records in one file, replaced as a whole and synchronized before anything relies on it: sequence numbers that are
 * in here were reserved. What is written while a write runs goes into the next.
 */
export class RecordFile implements Store {
  broken: StoreError | undefined = undefined;
  readonly #file: string;
  readonly #records: Map<string, Map<string, Uint8Array>>;
  #waiting: StoreDone[] = [];
  #writing: Promise<void> | undefined;

  /** Throws if the file is there and cannot be read: to go on without it would use numbers twice. */
  constructor(file: string) {
    this.#file = file;
    this.#records = read(file);
  }

  *load(table: string): Iterable<StoreRecord> {
    for (const [key, value] of this.#records.get(table) ?? []) yield { key, value };
  }

  write(changes: readonly StoreChange[], done: StoreDone): void {
    for (const { table, key, value } of changes) {
      const records = this.#records.get(table) ?? new Map<string, Uint8Array>();
      this.#records.set(table, records);
      if (value === undefined) records.delete(key);
      else records.set(key, value);
    }
    this.#waiting.push(done);
    this.#writing ??= this.#run();
  }

  async flush(): Promise<void> {
    await this.#writing;
  }

  async close(): Promise<void> {
    await this.flush();
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // never before `write` has returned
    while (this.#waiting.length > 0) {
      const answered = this.#waiting;
      this.#waiting = [];
      let fault: StoreError | undefined;
      try {
        mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
        await writeFileAtomic(this.#file, utf8(this.#text()));
      } catch (cause) {
        fault = new StoreError("io", `cannot write ${this.#file}`, cause);
      }
      for (const done of answered) done(fault);
    }
    this.#writing = undefined;
  }

  #text(): string {
    const tables = [...this.#records].map(([table, records]) => [
      table,
      Object.fromEntries([...records].map(([key, value]) => [key, toHex(value)])),
    ]);
    return JSON.stringify({ layout: LAYOUT, tables: Object.fromEntries(tables) });
  }
}

function read(file: string): Map<string, Map<string, Uint8Array>> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw new StoreError("io", `cannot read ${file}: ${(fault as Error).message}`, fault);
  }
  try {
    const { layout, tables } = JSON.parse(text) as Saved;
    if (layout !== LAYOUT) throw new StoreError("newer", `${file}: its layout is unknown`);
    return new Map(
      Object.entries(tables).map(([table, records]) => [
        table,
        new Map(Object.entries(records).map(([key, value]) => [key, hex(value)])),
      ]),
    );
  } catch (cause) {
    throw new StoreError("corrupt", `${file} is no record file`, cause);
  }
}

type Saved = {
  readonly layout: number;
  readonly tables: Readonly<Record<string, Readonly<Record<string, string>>>>;
};
const LAYOUT = 1;
