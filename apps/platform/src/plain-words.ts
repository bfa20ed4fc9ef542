import { z } from "zod";

/** From now on schemas without words of their own say what to write, for the one who wrote something else. */
export function speakPlainly(): void {
  z.config({ customError: plainWords });
}

function plainWords(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === "invalid_type") {
    if (issue.input === undefined) return "it is missing";
    return `write ${TYPES[issue.expected] ?? issue.expected}`;
  }
  if (issue.code === "too_big") return `write at most ${issue.maximum}${unitOf(issue.origin)}`;
  if (issue.code === "too_small") return `write at least ${issue.minimum}${unitOf(issue.origin)}`;
  const choice = issue.code === "invalid_value" ? issue.values : issue["options"];
  if (!Array.isArray(choice)) return undefined; // zod has words for the rest
  return `write ${choice.length > 1 ? "one of " : ""}${choice.join(", ")}`;
}

function unitOf(origin: string): string {
  return origin === "string" ? " characters" : "";
}

const TYPES: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object { … }",
  record: "an object { … }",
  array: "a list [ … ]",
};
