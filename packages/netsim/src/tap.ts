import type { Core } from "./core.ts";
import type { Sighting } from "./link.ts";
import type { Packet } from "./packet.ts";
import { TUNING } from "./tuning.ts";

/** What becomes of a datagram at a tap: it passes (also for `undefined`), is dropped, held, or passes with other bytes. */
export type Verdict = "pass" | "drop" | "hold" | { readonly bytes: Uint8Array } | undefined;
export type TapFilter = (sighting: Sighting) => Verdict | void;

/** A hand on the wire: sees every datagram at one end of a link, before the link has it. */
export class Tap {
  readonly #core: Core;
  readonly #filter: TapFilter;
  readonly #pass: (packet: Packet) => void;
  readonly #detach: () => void;
  readonly #held: Packet[] = [];

  /** @internal */
  constructor(core: Core, filter: TapFilter, pass: (packet: Packet) => void, detach: () => void) {
    this.#core = core;
    this.#filter = filter;
    this.#pass = pass;
    this.#detach = detach;
  }

  /** How many are held. */
  get held(): number {
    return this.#held.length;
  }

  /** Lets the first `n` held datagrams go on, in the order they came. */
  release(n: number = this.#held.length): void {
    for (const packet of this.#held.splice(0, n)) {
      this.#core.inFlight--;
      this.#pass(packet);
    }
  }

  /** Ends it. What it holds is dropped. */
  remove(): void {
    this.#detach();
    for (const packet of this.#held.splice(0)) {
      this.#core.inFlight--;
      this.#core.drop(packet, "tap");
    }
  }

  /** @internal */
  admit(packet: Packet, sighting: Sighting): boolean {
    const verdict = this.#filter({ ...sighting, bytes: packet.bytes });
    if (verdict === undefined || verdict === "pass") return true;
    if (typeof verdict === "object") {
      packet.bytes = new Uint8Array(verdict.bytes);
      return true;
    }
    if (verdict === "drop") this.#core.drop(packet, "tap");
    else if (this.#held.length >= TUNING.maxHeld) this.#core.drop(packet, "held-full");
    else {
      this.#core.inFlight++;
      this.#held.push(packet);
    }
    return false;
  }
}
