import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a directory, and those above it that are missing, for the owner alone. Throws the system's error, with the path
 * that it is about. (`mkdirSync` with `recursive` never returns below a file system that takes no directories, /proc.)
 */
export function makeDirectory(directory: string): void {
  const missing: string[] = [];
  for (let at = resolve(directory); !isDirectory(at); at = dirname(at)) missing.push(at);
  for (const one of missing.toReversed()) {
    try {
      mkdirSync(one, { mode: 0o700 });
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      // Somebody else may have made it just now; a file in its place is for the caller to hear of.
      if (code === "EEXIST" && isDirectory(one)) continue;
      const why = message.replaceAll(/^\w+: |, mkdir '.*'$/g, "");
      throw systemError(code, `cannot make the directory ${one}: ${why}; choose another`, cause);
    }
  }
}

/** Throws for what is there and is no directory, and for what may not be looked at. */
function isDirectory(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return false;
  if (found.isDirectory()) return true;
  throw systemError("ENOTDIR", `${path} is not a directory`);
}

function systemError(code: string | undefined, message: string, cause?: unknown): Error {
  const fault: NodeJS.ErrnoException = new Error(message, { cause });
  return Object.assign(
    fault,
    code === undefined || code === "ENOENT" ? {} : { code, syscall: "mkdir" },
  );
}
