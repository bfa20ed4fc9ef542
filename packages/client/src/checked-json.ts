import { CONTENT_SUM_LENGTH, contentSum } from "@godwit/io";

/** JSON with a sum over its content: a byte that was changed on the disk is not taken for one that was written. */
export function writeChecked(layout: number, content: string): string {
  return `{"layout":${layout},"sum":"${contentSum(content)}","content":${content}}`;
}

/**
 * The text of the content, as it was written; undefined where that was damaged, is of another layout, or was written
 * before there were sums.
 */
export function readChecked(layout: number, text: string): string | undefined {
  const head = `{"layout":${layout},"sum":"`;
  if (!text.startsWith(head) || !text.endsWith("}")) return undefined;
  const [sum, content] = [
    text.slice(head.length, head.length + CONTENT_SUM_LENGTH),
    text.slice(head.length + CONTENT_SUM_LENGTH),
  ];
  if (!content.startsWith(MIDDLE)) return undefined;
  const inner = content.slice(MIDDLE.length, -1);
  return contentSum(inner) === sum ? inner : undefined;
}

const MIDDLE = '","content":';
