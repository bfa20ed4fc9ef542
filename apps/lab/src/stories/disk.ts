// The disk of a server or a device. Writes become durable one after the other, each some ms after it was asked for. A
// crash leaves a prefix of those under way.

import type { StoreChange } from "@godwit/base";
import type { World } from "@godwit/netsim";

/** What is durable, by table and key. */
export type Tables = ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;

export class Disk {
  /** No write succeeds. */
  full = false;
  readonly #world: World;
  #tables = new Map<string, Map<string, Uint8Array>>();
  #writing: Write[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get tables(): Tables {
    return this.#tables;
  }

  /** Writes that are not answered yet. */
  get pending(): number {
    return this.#writing.length;
  }

  rows(table: string): ReadonlyMap<string, Uint8Array> {
    return this.#tables.get(table) ?? NONE;
  }

  /** `done` says whether it is durable. */
  write(changes: readonly StoreChange[], done: (ok: boolean) => void): void {
    const write = { changes, done };
    this.#writing.push(write);
    this.#world.after(DELAY, () => {
      if (this.#writing[0] === write) this.#next();
    });
  }

  /** Power off: `kept` of the writes under way became durable, nobody is told. */
  crash(kept: number): void {
    const left = this.#writing.splice(0);
    if (!this.full) for (const { changes } of left.slice(0, kept)) this.#apply(changes);
  }

  /** A clean stop: everything under way is finished. */
  flush(): void {
    while (this.#writing.length > 0) this.#next();
  }

  copy(): Tables {
    return copyOf(this.#tables);
  }

  /** Everything is as it was when the copy was made. */
  putBack(copy: Tables): void {
    this.#writing = [];
    this.#tables = copyOf(copy);
  }

  /** Writes without the machine that owns the disk. */
  set(table: string, key: string, value: Uint8Array | undefined): void {
    this.#apply([{ table, key, value }]);
  }

  #next(): void {
    const write = this.#writing.shift();
    if (write === undefined) return;
    const ok = !this.full;
    if (ok) this.#apply(write.changes);
    write.done(ok);
  }

  #apply(changes: readonly StoreChange[]): void {
    for (const { table, key, value } of changes) {
      const rows = this.#tables.get(table) ?? new Map<string, Uint8Array>();
      this.#tables.set(table, rows);
      if (value === undefined) rows.delete(key);
      else rows.set(key, value.slice());
    }
  }
}

type Write = { readonly changes: readonly StoreChange[]; readonly done: (ok: boolean) => void };

function copyOf(tables: Tables): Map<string, Map<string, Uint8Array>> {
  return new Map([...tables].map(([table, rows]) => [table, new Map(rows)]));
}

const NONE: ReadonlyMap<string, Uint8Array> = new Map();
/** ms */
const DELAY = 5;
