/** Columns under their heads; the first two to the left, the rest, figures, to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, i) => (i < LEFT ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))) // one width each
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** "12 345". */
export function whole(n: number): string {
  return Math.round(n)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, " ");
}

const LEFT = 2;
