// Takes the picture of the demo page that the README shows: `node scripts/screenshot.mjs`, after npm run build.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const FILE = "docs/images/demo.png";
const SPEED = 4;

const demo = spawn(process.execPath, [
  ...["apps/cli/bin/godwit.mjs", "demo", "--speed", String(SPEED)],
  ...["--coap", "127.0.0.1:0", "--http", "127.0.0.1:0"],
]);
try {
  const url = await pageOf(demo);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu"],
  });
  const page = await browser.newPage({
    viewport: { width: 1_280, height: 860 },
    colorScheme: "light",
  });
  await page.goto(url);
  // By then mappings have been forgotten, and an order waits for the device that has just fallen silent.
  await page.waitForSelector(".mapping.forgotten", { timeout: 60_000 });
  await page
    .locator("#devices .waiting", { hasText: /[1-9]/ })
    .first()
    .waitFor({ timeout: 60_000 });
  await page.screenshot({ path: FILE });
  await browser.close();
  process.stdout.write(`${FILE}\n`);
} finally {
  demo.kill("SIGTERM");
}

async function pageOf({ stdout }) {
  for await (const line of createInterface({ input: stdout })) {
    const url = /^Page +(http:\S+)/.exec(line)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error("the demo ended");
}
