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
import { readChecked, writeChecked } from "./checked-json.ts";

/**
 * A few records in one file, replaced as a whole and synchronized before anything relies on it: sequence numbers that are
 * in here were reserved. What is written while a write runs goes into the next.
 */
export class RecordFile implements Store {
  broken: StoreError | undefined = undefined;
  readonly #file: string;
  /** As in the file. */
  #records: Records;
  #waiting: Call[] = [];
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
    this.#waiting.push({ changes, done });
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
      const calls = this.#waiting;
      this.#waiting = [];
      const next = changed(this.#records, calls);
      let fault: StoreError | undefined;
      try {
        mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
        await writeFileAtomic(this.#file, utf8(textOf(next)));
        this.#records = next;
      } catch (cause) {
        const { message } = cause as Error;
        fault = new StoreError("io", `cannot write ${this.#file}: ${message}`, cause);
      }
      for (const { done } of calls) done(fault);
    }
    this.#writing = undefined;
  }
}

/** The records with these changes; those before stay as they are, since the file may not take them. */
function changed(records: Records, calls: readonly Call[]): Records {
  const next = new Map([...records].map(([table, rows]) => [table, new Map(rows)]));
  for (const { table, key, value } of calls.flatMap(({ changes }) => changes)) {
    const rows = next.get(table) ?? new Map<string, Uint8Array>();
    next.set(table, rows);
    if (value === undefined) rows.delete(key);
    else rows.set(key, value);
  }
  return next;
}

function textOf(records: Records): string {
  const tables = [...records].map(([table, rows]) => [
    table,
    Object.fromEntries([...rows].map(([key, value]) => [key, toHex(value)])),
  ]);
  return writeChecked(LAYOUT, JSON.stringify(Object.fromEntries(tables)));
}

function read(file: string): Records {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw fault;
  }
  try {
    return new Map(
      Object.entries(tablesIn(text)).map(([table, rows]) => [
        table,
        new Map(Object.entries(rows).map(([key, value]) => [key, hex(value)])),
      ]),
    );
  } catch (cause) {
    throw new StoreError("corrupt", `${file} is no record file`, cause);
  }
}

/** Files of earlier versions had no sum. */
function tablesIn(text: string): Tables {
  const checked = readChecked(LAYOUT, text);
  if (checked !== undefined) return JSON.parse(checked) as Tables;
  const { layout, tables } = JSON.parse(text) as { layout: number; tables: Tables };
  if (layout !== EARLIER) throw new Error("unknown layout, or damaged");
  return tables;
}

type Records = ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;
type Tables = Readonly<Record<string, Readonly<Record<string, string>>>>;
type Call = { readonly changes: readonly StoreChange[]; readonly done: StoreDone };
const EARLIER = 1;
const LAYOUT = 2;
