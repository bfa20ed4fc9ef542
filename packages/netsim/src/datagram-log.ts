import type { Sighting } from "./link.ts";
import { TUNING } from "./tuning.ts";

/** Datagrams that crossed the points it watches, in the order of time. */
export class DatagramLog {
  readonly entries: Sighting[] = [];
  /** Those that came after the log was full. */
  missed = 0;
  readonly #limit: number;

  /** @internal */
  constructor(limit: number = TUNING.maxLogEntries) {
    this.#limit = limit;
  }

  /** UDP payload bytes of all entries. */
  get bytes(): number {
    return this.entries.reduce((sum, entry) => sum + entry.bytes.length, 0);
  }

  clear(): void {
    this.entries.length = 0;
    this.missed = 0;
  }

  /** @internal */
  add(sighting: Sighting): void {
    if (sighting.icmp !== undefined) return;
    if (this.entries.length >= this.#limit) this.missed++;
    else this.entries.push({ ...sighting, bytes: new Uint8Array(sighting.bytes) });
  }
}
