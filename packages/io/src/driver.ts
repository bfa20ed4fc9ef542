import {
  Outbox,
  type DatagramEvent,
  type Instant,
  type Machine,
  type StoredInput,
  type StoreOutput,
} from "@godwit/base";
import { systemClock, type Clock } from "./clock.ts";
import { refusalWords, type Store, type StoreError } from "./store.ts";
import { IO_TUNING } from "./tuning.ts";

/**
 * The one loop between a stack of machines and the world.
 *
 *   sockets ─datagram─▶ ┌─────────┐ ─datagram─▶ sockets
 *   store ────stored──▶ │ machine │ ──store───▶ store
 *   timer ─────wake───▶ └─────────┘ ──the rest▶ onOutput
 *   feed ──────────────▶
 *
 * One input at a time; the machine is drained before the next. What arrives while it runs (an answer of the store,
 * a call of `feed` from `onOutput`) waits its turn.
 */
export class Driver<Input, Output extends { readonly type: string }> {
  readonly counters: DriverCounters = {
    datagramsIn: 0,
    datagramsOut: 0,
    wakes: 0,
    faults: 0,
    storeFailures: 0,
  };
  readonly clock: Clock;
  readonly #machine: Machine<Input, Output>;
  readonly #port: DatagramPort | undefined;
  readonly #store: Store | undefined;
  readonly #onOutput: (output: Other<Output>, now: Instant) => void;
  readonly #onFault: (fault: DriverFault) => void;
  readonly #timers: Timers;
  readonly #waiting = new Outbox<Input>();
  #running = false;
  #closing: Promise<void> | undefined;
  #closed = false;
  #timer: unknown;
  /** When the timer fires; Infinity while there is none. */
  #armedFor: Instant = Infinity;
  #pausedUntil: Instant = -Infinity;
  #drainRound = 0;
  #receivedBefore = 0;

  constructor(options: DriverOptions<Input, Output>) {
    this.#machine = options.machine;
    this.#port = options.port;
    this.#store = options.store;
    this.#onOutput = options.onOutput ?? ignore;
    this.#onFault = options.onFault ?? ignore;
    this.#timers = options.timers ?? SYSTEM_TIMERS;
    this.clock = options.clock ?? systemClock();
    this.#port?.listen((event) => {
      if (this.#closing !== undefined) return;
      this.counters.datagramsIn += 1;
      this.#take(event as Input);
    });
    this.#settle(); // what the machine wants from the start: outputs and its first timer
  }

  /**
   * Feeds one input. Throws what the machine throws, a UsageError for one; not if the driver is in the middle of
   * another input, then the input waits and a fault is reported to `onFault`.
   */
  feed(input: Input): void {
    if (this.#closed) return;
    if (this.#running) {
      this.#waiting.push(input);
      return;
    }
    this.#running = true;
    try {
      this.#machine.handle(input, this.clock.now());
    } finally {
      this.#running = false;
      this.#settle();
    }
  }

  /**
   * Takes no more datagrams, sends what waits for the store, then closes store and sockets, in this order. The
   * machine is not told: feed it what makes it say goodbye first.
   */
  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  async #shut(): Promise<void> {
    await this.#store?.flush();
    this.#closed = true;
    this.#timers.clear(this.#timer);
    await this.#store?.close();
    await this.#port?.close();
  }

  #take(input: Input): void {
    if (this.#closed) return;
    if (this.#running) {
      this.#waiting.push(input);
      return;
    }
    this.#running = true;
    this.#handle(input);
    this.#drain();
    if (this.#waiting.size > 0) this.#work();
    this.#running = false;
    this.#arm();
  }

  #settle(): void {
    this.#running = true;
    this.#drain();
    this.#work();
    this.#running = false;
    this.#arm();
  }

  /** What came in meanwhile. */
  #work(): void {
    for (let input = this.#waiting.take(); input !== undefined; input = this.#waiting.take()) {
      this.#handle(input);
      this.#drain();
    }
  }

  #handle(input: Input): void {
    try {
      this.#machine.handle(input, this.clock.now());
    } catch (error) {
      this.#fault({ during: "handle", input, error });
    }
  }

  #drain(): void {
    for (;;) {
      let output: Output | undefined;
      try {
        output = this.#machine.poll();
      } catch (error) {
        return this.#fault({ during: "poll", input: undefined, error });
      }
      if (output === undefined) return;
      try {
        this.#dispatch(output);
      } catch (error) {
        this.#fault({ during: "output", input: output, error });
      }
    }
  }

  #dispatch(output: Output): void {
    if (isDatagram(output)) {
      this.counters.datagramsOut += 1;
      this.#port?.send(output);
    } else if (isStore(output)) {
      this.#write(output);
    } else {
      this.#onOutput(output as Other<Output>, this.clock.now());
    }
  }

  #write({ ticket, changes }: StoreOutput): void {
    const answer = (error?: StoreError): void => {
      if (error !== undefined) {
        this.counters.storeFailures += 1;
        this.#onFault({ during: "store", input: undefined, error });
      }
      const stored: StoredInput =
        error === undefined
          ? { type: "stored", ticket, ok: true }
          : { type: "stored", ticket, ok: false, why: refusalWords(error) };
      this.#take(stored as Input);
    };
    if (this.#store === undefined) answer();
    else this.#store.write(changes, answer);
  }

  #arm(): void {
    const next = this.#machine.wakeAt;
    // A timer that fires too early is looked at again then; moving it back each time would cost more.
    if (next === undefined || next >= this.#armedFor || this.#closed) return;
    this.#timers.clear(this.#timer);
    const now = this.clock.now();
    const delay = Math.ceil(Math.max(next, this.#pausedUntil) - now);
    const leg = Math.min(Math.max(delay, 1), IO_TUNING.longestTimer);
    this.#armedFor = next;
    this.#timer = this.#timers.set(this.#due, leg);
  }

  /**
   * After a stall of the event loop timers run before the sockets are read, so an answer that has long arrived
   * would be late by our own fault. So the sockets are read first: a turn of the loop, and another for as long as
   * they deliver as much as one turn can.
   */
  readonly #due = (): void => {
    this.#timer = undefined;
    this.#armedFor = -Infinity; // not to be armed again before the sockets were read
    this.#drainRound = 0;
    this.#receivedBefore = this.counters.datagramsIn;
    this.#timers.afterInput(this.#afterInput);
  };

  readonly #afterInput = (): void => {
    if (this.#closed) return;
    const received = this.counters.datagramsIn - this.#receivedBefore;
    this.#drainRound += 1;
    if (received >= PER_TURN && this.#drainRound < IO_TUNING.drainRounds) {
      this.#receivedBefore = this.counters.datagramsIn;
      this.#timers.afterInput(this.#afterInput);
      return;
    }
    this.#armedFor = Infinity;
    this.#wake();
  };

  #wake(): void {
    const next = this.#machine.wakeAt;
    const now = this.clock.now();
    if (next === undefined || next > now || this.#pausedUntil > now) return this.#arm();
    this.#running = true;
    this.counters.wakes += 1;
    try {
      this.#machine.wake(now);
    } catch (error) {
      this.#pausedUntil = now + IO_TUNING.faultPause;
      this.#fault({ during: "wake", input: undefined, error });
    }
    this.#settle();
  }

  #fault(fault: DriverFault): void {
    this.counters.faults += 1;
    this.#onFault(fault);
  }
}

/** Where datagrams come from and go to. */
export interface DatagramPort {
  /** Sets who gets what arrives; once. */
  listen(receive: (event: DatagramEvent) => void): void;
  /** Sends from the socket of `event.path.local`. Never throws, never waits; failures are counted. */
  send(event: DatagramEvent): void;
  close(): Promise<void>;
}

export type DriverOptions<Input, Output extends { readonly type: string }> = {
  readonly machine: Machine<Input, Output>;
  readonly port?: DatagramPort;
  /** Without one, what is to be stored is answered as stored at once. */
  readonly store?: Store;
  readonly clock?: Clock;
  readonly timers?: Timers;
  /** Every output that is neither a datagram nor for the store. */
  readonly onOutput?: (output: Other<Output>, now: Instant) => void;
  /** Our own bugs and the store's failures. One of them costs the input it struck, not the process. */
  readonly onFault?: (fault: DriverFault) => void;
};

/** The outputs of a machine that its driver does not carry out itself. */
export type Other<Output> = Exclude<Output, DatagramEvent | StoreOutput>;

export type DriverFault = {
  /** `output`: while it was carried out, by `onOutput` for one. */
  readonly during: "handle" | "poll" | "wake" | "output" | "store";
  /** What was being handled or carried out. May hold secrets: not for logs. */
  readonly input: unknown;
  readonly error: unknown;
};

export type DriverCounters = {
  datagramsIn: number;
  datagramsOut: number;
  wakes: number;
  /** Exceptions out of the machine or out of `onOutput`. */
  faults: number;
  storeFailures: number;
};

/** The event loop's timers, replaced in tests. */
export interface Timers {
  set(run: () => void, delay: number): unknown;
  clear(timer: unknown): void;
  /** Runs after the sockets have been read once. */
  afterInput(run: () => void): void;
}

const SYSTEM_TIMERS: Timers = {
  set: (run, delay) => setTimeout(run, delay),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
  afterInput: (run) => setImmediate(run),
};

function isDatagram(output: { readonly type: string }): output is DatagramEvent {
  return output.type === "datagram";
}

function isStore(output: { readonly type: string }): output is StoreOutput {
  return output.type === "store";
}

function ignore(): void {}

/** libuv reads up to 32 datagrams of a socket before it goes on. */
const PER_TURN = 32;
