/**
 * How much one datagram is worth. Its records come from one sender, so what is in vain costs once: nothing behind it is looked
 * at, unless a record before it has verified.
 */
export class DatagramEffort {
  #hasVerified = false;
  #hasGreeted = false;
  #fragments = 0;
  /** What is left of the datagram is not looked at. */
  isOver = false;

  /** The next datagram. */
  begin(): void {
    this.#hasVerified = false;
    this.#hasGreeted = false;
    this.#fragments = 0;
    this.isOver = false;
  }

  /** A record verified, or did not. */
  record(hasVerified: boolean): void {
    if (hasVerified) this.#hasVerified = true;
    else if (!this.#hasVerified) this.isOver = true;
  }

  /** A hello was asked for a cookie: nobody is there yet whose the rest could be. */
  asked(): void {
    this.isOver = true;
  }

  /** Whether this is the first hello; another one is not looked at. */
  greets(): boolean {
    const isFirst = !this.#hasGreeted;
    this.#hasGreeted = true;
    return isFirst;
  }

  /** Parts of handshake messages were looked at. */
  parts(fragments: number): void {
    this.#fragments += fragments;
    if (this.#fragments > MAX_FRAGMENTS) this.record(false);
  }
}

/** In one datagram. */
const MAX_FRAGMENTS = 24;
