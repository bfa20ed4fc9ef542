// A data directory that is put back: by backup and restore, from a copy, in part. Real processes; every nonce that the
// server uses on the wire is audited by a reader of its own.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Device, fileStore, oscore, psk, type Security } from "@godwit/client";
import type { DeviceView } from "@godwit/server";
import { DtlsTap } from "./crash/dtls-tap.test-kit.ts";
import { NonceAudit } from "./crash/nonce-audit.test-kit.ts";
import { Relay } from "./crash/relay.test-kit.ts";
import { Served, serveUntilExit } from "./crash/served.test-kit.ts";
import { godwit } from "./godwit.test-kit.ts";

const LIMIT = { timeout: 60_000 };
const KEY = "000102030405060708090a0b0c0d0e0f";
const IDS = { senderId: "01", recipientId: "02", masterSecret: KEY };

/** A server with one device of DTLS and one of OSCORE, and who listens in on both. */
class Stage {
  readonly root = mkdtempSync(join(tmpdir(), "godwit-put-back-"));
  readonly data = join(this.root, "data");
  served!: Served;
  #tap!: DtlsTap;
  readonly #audit = new NonceAudit([{ endpoint: "oscore", ...IDS }]);
  #relay!: Relay;
  #devices: readonly Device[] = [];
  #lives = 0;

  static async open(): Promise<Stage> {
    const stage = new Stage();
    await stage.serve();
    const { coap, coaps = 0 } = stage.served.ports;
    stage.#tap = await DtlsTap.start(coaps);
    stage.#relay = await Relay.open(stage.#audit, { port: coap });
    for (const credential of CREDENTIALS) {
      const { status } = await stage.served.call("POST", "/api/v1/credentials", credential);
      assert.equal(status, 201);
    }
    await stage.boot();
    return stage;
  }

  async serve(args: readonly string[] = []): Promise<void> {
    const all = ["--log-level", "warn", ...args];
    const ports = this.served?.ports ?? { coap: 0, coaps: 0, http: 0 };
    this.served = await Served.start({
      data: this.data,
      dtls: true,
      nosec: false,
      ports,
      args: all,
    });
  }

  /** New lives of both devices, which register; what they kept of an earlier one is not there. */
  async boot(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.stop({ deregister: false })));
    this.#lives += 1;
    const make = (endpoint: string, server: string, security: Security): Device => {
      const store = fileStore(join(this.root, `${endpoint}-${this.#lives}`));
      const device = new Device({ endpoint, server, security, store, lifetime: 300 });
      device.add(3303, { 5700: () => 21 });
      return device;
    };
    this.#devices = [
      make("dtls", `coaps://127.0.0.1:${this.#tap.port}`, psk("dtls", KEY)),
      make("oscore", `coap://127.0.0.1:${this.#relay.port}`, oscore(IDS)),
    ];
    await Promise.all(
      this.#devices.map(async (device) => {
        const registered = new Promise<void>((done) => device.on("registered", () => done()));
        await device.start();
        await registered;
      }),
    );
  }

  /** Both devices and the server use numbers. */
  async talk(times = 3): Promise<void> {
    for (let i = 0; i < times; i++) {
      for (const device of this.#devices) device.update();
      const asked = ["dtls", "oscore"].map((name) =>
        this.served.call("GET", `/api/v1/devices/${name}/3303/0/5700?wait=3`),
      );
      for (const { status } of await Promise.all(asked)) assert.equal(status, 200);
    }
  }

  /** What the server does with devices that still have the keys of before, and that they come back with new ones. */
  async check(): Promise<void> {
    for (const device of this.#devices) device.update();
    await pause(1_500);
    await this.boot();
    await this.talk();
    for (const name of ["dtls", "oscore"]) {
      const view = await this.served.call("GET", `/api/v1/devices/${name}`);
      assert.equal((view.body as DeviceView).reachability, "reachable");
    }
    assert.deepEqual(this.#tap.faults, []);
    assert.deepEqual(this.#audit.faults, []);
    assert.ok(this.#tap.records > 10 && this.#audit.nonces > 10, "nothing was audited");
  }

  async stop(): Promise<void> {
    assert.equal(await this.served.end("SIGTERM"), 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.stop({ deregister: false })));
    await this.served.end("SIGKILL");
    this.#tap.close();
    this.#relay.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

async function onStage(act: (stage: Stage) => Promise<void>): Promise<void> {
  const stage = await Stage.open();
  try {
    await act(stage);
  } finally {
    await stage.close();
  }
}

test(
  "F23: a backup of a running server is restored: devices make new keys, and no nonce is used twice",
  LIMIT,
  () =>
    onStage(async (stage) => {
      await stage.talk();
      const file = join(stage.root, "backup.db");
      const made = await godwit(["backup", "--data", stage.data, "--to", file]);
      assert.equal(made.code, 0, made.said);
      assert.match(made.wrote, /of the running server.*\n.*master key is not in it/);
      await stage.talk();
      const busy = await godwit(["restore", "--from", file, "--data", stage.data]);
      assert.match(busy.said, /^godwit: .*is in use by a server: stop it first\n$/);
      await stage.stop();
      const restored = await godwit(["restore", "--from", file, "--data", stage.data]);
      assert.equal(restored.code, 0, restored.said);
      assert.match(restored.wrote, /The store that was there is kept as .*replaced-/);
      await stage.serve();
      assert.match(
        stage.served.said,
        /was restored from a backup of 2.*keys of its sessions are dropped/,
      );
      await stage.check();
      await stage.stop();
      await stage.serve();
      assert.doesNotMatch(stage.served.said, /restored/);
      await stage.talk();
    }),
);

test(
  "F23: a data directory that is put back from a copy is noticed, and no nonce is used twice",
  LIMIT,
  () =>
    onStage(async (stage) => {
      const copy = join(stage.root, "copy");
      await stage.talk();
      await stage.stop();
      cpSync(stage.data, copy, { recursive: true, preserveTimestamps: true });
      await stage.serve();
      assert.equal(stage.served.said, "");
      await stage.talk();
      await stage.stop();
      rmSync(stage.data, { recursive: true });
      renameSync(copy, stage.data);
      await stage.serve();
      assert.match(stage.served.said, /is a restored copy.*keys of its sessions are dropped/);
      await stage.check();
    }),
);

test(
  "F23: what was killed and has lost its log does not start without --accept-loss, and then uses no nonce twice",
  LIMIT,
  () =>
    onStage(async (stage) => {
      await stage.talk();
      await stage.served.end("SIGKILL");
      rmSync(join(stage.data, "godwit.db-wal"));
      const { ports } = stage.served;
      for (let i = 0; i < 2; i++) {
        const { code, said } = await serveUntilExit({ data: stage.data, ports, dtls: true });
        assert.equal(code, 1);
        assert.match(
          said,
          /^godwit: commits that were acknowledged are missing: [^\n]*--accept-loss[^\n]*\n$/,
        );
      }
      assert.ok(readdirSync(stage.data).some((name) => name.startsWith("godwit.db.set-aside-")));
      const missing = await godwit(["backup", "--data", stage.data, "--to", join(stage.root, "b")]);
      assert.equal(missing.code, 1);
      await stage.serve(["--accept-loss"]);
      assert.match(stage.served.said, /that was accepted/);
      const credentials = await stage.served.call("GET", "/api/v1/credentials");
      const { items } = credentials.body as { items: readonly unknown[] };
      for (const credential of items.length > 0 ? [] : CREDENTIALS)
        await stage.served.call("POST", "/api/v1/credentials", credential);
      await stage.check();
    }),
);

test(
  "F17: restarts by SIGTERM and kill -9, and a renamed directory, are no restored copy",
  LIMIT,
  () =>
    onStage(async (stage) => {
      for (const signal of ["SIGTERM", "SIGKILL", "SIGKILL", "SIGTERM"] as const) {
        await stage.talk(1);
        await stage.served.end(signal);
        renameSync(stage.data, `${stage.data}.moved`);
        renameSync(`${stage.data}.moved`, stage.data);
        await stage.serve();
        assert.equal(stage.served.said, "");
      }
      await stage.talk();
    }),
);

test(
  "F23: with a second mark elsewhere a directory that is put back does not start by itself",
  LIMIT,
  async () => {
    const root = mkdtempSync(join(tmpdir(), "godwit-put-back-"));
    const [data, copy, mark] = [join(root, "data"), join(root, "copy"), join(root, "mark.json")];
    const args = ["--log-level", "warn", "--mark", mark];
    try {
      for (const end of ["copied", "later"]) {
        const served = await Served.start({ data, args });
        assert.equal(await served.end("SIGTERM"), 0);
        assert.equal(served.said, "");
        if (end === "copied") cpSync(data, copy, { recursive: true });
      }
      rmSync(data, { recursive: true });
      renameSync(copy, data);
      const { code, said } = await serveUntilExit({ data, args });
      assert.equal(code, 1);
      assert.match(
        said,
        /^godwit: commits that were acknowledged are missing: [^\n]*--accept-loss[^\n]*\n$/,
      );
      const accepted = await Served.start({ data, args: [...args, "--accept-loss"] });
      assert.match(accepted.said, /that was accepted.*keys of its sessions are dropped/s);
      assert.equal(await accepted.end("SIGTERM"), 0);
      const next = await Served.start({ data, args });
      assert.equal(next.said, "");
      await next.end("SIGKILL");
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
);

const CREDENTIALS = [
  { kind: "psk", endpoint: "dtls", identity: "dtls", key: KEY },
  { kind: "oscore", endpoint: "oscore", senderId: "02", recipientId: "01", masterSecret: KEY },
];
