import { UsageError, checkName } from "@godwit/base";
import { isThenable } from "./waiting.ts";

/**
 * Listeners by event name, of one object of an SDK. A listener that throws, or returns a promise that rejects, harms nobody
 * else: its error goes to `onFault`, with the name of the event.
 */
export class Listeners<Events> {
  readonly #names: readonly string[];
  readonly #onFault: (fault: unknown, name: keyof Events & string) => void;
  readonly #sets = new Map<keyof Events, Set<Listener>>();

  /** `names`: every event there is. */
  constructor(
    names: Readonly<Record<keyof Events & string, true>>,
    onFault: (fault: unknown, name: keyof Events & string) => void,
  ) {
    this.#names = Object.keys(names);
    this.#onFault = onFault;
  }

  /** Returns what takes the listener away again. @throws UsageError for a name that is no event's, or no function */
  on<K extends keyof Events & string>(
    name: K,
    listener: (event: Events[K]) => unknown,
  ): () => void {
    checkName("on()", "event", name, this.#names);
    if (typeof listener !== "function") {
      throw new UsageError(`on("${name}"): a listener is a function`, "INVALID_OPTION");
    }
    const set = this.#sets.get(name) ?? new Set();
    this.#sets.set(name, set);
    set.add(listener as Listener);
    return () => void set.delete(listener as Listener);
  }

  /** Whether anybody listens: what is made for listeners alone need not be made. */
  has(name: keyof Events): boolean {
    return (this.#sets.get(name)?.size ?? 0) > 0;
  }

  emit<K extends keyof Events & string>(name: K, event: Events[K]): void {
    for (const listener of this.#sets.get(name) ?? []) {
      try {
        const returned = listener(event);
        if (isThenable(returned)) {
          returned.then(undefined, (fault: unknown) => this.#onFault(fault, name));
        }
      } catch (fault) {
        this.#onFault(fault, name);
      }
    }
  }
}

type Listener = (event: unknown) => unknown;
