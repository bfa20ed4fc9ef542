// Records of the store that could not be restored: taken out of their tables, kept as they were, and shown. They open no
// door and end no start.

import {
  FormatError,
  Reader,
  Writer,
  fromUtf8,
  utf8,
  type Instant,
  type StoreChange,
} from "@godwit/base";
import type { StoredRecord } from "./events.ts";

/** A record that was set aside. */
export type Quarantined = {
  /** Where it was. */
  readonly table: string;
  readonly key: string;
  readonly reason: string;
  /** When. */
  readonly at: Instant;
  /** Its length in bytes. */
  readonly bytes: number;
  /** The id of the credential that it belongs to, where that could be read. */
  readonly credential: string | undefined;
};

export type QuarantineView = {
  readonly items: readonly Quarantined[];
  /** Records it holds at most; those beyond are left where they are, and looked at again at each start. */
  readonly limit: number;
  /** Records of this start that found no room. */
  readonly leftInPlace: number;
};

export class Quarantine {
  readonly #limit: number;
  readonly #items = new Map<string, Quarantined>();
  readonly #found: Quarantined[] = [];
  #leftInPlace = 0;

  /** `limit`: records it holds. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get view(): QuarantineView {
    const items = [...this.#items.values()];
    return { items, limit: this.#limit, leftInPlace: this.#leftInPlace };
  }

  /** Whether a record of this table is here. */
  holds(table: string): boolean {
    for (const item of this.#items.values()) if (item.table === table) return true;
    return false;
  }

  /** What this start has set aside, or would have. */
  get found(): readonly Quarantined[] {
    return this.#found;
  }

  /** Takes back what earlier starts set aside. */
  restore(records: Iterable<StoredRecord>): void {
    for (const { key, value } of records) {
      try {
        this.#items.set(key, decode(value));
      } catch {
        // Of no use to anybody, and in nobody's way.
        const [table = ""] = key.split(" ", 1);
        const reason = "its own record in the quarantine is damaged";
        const row = { table, key: key.slice(table.length + 1), reason };
        this.#items.set(key, { ...row, at: 0, bytes: value.length, credential: undefined });
      }
    }
  }

  /** Returns what must be written together: the record leaves its table and comes here. Nothing where there is no room. */
  setAside(
    row: { readonly table: string; readonly key: string; readonly value: Uint8Array },
    why: { readonly reason: string; readonly credential: string | undefined; readonly at: Instant },
  ): readonly StoreChange[] {
    const { table, key, value } = row;
    const place = `${table} ${key}`;
    const item = { table, key, ...why, at: Math.floor(why.at), bytes: value.length };
    this.#found.push(item);
    if (!this.#items.has(place) && this.#items.size >= this.#limit) {
      this.#leftInPlace += 1;
      return [];
    }
    this.#items.set(place, item);
    return [
      { table, key, value: undefined },
      { table: QUARANTINE_TABLE, key: place, value: encode(item, value) },
    ];
  }

  /** Something of a credential is missing that should be there: there is no record to set aside. */
  note(reason: string, credential: string, at: Instant): void {
    this.#found.push({ table: "credential", key: credential, reason, at, bytes: 0, credential });
  }

  /** A credential is revoked or replaced: nothing of it stays here either. */
  forget(credential: string): readonly StoreChange[] {
    const changes: StoreChange[] = [];
    for (const [place, item] of this.#items) {
      const itself = item.table === "credential" && item.key === credential;
      if (item.credential !== credential && !itself) continue;
      this.#items.delete(place);
      changes.push({ table: QUARANTINE_TABLE, key: place, value: undefined });
    }
    return changes;
  }
}

function encode(
  { table, key, reason, at, credential }: Quarantined,
  value: Uint8Array,
): Uint8Array {
  const w = new Writer(64 + value.length).u8(LAYOUT).u48(at);
  for (const text of [table, key, reason, credential ?? ""])
    w.prefixed(2, (inner) => inner.append(utf8(text)));
  return w.prefixed(3, (inner) => inner.append(value)).bytes();
}

function decode(record: Uint8Array): Quarantined {
  const r = new Reader(record);
  if (r.u8() !== LAYOUT) throw new FormatError("quarantine record of an unknown layout");
  const at = r.u48();
  const text = (): string => fromUtf8(r.take(r.u16()));
  const [table, key, reason, credential] = [text(), text(), text(), text()];
  const bytes = r.take(r.u24()).length;
  r.end("the quarantine record");
  return { table, key, reason, at, bytes, credential: credential === "" ? undefined : credential };
}

export const QUARANTINE_TABLE = "quarantine";
const LAYOUT = 1;
