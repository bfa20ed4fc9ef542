import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Removes the temporary files of a process that was killed while it replaced a file. Call it where no other process
 * works in the directory. Returns their names; none where there is no such directory.
 */
export function removeLeftOvers(directory: string): readonly string[] {
  let names: readonly string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw error;
  }
  const left = names.filter((name) => TEMPORARY.test(name));
  for (const name of left) rmSync(join(directory, name), { force: true });
  return left;
}

/** As `writeFileAtomic` names them. */
const TEMPORARY = /(?:^|\.)[0-9a-f]{12}\.tmp$/;
