#!/usr/bin/env -S node --max-semi-space-size=64
// What a message needs lives for one write to disk; with room for that many it is never moved to where long lives are kept.
import { existsSync } from "node:fs";

const built = new URL("../dist/main.js", import.meta.url);
if (existsSync(built)) {
  const { main } = await import(built.href);
  await main(process.argv);
} else {
  process.stderr.write("godwit: not built yet: run npm run build first\n");
  process.exitCode = 1;
}
