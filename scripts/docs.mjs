// Fails when docs/spec-map.md or docs/attacks.md names a file that is not there, or a test that the file does not have.
// A heading that ends in a folder, "## CoAP (`packages/coap/src`)", is where the files of its section are; a test is
// written as `file.test.ts` "part of its sentence".
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const faults = [];
let files = 0;
let tests = 0;
for (const doc of ["docs/spec-map.md", "docs/attacks.md"]) {
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
        const path = join(folder, name);
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
if (files === 0 || tests === 0) faults.push("docs: no file or no test is named at all");
for (const fault of faults) console.error(fault);
process.exitCode = faults.length > 0 ? 1 : 0;
