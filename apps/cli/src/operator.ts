import type { Server } from "@godwit/server";

/**
 * Reads the temperature of each device again and again, as somebody at a desk would: the next read of a device comes
 * `pause` ms after the last one was answered. Returns what ends it.
 */
export function watchTemperatures(
  server: Server,
  endpoints: readonly string[],
  pause: number,
): () => void {
  const timers = new Map<string, NodeJS.Timeout>();
  let stopped = false;
  const later = (endpoint: string): void => {
    if (stopped) return;
    timers.set(
      endpoint,
      setTimeout(() => void read(endpoint), pause),
    );
  };
  const read = async (endpoint: string): Promise<void> => {
    try {
      await server.device(endpoint).read("/3303/0/5700", { expires: EXPIRES });
    } catch {
      // the page shows what became of it
    }
    later(endpoint);
  };
  for (const endpoint of endpoints) later(endpoint);
  return () => {
    stopped = true;
    for (const timer of timers.values()) clearTimeout(timer);
  };
}

const EXPIRES = 3_600_000;
