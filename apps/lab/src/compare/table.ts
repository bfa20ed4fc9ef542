import type { NamedDatagram, Row, Upkeep } from "./row.ts";

/** The rows for people: a line for each step, its datagrams below it. */
export function comparisonTable(rows: readonly Row[]): string {
  const lines: Line[] = [
    ["strategy", "step", "settings", "bytes", "published", "difference"],
    ...rows.flatMap((row): Line[] => [
      [
        row.strategy,
        row.step,
        row.settings,
        count(row.bytes),
        row.published === null ? "-" : count(row.published),
        row.published === null ? "-" : signed(row.bytes - row.published),
      ],
      ...row.datagrams.map(datagramLine),
    ]),
  ];
  const widths = [0, 1, 2, 3, 4, 5].map((column) =>
    Math.max(...lines.map((line) => (line.length === COLUMNS ? line[column]!.length : 0))),
  );
  // Names of datagrams may be longer than the three columns of words that they stand below.
  const longest = Math.max(0, ...lines.map((l) => (l.length === COLUMNS ? 0 : l[0]!.length)));
  const room = widths.slice(0, TEXTS).reduce((sum, width) => sum + width + 2, 0);
  widths[TEXTS - 1]! += Math.max(0, longest + 2 - room); // three columns
  const table = lines.map((line) => format(line, widths));
  return [...table, "", ...rows.flatMap(upkeepLines), LEGEND].join("\n");
}

/** Six cells, or a datagram: its words and its bytes. */
type Line = readonly string[];

function datagramLine({ from, name, bytes }: NamedDatagram): Line {
  return [`  ${from === "client" ? ">" : "<"} ${name}`, count(bytes)];
}

function format(line: Line, widths: readonly number[]): string {
  if (line.length === COLUMNS) {
    return line
      .map((cell, i) => (i < TEXTS ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))) // six widths
      .join("  ")
      .trimEnd();
  }
  const left = widths.slice(0, TEXTS).reduce((sum, width) => sum + width + 2, 0) + widths[TEXTS]!;
  const [words = "", bytes = ""] = line;
  return words + bytes.padStart(left - words.length);
}

function upkeepLines(row: Row): readonly string[] {
  if (row.perHour === undefined || row.perDay === undefined || row.perMonth === undefined)
    return [];
  const span = (name: string, { packets, datagrams, bytes }: Upkeep): string =>
    `  per ${name.padEnd(8)}${count(packets).padStart(7)} packets  ${count(datagrams).padStart(7)} datagrams  ${count(bytes).padStart(8)} bytes`;
  return [
    `Keep-alive every 120 s, ${row.strategy}, settings ${row.settings}:`,
    span("hour", row.perHour),
    span("day", row.perDay),
    span("30 days", row.perMonth),
    "",
  ];
}

/** 21 600 */
function count(n: number): string {
  return String(n).replaceAll(/\B(?=(\d{3})+$)/g, " ");
}

function signed(n: number): string {
  return n > 0 ? `+${count(n)}` : n < 0 ? `-${count(-n)}` : "0";
}

const COLUMNS = 6;
const TEXTS = 3;
const LEGEND =
  "Bytes are UDP payload; > from the device, < from the server. All are measured on a simulated link.";
