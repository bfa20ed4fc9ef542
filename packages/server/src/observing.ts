import { checkOptions } from "@godwit/base";
import type { Request } from "@godwit/coap";
import {
  givenPath,
  observeRequest,
  writeAttributesRequest,
  type OperationKind,
} from "@godwit/lwm2m";
import type { Events } from "./events.ts";
import { DeviceError } from "./faults.ts";
import { ObservationLoop, type LoopHost } from "./observation-loop.ts";
import { Observers, keyOf, type Where } from "./observers.ts";
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
  /** Does nothing once the server is closed. */
  cancel(id: string): void;
};

/** The loops of this program over paths of devices. */
export class Observing {
  readonly #host: ObservingHost;
  readonly #observers = new Observers<ObservationLoop>();
  /** Goodbyes that may still wait for their device, by path. */
  readonly #goodbyes = new Map<string, string>();

  constructor(host: ObservingHost) {
    this.#host = host;
  }

  close(): void {
    for (const loop of this.#observers.all()) loop.end();
  }

  /** @throws UsageError for a path or an option that cannot be */
  observe(where: Where, options: ObserveOptions): ObservationLoop {
    checkOptions(`observe ${where.path}`, options, OBSERVE_RULES);
    givenPath(where.path);
    const { signal, expires, owner: _loops, ...attributes } = options;
    const set = Object.entries(attributes).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${value}`],
    );
    const order = expires === undefined ? {} : { expires };
    const asked = { attributes: set.toSorted().join("&"), signal };
    return new ObservationLoop(this.#loopHost(order), where, asked);
  }

  notified(where: Where, answer: Answer, at: number): void {
    for (const loop of this.#observers.at(where)) loop.notified(answer, at);
  }

  changed(event: Events["observation"]): void {
    for (const loop of this.#observers.at(event)) {
      if (event.state === "ended") loop.ended();
      else if (event.state === "refused") loop.refused(event.reason);
    }
  }

  #loopHost(order: OrderOptions): LoopHost {
    const host = this.#host;
    return {
      observers: this.#observers,
      writeAttributes: async (where, attributes) => {
        const request = writeAttributesRequest(givenPath(where.path), attributes.split("&"));
        await succeeded(host.give(where, "writeAttributes", request, order));
      },
      setUp: (where) => {
        this.#takeBackGoodbye(where);
        const request = observeRequest(givenPath(where.path));
        const given = host.give(where, "observe", request, { ...order, owner: LOOPS });
        return { reading: readingIn(given), stop: () => host.cancel(given.id) };
      },
      cancel: (where) => this.#sayGoodbye(where),
    };
  }

  async #sayGoodbye(where: Where): Promise<void> {
    const key = keyOf(where);
    const request = observeRequest(givenPath(where.path));
    const { id, accepted, ended } = this.#host.give(where, "cancelObserve", request, {
      owner: LOOPS,
    });
    this.#goodbyes.set(key, id);
    void ended
      .catch(() => undefined) // the server was closed: the order goes on after its next start
      .then(() => this.#goodbyes.get(key) === id && this.#goodbyes.delete(key));
    await accepted;
  }

  /** A goodbye that still waits for the device would end what begins now. */
  #takeBackGoodbye(where: Where): void {
    const id = this.#goodbyes.get(keyOf(where));
    if (id !== undefined) this.#host.cancel(id);
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

/** Loops are one owner of an observation, as others are that asked by an order. */
const LOOPS = "loops";
