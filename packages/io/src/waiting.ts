import { setMaxListeners } from "node:events";

/** Something that a program was to do, or to answer, took too long. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
  readonly code = "TIMEOUT";
}

/**
 * What a program's function returns, or its promise resolves to; rejects with TimeoutError after `limit` ms. A function that
 * returns at once costs no timer.
 */
export async function within<T>(
  limit: number,
  what: string,
  run: () => T | PromiseLike<T>,
): Promise<T> {
  const returned = run();
  if (!isThenable(returned)) return returned;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new TimeoutError(`${what} did not end within ${limit / 1_000} s`));
    }, limit);
  });
  try {
    return await Promise.race([returned, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Promises under way that end, at the latest, when their owner ends or when their caller's signal says so. */
export class Waiting {
  readonly #rejects = new Set<(why: unknown) => void>();

  /**
   * `begin` starts what is waited for and returns what takes it back; that runs however the promise ends. Rejects with the
   * signal's reason, or with what `endAll` was given.
   */
  wait<T>(
    signal: AbortSignal | undefined,
    begin: (resolve: (value: T) => void, reject: (why: unknown) => void) => () => void,
  ): Promise<T> {
    if (signal?.aborted) return Promise.reject(reasonOf(signal));
    return new Promise<T>((resolve, reject) => {
      let takeBack: (() => void) | undefined;
      let over = false;
      const end = (): void => {
        over = true;
        this.#rejects.delete(fail);
        listenNoMore?.();
        takeBack?.();
      };
      const fail = (why: unknown): void => {
        end();
        reject(why as Error);
      };
      this.#rejects.add(fail);
      const listenNoMore = signal && onAbort(signal, fail);
      try {
        takeBack = begin((value) => {
          end();
          resolve(value);
        }, fail);
        if (over) takeBack();
      } catch (fault) {
        fail(fault);
      }
    });
  }

  /** Rejects every promise that is under way. */
  endAll(why: Error): void {
    for (const reject of [...this.#rejects]) reject(why);
  }
}

/** `aborted` gets the reason. Returns what takes it away again. */
export function onAbort(signal: AbortSignal, aborted: (reason: Error) => void): () => void {
  const heard = (): void => aborted(reasonOf(signal));
  setMaxListeners(0, signal); // one signal may end thousands of calls: that is no leak
  signal.addEventListener("abort", heard);
  return () => signal.removeEventListener("abort", heard);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    "then" in value &&
    typeof value.then === "function"
  );
}

function reasonOf(signal: AbortSignal): Error {
  const { reason } = signal as { readonly reason: unknown };
  return reason instanceof Error ? reason : new Error(String(reason));
}
