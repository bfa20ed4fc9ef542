// How `godwit backup` asks a server that runs, by files in its data directory: whoever may write there may ask.
//
//   backup-ID.request ──server──> backup-ID.partial ──> backup-ID.ready ──asker──> moved away
//                                        └──> backup-ID.failed, with the reason

import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

export type BackupState = "request" | "partial" | "ready" | "failed";

export function backupFile(directory: string, id: string, state: BackupState): string {
  return join(directory, `backup-${id}.${state}`);
}

export const BACKUP_FILE: RegExp = /^backup-([0-9a-f]{12})\.(request|partial|ready|failed)$/;

/** Asks the process that has the directory open. Resolves with the file it made, to be moved away. */
export async function requestBackup(directory: string, isRunning: () => boolean): Promise<string> {
  const id = randomBytes(6).toString("hex");
  const [request, ready] = [
    backupFile(directory, id, "request"),
    backupFile(directory, id, "ready"),
  ];
  const failed = backupFile(directory, id, "failed");
  writeFileSync(request, "", { mode: 0o600, flag: "wx" });
  const asked = performance.now();
  try {
    for (;;) {
      if (existsSync(ready)) return ready;
      if (existsSync(failed)) throw new Error(readFileSync(failed, "utf8"));
      if (existsSync(request) && performance.now() - asked > PATIENCE) {
        throw new Error(
          `the server that has ${directory} open does not answer: is it of an earlier version, or does it hang? Stop it to back up without it`,
        );
      }
      if (!isRunning())
        throw new Error(`the server that had ${directory} open ended meanwhile; try again`);
      await pause(POLL);
    }
  } finally {
    rmSync(request, { force: true });
    rmSync(failed, { force: true });
  }
}

/** ms; a server looks every second. */
const PATIENCE = 15_000;
const POLL = 100;
