import type { Instant, StoreChange } from "@godwit/base";

/**
 * Changes of what has happened that the store refused. They are written again until it takes them: a registration that
 * ended must not be back after a restart. As many at most as there are records.
 */
export class Unwritten {
  readonly #changes = new Map<string, StoreChange>();
  /** Those of which a newer change of the same record is under way, with the tickets of all writes that have one. */
  readonly #replaced = new Map<string, Replaced>();
  #retryAt: Instant | undefined;

  get wakeAt(): Instant | undefined {
    return this.#retryAt;
  }

  has(table: string, key: string): boolean {
    if (this.#changes.size === 0 && this.#replaced.size === 0) return false;
    const name = nameOf(table, key);
    return this.#changes.has(name) || this.#replaced.has(name);
  }

  /** The store has just refused them. */
  add(changes: readonly StoreChange[], now: Instant): void {
    for (const change of changes) this.#changes.set(nameOf(change.table, change.key), change);
    const retryAt = now + RETRY;
    if (this.#changes.size > 0) this.#retryAt = Math.min(retryAt, this.#retryAt ?? retryAt);
  }

  /** Newer changes of the same records are on their way, in the write with this ticket. Say `stored` when it is answered. */
  supersede(changes: readonly StoreChange[], ticket: number): void {
    if (this.#changes.size === 0 && this.#replaced.size === 0) return;
    for (const { table, key } of changes) {
      const name = nameOf(table, key);
      const change = this.#changes.get(name);
      if (change === undefined) this.#replaced.get(name)?.tickets.add(ticket);
      else {
        this.#changes.delete(name);
        this.#replaced.set(name, { change, tickets: new Set([ticket]) });
      }
    }
    if (this.#changes.size === 0) this.#retryAt = undefined;
  }

  /** A write was answered: what it replaced is of the past, or still to be written where none that replaced it was taken. */
  stored(ticket: number, ok: boolean, now: Instant): void {
    if (this.#replaced.size === 0) return;
    for (const [name, { change, tickets }] of this.#replaced) {
      if (!tickets.delete(ticket) || (!ok && tickets.size > 0)) continue;
      this.#replaced.delete(name);
      if (!ok) this.add([change], now);
    }
  }

  /** What is to be tried again now. */
  due(now: Instant): readonly StoreChange[] {
    if (this.#retryAt === undefined || this.#retryAt > now) return [];
    const changes = [...this.#changes.values()];
    this.#changes.clear();
    this.#retryAt = undefined;
    return changes;
  }
}

type Replaced = { readonly change: StoreChange; readonly tickets: Set<number> };

function nameOf(table: string, key: string): string {
  return `${table} ${key}`;
}

/** ms */
const RETRY = 5_000;
