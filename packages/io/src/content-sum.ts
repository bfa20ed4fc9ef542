import { createHash } from "node:crypto";

/** 16 hex digits over a text: damage to a file is to be found, not an attacker. */
export function contentSum(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, CONTENT_SUM_LENGTH);
}

export const CONTENT_SUM_LENGTH = 16;
