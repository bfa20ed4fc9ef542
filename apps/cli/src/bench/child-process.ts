import type { ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where a command is on the PATH, if it is. */
export function installed(command: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((directory) => join(directory, command))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

export function pidOf({ pid }: ChildProcess): number {
  if (pid === undefined) throw new Error("a process of the benchmark did not start");
  return pid;
}

/** Ends a process in its own way, and resolves once it is gone. */
export function ended(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    end();
  });
}

/** As the first line of the command has it. */
export const ROOM: readonly string[] = ["--max-semi-space-size=64"];

/** The checkout that this is compiled from; another one, built, can be measured beside it. */
export const OWN_ROOT: string = fileURLToPath(new URL("../../../../", import.meta.url));

/** A compiled file of this folder in a checkout. */
export function benchFile(root: string, name: string): string {
  return join(root, "apps/cli/dist/bench", name);
}
