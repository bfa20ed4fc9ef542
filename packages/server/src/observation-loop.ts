// One `for await` over a path of a device.
//
//   new ──next──> opening ──first reading──> open ──> over
//                    │ (refused)                │ (left, ended, aborted, server closed)
//                    └──────────────────────────┴──> over

import { onAbort } from "@godwit/io";
import { DeviceError } from "./faults.ts";
import { Feed } from "./feed.ts";
import type { Observers, Path, Where } from "./observers.ts";
import { readingOf, type Reading } from "./reading.ts";
import type { Answer } from "./task.ts";

/** What a loop needs of its server. */
export type LoopHost = {
  readonly observers: Observers<ObservationLoop>;
  writeAttributes(where: Where, attributes: string): Promise<void>;
  /** Sends Observe; the reading is the answer's. `stop` gives it up. */
  setUp(where: Where): { readonly reading: Promise<Reading>; stop(): void };
  /** No loop wants to hear of the path any more. Resolves once that is noted, not once the device knows. */
  cancel(where: Where): Promise<void>;
};

export class ObservationLoop implements AsyncIterableIterator<Reading, void, void> {
  readonly #host: LoopHost;
  readonly #where: Where;
  readonly #attributes: string;
  readonly #signal: AbortSignal | undefined;
  readonly #feed = new Feed<Reading>();
  /** Heard before the first reading, which is older. */
  #early: Reading[] = [];
  #path: Path<ObservationLoop> | undefined;
  /** To the signal. */
  #listenNoMore: (() => void) | undefined;
  #state: "new" | "opening" | "open" | "over" = "new";

  /** `attributes`: such as "pmin=10&pmax=60". */
  constructor(
    host: LoopHost,
    where: Where,
    {
      attributes,
      signal,
    }: { readonly attributes: string; readonly signal: AbortSignal | undefined },
  ) {
    this.#host = host;
    this.#where = where;
    this.#attributes = attributes;
    this.#signal = signal;
  }

  next(): Promise<IteratorResult<Reading, void>> {
    if (this.#state === "new") void this.#open();
    return this.#feed.next();
  }

  /** Leaves the loop, also while a `next` waits. */
  async return(): Promise<IteratorResult<Reading, void>> {
    await this.#leave();
    return await this.#feed.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** A notification of this path, or its end. */
  notified(answer: Answer, at: number): void {
    const { endpoint, path } = this.#where;
    try {
      const reading = readingOf(endpoint, path, answer, at);
      if (this.#path !== undefined) this.#path.last = reading;
      if (this.#state === "opening") this.#early.push(reading);
      else this.#feed.push(reading);
    } catch (fault) {
      this.fail(fault);
    }
  }

  /** Nobody wants the observation any more. */
  ended(): void {
    if (this.#state === "open") this.end();
  }

  /** The device does not observe the path any more, and says why. */
  refused(reason: string): void {
    if (this.#state !== "open") return;
    const { endpoint, path } = this.#where;
    const words = `${path} of ${endpoint} is no longer observed: ${reason}`;
    this.fail(new DeviceError("NOT_OBSERVED", words));
  }

  /** The readings that are here are still read. */
  end(): void {
    this.#over();
    this.#feed.end();
  }

  fail(fault: unknown): void {
    void this.#leave();
    this.#feed.fail(fault);
  }

  async #open(): Promise<void> {
    this.#state = "opening";
    const { observers } = this.#host;
    try {
      this.#signal?.throwIfAborted();
      const path = observers.join(this.#where, this, this.#attributes);
      this.#path = path;
      if (this.#signal) this.#listenNoMore = onAbort(this.#signal, (why) => this.fail(why));
      if (this.#attributes !== "" && path.attributes === "") {
        path.attributes = this.#attributes;
        await this.#host.writeAttributes(this.#where, this.#attributes);
      }
      const first = await this.#first(path);
      path.isSetUp = true;
      path.last ??= first;
      if (this.#isOver) return;
      this.#state = "open";
      for (const reading of [first, ...this.#early]) this.#feed.push(reading);
      this.#early = [];
    } catch (fault) {
      this.fail(fault);
    }
  }

  /** What was heard last, else the answer to the Observe that all loops of the path share. */
  async #first(path: Path<ObservationLoop>): Promise<Reading> {
    if (path.setUp !== undefined) return path.last ?? (await path.setUp.reading);
    path.setUp = this.#host.setUp(this.#where);
    try {
      return await path.setUp.reading;
    } catch (fault) {
      path.setUp = undefined; // who joins later tries again
      throw fault;
    }
  }

  async #leave(): Promise<void> {
    if (!this.#over()) return;
    if (this.#path?.isSetUp !== true) {
      this.#path?.setUp?.stop();
      return;
    }
    await this.#host.cancel(this.#where).catch(() => undefined); // the server may be closed: then it goes on after its next start
  }

  /** True: nobody is left who wants to hear of the path. */
  #over(): boolean {
    if (this.#isOver) return false;
    this.#state = "over";
    this.#listenNoMore?.();
    return this.#host.observers.leave(this.#where, this);
  }

  get #isOver(): boolean {
    return this.#state === "over";
  }
}
