import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, suite, test } from "node:test";
import { Device } from "@godwit/client";
import { Server } from "@godwit/server";
import { chromium, type Browser } from "playwright-core";
import { createPlatform, type Platform } from "./platform.ts";

const CHROMIUM = "/usr/bin/chromium";
const missing = existsSync(CHROMIUM) ? false : `no ${CHROMIUM}: apt-get install chromium`;
if (missing !== false && process.env["CI"] === "true") throw new Error(missing);

const HOSTILE = '<img src=x onerror="document.title=1">\u{1f426}&amp;';
// All tests share a process: minutes may pass between the devices' last word and a test.
const tuning = { trustedBinding: 3_600_000 };
/** Nothing is stored. */
const sealer = { seal: (secret: Uint8Array) => secret, open: (sealed: Uint8Array) => sealed };
const server = new Server({ coap: "127.0.0.1:0", nosec: true, sealer, tuning });
let platform: Platform;
let browser: Browser;
let url: string;
const devices: Device[] = [];

// The hooks are the suite's: all test files share one process.
suite("the page", () => {
  before(async () => {
    if (missing !== false) return;
    await server.start();
    platform = await createPlatform({
      server,
      auth: { kind: "open" },
      simulation: () => ({ thermo: { mapping: "open", closesIn: 12_000 } }),
    });
    url = await platform.listen("127.0.0.1", 0);
    for (const endpoint of ["thermo", HOSTILE]) {
      const device = new Device({
        endpoint,
        server: `coap://${server.addresses[0]}`,
        lifetime: 300,
      });
      device.add(3303, { 5700: 21.5, 5701: "Cel" });
      const registered = new Promise<void>((done) => device.on("registered", () => done()));
      await device.start();
      await registered;
      devices.push(device);
    }
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
    });
  });

  after(async () => {
    if (missing !== false) return;
    await browser.close();
    for (const device of devices) await device.stop();
    await platform.close();
    await server.close();
  });

  test(
    "the page shows every device as it is, and runs nothing that a device is called",
    { skip: missing },
    async () => {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (fault) => complaints.push(fault.message));
      page.on("console", (line) => {
        if (line.type() === "error") complaints.push(line.text());
      });
      await page.goto(url);
      await page.waitForSelector("#devices tbody tr:nth-child(2)");
      const names = await page.locator("#devices .name").allTextContents();
      assert.deepEqual(names.toSorted(), [HOSTILE, "thermo"].toSorted());
      assert.equal(await page.title(), "Godwit");
      assert.equal(await page.locator("#devices img").count(), 0);
      const row = page.locator("#devices tbody tr", { hasText: "thermo" });
      assert.equal(await row.locator(".state").textContent(), "Reachable");
      assert.match((await row.locator(".mapping").textContent()) ?? "", /open, 12 s left/);
      await page.waitForSelector("#link.live");

      // Who is not let in is named with what to do; what it calls itself runs nothing either.
      const endpoint = `${HOSTILE} 2`;
      const key = new Uint8Array(16);
      await server.addCredential({ kind: "psk", endpoint, identity: "stranger", key });
      const stranger = new Device({ endpoint, server: `coap://${server.addresses[0]}` });
      await stranger.start();
      const entry = page.locator("#refusals li", { hasText: endpoint });
      await entry.locator(".hint:has-text('Let the device use its credential')").waitFor();
      const said = (await entry.locator(".bad").textContent()) ?? "";
      assert.match(said, /from 127\.0\.0\.1:\d+: 4\.03, this endpoint has credentials/);
      assert.equal(await page.locator("#refusals img").count(), 0);
      await stranger.stop({ deregister: false });

      devices[0]?.update();
      await server.device("thermo").read("/3303/0/5700");
      await page.waitForSelector("#events li:has-text('read /3303/0/5700: 2.05 21.5')");

      await page.fill("#filter", "therm");
      assert.equal(await page.locator("#devices tbody tr:visible").count(), 1);
      await page.setViewportSize({ width: 390, height: 800 });
      const width = Number(await page.evaluate("document.documentElement.scrollWidth"));
      assert.ok(width <= 390, `the page is ${width} px wide on a phone`);
      assert.deepEqual(complaints, []);
      await page.close();
    },
  );
});
