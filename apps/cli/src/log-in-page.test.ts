import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Device } from "@godwit/client";
import { chromium, type Page } from "playwright-core";
import { Served } from "./crash/served.test-kit.ts";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = existsSync(CHROMIUM) ? false : `no ${CHROMIUM}: apt-get install chromium`;
if (missing !== false && process.env["CI"] === "true") throw new Error(missing);

test(
  "a browser is led to the log-in form of godwit serve, logs in, sees devices, outlives a restart, and logs out",
  { skip: missing, timeout: 60_000 },
  async () => {
    const data = mkdtempSync(join(tmpdir(), "godwit-page-"));
    let served = await Served.start({ data });
    const { ports } = served;
    const device = new Device({ endpoint: "thermo", server: served.server, lifetime: 300 });
    device.add(3303, { 5700: 21.5, 5701: "Cel" });
    await device.start();
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
    });
    try {
      const page = await browser.newPage();
      const answers = statuses(page);
      const errors: string[] = [];
      page.on("pageerror", (fault) => errors.push(fault.message));
      const url = `http://127.0.0.1:${ports.http}`;
      const password = readFileSync(join(data, "admin-password"), "utf8").trim();
      const logIn = async (text: string): Promise<void> => {
        await page.fill("#password", text);
        await page.click("#login button");
      };

      const opened = await page.goto(url);
      assert.equal(opened?.status(), 200);
      assert.equal(new URL(page.url()).pathname, "/login.html");
      const form = { "/": 302, "/login.html": 200, "/login.js": 200, "/style.css": 200 };
      await page.waitForLoadState("networkidle");
      assert.deepEqual({ ...answers(), "/icon.svg": 200 }, { ...form, "/icon.svg": 200 });

      await logIn("not the password");
      await page.waitForSelector("#fault:has-text('not the administrator')");
      assert.equal(answers()["/login"], 401);

      await logIn(password);
      await page.waitForSelector("#devices .name:text-is('thermo')");
      await page.waitForSelector("#link.live");
      await page.waitForSelector("#log-out:visible");
      const bad = Object.entries(answers()).filter(([, status]) => status >= 400);
      assert.deepEqual(bad, []);

      assert.equal(await served.end("SIGTERM"), 0);
      await page.waitForSelector("#lost:has-text('has not answered since')");
      await page.waitForSelector("body.stale #link:text-is('reconnecting…')");
      assert.equal(await page.locator("#devices .name:text-is('thermo')").count(), 1);

      served = await Served.start({ data, ports });
      await page.waitForURL(`${url}/login.html#ended`);
      await page.waitForSelector("#why:has-text('Log in again')");
      await logIn(password);
      await page.waitForSelector("#devices .name:text-is('thermo')");
      await page.waitForSelector("#link.live");
      assert.equal(await page.locator("#lost:visible").count(), 0);

      await page.click("#log-out");
      await page.waitForURL(`${url}/login.html#out`);
      await page.goto(url);
      assert.equal(new URL(page.url()).pathname, "/login.html");
      assert.deepEqual(errors, []);
    } finally {
      await browser.close();
      await device.stop({ deregister: false });
      await served.end("SIGTERM");
      rmSync(data, { recursive: true, force: true });
    }
  },
);

/** The last status of each path that the page asked for. */
function statuses(page: Page): () => Record<string, number> {
  const seen = new Map<string, number>();
  page.on("response", (answer) => {
    const { origin, pathname } = new URL(answer.url());
    if (origin.startsWith("http://127.0.0.1")) seen.set(pathname, answer.status());
  });
  return () => Object.fromEntries(seen);
}
