import type { StoreChange } from "@godwit/base";
import type { HealthMeter } from "./store-health.ts";

/**
 * Durable records: tables of keys with bytes. Reading happens at start; from then on the machines hold the truth
 * and the store follows.
 */
export interface Store {
  /** Every committed record of a table, in no particular order. */
  load(table: string): Iterable<StoreRecord>;
  /**
   * Queues changes. `done` runs once they are durable, never before `write` has returned, in the order of the
   * calls. With an error nothing of this call was written (or, where the store is `broken`, it must be treated
   * so). The values must not be changed until then. Throws UsageError for a table name that is none.
   */
  write(changes: readonly StoreChange[], done: StoreDone): void;
  /** Resolves when everything written so far has been answered. */
  flush(): Promise<void>;
  /** Answers what is queued, then lets go. Later writes are refused. */
  close(): Promise<void>;
  /** Set once the store can no longer be trusted: every later write is refused with this error. */
  readonly broken: StoreError | undefined;
  /** Whether it takes what is written, and who is told when that changes; a store without a disk has none. */
  readonly meter?: HealthMeter;
}

export type StoreRecord = { readonly key: string; readonly value: Uint8Array };

export type StoreDone = (error?: StoreError) => void;

/**
 * - `full`: no room left; may pass.
 * - `busy`: the queue is full: the disk does not keep up; may pass.
 * - `locked`: another process holds the store.
 * - `readonly`, `io`, `corrupt`: what the disk said.
 * - `gone`: the files were deleted or replaced while the store had them open.
 * - `loss`: what was acknowledged is known to be missing.
 * - `foreign`, `newer`: the file is not ours, or of a later version than this one.
 * - `closed`: written after `close`.
 * - `refused`: this call alone could not be written.
 */
export type StoreFault =
  | "full"
  | "busy"
  | "locked"
  | "readonly"
  | "io"
  | "corrupt"
  | "gone"
  | "loss"
  | "foreign"
  | "newer"
  | "closed"
  | "refused";

export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly fault: StoreFault;

  constructor(fault: StoreFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.fault = fault;
  }
}

/** Why a write was refused, for those who wanted it: devices and users. */
export function refusalWords({ fault }: StoreError): string {
  return WORDS[fault] ?? "the store failed";
}

const WORDS: Partial<Record<StoreFault, string>> = {
  full: "the disk is full",
  busy: "the disk does not keep up",
  readonly: "the disk cannot be written to",
  io: "the disk failed",
  corrupt: "the store is damaged",
  gone: "the data directory was deleted or replaced",
  closed: "the server is stopping",
};
