// J11: data directories of earlier releases open, and sessions outlive the upgrade. See fixtures/releases/README.md.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Device, fileStore } from "@godwit/client";
import { loadMasterKey, openData, systemClock, type Data, type MasterKey } from "@godwit/io";
import { Server } from "@godwit/server";
import { Served } from "./crash/served.test-kit.ts";
import { securityOf, type SecurityOptions } from "./device-security.ts";

const RELEASES = fileURLToPath(new URL("../../../fixtures/releases/", import.meta.url));
const KEY = "000102030405060708090a0b0c0d0e0f";
const LIMIT = { timeout: 60_000 };

for (const release of readdirSync(RELEASES).filter((name) => !name.includes("."))) {
  suite(`J11: the data directories of ${release}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "godwit-release-"));
    after(() => rmSync(folder, { recursive: true }));

    const copy = (story: string): string => {
      const to = join(folder, `${story}-${readdirSync(folder).length}`);
      cpSync(join(RELEASES, release, story), to, { recursive: true });
      return to;
    };

    test(
      "every device that was registered goes on: nothing is negotiated anew",
      LIMIT,
      async () => {
        const directory = copy("once");
        const opened = await Opened.at(directory);
        try {
          const { server } = opened;
          assert.deepEqual(opened.setAside, []);
          const psk = (name: string): SecurityOptions =>
            secured({ pskIdentity: name, pskKey: KEY });
          const oscore = (name: string): SecurityOptions =>
            opened.plain({ oscore: join(directory, `${name}.json`) });
          const rpk = secured({
            rpkKey: join(directory, "rpk.key"),
            serverPublicKey: join(directory, "server.pem"),
          });
          for (const [name, options, how, waits] of [
            ["cid", psk("cid"), "kept", 1],
            ["asleep", psk("asleep"), "kept", 3],
            ["rpk", rpk, "kept", 0],
            // What notifications of OSCORE are bound to is lost: they are asked for again (RFC 8613 B.1.3).
            ["oscore", oscore("oscore"), undefined, 1],
            ["fixed", oscore("fixed"), undefined, 1],
            ["nosec", opened.plain({}), undefined, 0],
          ] as const) {
            assert.equal(server.deviceView(name)?.waitingOperations, waits, name);
            const seen = await opened.revive(directory, name, options, how !== undefined);
            assert.deepEqual(seen.secured, how === undefined ? [] : [how], name);
            // Who was observed and restarted registers, for it has forgotten that; the others update.
            assert.equal(seen.registered, name === "asleep" ? 0 : 1, name);
            assert.equal(await server.device(name).read("/3303/0/5701"), "Cel", name);
            assert.equal(server.deviceView(name)?.waitingOperations, 0, name);
            assert.deepEqual(
              server.deviceView(name)?.observations,
              ["/3303/0/5700"].slice(name === "asleep" ? 1 : 0),
              name,
            );
          }
        } finally {
          await opened.close();
        }
      },
    );

    test("a device that resumes its session does so", LIMIT, async () => {
      const directory = copy("once");
      const opened = await Opened.at(directory);
      try {
        const options = secured({ pskIdentity: "resume", pskKey: KEY });
        const seen = await opened.revive(directory, "resume", options, false);
        assert.deepEqual(seen.secured, ["resumed"]);
        assert.equal(await opened.server.device("resume").read("/3303/0/5701"), "Cel");
      } finally {
        await opened.close();
      }
    });

    test(
      "A1: two rows that claim one device are set aside, it resumes, and its operations go out",
      LIMIT,
      async () => {
        const directory = copy("twice");
        const opened = await Opened.at(directory);
        try {
          const { server } = opened;
          const rows = opened.setAside.filter(({ table }) => table === "dtls.association");
          assert.equal(rows.length, 2);
          for (const { reason } of rows) assert.match(reason, /two associations of one identity/);
          assert.equal(server.quarantine.items.length, 2);
          const single = await opened.revive(
            directory,
            "single",
            secured({ pskIdentity: "single", pskKey: KEY }),
            true,
          );
          assert.deepEqual(single, { secured: ["kept"], registered: 0 });
          forgetAssociation(join(directory, "double"));
          const double = await opened.revive(
            directory,
            "double",
            secured({ pskIdentity: "double", pskKey: KEY }),
            true,
          );
          assert.deepEqual(double, { secured: ["resumed"], registered: 1 });
          assert.equal(await server.device("double").read("/3303/0/5701"), "Cel");
          assert.equal(server.deviceView("double")?.waitingOperations, 0);
        } finally {
          await opened.close();
        }
      },
    );

    test("A2: what a revoked key left behind lets nobody in", LIMIT, async () => {
      const directory = copy("revoked");
      const opened = await Opened.at(directory);
      try {
        const { server } = opened;
        assert.equal(opened.setAside.filter(({ table }) => table === "dtls.association").length, 1);
        const before = server.strays["unknownCid"] ?? 0;
        const options = secured({ pskIdentity: "d1", pskKey: KEY });
        const device = opened.device(directory, "d1", options, true);
        await device.start();
        for (let i = 0; i < 100 && (server.strays["unknownCid"] ?? 0) === before; i++)
          await pause(100);
        assert.ok((server.strays["unknownCid"] ?? 0) > before, "its records are nobody's");
        assert.equal(server.deviceView("d1"), undefined);
      } finally {
        await opened.close();
      }
    });

    for (const story of readdirSync(join(RELEASES, release)))
      test(`${story}: godwit serve starts, three times`, LIMIT, async () => {
        const data = join(copy(story), "server");
        for (let i = 0; i < 3; i++) {
          const served = await Served.start({ data, dtls: true });
          const { body } = await served.call("GET", "/api/v1/quarantine");
          assert.ok((body as { total: number }).total <= 3);
          await served.end(i === 0 ? "SIGKILL" : "SIGTERM");
        }
      });
  });
}

/** A server over a copied directory, a day after the directory was left. */
class Opened {
  readonly server: Server;
  readonly setAside: { readonly table: string; readonly key: string; readonly reason: string }[] =
    [];
  readonly #data: Data;
  readonly #devices: Device[] = [];

  private constructor(data: Data, key: MasterKey, instant: number) {
    this.#data = data;
    this.server = new Server({
      coap: "127.0.0.1:0",
      coaps: "127.0.0.1:0",
      nosec: true,
      store: data.store,
      clock: systemClock(Date.now() - instant - 86_400_000),
      sealer: key,
    });
    this.server.on("quarantined", (record) => void this.setAside.push(record));
  }

  static async at(directory: string): Promise<Opened> {
    // Before this start notes its own.
    const mark = readFileSync(join(directory, "server", "mark.json"), "utf8");
    const { instant } = JSON.parse(mark) as { instant: number };
    const data = await openData(join(directory, "server"));
    const { key } = loadMasterKey(join(directory, "server", "master-key"));
    const opened = new Opened(data, key, instant);
    await opened.server.start();
    return opened;
  }

  plain(options: Partial<SecurityOptions>): SecurityOptions {
    return { server: "coap://", ...options };
  }

  device(directory: string, name: string, options: SecurityOptions, cid: boolean): Device {
    const isSecure = options.server.startsWith("coaps");
    const [address = ""] = isSecure ? this.server.secureAddresses : this.server.addresses;
    const server = `${isSecure ? "coaps" : "coap"}://${address}`;
    const security = securityOf({ ...options, server });
    const device = new Device({
      endpoint: name,
      server,
      lifetime: 31_536_000,
      store: fileStore(join(directory, name)),
      ...(security === undefined ? {} : { security, strategy: cid ? "cid" : "resume" }),
    });
    device.add(3303, { 5700: () => 21, 5701: "Cel" });
    this.#devices.push(device);
    return device;
  }

  /** Starts it from its state; resolves once the server has heard of it. */
  async revive(
    directory: string,
    name: string,
    options: SecurityOptions,
    cid: boolean,
  ): Promise<{ readonly secured: readonly string[]; readonly registered: number }> {
    const device = this.device(directory, name, options, cid);
    const seen = { secured: [] as string[], registered: 0 };
    device.on("secured", ({ how }) => void seen.secured.push(how));
    device.on("registered", () => void (seen.registered += 1));
    const updated = new Promise<void>((resolve) => {
      device.on("updated", () => resolve());
      device.on("registered", () => resolve());
    });
    await device.start();
    await updated;
    return seen;
  }

  async close(): Promise<void> {
    for (const device of this.#devices) await device.stop({ deregister: false });
    await this.server.close();
    await this.#data.close();
  }
}

function secured(options: Partial<SecurityOptions>): SecurityOptions {
  return { server: "coaps://", ...options };
}

/** As if the device had lost its association, but not the session to resume. */
function forgetAssociation(directory: string): void {
  const file = join(directory, "records.json");
  const kept = JSON.parse(readFileSync(file, "utf8")) as { tables: Record<string, unknown> };
  delete kept.tables["dtls.association"];
  writeFileSync(file, JSON.stringify(kept));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
