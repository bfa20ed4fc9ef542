import { checkOptions } from "@godwit/base";
import type { Request } from "@godwit/coap";
import type { Store, StoreError } from "@godwit/io";
import {
  givenPath,
  observeRequest,
  readRequest,
  writeAttributesRequest,
  type OperationKind,
} from "@godwit/lwm2m";
import { DeviceError } from "./faults.ts";
import { ObservationLoop, type LoopHost } from "./observation-loop.ts";
import { OBSERVER_TABLE, Observers, type Where } from "./observers.ts";
import { OBSERVE_RULES, type ObserveOptions, type OrderOptions } from "./options.ts";
import { readingOf, type Reading } from "./reading.ts";
import type { Answer, Task } from "./task.ts";

/** An order that was given: its task once it is durable, and once it has ended. */
export type Given = {
  readonly id: string;
  readonly accepted: Promise<Task>;
  readonly ended: Promise<Task>;
};

/** What observing needs of its server. */
export type ObservingHost = {
  give(where: Where, kind: OperationKind, request: Request, options: OrderOptions): Given;
  tasksOf(endpoint: string): readonly Task[];
  /** Does nothing once the server is closed. */
  cancel(id: string): void;
  isObserved(where: Where): boolean;
};

/** The loops of this program over paths of devices, and who owns what is observed. */
export class Observing {
  readonly #host: ObservingHost;
  readonly #loops = new Set<ObservationLoop>();
  #observers = new Observers<ObservationLoop>([], () => undefined);

  constructor(host: ObservingHost) {
    this.#host = host;
  }

  /** What an earlier run knew of owners. */
  restore(store: Store, onFault: (fault: StoreError) => void): void {
    this.#observers = new Observers(
      [...store.load(OBSERVER_TABLE)].map(({ key }) => key),
      (change) => store.write([change], (fault) => fault && onFault(fault)),
    );
  }

  close(): void {
    for (const loop of [...this.#loops]) loop.end();
  }

  /** @throws UsageError for a path or an option that cannot be */
  observe(where: Where, options: ObserveOptions): ObservationLoop {
    checkOptions(`observe ${where.path}`, options, OBSERVE_RULES);
    givenPath(where.path);
    const { signal, expires, ...attributes } = options;
    const set = Object.entries(attributes).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${value}`],
    );
    const order = expires === undefined ? {} : { expires };
    const asked = { attributes: set.toSorted().join("&"), signal };
    return new ObservationLoop(this.#loopHost(order), where, asked);
  }

  /** Somebody observes by an order. */
  ask(where: Where): void {
    this.#observers.ask(where);
  }

  /** Who did no longer wants to; true: no loop needs the path either. */
  release(where: Where): boolean {
    return this.#observers.release(where);
  }

  notified(where: Where, answer: Answer, at: number): void {
    for (const loop of [...this.#loops]) loop.notified(where, answer, at);
  }

  /** An observation is no more; another one may have taken its place. */
  ended(where: Where): void {
    if (this.#host.isObserved(where)) return;
    for (const loop of [...this.#loops]) loop.ended(where);
    this.#observers.over(where);
  }

  /** An Observe of anybody was answered, or ended without an answer. */
  tried(task: Task): void {
    if (task.answer?.success) return;
    for (const loop of [...this.#loops]) loop.refused(task);
  }

  #loopHost(order: OrderOptions): LoopHost {
    const host = this.#host;
    return {
      observers: this.#observers,
      loops: this.#loops,
      isObserved: (where) => host.isObserved(where),
      writeAttributes: async (where, attributes) => {
        const request = writeAttributesRequest(givenPath(where.path), attributes.split("&"));
        await succeeded(host.give(where, "writeAttributes", request, order));
      },
      setUp: (where) => {
        this.#takeBackGoodbye(where);
        const given = host.give(where, "observe", observeRequest(givenPath(where.path)), order);
        const reading = readingIn(given).then((first) => {
          if (host.isObserved(where)) return first;
          const words = `the device answered but does not observe ${where.path}: read it instead`;
          throw new DeviceError("NOT_OBSERVED", words);
        });
        return { reading, stop: () => host.cancel(given.id) };
      },
      read: (where) => {
        this.#takeBackGoodbye(where);
        return readingIn(host.give(where, "read", readRequest(givenPath(where.path)), order));
      },
      cancel: async (where) => {
        if (!host.isObserved(where)) return;
        await host.give(where, "cancelObserve", observeRequest(givenPath(where.path)), {}).accepted;
      },
    };
  }

  /** A goodbye that still waits for the device would end what begins now. */
  #takeBackGoodbye({ endpoint, path }: Where): void {
    for (const task of this.#host.tasksOf(endpoint)) {
      if (task.operation !== "cancelObserve" || task.path !== path) continue;
      if (task.endedAt === undefined) this.#host.cancel(task.id);
    }
  }
}

async function succeeded({ ended }: Given): Promise<Task & { readonly answer: Answer }> {
  const task = await ended;
  const { answer } = task;
  if (answer?.success) return { ...task, answer };
  throw DeviceError.of(task);
}

async function readingIn(given: Given): Promise<Reading> {
  const { endpoint, path, answer, endedAt } = await succeeded(given);
  return readingOf(endpoint, path, answer, endedAt ?? Date.now());
}
