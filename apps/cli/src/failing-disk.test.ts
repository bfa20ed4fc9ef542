// What a server does while its disk fails: real processes, a real full file system, a data directory that is deleted under it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Device } from "@godwit/client";
import { formatCode } from "@godwit/coap";
import type { DeviceView, Task } from "@godwit/server";
import { Served } from "./crash/served.test-kit.ts";

const LIMIT = { timeout: 60_000 };
const HOOK = new URL("./world-hook.test-kit.js", import.meta.url).href;

async function inRoot(act: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "godwit-disk-"));
  try {
    await act(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Registers a device; resolves with "2.01", or with the refusal and its diagnostic. */
async function register(
  served: Served,
  endpoint: string,
): Promise<{ device: Device; answer: string }> {
  const device = new Device({ endpoint, server: served.server, lifetime: 300 });
  device.add(3303, { 5700: () => 21 });
  const answer = new Promise<string>((resolve) => {
    device.on("registered", () => resolve("2.01"));
    device.on("refused", ({ code, diagnostic }) => resolve(`${formatCode(code)} ${diagnostic}`));
  });
  await device.start();
  return { device, answer: await answer };
}

/** Until `look` says yes, for 10 s at most. */
async function soon(look: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 10_000; Date.now() < end; await pause(100))
    if (await look()) return;
  assert.fail(`not within 10 s: ${what}`);
}

async function isReady(served: Served): Promise<boolean> {
  return (await served.call("GET", "/readyz")).status === 200;
}

function lines(served: Served): readonly { readonly msg: string; readonly level: number }[] {
  const all = served.said.split("\n").filter((line) => line !== "");
  return all.map((line) => JSON.parse(line) as { msg: string; level: number });
}

test(
  "F18: a disk that fails to confirm once ends the server with exit code 74, and the next start has what was acknowledged",
  LIMIT,
  () =>
    inRoot(async (root) => {
      const [data, fails] = [join(root, "data"), join(root, "fails")];
      const env = { NODE_OPTIONS: `--import ${HOOK}`, GODWIT_TEST_DISK: fails };
      const served = await Served.start({ data, env });
      const kept = await register(served, "kept");
      assert.equal(kept.answer, "2.01");
      writeFileSync(fails, "");
      const refused = await register(served, "refused");
      assert.equal(refused.answer, "5.03 the disk failed");
      assert.equal(await served.ended, 74);
      const said = lines(served);
      assert.equal(said.length, 1, served.said);
      assert.match(
        said[0]?.msg ?? "",
        /store failed.*ends to be started again.*disk did not confirm.*EIO/,
      );
      await Promise.all([kept, refused].map(({ device }) => device.stop({ deregister: false })));
      const next = await Served.start({ data });
      assert.equal((await next.call("GET", "/api/v1/devices/kept")).status, 200);
      assert.ok(await isReady(next));
      assert.equal(await next.end("SIGTERM"), 0);
    }),
);

test(
  "F18: with --on-store-failure serve-read-only the server shows what it knows, is not ready, and refuses the rest",
  LIMIT,
  () =>
    inRoot(async (root) => {
      const [data, fails] = [join(root, "data"), join(root, "fails")];
      const env = { NODE_OPTIONS: `--import ${HOOK}`, GODWIT_TEST_DISK: fails };
      const args = ["--on-store-failure", "serve-read-only"];
      const served = await Served.start({ data, env, args });
      const kept = await register(served, "kept");
      writeFileSync(fails, "");
      const refused = await register(served, "refused");
      assert.equal(refused.answer, "5.03 the disk failed");
      const ready = await served.call("GET", "/readyz");
      assert.equal(ready.status, 503);
      const { status, store, reason } = ready.body as Record<string, string>;
      assert.deepEqual([status, store], ["not ready", "broken"]);
      assert.match(reason ?? "", /did not confirm.*opened again/);
      const figures = String((await served.call("GET", "/metrics")).body);
      assert.match(figures, /^godwit_store_working 0$/m);
      assert.match(figures, /^godwit_store_refusals_total [1-9]/m);
      const view = await served.call("GET", "/api/v1/devices/kept");
      assert.equal((view.body as DeviceView).endpoint, "kept");
      const task = await served.call("GET", "/api/v1/devices/kept/3/0/0?wait=1");
      assert.equal(task.status, 503);
      assert.match(JSON.stringify(task.body), /could not be kept: the disk failed/);
      const removed = await served.call("DELETE", "/api/v1/devices/kept");
      assert.equal(removed.status, 503); // it would be back after a restart
      assert.match(JSON.stringify(removed.body), /nothing was changed: the disk did not confirm/);
      const still = await served.call("GET", "/api/v1/devices/kept");
      assert.equal(still.status, 200);
      await Promise.all([kept, refused].map(({ device }) => device.stop({ deregister: false })));
      assert.equal(await served.end("SIGTERM"), 0);
    }),
);

test(
  "F18: a data directory that is deleted or replaced under a server is noticed within seconds, and what is there now is not touched",
  LIMIT,
  () =>
    inRoot(async (root) => {
      for (const way of ["deleted", "replaced"]) {
        const [data, other] = [join(root, way), join(root, `${way}-other`)];
        const first = await Served.start({ data });
        const { device, answer } = await register(first, "dev");
        assert.equal(answer, "2.01");
        if (way === "replaced") {
          cpSync(data, other, { recursive: true }); // with a log, as a copy of a running server has
          renameSync(data, `${data}-away`);
          renameSync(other, data);
        } else rmSync(data, { recursive: true });
        const log = join(data, "godwit.db-wal");
        const before = way === "replaced" ? readFileSync(log) : undefined;
        const began = Date.now();
        assert.equal(await first.ended, 74);
        assert.ok(Date.now() - began < 8_000);
        assert.match(
          lines(first)[0]?.msg ?? "",
          /godwit\.db was (?:deleted|replaced) while the server ran/,
        );
        if (before !== undefined) assert.deepEqual(readFileSync(log), before);
        await device.stop({ deregister: false });
      }
    }),
);

test(
  "F18: a full file system is said once, in 5.03, in the API and in /readyz, and passes without a restart",
  LIMIT,
  (t) =>
    inRoot(async (root) => {
      const disk = join(root, "disk");
      mkdirSync(disk);
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", disk], {
          stdio: "pipe",
        });
      } catch {
        return t.skip("mounting a small file system needs root");
      }
      try {
        const served = await Served.start({ data: join(disk, "data") });
        const kept = await register(served, "kept");
        assert.equal(kept.answer, "2.01");
        fill(join(disk, "filler"));
        for (let i = 0; i < 20; i++) {
          const credential = {
            kind: "psk",
            endpoint: `e${i}`,
            identity: `e${i}`,
            key: "00".repeat(16),
          };
          const { status, body } = await served.call("POST", "/api/v1/credentials", credential);
          if (status === 201) continue; // the last page that is free
          assert.equal(status, 503);
          assert.match(JSON.stringify(body), /could not be kept: the disk is full/);
        }
        const refused = await register(served, "refused");
        assert.equal(refused.answer, "5.03 the disk is full");
        assert.equal((await served.call("GET", "/api/v1/devices/kept")).status, 200);
        const { status, body } = await served.call("GET", "/readyz");
        assert.equal(status, 503);
        assert.match(JSON.stringify(body), /full/);
        const said = lines(served);
        assert.equal(said.length, 1, served.said);
        assert.match(said[0]?.msg ?? "", /refuses writes.*tried again every second.*full/);
        rmSync(join(disk, "filler"));
        await soon(() => isReady(served), "ready again");
        const later = await register(served, "later");
        assert.equal(later.answer, "2.01");
        await Promise.all(
          [kept, refused, later].map(({ device }) => device.stop({ deregister: false })),
        );
        assert.equal(await served.end("SIGTERM"), 0);
        const next = await Served.start({ data: join(disk, "data") });
        assert.equal((await next.call("GET", "/api/v1/devices/later")).status, 200);
        assert.equal((await next.call("GET", "/api/v1/devices/refused")).status, 404);
        assert.equal(await next.end("SIGTERM"), 0);
      } finally {
        execFileSync("umount", ["-l", disk]);
      }
    }),
);

test("what was removed or cancelled is not back after kill -9", LIMIT, () =>
  inRoot(async (root) => {
    const data = join(root, "data");
    for (let round = 0; round < 5; round++) {
      const served = await Served.start({ data });
      const { device } = await register(served, "dev");
      await device.stop({ deregister: false });
      const asked = await served.call("GET", "/api/v1/devices/dev/3/0/0?wait=0");
      const task = `/api/v1/tasks/${(asked.body as Task).id}`;
      assert.equal((await served.call("DELETE", task)).status, 204);
      assert.equal((await served.call("DELETE", "/api/v1/devices/dev")).status, 204);
      await served.end("SIGKILL");
      const next = await Served.start({ data });
      assert.equal((await next.call("GET", "/api/v1/devices/dev")).status, 404);
      assert.equal(((await next.call("GET", task)).body as Task).state, "cancelled");
      await next.end("SIGKILL");
    }
  }),
);

test(
  "F19: a start with a clock that is two days or fifty years off ends no waiting operation, and times are right after the next",
  LIMIT,
  () =>
    inRoot(async (root) => {
      const data = join(root, "data");
      const first = await Served.start({ data });
      const { device } = await register(first, "dev");
      await device.stop({ deregister: false });
      const asked = await first.call("GET", "/api/v1/devices/dev/3/0/0?wait=0");
      const { id, createdAt } = asked.body as Task;
      await first.end("SIGTERM");
      for (const off of [2 * DAY, -2 * DAY, 50 * 365 * DAY, -50 * 365 * DAY]) {
        const env = { NODE_OPTIONS: `--import ${HOOK}`, GODWIT_TEST_CLOCK: `${off}` };
        const wrong = await Served.start({ data, env, args: ["--log-level", "warn"] });
        const { state } = (await wrong.call("GET", `/api/v1/tasks/${id}`)).body as Task;
        assert.match(state, OPEN);
        assert.match(wrong.said, /wall clock was set (?:forward|back) by/);
        assert.equal((await wrong.call("GET", "/api/v1/devices/dev")).status, 200);
        await wrong.end(off > 0 ? "SIGTERM" : "SIGKILL");
      }
      const right = await Served.start({ data, args: ["--log-level", "error"] });
      const task = (await right.call("GET", `/api/v1/tasks/${id}`)).body as Task;
      assert.match(task.state, OPEN);
      assert.ok(Math.abs(task.createdAt - createdAt) < 1_000, `${task.createdAt - createdAt} ms`);
      await right.end("SIGTERM");
    }),
);

/** A start may have asked the device already. */
const OPEN = /^(?:waiting|sent)$/;

/** Until not one byte more goes in. */
function fill(file: string): void {
  const chunks = [64 * 1024, 4_096, 1];
  for (const size of chunks) {
    for (;;) {
      try {
        writeFileSync(file, new Uint8Array(size), { flag: "a" });
      } catch {
        break;
      }
    }
  }
}

const DAY = 86_400_000;
