import { EMPTY, UsageError, type StoreChange } from "@godwit/base";
import type { Reading } from "./reading.ts";

/**
 * Who wants to hear of which path of a device. Observe is set up once per path, whoever asks; the observation ends when its
 * last owner leaves. Owners are loops of this program, and whoever asked by `Server.order`, as the REST API does: that claim
 * outlives a restart, a loop's does not.
 *
 * Attributes belong to the path (OMA TS Core 5.1.2). The first loop that names some decides; another one may name the same
 * or none.
 */
export class Observers<Loop> {
  readonly #paths = new Map<string, Path<Loop>>();
  /** Observations in the store that only loops of an earlier run had asked for. */
  readonly #ofLoops: Set<string>;
  readonly #write: (change: StoreChange) => void;

  /** `stored`: the keys of `OBSERVER_TABLE`. */
  constructor(stored: Iterable<string>, write: (change: StoreChange) => void) {
    this.#ofLoops = new Set(stored);
    this.#write = write;
  }

  /**
   * A loop begins. `observed`: the path is observed already; unless only loops are known to have asked for it, somebody else
   * has.
   *
   * @throws UsageError where it names other attributes than those that another loop named
   */
  join(
    where: Where,
    loop: Loop,
    { observed, attributes }: { readonly observed: boolean; readonly attributes: string },
  ): Path<Loop> {
    const key = keyOf(where);
    const path = this.#paths.get(key) ?? {
      loops: new Set(),
      asked: observed && !this.#ofLoops.has(key),
      attributes: "",
      setUp: undefined,
      last: undefined,
    };
    if (attributes !== "" && path.attributes !== "" && attributes !== path.attributes) {
      throw new UsageError(
        `${where.path} of ${where.endpoint} is observed with ${path.attributes}: attributes are one set per path, so ${attributes} must wait until that loop has ended`,
        "OBSERVE_CONFLICT",
      );
    }
    this.#paths.set(key, path);
    path.loops.add(loop);
    if (!path.asked) this.#keep(key);
    return path;
  }

  /** A loop ends; true: nobody is left who wants to hear of the path. */
  leave(where: Where, loop: Loop): boolean {
    const key = keyOf(where);
    const path = this.#paths.get(key);
    if (path?.loops.delete(loop) !== true || path.loops.size > 0) return false;
    this.#paths.delete(key);
    return !path.asked;
  }

  /** Somebody asks by `Server.order`. */
  ask(where: Where): void {
    const key = keyOf(where);
    const path = this.#paths.get(key);
    if (path !== undefined) path.asked = true;
    this.#drop(key);
  }

  /** Who asked by `Server.order` no longer wants to hear of it; true: nobody else is left. */
  release(where: Where): boolean {
    const key = keyOf(where);
    const path = this.#paths.get(key);
    if (path === undefined) return true;
    path.asked = false;
    this.#keep(key);
    return false;
  }

  /** The device or the server has ended the observation. */
  over(where: Where): void {
    const key = keyOf(where);
    this.#paths.delete(key);
    this.#drop(key);
  }

  #keep(key: string): void {
    if (this.#ofLoops.has(key)) return;
    this.#ofLoops.add(key);
    this.#write({ table: OBSERVER_TABLE, key, value: EMPTY });
  }

  #drop(key: string): void {
    if (!this.#ofLoops.delete(key)) return;
    this.#write({ table: OBSERVER_TABLE, key, value: undefined });
  }
}

export type Where = { readonly endpoint: string; readonly path: string };

export type Path<Loop> = {
  readonly loops: Set<Loop>;
  /** By `Server.order`. */
  asked: boolean;
  /** Those that loops named, such as "pmin=10&pmax=60"; empty for none. */
  attributes: string;
  /** The Observe under way or done; every loop of the path waits for it. */
  setUp: { readonly reading: Promise<Reading>; stop(): void } | undefined;
  /** What was heard last, for a loop that joins. */
  last: Reading | undefined;
};

/** Observations that only loops have asked for: key as of `keyOf`, no value. */
export const OBSERVER_TABLE = "observer";

function keyOf({ endpoint, path }: Where): string {
  return `${endpoint} ${path}`;
}
