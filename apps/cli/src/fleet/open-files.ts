import { readFileSync } from "node:fs";

/** How many files, and so sockets, this process may have open; `undefined` where the system does not tell. */
export function openFilesLimit(limits: () => string = readLimits): number | undefined {
  let text: string;
  try {
    text = limits();
  } catch {
    return undefined;
  }
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(text)?.[1];
  return soft === undefined || soft === "unlimited" ? undefined : Number(soft);
}

/** What to do where `devices` sockets are too many; `undefined`: they fit. */
export function socketsFault(
  devices: number,
  limit: number | undefined = openFilesLimit(),
): string | undefined {
  const needed = devices + OTHERS;
  if (limit === undefined || needed <= limit) return undefined;
  return `${devices} devices need ${needed} open files, and this process may have ${limit}: run "ulimit -n ${needed}" first (or raise the hard limit as root), or start several fleets with --prefix`;
}

function readLimits(): string {
  return readFileSync("/proc/self/limits", "utf8");
}

/** What a process has open besides. */
const OTHERS = 50;
