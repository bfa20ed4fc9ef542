#!/usr/bin/env node
import { existsSync } from "node:fs";

const built = new URL("../dist/main.js", import.meta.url);
if (existsSync(built)) {
  const { main } = await import(built.href);
  await main(process.argv);
} else {
  process.stderr.write("godwit: not built yet: run npm run build first\n");
  process.exitCode = 1;
}
