import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Device } from "@godwit/client";
import { openData } from "@godwit/io";
import type { DeviceView, Task } from "@godwit/server";
import { Served, serveUntilExit, type ServedOptions } from "./crash/served.test-kit.ts";

const LIMIT = { timeout: 30_000 };

async function withDirectory(act: (data: string) => Promise<void>): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), "godwit-serve-"));
  try {
    await act(data);
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

for (const signal of ["SIGTERM", "SIGHUP"] as const) {
  test(
    `F16: SIGTERM and SIGHUP end godwit serve in under 3 s, and nothing promised is lost: ${signal}`,
    LIMIT,
    () => withDirectory((data) => endsCleanly(data, signal)),
  );
}

async function endsCleanly(data: string, signal: NodeJS.Signals): Promise<void> {
  const first = await Served.start({ data });
  const device = new Device({ endpoint: "kept", server: first.server, lifetime: 300 });
  const registered = new Promise<string>((resolve) =>
    device.on("registered", ({ location }) => resolve(location[1] ?? "")),
  );
  await device.start();
  const id = await registered;
  await device.stop({ deregister: false }); // falls silent: what it is sent now waits
  const order = await first.call("GET", "/api/v1/devices/kept/3/0/0?wait=0");
  assert.equal(order.status, 202);
  const began = performance.now();
  assert.equal(await first.end(signal), 0);
  assert.ok(performance.now() - began < 3_000, `${performance.now() - began} ms`);
  const second = await Served.start({ data });
  try {
    const view = await second.call("GET", "/api/v1/devices/kept");
    assert.equal((view.body as DeviceView).id, id);
    const task = await second.call("GET", `/api/v1/tasks/${(order.body as Task).id}`);
    assert.equal((task.body as Task).state, "waiting");
  } finally {
    assert.equal(await second.end("SIGINT"), 0);
  }
}

test(
  "F18: what stands in the way of a start is said in one line, and the process ends",
  LIMIT,
  () =>
    withDirectory(async (root) => {
      const directory = (name: string): string => join(root, name);
      const held = await openData(directory("held"));
      for (const name of ["damaged", "foreign", "closed"]) {
        await (await openData(directory(name))).close();
      }
      const db = openSync(directory("damaged/godwit.db"), "r+");
      writeSync(db, new Uint8Array(6_000).fill(0xa5), 0, 6_000, 4_096); // page 1 still says what it is
      closeSync(db);
      const full = await openData(directory("rotten"));
      const changes = Array.from({ length: 500 }, (_, i) => ({
        table: "registration",
        key: `${i}`,
        value: new Uint8Array(500),
      }));
      await new Promise<unknown>((done) => full.store.write(changes, done));
      await full.close();
      const rotten = readFileSync(directory("rotten/godwit.db"));
      writeFileSync(directory("rotten/godwit.db"), rotten.fill(0xa5, rotten.length >> 1));
      writeFileSync(directory("foreign/godwit.db"), "this is a diary".repeat(1_000));
      writeFileSync(directory("file"), "");
      chmodSync(directory("closed"), 0o000);
      const web = createServer().listen(0, "127.0.0.1");
      await once(web, "listening");
      const udp = createSocket("udp4").bind(0, "127.0.0.1");
      await once(udp, "listening");
      const ports = { coap: udp.address().port, http: (web.address() as AddressInfo).port };
      const free = { coap: 0, http: 0 };
      const cases: [RegExp, ServedOptions][] = [
        [/godwit\.db is in use by process \d+; one process at a time/, { data: directory("held") }],
        [/godwit\.db is damaged; restore a backup, or move it/, { data: directory("damaged") }],
        [/godwit\.db is damaged; restore a backup, or move it/, { data: directory("rotten") }],
        [/godwit\.db is not a Godwit store; it was left as/, { data: directory("foreign") }],
        [/file is not a directory/, { data: directory("file") }],
        [
          /--http <host:port>.* Write HOST:PORT/,
          { data: directory("d"), args: ["--http", "nowhere"] },
        ],
        [
          /cannot bind UDP 127\.0\.0\.1:\d+: another program has this port/,
          { data: directory("b"), ports: { ...free, coap: ports.coap } },
        ],
        [
          /--http: cannot bind 127\.0\.0\.1:\d+: another program has this port/,
          { data: directory("c"), ports: { ...free, http: ports.http } },
        ],
      ];
      // Nothing is closed to the superuser.
      if (process.getuid?.() !== 0) {
        cases.push([
          /permission denied.*give .*closed to the user who runs this/,
          { data: directory("closed") },
        ]);
      }
      try {
        const ends = await Promise.all(cases.map(([, options]) => serveUntilExit(options)));
        for (const [i, { code, said }] of ends.entries()) {
          assert.equal(code, 1, said);
          assert.match(said, cases[i]![0]); // one for each
          assert.match(said, /^godwit: [^\n]*\n$/);
        }
        assert.equal(
          readFileSync(directory("foreign/godwit.db"), "utf8").slice(0, 15),
          "this is a diary",
        );
      } finally {
        web.close();
        udp.close();
        await held.close();
        chmodSync(directory("closed"), 0o700);
      }
    }),
);
