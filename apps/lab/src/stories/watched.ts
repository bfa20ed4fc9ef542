import type { DatagramEvent, Instant, Machine } from "@godwit/base";

/**
 * A machine under observation: who seals is known, what it throws is a fault of the story and not its end, and what
 * it says can be looked at before it leaves. It is told whole milliseconds, as by the clock of production.
 */
export class Watched<
  I extends { readonly type: string },
  O extends { readonly type: string },
> implements Machine<I, O> {
  readonly #machine: Machine<I, O>;
  readonly #watch: Watch<O>;
  #broken = false;

  constructor(machine: Machine<I, O>, watch: Watch<O>) {
    this.#machine = machine;
    this.#watch = watch;
  }

  get wakeAt(): Instant | undefined {
    const at = this.#broken ? undefined : this.#machine.wakeAt;
    return at && Math.ceil(at);
  }

  handle(input: I | DatagramEvent, now: Instant): void {
    this.#watch.begins(input.type === "datagram" ? (input as DatagramEvent) : undefined);
    this.#guarded("handle", () => this.#machine.handle(input as I, Math.floor(now)));
  }

  wake(now: Instant): void {
    this.#watch.begins(undefined);
    this.#guarded("wake", () => this.#machine.wake(Math.floor(now)));
  }

  poll(): O | undefined {
    const output = this.#guarded("poll", () => this.#machine.poll());
    if (output !== undefined) this.#watch.said(output);
    return output;
  }

  #guarded<T>(during: string, run: () => T): T | undefined {
    if (this.#broken) return undefined;
    this.#watch.enters();
    try {
      return run();
    } catch (fault) {
      this.#broken = true;
      this.#watch.threw(during, fault);
      return undefined;
    } finally {
      this.#watch.leaves();
    }
  }
}

export type Watch<O> = {
  /** Another input; the datagram, if it is one. */
  begins(datagram: DatagramEvent | undefined): void;
  /** The machine runs from here on. */
  enters(): void;
  leaves(): void;
  said(output: O): void;
  threw(during: string, fault: unknown): void;
};
