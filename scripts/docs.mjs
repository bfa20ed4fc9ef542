// Fails when docs/spec-map.md, docs/attacks.md or docs/faults.md names a file that is not there, or a test that the file
// does not have, or when a row or a cell of the fault matrix is missing. A heading that ends in a folder,
// "## CoAP (`packages/coap/src`)", is where the files of its section are, unless they are named from the root; a test
// is written as `file.test.ts` "part of its sentence".
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const MATRIX = "docs/faults.md";
const PATCHES = "scripts/stories/put-back";
const ROWS = 36;
const COLUMNS = 6;
const faults = [];
let files = 0;
let tests = 0;
for (const doc of ["docs/spec-map.md", "docs/attacks.md", MATRIX]) {
  let folder = ".";
  readFileSync(doc, "utf8")
    .split("\n")
    .forEach((line, index) => {
      const at = `${doc}:${index + 1}`;
      const heading = /^#+ .*\(`([^`]+)`\)$/.exec(line);
      if (heading) folder = heading[1];
      for (const [, name, sentence] of line.matchAll(
        /`([\w./-]+\.(?:ts|mjs|json|md))`(?: "([^"]+)")?/g,
      )) {
        if (folder === "." && !name.includes("/")) continue; // beside a path in the same sentence
        const path = /^(packages|apps|docs)\//.test(name) ? name : join(folder, name);
        files++;
        if (!existsSync(path)) faults.push(`${at}: there is no ${path}`);
        else if (sentence !== undefined) {
          tests++;
          if (!readFileSync(path, "utf8").includes(sentence))
            faults.push(`${at}: ${path} has no test "${sentence}"`);
        }
      }
    });
}
const rows = readFileSync(MATRIX, "utf8")
  .split("\n")
  .filter((line) => /^\| F\d+ \|/.test(line))
  .map((line) => line.slice(1, -1).split("|"));
rows.forEach((cells, index) => {
  const row = cells[0].trim();
  if (row !== `F${index + 1}`) faults.push(`${MATRIX}: ${row} where F${index + 1} belongs`);
  if (cells.length !== COLUMNS || cells.some((cell) => cell.trim() === ""))
    faults.push(`${MATRIX}: ${row} has a cell too few, too many or without a word`);
});
if (rows.length !== ROWS) faults.push(`${MATRIX}: ${rows.length} rows instead of ${ROWS}`);
if (files === 0 || tests === 0) faults.push("docs: no file or no test is named at all");
// docs/stories.md: the patches that bring old faults back fit the code of today.
if (existsSync(".git"))
  for (const patch of readdirSync(PATCHES)) {
    const check = ["apply", "--check", join(PATCHES, patch)];
    const { status, stderr } = spawnSync("git", check, { encoding: "utf8" });
    if (status !== 0) faults.push(`${join(PATCHES, patch)} does not fit any more: ${stderr}`);
  }
for (const fault of faults) console.error(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
