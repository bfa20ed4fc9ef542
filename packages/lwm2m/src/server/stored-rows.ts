import { checkedRow, isChecked, openRow, type StoreChange } from "@godwit/base";
import type { StoredRecord } from "./events.ts";

/**
 * Tables whose rows have a checksum: nothing else protects them. What is sealed under the master key has a proof of its own.
 */
export const CHECKED_TABLES: ReadonlySet<string> = new Set([
  "registration",
  "touch",
  "operation",
  "observation",
  "session",
  "protected",
  "oscore",
  "counter",
  "quarantine",
  "secured",
  "credentialChange",
]);

/** As it goes to the store. */
export function protectedChange(change: StoreChange): StoreChange {
  const { table, key, value } = change;
  if (value === undefined || !CHECKED_TABLES.has(table)) return change;
  return { table, key, value: checkedRow(key, value) };
}

/** A table of the store as it is read at the start. */
export class StoredRows {
  readonly #load: (table: string) => Iterable<StoredRecord>;
  readonly #refuse: (table: string, row: StoredRecord, reason: string) => void;
  /** Rows of releases without checksums that were read: they get one. */
  readonly renewed: StoreChange[] = [];

  constructor(
    load: (table: string) => Iterable<StoredRecord>,
    refuse: (table: string, row: StoredRecord, reason: string) => void,
  ) {
    this.#load = load;
    this.#refuse = refuse;
  }

  /** Hands each row to `take`; one that is damaged, or that `take` throws at, is refused with the reason. */
  each(table: string, take: (row: StoredRecord) => void): void {
    for (const row of this.#load(table)) {
      try {
        take({ key: row.key, value: this.body(table, row) });
        if (CHECKED_TABLES.has(table) && !isChecked(row.value))
          this.renewed.push({ table, key: row.key, value: row.value.slice() });
      } catch (fault) {
        this.#refuse(table, row, fault instanceof Error ? fault.message : String(fault));
      }
    }
  }

  /** The rows that are not damaged. */
  of(table: string): readonly StoredRecord[] {
    const rows: StoredRecord[] = [];
    this.each(table, (row) => void rows.push(row));
    return rows;
  }

  /** As they are in the store. */
  raw(table: string): Iterable<StoredRecord> {
    return this.#load(table);
  }

  /** What a row says. @throws FormatError where it is damaged */
  body(table: string, { key, value }: StoredRecord): Uint8Array {
    return CHECKED_TABLES.has(table) && isChecked(value) ? openRow(key, value) : value;
  }
}
