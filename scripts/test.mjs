// Every test in one process: walk the sources, import the compiled twin. `node scripts/test.mjs coap/` runs a part,
// `packages/` those without the apps.
import { readdirSync } from "node:fs";

const want = process.argv[2] ?? "";
for (const room of ["packages", "apps"]) {
  for (const pkg of readdirSync(room)) {
    for (const file of readdirSync(`${room}/${pkg}/src`, { recursive: true, encoding: "utf8" })) {
      if (!file.endsWith(".test.ts") || !`${room}/${pkg}/${file}`.includes(want)) continue;
      await import(`../${room}/${pkg}/dist/${file.replace(/\.ts$/, ".js")}`);
    }
  }
}
