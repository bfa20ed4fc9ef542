import { readFileSync } from "node:fs";
import { systemWords } from "./system-words.ts";

/** What the file that an option names says, made into something. What is wrong is said with the option and the file. */
export function readOption<T>(option: string, file: string, read: (text: string) => T): T {
  if (file === "") throw new Error(`${option}: write the name of a file`);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new Error(`${option} ${file}: ${systemWords(cause)}`, { cause });
  }
  try {
    return read(text);
  } catch (cause) {
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${option} ${file}: ${words.replace(/^the file: /, "")}`, { cause });
  }
}
