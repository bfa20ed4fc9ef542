import type { Instant } from "@godwit/base";
import type { PathKind } from "./options.ts";

//   open ──silence longer than the NAT remembers──> unsure ──something to report──> shut ──Update or Register answered──> open
//     └────────── an Update or a notification was not answered ─────────────────────^
//
// Known by its keys (`followed`), a device is known after any silence.

/**
 * Whether what we say of our own accord reaches the server as ours. `open`: it does, as far as known. `unsure`: a NAT may have
 * given us another address meanwhile, and the server drops what comes from there. `shut`: nothing is reported before an answer.
 */
export class Way {
  readonly #kind: () => PathKind;
  readonly #remembered: () => number;
  /** The last datagram by which the NAT still knew us. */
  #knownAt: Instant = Number.NEGATIVE_INFINITY;
  #shut = true;

  /** `remembered`: ms that a NAT keeps a mapping without traffic. */
  constructor(kind: () => PathKind, remembered: () => number) {
    this.#kind = kind;
    this.#remembered = remembered;
  }

  get kind(): PathKind {
    return this.#kind();
  }

  get isShut(): boolean {
    return this.#shut;
  }

  isOpen(now: Instant): boolean {
    if (this.#shut) return false;
    return now - this.#knownAt <= this.#remembered() || this.kind === "followed";
  }

  /** The server answered a Register or Update, or asked us something: it knows where we are. */
  known(now: Instant): void {
    this.#shut = false;
    this.#knownAt = now;
  }

  /** Something was sent: a mapping that lives does so for longer. */
  used(now: Instant): void {
    if (now - this.#knownAt <= this.#remembered()) this.#knownAt = now;
  }

  /** Nothing is reported until `known`. */
  shut(): void {
    this.#shut = true;
  }
}
