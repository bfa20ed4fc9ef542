import { formatTable, whole } from "../table.ts";
import type { InProcessRow } from "./in-process.ts";
import type { Reference } from "./sort.ts";

/** One sort of hostile datagram at `godwit serve`, with devices at work beside it. */
export type FloodRow = {
  readonly sort: string;
  /** Datagrams that left, per second. */
  readonly perSecond: number;
  /** Processor time of the process that sent them, over the time it took. */
  readonly generatorCpu: number;
  /** Of the datagrams, those that the kernel threw away before the server read them; Updates are among them. */
  readonly lost: number;
  /** Processor time of the server for each that it read, sockets and system included, without what the Updates cost. */
  readonly microseconds: number;
  readonly against: Reference;
  /** Over one exchange of `against`; undefined where that is measured at the machines alone. */
  readonly ratio: number | undefined;
  readonly atMost: number;
  /** Of the Updates that were due, those answered without a retransmission. */
  readonly updatesAtOnce: number;
  /** And those answered at all. */
  readonly updatesAnswered: number;
  /** Lines that the server logged meanwhile. */
  readonly logLines: number;
};

export function formatFloods(rows: readonly FloodRow[]): string {
  return formatTable(
    [
      "sort",
      "against",
      "per second",
      "generator",
      "lost",
      "µs",
      "ratio",
      "may",
      "Updates",
      "at once",
      "log lines",
    ],
    rows.map((r) => [
      r.sort,
      r.against,
      whole(r.perSecond),
      percent(r.generatorCpu),
      percent(r.lost),
      r.microseconds.toFixed(1),
      r.ratio === undefined ? "" : r.ratio.toFixed(2),
      String(r.atMost),
      percent(r.updatesAnswered),
      percent(r.updatesAtOnce),
      whole(r.logLines),
    ]),
  );
}

export function formatInProcess(rows: readonly InProcessRow[]): string {
  return formatTable(
    ["sort", "against", "ns", "ratio", "may"],
    rows.map((r) => [
      r.sort,
      r.against,
      whole(r.nanoseconds),
      r.ratio.toFixed(2),
      String(r.atMost),
    ]),
  );
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
