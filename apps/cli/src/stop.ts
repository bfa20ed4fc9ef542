/** Resolves at the first SIGINT or SIGTERM. A second one ends the process at once. */
export async function untilStopped(): Promise<NodeJS.Signals> {
  return await new Promise((resolve) => {
    const stop = (signal: NodeJS.Signals): void => {
      for (const name of SIGNALS) process.off(name, stop);
      for (const name of SIGNALS) process.once(name, () => process.exit(1));
      resolve(signal);
    };
    for (const name of SIGNALS) process.on(name, stop);
  });
}

const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM"];
