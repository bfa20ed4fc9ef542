import type { Instant, StoreChange } from "@godwit/base";

/**
 * Changes of what has happened that the store refused. They are written again until it takes them: a registration that
 * ended must not be back after a restart. As many at most as there are records.
 */
export class Unwritten {
  readonly #changes = new Map<string, StoreChange>();
  #retryAt: Instant | undefined;

  get wakeAt(): Instant | undefined {
    return this.#retryAt;
  }

  has(table: string, key: string): boolean {
    return this.#changes.size > 0 && this.#changes.has(nameOf(table, key));
  }

  /** The store has just refused them. */
  add(changes: readonly StoreChange[], now: Instant): void {
    for (const change of changes) this.#changes.set(nameOf(change.table, change.key), change);
    const retryAt = now + RETRY;
    if (this.#changes.size > 0) this.#retryAt = Math.min(retryAt, this.#retryAt ?? retryAt);
  }

  /** Newer changes of the same records are on their way. */
  supersede(changes: readonly StoreChange[]): void {
    if (this.#changes.size === 0) return;
    for (const { table, key } of changes) this.#changes.delete(nameOf(table, key));
    if (this.#changes.size === 0) this.#retryAt = undefined;
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

function nameOf(table: string, key: string): string {
  return `${table} ${key}`;
}

/** ms */
const RETRY = 5_000;
