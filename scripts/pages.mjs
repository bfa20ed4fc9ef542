// Copies the static pages of the apps beside their compiled code.
import { cpSync, existsSync, readdirSync } from "node:fs";

for (const app of readdirSync("apps")) {
  const pages = `apps/${app}/pages`;
  if (existsSync(pages)) cpSync(pages, `apps/${app}/dist/pages`, { recursive: true });
}
