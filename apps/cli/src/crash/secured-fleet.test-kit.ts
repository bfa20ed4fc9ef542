// Devices with OSCORE credentials in farms, behind a relay that shows their traffic to an audit.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRng } from "@godwit/io";
import { toHex } from "@godwit/base";
import type { AuditedDevice, Body, Deeds } from "./audited-device.test-kit.ts";
import { Farm } from "./farm.test-kit.ts";
import type { FarmDevice } from "./farm-process.test-kit.ts";
import { NonceAudit, type AuditedCredential } from "./nonce-audit.test-kit.ts";
import { Relay } from "./relay.test-kit.ts";

export type Traits = Omit<FarmDevice, "credential">;

export class SecuredFleet {
  readonly audit: NonceAudit;
  /** For `godwit serve`: at every start, as in a unit file. */
  readonly args: readonly string[];
  readonly #devices: readonly FarmDevice[];
  readonly #directory = mkdtempSync(join(tmpdir(), "godwit-farm-"));
  readonly #farms: Farm[] = [];
  readonly #server = { port: 0 };
  #relay: Relay | undefined;
  /** Runs of B.2 until all had their keys. */
  #baseline: number | undefined;

  constructor(traits: readonly Traits[]) {
    const rng = systemRng();
    const credentials = traits.map(({ endpoint }, i): AuditedCredential => {
      const senderId = (0x10000 + i).toString(16);
      return {
        endpoint,
        senderId: `0${senderId}`.slice(-6),
        recipientId: "00",
        masterSecret: toHex(rng.bytes(16)),
      };
    });
    this.#devices = traits.map((one, i) => ({ ...one, credential: credentials[i]! })); // as many
    this.audit = new NonceAudit(credentials);
    const file = join(this.#directory, "credentials.json");
    const mirrored = credentials.map(({ endpoint, senderId, recipientId, masterSecret }) => {
      return {
        kind: "oscore",
        endpoint,
        senderId: recipientId,
        recipientId: senderId,
        masterSecret,
      };
    });
    writeFileSync(file, JSON.stringify(mirrored), { mode: 0o600 });
    this.args = ["--credentials", file];
  }

  get runs(): number {
    return this.audit.peers.reduce((sum, { runs }) => sum + runs, 0);
  }

  async open(port: number): Promise<void> {
    this.#server.port = port;
    this.#relay = await Relay.open(this.audit, this.#server);
    for (let i = 0; i < FARMS; i++) {
      const farm = new Farm({
        name: `farm-${i}`,
        devices: this.#devices.filter((_, n) => n % FARMS === i),
        server: `coap://127.0.0.1:${this.#relay.port}`,
        directory: this.#directory,
      });
      this.#farms.push(farm);
    }
    await Promise.all(this.#farms.map((farm) => farm.start()));
  }

  body(endpoint: string): Body {
    const farm = this.#farms.find((one) => one.has(endpoint));
    if (farm === undefined) throw new Error(`${endpoint} is in no farm`);
    return farm.body(endpoint);
  }

  isIn(farm: number, endpoint: string): boolean {
    return this.#farms[farm]?.has(endpoint) ?? false;
  }

  /** Somebody was killed: what challenges come now come of it. */
  killed(): void {
    this.audit.faults.push(...this.audit.mark());
  }

  async kill(farm: number): Promise<void> {
    await this.#farms[farm]?.kill();
    this.killed();
  }

  async restart(farm: number): Promise<void> {
    await this.#farms[farm]?.start();
  }

  /** What devices have done since, by their journals. */
  collect(deeds: Deeds): void {
    for (const farm of this.#farms) {
      for (const deed of farm.deeds()) {
        if (deed.kind === "written") {
          deeds.written.add(deed.value);
          continue;
        }
        deeds.executions.set(deed.order, (deeds.executions.get(deed.order) ?? 0) + 1);
      }
    }
  }

  /** A round is over. From when all were registered once, nobody needs new keys. */
  settled(devices: readonly AuditedDevice[]): void {
    this.#relay?.age();
    const { runs } = this;
    if (this.#baseline === undefined) {
      if (devices.some(({ acknowledged }) => acknowledged === undefined)) return;
      this.#baseline = runs;
    } else if (runs > this.#baseline) {
      this.audit.faults.push(`${runs - this.#baseline} runs of B.2 although the keys were kept`);
      this.#baseline = runs;
    }
  }

  complaints(): readonly string[] {
    return this.audit.faults.splice(0);
  }

  async close(): Promise<void> {
    await Promise.all(this.#farms.map((farm) => farm.kill()));
    this.#relay?.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Processes that share the devices. */
export const FARMS = 3;
