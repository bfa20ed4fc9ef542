import { UsageError } from "@godwit/base";
import type { Reading } from "./reading.ts";

/**
 * The loops of this program over paths of devices. Together they are one owner of what they observe: Observe is sent for the
 * first of them, and taken back after the last.
 *
 * Attributes belong to the path (OMA TS Core 5.1.2). The first loop that names some decides; another one may name the same
 * or none.
 */
export class Observers<Loop> {
  readonly #paths = new Map<string, Path<Loop>>();

  /** A loop begins. @throws UsageError where it names other attributes than those that another loop named */
  join(where: Where, loop: Loop, attributes: string): Path<Loop> {
    const key = keyOf(where);
    const path = this.#paths.get(key) ?? {
      loops: new Set(),
      attributes: "",
      setUp: undefined,
      isSetUp: false,
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
    return path;
  }

  /** Those of one path: a notification concerns no others. */
  at(where: Where): readonly Loop[] {
    const path = this.#paths.get(keyOf(where));
    return path === undefined ? NONE : [...path.loops];
  }

  all(): readonly Loop[] {
    return [...this.#paths.values()].flatMap(({ loops }) => [...loops]);
  }

  /** A loop ends; true: it was the last one of its path. */
  leave(where: Where, loop: Loop): boolean {
    const key = keyOf(where);
    const path = this.#paths.get(key);
    if (path?.loops.delete(loop) !== true || path.loops.size > 0) return false;
    this.#paths.delete(key);
    return true;
  }
}

export type Where = { readonly endpoint: string; readonly path: string };

export type Path<Loop> = {
  readonly loops: Set<Loop>;
  /** Those that loops named, such as "pmin=10&pmax=60"; empty for none. */
  attributes: string;
  /** The Observe under way or done; every loop of the path waits for it. */
  setUp: { readonly reading: Promise<Reading>; stop(): void } | undefined;
  /** The device observes it for us. */
  isSetUp: boolean;
  /** What was heard last, for a loop that joins. */
  last: Reading | undefined;
};

export function keyOf({ endpoint, path }: Where): string {
  return `${endpoint} ${path}`;
}

const NONE: readonly never[] = [];
