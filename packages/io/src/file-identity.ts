import { chmodSync, fstatSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";

/**
 * Which file this is, whatever it is called. A copy is another file, a renamed file is the same.
 *
 * Decimal strings: inode numbers and nanoseconds do not fit a number. The device is for people: its number may change
 * when a machine starts again.
 */
export type FileIdentity = {
  readonly device: string;
  readonly inode: string;
  /** When the file was made, ns since 1970; undefined where the file system does not tell. */
  readonly born: string | undefined;
};

/** What a directory's file system says of its files. */
export type IdentityKind = "inode and birth" | "inode" | "none";

/** Finds out, by a file that it makes and removes, what identities are worth there. Throws what the system throws. */
export function identityKindOf(directory: string): IdentityKind {
  if (process.platform === "win32" || isRenumbering(directory)) return "none";
  const probe = join(directory, `${randomBytes(6).toString("hex")}.tmp`);
  try {
    writeFileSync(probe, "", { flag: "wx", mode: 0o600 });
    const before = statSync(probe, { bigint: true });
    waitForTick(before.ctimeNs, probe);
    const after = statSync(probe, { bigint: true });
    // Where there is no birth time the runtime shows the time of the last change instead.
    const told = before.birthtimeNs > 0n && before.birthtimeNs === after.birthtimeNs;
    return told ? "inode and birth" : "inode";
  } finally {
    rmSync(probe, { force: true });
  }
}

/** The identity of an open file or of a name; undefined where it is worth nothing, or where there is no file. */
export function fileIdentity(file: number | string, kind: IdentityKind): FileIdentity | undefined {
  if (kind === "none") return undefined;
  try {
    const seen =
      typeof file === "number"
        ? fstatSync(file, { bigint: true })
        : statSync(file, { bigint: true });
    return {
      device: String(seen.dev),
      inode: String(seen.ino),
      born: kind === "inode" ? undefined : String(seen.birthtimeNs),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Whether both may be one file. What is not known does not tell them apart. The device is not asked: a file on another
 * device with the same inode and birth is the same file on a disk that was moved or numbered anew.
 */
export function mayBeSameFile(a: FileIdentity | undefined, b: FileIdentity | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  if (a.inode !== b.inode) return false;
  return a.born === undefined || b.born === undefined || a.born === b.born;
}

/** Whether a value read from a file is an identity. */
export function isFileIdentity(value: unknown): value is FileIdentity {
  if (typeof value !== "object" || value === null) return false;
  const { device, inode, born } = value as Partial<Record<keyof FileIdentity, unknown>>;
  if (typeof device !== "string" || typeof inode !== "string") return false;
  return born === undefined || typeof born === "string";
}

/** File systems that number their files anew each time they are mounted. */
function isRenumbering(directory: string): boolean {
  return RENUMBERING.has(statfsSync(directory).type >>> 0);
}

/** Changes the file until its time of change has moved: clocks of file systems tick every few ms. */
function waitForTick(before: bigint, file: string): void {
  const end = performance.now() + LONGEST_TICK;
  do chmodSync(file, 0o600);
  while (statSync(file, { bigint: true }).ctimeNs === before && performance.now() < end);
}

/** linux/magic.h. */
const RENUMBERING: ReadonlySet<number> = new Set([
  0x4d44, // FAT
  0x2011_bab0, // exFAT
  0x6573_5546, // FUSE
  0x0102_1997, // 9p
  0xff53_4d42, // CIFS
  0xfe53_4d42, // SMB2
]);
/** ms */
const LONGEST_TICK = 50;
