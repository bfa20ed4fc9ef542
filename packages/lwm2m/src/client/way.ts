import type { Instant } from "@godwit/base";
import type { KeepAlive } from "./keep-alive.ts";
import type { PathKind } from "./options.ts";
import type { ClientTuning } from "./tuning.ts";

//   open ──silence longer than the NAT remembers──> unsure ──something to report──> shut ──Update or Register answered──> open
//     └────────── an Update or a notification was not answered ─────────────────────^
//
// Known by its keys (`followed`, `bound`), a device is known after any silence. What may be lost for other reasons, a restart of
// the NAT or of the server, or a server that was put back to before our session, is confirmable now and then.

/**
 * Whether what we say of our own accord reaches the server as ours. `open`: it does, as far as known. `unsure`: a NAT may have
 * given us another address meanwhile, and the server drops what comes from there. `shut`: nothing is reported before an answer.
 */
export class Way {
  readonly #kind: () => PathKind;
  readonly #keepAlive: KeepAlive;
  readonly #tuning: ClientTuning;
  /** The last datagram by which the NAT still knew us. */
  #knownAt: Instant = Number.NEGATIVE_INFINITY;
  /** The last word of the server, or the last question for one. */
  #askedAt: Instant = Number.NEGATIVE_INFINITY;
  #shut = true;

  /** `keepAlive`: what is known of the NAT. */
  constructor(kind: () => PathKind, keepAlive: KeepAlive, tuning: ClientTuning) {
    this.#kind = kind;
    this.#keepAlive = keepAlive;
    this.#tuning = tuning;
  }

  get kind(): PathKind {
    return this.#kind();
  }

  get isShut(): boolean {
    return this.#shut;
  }

  isOpen(now: Instant): boolean {
    if (this.#shut) return false;
    const { kind } = this;
    return kind === "followed" || kind === "bound" || !this.#isForgotten(now);
  }

  /** The server answered a Register or Update: it knows where we are. */
  known(now: Instant): void {
    this.#shut = false;
    this.#knownAt = now;
    this.#askedAt = now;
  }

  /**
   * The server asked something, and it reached us. On plain UDP it may have been meant for whoever stood at our address before us:
   * it shows where we are to nobody who did not know.
   */
  asked(now: Instant): void {
    if (this.#kind() === "address" && (this.#shut || this.#isForgotten(now))) return;
    this.known(now);
  }

  /** Whether what is reported now should be acknowledged. Asked once, it is taken for done: what is not acknowledged comes back. */
  wantsProof(now: Instant): boolean {
    const { kind } = this;
    const { proofInterval, followedProofInterval, shortestBinding } = this.#tuning;
    const silence = now - this.#knownAt;
    const doubtful =
      kind === "address" || kind === "session"
        ? silence > shortestBinding && !this.#keepAlive.isKnown
        : kind === "bound" && this.#isForgotten(now);
    const interval = kind === "followed" ? followedProofInterval : proofInterval;
    if (!doubtful && now - this.#askedAt < interval) return false;
    this.#askedAt = now;
    this.#knownAt = now;
    return true;
  }

  /** Something was sent: a mapping that lives does so for longer. */
  used(now: Instant): void {
    if (!this.#isForgotten(now)) this.#knownAt = now;
  }

  /** Nothing is reported until `known`. */
  shut(): void {
    this.#shut = true;
  }

  #isForgotten(now: Instant): boolean {
    return now - this.#knownAt > this.#keepAlive.remembered;
  }
}
