import { toHex } from "@godwit/base";
import type { Sealed } from "./nonce-audit.ts";

//   as it was left ──putBack──> put back ──seals under a used nonce──> tainted ──exchanged──> forbidden
//
// A device that was put back to an old copy of its state cannot know it. It may use a nonce twice, the server believes nothing
// sent under one, and with the first answered exchange the device has other keys. Everybody else never uses one twice.

/** What one machine may do with nonces. */
export class PutBackRule {
  #putBack = false;
  /** Keys under which a nonce served twice, since the last answered exchange. */
  readonly #tainted = new Set<string>();
  readonly #forbidden = new Set<string>();
  /** Datagrams that were sealed so. */
  readonly #datagrams = new Set<string>();
  #tainting = false;

  /** From now on an old copy of its state is at work. */
  putBack(): void {
    this.#putBack = true;
  }

  begins(): void {
    this.#tainting = false;
  }

  /** What is wrong with an encryption, if anything. */
  sealed({ key, nonce, reused }: Sealed): string | undefined {
    if (this.#forbidden.has(key))
      return "goes on under keys of which a nonce served twice, after an answered exchange";
    if (!reused) return undefined;
    if (!this.#putBack) return `nonce ${nonce} serves two messages under one key`;
    this.#tainted.add(key);
    this.#tainting = true;
    return undefined;
  }

  sent(bytes: Uint8Array): void {
    if (this.#tainting) this.#datagrams.add(toHex(bytes));
  }

  isTainted(bytes: Uint8Array): boolean {
    return this.#datagrams.size > 0 && this.#datagrams.has(toHex(bytes));
  }

  /** The server has answered what the device asked. */
  exchanged(): void {
    for (const key of this.#tainted) this.#forbidden.add(key);
    this.#tainted.clear();
  }
}
