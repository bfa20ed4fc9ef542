import type { Instant } from "./machine.ts";

/** A machine's few named timers. For thousands of alike deadlines see TimerWheel. */
export class TimerTable<Name extends string> {
  readonly #due = new Map<Name, Instant>();

  set(name: Name, at: Instant): void {
    this.#due.set(name, at);
  }

  stop(name: Name): void {
    this.#due.delete(name);
  }

  at(name: Name): Instant | undefined {
    return this.#due.get(name);
  }

  /** The earliest deadline. */
  get next(): Instant | undefined {
    let next: Instant | undefined;
    for (const at of this.#due.values()) if (next === undefined || at < next) next = at;
    return next;
  }

  /** Takes out one timer that is due, the earliest first. */
  expired(now: Instant): Name | undefined {
    let found: Name | undefined;
    let foundAt = now;
    for (const [name, at] of this.#due) {
      if (at > foundAt || (found !== undefined && at === foundAt)) continue;
      found = name;
      foundAt = at;
    }
    if (found !== undefined) this.#due.delete(found);
    return found;
  }
}
