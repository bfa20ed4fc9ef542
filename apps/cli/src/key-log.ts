import { appendFileSync, chmodSync } from "node:fs";
import { systemWords } from "./system-words.ts";

/**
 * The file that `--keylog` names, or without a name SSLKEYLOGFILE; undefined where the option was not given: the variable
 * alone switches nothing on. The file is made, for its owner alone. @throws Error that says what is missing
 */
export function keyLogFile(
  option: string | true | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  if (option === undefined) return undefined;
  const file = option === true ? environment["SSLKEYLOGFILE"] : option;
  if (file === undefined || file === "") {
    throw new Error("--keylog needs a file: write --keylog FILE, or set SSLKEYLOGFILE");
  }
  try {
    appendFileSync(file, "", { mode: MODE });
    chmodSync(file, MODE); // it may have been there
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Error(
      `--keylog: cannot write ${file}: ${code === "ENOENT" ? "there is no such directory" : systemWords(cause)}`,
      { cause },
    );
  }
  return file;
}

/** One line of the NSS key log format. */
export function writeKeyLog(file: string, line: string): void {
  appendFileSync(file, `${line}\n`, { mode: MODE });
}

/** Said where it is switched on. */
export function keyLogWarning(file: string): string {
  return `DEBUGGING: the keys of all DTLS sessions are written to ${file}; whoever has it can read all that is sent`;
}

const MODE = 0o600;
