import type { RunFigures } from "./loop-process.ts";
import type { Ask } from "./messages.ts";
import type { Helper, Subject } from "./processes.ts";
import type { Throughput } from "./report.ts";
import { spread, type Spread } from "./statistics.ts";

/** One line of the table while it is being measured. */
export type Trial = {
  readonly test: string;
  readonly server: "godwit" | "libcoap";
  readonly subject: Subject;
  readonly asks: readonly Ask[];
  /** Requests under way at once. */
  readonly turns: number;
  /** The clients speak OSCORE. */
  readonly secured: boolean;
  readonly rounds: Round[];
};

export type Round = RunFigures & { readonly cpu: number; readonly rss: number };

/** One answer to each of `asks`, on the way to where a trial begins; their locations. Rejects if one is refused. */
export async function answered(
  clients: Helper,
  { port }: Subject,
  asks: readonly Ask[],
  turns: number,
  secured: boolean,
): Promise<readonly (readonly string[])[]> {
  const { refused, locations } = await clients.ask({ type: "once", port, turns, asks, secured });
  if (refused > 0) throw new Error(`${refused} requests were refused while getting ready`);
  return locations;
}

/** Registers a device of each name, and returns the Update that each sends from then on. */
export async function registered(
  endpoints: readonly string[],
  {
    clients,
    subject,
    turns,
    secured,
  }: {
    readonly clients: Helper;
    readonly subject: Subject;
    readonly turns: number;
    readonly secured: boolean;
  },
): Promise<readonly Ask[]> {
  const asks = endpoints.map((endpoint): Ask => ({ kind: "register", endpoint }));
  const locations = await answered(clients, subject, asks, turns, secured);
  return locations.map((location): Ask => ({ kind: "update", location }));
}

export async function measure(clients: Helper, trial: Trial, seconds: number): Promise<void> {
  const { subject, asks, turns, secured, rounds } = trial;
  const before = subject.usage();
  const run = await clients.ask({ type: "go", port: subject.port, turns, seconds, asks, secured });
  const after = subject.usage();
  rounds.push({ ...run, cpu: after.cpu - before.cpu, rss: after.rss });
}

export function perCpuSecond({ completed, cpu }: Round): number {
  return completed / Math.max(cpu, TICK);
}

export function throughputOf({ test, server, asks, rounds }: Trial): Throughput {
  const over = (of: (round: Round) => number): Spread => spread(rounds.map(of));
  const sum = (of: (round: Round) => number): number =>
    rounds.reduce((total, round) => total + of(round), 0);
  return {
    test,
    server,
    clients: asks.length,
    perCpuSecond: over(perCpuSecond),
    perSecond: over(({ completed, elapsed }) => completed / elapsed),
    p50: over(({ p50 }) => p50),
    p99: over(({ p99 }) => p99),
    requests: sum(({ completed }) => completed),
    refused: sum(({ refused }) => refused),
    retransmitted: sum(({ retransmitted }) => retransmitted),
    rss: rounds.at(-1)?.rss ?? 0,
  };
}

/** Median of the rounds. */
export function rate(trial: Trial): number {
  return spread(trial.rounds.map(perCpuSecond)).median;
}

/** s; the compiler of the server's JavaScript has settled by then. */
export const WARM_UP = 3;
/** s; what /proc cannot resolve further. */
const TICK = 0.01;
