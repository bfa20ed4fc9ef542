import { readFileSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { StoreError, readMasterKey, removeLeftOvers } from "@godwit/io";
import { RecordFile } from "./record-file.ts";

/**
 * Looks at every file of a device's directory. What is damaged is renamed, and made anew by whoever needs it:
 *
 *   device.json    the device registers anew
 *   session-key    sessions cannot be opened without it: the device makes a handshake
 *   records.json   sequence numbers. Only where new keys are made as well: with a fixed OSCORE context a number would be
 *                  used twice, and the key given away
 *
 * Temporary files of a process that was killed are removed. Returns what was done, a sentence each.
 *
 * @throws Error that says what to do
 */
export function repairFiles(
  directory: string,
  mayRenewRecords: boolean,
  readSnapshot: (text: string) => unknown,
): readonly string[] {
  const said: string[] = [];
  const file = (name: string): string => join(directory, name);
  const setAside = (name: string, what: string): void => {
    const aside = `${file(name)}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, "-")}`;
    renameSync(file(name), aside);
    said.push(`${file(name)} was damaged, and is kept as ${aside}: ${what}`);
  };
  inWords(directory, () => {
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === false)
      throw new Error(`${directory} is a file, and a directory is wanted for the device's state`);
    removeLeftOvers(directory);
    const snapshot = contentOf(file("device.json"));
    if (snapshot !== undefined && readSnapshot(snapshot) === undefined)
      setAside("device.json", "the device registers anew");
    if (contentOf(file("session-key")) !== undefined && !isKey(file("session-key")))
      setAside("session-key", "a new key was made, the session that was kept is lost");
    if (!isDamaged(file("records.json"))) return;
    if (!mayRenewRecords) throw new Error(damagedNumbers(file("records.json")));
    setAside("records.json", "the session that was kept is lost, the device makes new keys");
  });
  return said;
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fault;
  }
}

function isKey(file: string): boolean {
  try {
    readMasterKey(file);
    return true;
  } catch {
    return false;
  }
}

function isDamaged(file: string): boolean {
  try {
    void new RecordFile(file);
    return false;
  } catch (fault) {
    if (fault instanceof StoreError && fault.fault === "corrupt") return true;
    throw fault;
  }
}

function damagedNumbers(file: string): string {
  return `${file} is damaged, and with it the sequence numbers of a fixed OSCORE context are lost: none may be used twice. Give the device and the server a new master secret, then delete the file; or let the device negotiate its keys (derivation "negotiated")`;
}

/** What the system says of a file that cannot be opened, with what to do. */
function inWords(directory: string, act: () => void): void {
  try {
    act();
  } catch (fault) {
    const { code, message } = fault as NodeJS.ErrnoException;
    if (code === undefined) throw fault;
    throw new Error(
      `the device's state in ${directory} cannot be read: ${message}; give it to the user who runs this, or choose another directory`,
      { cause: fault },
    );
  }
}
