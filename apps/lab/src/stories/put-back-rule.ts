import { toHex } from "@godwit/base";
import type { Sealed } from "./nonce-audit.ts";

//   as it was left ──putBack──> put back ──the server refuses what is under a used nonce──> tainted ──exchanged──> forbidden
//
// A device that was put back to an old copy of its state cannot know it. It may use a nonce twice; a server that remembers that it
// received something under it believes nothing of that, and with the first answered exchange the device has other keys. Everybody
// else never uses one twice. Of OSCORE only requests are meant: RFC 8613 7.4 has no window for notifications.

/** What one machine may do with nonces. */
export class PutBackRule {
  #putBack = false;
  /** Keys of which a nonce that the server has seen served twice, since the last answered exchange. */
  readonly #tainted = new Set<string>();
  readonly #forbidden = new Set<string>();
  /** Datagrams that were sealed so, with their keys. */
  readonly #doubtful = new Map<string, readonly string[]>();
  /** What was sealed for each datagram, until it is received. */
  readonly #sealsOf = new Map<string, readonly Sealed[]>();
  /** Key and nonce of what the server has received. */
  readonly #received = new Set<string>();
  #sealing: Sealed[] = [];

  /** From now on an old copy of its state is at work. */
  putBack(): void {
    this.#putBack = true;
    this.#tainted.clear();
    this.#forbidden.clear();
  }

  /** The machine gets another input. */
  begins(): void {
    this.#sealing = [];
  }

  /** What is wrong with an encryption, if anything. */
  sealed(seal: Sealed): string | undefined {
    const { key, nonce, reused } = seal;
    if (this.#forbidden.has(key))
      return "goes on under keys of which a nonce served twice, after an answered exchange";
    this.#sealing.push(seal);
    return reused && !this.#putBack
      ? `nonce ${nonce} serves two messages under one key`
      : undefined;
  }

  /** It sent what it sealed since its last input. */
  sent(bytes: Uint8Array): void {
    if (this.#sealing.length === 0) return;
    const datagram = toHex(bytes);
    this.#sealsOf.set(datagram, this.#sealing);
    const keys = this.#sealing
      .filter(({ key, nonce, reused }) => reused && this.#received.has(`${key} ${nonce}`))
      .map(({ key }) => key); // of the others nobody has seen the first one
    if (keys.length > 0) this.#doubtful.set(datagram, keys);
  }

  /**
   * The server receives a datagram. Whether it was sealed under a nonce under which it has received another. `isHeard`: what the
   * server says to that reaches the device, which else cannot know of it.
   */
  received(bytes: Uint8Array, isHeard = true): boolean {
    if (this.#sealsOf.size === 0) return false;
    const datagram = toHex(bytes);
    const seals = this.#sealsOf.get(datagram) ?? [];
    for (const { key, nonce } of seals) this.#received.add(`${key} ${nonce}`);
    const keys = this.#doubtful.get(datagram) ?? [];
    if (isHeard) for (const key of keys) this.#tainted.add(key);
    return keys.length > 0;
  }

  /** The server does not know any more what it received: its process was killed, or its directory put back. */
  serverForgets(): void {
    this.#received.clear();
    this.#doubtful.clear();
    this.#tainted.clear();
  }

  /** The server has answered what the device asked. */
  exchanged(): void {
    for (const key of this.#tainted) this.#forbidden.add(key);
    this.#tainted.clear();
  }
}
