/** How a command is asked to stop: SIGINT, SIGTERM, or SIGHUP, which comes when its terminal is closed. */
export type Stopping = {
  /** Resolves at the first signal. */
  readonly asked: Promise<NodeJS.Signals>;
  /** What `work` resolves with. Rejects with StoppedEarly where a signal comes first: what is being started is given up. */
  during<T>(work: Promise<T>): Promise<T>;
};

/** The process was asked to stop before it was up. */
export class StoppedEarly extends Error {
  override readonly name = "StoppedEarly";
}

/**
 * Listens for signals from now on. A second one ends the process at once, and so does one that has not ended it in
 * `patience` ms: whatever hangs, a supervisor need not kill.
 */
export function untilStopped(patience = 10_000): Stopping {
  const asked = new Promise<NodeJS.Signals>((resolve) => {
    const stop = (signal: NodeJS.Signals): void => {
      for (const name of SIGNALS) process.off(name, stop);
      for (const name of SIGNALS) process.once(name, () => process.exit(1));
      setTimeout(() => {
        process.stderr.write(`godwit: could not stop within ${patience / 1_000} s of ${signal}\n`);
        process.exit(1);
      }, patience).unref();
      resolve(signal);
    };
    for (const name of SIGNALS) process.on(name, stop);
  });
  return {
    asked,
    during: (work) =>
      Promise.race([work, asked.then((signal) => Promise.reject(new StoppedEarly(signal)))]),
  };
}

const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
