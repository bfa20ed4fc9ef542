import { readFileSync } from "node:fs";

/** What the file that an option names says, made into something. What is wrong is said with the option and the file. */
export function readOption<T>(option: string, file: string, read: (text: string) => T): T {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what = code === "ENOENT" ? "there is no such file" : message;
    throw new Error(`${option} ${file}: ${what}`, { cause });
  }
  try {
    return read(text);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${option} ${file}: ${words.replace(/^the file: /, "")}`, { cause });
  }
}
