import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** What a file is to hold; a function is given the descriptor of the new file, for content that names the file itself. */
export type Content = Uint8Array | string | ((fd: number) => Uint8Array | string);

/**
 * Replaces a file's content as a whole: after a crash at any moment it holds the old bytes or the new ones, and
 * once this has returned, the new ones. `mode` is that of a new file; 0600 unless given.
 */
export function writeFileAtomicSync(file: string, content: Content, mode = 0o600): void {
  const temporary = besides(file);
  const fd = openSync(temporary, "wx", mode);
  try {
    try {
      const bytes = typeof content === "function" ? content(fd) : content;
      writeAll(fd, typeof bytes === "string" ? Buffer.from(bytes) : bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(dirname(file));
}

/** The same without holding up the event loop. Two at once for one file end with either content. */
export async function writeFileAtomic(file: string, content: Content, mode = 0o600): Promise<void> {
  const temporary = besides(file);
  const handle = await open(temporary, "wx", mode);
  try {
    try {
      await handle.writeFile(typeof content === "function" ? content(handle.fd) : content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  if (process.platform === "win32") return;
  const directory = await open(dirname(file), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Forces a file to disk. */
export function syncFile(file: string): void {
  const fd = openSync(file, "r+");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes the names in a directory durable. Windows has no such thing and needs none. */
export function syncDirectory(directory: string): void {
  if (process.platform === "win32") return;
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

function besides(file: string): string {
  return `${file}.${randomBytes(6).toString("hex")}.tmp`;
}
