import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Device } from "@godwit/client";
import { Served } from "./crash/served.test-kit.ts";

const PSK = { kind: "psk", endpoint: "s", identity: "s1", key: "000102030405060708090a0b0c0d0e0f" };

test("a full disk is one line of the log, and devices and API are told why nothing is stored", async (t) => {
  const disk = mkdtempSync(join(tmpdir(), "godwit-full-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", disk]);
  if (mounted.status !== 0) {
    rmSync(disk, { recursive: true });
    return t.skip("a small disk needs the right to mount one");
  }
  let served: Served | undefined;
  const device = (endpoint: string): Device => {
    const server = served?.server ?? "";
    return new Device({ endpoint, server, lifetime: 300 });
  };
  try {
    served = await Served.start({ data: join(disk, "data") });
    const first = device("first");
    const registered = new Promise((done) => first.on("registered", done));
    await first.start();
    await registered;
    const { bavail, bsize } = statfsSync(disk);
    const filler = join(disk, "filler");
    try {
      writeFileSync(filler, new Uint8Array(bavail * bsize + 1));
    } catch {
      // that is the point
    }
    for (let i = 0; i < 20; i++) {
      const order = await served.call("GET", "/api/v1/devices/first/3/0/0?wait=0");
      assert.equal(order.status, 503);
      assert.match(JSON.stringify(order.body), /not stored: the disk is full/);
    }
    const added = await served.call("POST", "/api/v1/credentials", PSK);
    assert.equal(added.status, 503);
    assert.match(JSON.stringify(added.body), /not stored: the disk is full/);
    const second = device("second");
    const refused = new Promise<string>((done) =>
      second.on("refused", ({ diagnostic }) => done(diagnostic)),
    );
    await second.start();
    assert.equal(await refused, "not stored: the disk is full");
    await second.stop({ deregister: false });
    await first.stop({ deregister: false });
    const lines = served.said.split("\n").filter((line) => line !== "");
    assert.equal(lines.length, 1, served.said);
    assert.match(lines[0] ?? "", /"store":"full","msg":"not stored: /);
    rmSync(filler);
    const again = await served.call("POST", "/api/v1/credentials", PSK);
    assert.equal(again.status, 201); // there is room again
  } finally {
    await served?.end("SIGTERM");
    spawnSync("umount", [disk]);
    rmSync(disk, { recursive: true, force: true });
  }
});
