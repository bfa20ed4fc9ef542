import { Ccm } from "./record/ccm.ts";
import type { CipherSpec } from "./suites.ts";

/** Both directions of an association, ready to use. */
export type HotKeys = { readonly read: Ccm; readonly write: Ccm; used: boolean };

/** What holds hot keys, and loses them when others need the room. */
export type HotHolder = { hot: HotKeys | undefined };

/**
 * Ready-made ciphers for the associations that are busy. One that was not used for a while makes way; where all are
 * in use, the others make a cipher for each record, which is slower and takes no memory.
 */
export class HotPool {
  readonly #limit: number;
  readonly #holders = new Set<HotHolder>();
  #refused = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#holders.size;
  }

  /** The holder's ciphers, made if there is room; undefined where the cipher is none of ours or all room is taken. */
  of(
    holder: HotHolder,
    cipher: CipherSpec,
    keys: () => { readonly readKeys: Uint8Array; readonly writeKeys: Uint8Array },
  ): HotKeys | undefined {
    const known = holder.hot;
    if (known !== undefined) {
      known.used = true;
      return known;
    }
    if (cipher.kind !== "ccm" || !this.#hasRoom()) return undefined;
    const { readKeys, writeKeys } = keys();
    holder.hot = {
      read: new Ccm(readKeys.subarray(0, cipher.key), cipher.tag),
      write: new Ccm(writeKeys.subarray(0, cipher.key), cipher.tag),
      used: true,
    };
    this.#holders.add(holder);
    return holder.hot;
  }

  drop(holder: HotHolder): void {
    holder.hot = undefined;
    this.#holders.delete(holder);
  }

  /** Drops what was not used since the last time. */
  cool(): void {
    for (const holder of this.#holders) {
      if (holder.hot?.used === true) holder.hot.used = false;
      else this.drop(holder);
    }
  }

  #hasRoom(): boolean {
    if (this.#holders.size < this.#limit) return true;
    // A round over all costs as much as it spares others: only after as many were refused.
    if (++this.#refused < this.#limit) return false;
    this.#refused = 0;
    this.cool();
    return this.#holders.size < this.#limit;
  }
}
