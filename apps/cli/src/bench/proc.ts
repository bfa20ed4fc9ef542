import { readFileSync } from "node:fs";

/** What the kernel says about a process; for servers of any make alike. */
export type Usage = {
  /** Processor time of all its threads, s. */
  readonly cpu: number;
  /** Resident memory, bytes. */
  readonly rss: number;
};

/** Reads /proc, so on Linux only. */
export function usageOf(pid: number): Usage {
  return {
    cpu: parseCpu(readFileSync(`/proc/${pid}/stat`, "utf8")),
    rss: parseRss(readFileSync(`/proc/${pid}/status`, "utf8")),
  };
}

/** utime + stime of /proc/PID/stat, in s (proc(5)). The name before them may hold spaces and brackets. */
export function parseCpu(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[UTIME - 3]) + Number(fields[UTIME - 2]);
  if (!Number.isFinite(ticks)) throw new Error(`not a line of /proc/PID/stat: ${stat}`);
  return ticks / TICKS_PER_SECOND;
}

/** VmRSS of /proc/PID/status, in bytes. */
export function parseRss(status: string): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  if (kilobytes === undefined) throw new Error("no VmRSS in /proc/PID/status");
  return Number(kilobytes) * 1_024;
}

/** proc(5) counts fields from 1; the third is the first behind the name. */
const UTIME = 14;
/** USER_HZ is 100 on every architecture Node runs on. */
const TICKS_PER_SECOND = 100;
