import { Tickets, type Outbox, type StoreChange } from "@godwit/base";
import type { DtlsOutput } from "./events.ts";

/** What was given to the store, and what happens once it is there, or was refused. */
export class PendingWrites {
  readonly #outbox: Outbox<DtlsOutput>;
  readonly #then = new Tickets<(ok: boolean) => void>();

  constructor(outbox: Outbox<DtlsOutput>) {
    this.#outbox = outbox;
  }

  /** Writes the changes together. */
  write(changes: readonly StoreChange[], then: (ok: boolean) => void = ignore): void {
    this.#outbox.push({ type: "store", ticket: this.#then.give(then), changes });
  }

  /** The store's answer. */
  stored(ticket: number, ok: boolean): void {
    this.#then.take(ticket)?.(ok);
  }
}

function ignore(): void {}
