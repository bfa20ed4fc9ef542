import { monitorEventLoopDelay } from "node:perf_hooks";

/** What this process used between two looks; for benchmarks and metrics. */
export type Load = {
  /** Wall time covered, ms. */
  readonly elapsed: number;
  /** Processor time of all threads, ms. */
  readonly cpu: number;
  /** Share of one processor, 0.5 for half of it. */
  readonly share: number;
  /** How long the event loop made others wait, ms. */
  readonly lag: { readonly p50: number; readonly p99: number; readonly max: number };
};

/** Starts measuring; each call of `take` returns what was since the one before. */
export function measureLoad(): { take(): Load; stop(): void } {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION });
  delay.enable();
  let cpuBefore = process.cpuUsage();
  let before = performance.now();
  return {
    take() {
      const used = process.cpuUsage(cpuBefore);
      const now = performance.now();
      const elapsed = now - before;
      const cpu = (used.user + used.system) / 1_000;
      // The monitor measures its own timer's interval; what exceeds it is the lag.
      const lag = (nanoseconds: number): number =>
        delay.count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - RESOLUTION);
      const load = {
        elapsed,
        cpu,
        share: elapsed === 0 ? 0 : cpu / elapsed,
        lag: {
          p50: lag(delay.percentile(50)),
          p99: lag(delay.percentile(99)),
          max: lag(delay.max),
        },
      };
      delay.reset();
      cpuBefore = process.cpuUsage();
      before = now;
      return load;
    },
    stop: () => void delay.disable(),
  };
}

const RESOLUTION = 10;
