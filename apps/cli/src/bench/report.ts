import { cpus, loadavg, release } from "node:os";
import { formatTable, whole } from "./table.ts";
import type { InProcessRow } from "./flood/in-process.ts";
import { formatFloods, formatInProcess, type FloodRow } from "./flood/rows.ts";
import type { Spread } from "./statistics.ts";

/** What every benchmark returns: the same for people and for programs. */
export type Report = {
  readonly benchmark: string;
  readonly machine: Machine;
  /** Load averages of 1, 5 and 15 minutes: what else this machine had to do. */
  readonly load: { readonly before: readonly number[]; readonly after: readonly number[] };
  readonly settings: Readonly<Record<string, unknown>>;
  readonly throughput: readonly Throughput[];
  readonly figures: readonly Figure[];
  readonly targets: readonly Target[];
  /** What was left out, and why. */
  readonly notes: readonly string[];
  /** Of `bench flood`: hostile datagrams at a server, and at its machines alone. */
  readonly floods?: readonly FloodRow[];
  readonly inProcess?: readonly InProcessRow[];
};

export type Machine = {
  readonly processor: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
};

/** One server under one kind of load; medians and extremes over the rounds. */
export type Throughput = {
  readonly test: string;
  readonly server: string;
  readonly clients: number;
  /** Requests answered per second of the server's processor time. */
  readonly perCpuSecond: Spread;
  readonly perSecond: Spread;
  /** Round-trip times the clients saw, ms. */
  readonly p50: Spread;
  readonly p99: Spread;
  /** Requests answered over all rounds. */
  readonly requests: number;
  readonly refused: number;
  readonly retransmitted: number;
  /** Resident memory of the server after the last round, bytes. */
  readonly rss: number;
};

export type Figure = { readonly name: string; readonly value: number; readonly unit: string };

export type Target = {
  readonly name: string;
  readonly wanted: string;
  readonly reached: number;
  readonly met: boolean;
};

export function atLeast(name: string, wanted: number, reached: number): Target {
  return { name, wanted: `at least ${+wanted.toFixed(2)}`, reached, met: reached >= wanted };
}

export function machine(): Machine {
  return {
    processor: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    kernel: release(),
    node: process.version,
  };
}

export function load(): readonly number[] {
  return loadavg().map((n) => Math.round(n * 100) / 100);
}

export function formatReport(report: Report): string {
  const { processor, cores, kernel, node } = report.machine;
  const isShort = report.settings["short"] === true;
  const [before, after] = [report.load.before, report.load.after].map((l) => l.join(" "));
  return [
    `${report.benchmark}: ${processor}, ${cores} cores, Linux ${kernel}, Node ${node}`,
    `load average before ${before}, after ${after}; figures are median (min-max) over the rounds`,
    "",
    ...(report.throughput.length === 0 ? [] : [formatThroughput(report.throughput), ""]),
    ...(report.floods === undefined ? [] : [formatFloods(report.floods), ""]),
    ...(report.inProcess === undefined ? [] : [formatInProcess(report.inProcess), ""]),
    ...report.figures.map(({ name, value, unit }) => `${name}: ${brief(value)} ${unit}`),
    "",
    ...report.targets.map(({ name, wanted, reached, met }) => {
      const verdict = met ? "met   " : "missed";
      return `${isShort ? "short " : verdict} ${name}: ${brief(reached)} (wanted ${wanted})`;
    }),
    ...(isShort
      ? ["note: a short run measures code that is not warm: it meets and misses nothing"]
      : []),
    ...report.notes.map((note) => `note: ${note}`),
  ].join("\n");
}

function formatThroughput(rows: readonly Throughput[]): string {
  return formatTable(
    [
      "test",
      "server",
      "clients",
      "per CPU-second",
      "per second",
      "p50 ms",
      "p99 ms",
      "again",
      "RSS MB",
    ],
    rows.map((t) => [
      t.test,
      t.server,
      whole(t.clients),
      range(t.perCpuSecond, whole),
      range(t.perSecond, whole),
      t.p50.median.toFixed(2),
      t.p99.median.toFixed(2),
      whole(t.retransmitted),
      whole(t.rss / 1e6),
    ]),
  );
}

function range({ median, min, max }: Spread, format: (n: number) => string): string {
  return `${format(median)} (${format(min)}-${format(max)})`;
}

/** "0.95" for ratios, "12 345" for the rest. */
function brief(n: number): string {
  return n > 0 && n < 10 ? n.toFixed(2) : whole(n);
}
