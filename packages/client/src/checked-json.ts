import { createHash } from "node:crypto";

/** JSON with a sum over its content: a byte that was changed on the disk is not taken for one that was written. */
export function writeChecked(layout: number, content: string): string {
  return `{"layout":${layout},"sum":"${sumOf(content)}","content":${content}}`;
}

/**
 * The text of the content, as it was written; undefined where that was damaged, is of another layout, or was written
 * before there were sums.
 */
export function readChecked(layout: number, text: string): string | undefined {
  const head = `{"layout":${layout},"sum":"`;
  if (!text.startsWith(head) || !text.endsWith("}")) return undefined;
  const [sum, content] = [
    text.slice(head.length, head.length + SUM),
    text.slice(head.length + SUM),
  ];
  if (!content.startsWith(MIDDLE)) return undefined;
  const inner = content.slice(MIDDLE.length, -1);
  return sumOf(inner) === sum ? inner : undefined;
}

function sumOf(content: string): string {
  return createHash("sha256").update(content).digest("hex").slice(0, SUM);
}

const MIDDLE = '","content":';
/** Hex digits: damage is to be found, not an attacker. */
const SUM = 16;
