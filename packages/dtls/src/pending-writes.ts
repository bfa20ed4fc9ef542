import type { Outbox, StoreChange } from "@godwit/base";
import type { DtlsOutput } from "./events.ts";

/** What was given to the store, and what happens once it is there, or was refused. */
export class PendingWrites {
  readonly #outbox: Outbox<DtlsOutput>;
  readonly #then = new Map<number, (ok: boolean) => void>();
  #nextTicket = 1;

  constructor(outbox: Outbox<DtlsOutput>) {
    this.#outbox = outbox;
  }

  /** Writes the changes together. */
  write(changes: readonly StoreChange[], then: (ok: boolean) => void = ignore): void {
    const ticket = this.#nextTicket++;
    this.#then.set(ticket, then);
    this.#outbox.push({ type: "store", ticket, changes });
  }

  /** The store's answer. */
  stored(ticket: number, ok: boolean): void {
    const then = this.#then.get(ticket);
    this.#then.delete(ticket);
    then?.(ok);
  }
}

function ignore(): void {}
