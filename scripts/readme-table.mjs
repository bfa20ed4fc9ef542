// Writes the figures of `godwit lab compare` into the README's table. Run it after a build, when a strategy changed.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const printed = execFileSync(process.execPath, [
  "apps/cli/bin/godwit.mjs",
  "lab",
  "compare",
  "--json",
]);
const lines = JSON.parse(printed.toString()).rows.map(
  ({ strategy, step, settings, bytes, published }) =>
    `| ${[strategy, step, settings, bytes, published ?? "-"].join(" | ")} |`,
);
const readme = readFileSync("README.md", "utf8");
const table = /(<!-- lab compare -->\n[^\n]*\n[^\n]*\n)[^]*?(\n<!-- end -->)/;
writeFileSync(
  "README.md",
  readme.replace(table, (_, head, end) => `${head}${lines.join("\n")}${end}`),
);
