// Real processes: `godwit serve`, a `godwit device` of each strategy behind a relay of its own, their directories.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Served } from "../../../apps/cli/dist/crash/served.test-kit.js";
import { Relay } from "./relay.mjs";

export const STRATEGIES = ["udp", "queue", "resume", "cid", "oscore-b2"];

export class RealWorld {
  directory = mkdtempSync(join(tmpdir(), "godwit-stories-"));
  nosec = true;
  served;
  devices = new Map();
  faults = [];
  /** Paths of readings that came, by device: when the last one did. */
  heardAt = new Map();
  #ports;

  get data() {
    return join(this.directory, "data");
  }

  async start() {
    await this.serve();
    for (const strategy of STRATEGIES) {
      const device = new RealDevice(this, strategy);
      this.devices.set(strategy, device);
      if (!device.isOpen) await this.call("POST", "/credentials", device.credential());
      const { coap, coaps } = this.served.ports;
      device.relay = await Relay.open(device.isDtls ? coaps : coap);
      device.start();
    }
  }

  async serve(args = []) {
    const began = performance.now();
    try {
      this.served = await Served.start({
        data: this.data,
        dtls: true,
        nosec: this.nosec,
        args,
        ...(this.#ports !== undefined && { ports: this.#ports }),
      });
    } catch (fault) {
      this.faults.push(`the server does not start: ${fault.message}`);
      throw fault;
    }
    this.#ports = this.served.ports;
    if (performance.now() - began > START_WITHIN)
      this.faults.push("the server needs more than 20 s to start");
    this.#listen();
  }

  async end(signal) {
    const said = this.served.said;
    await this.served.end(signal);
    // Whoever speaks at level `error` has met a fault of its own.
    for (const line of said.split("\n"))
      if (line.includes('"level":50') && !EXPECTED.some((words) => line.includes(words)))
        this.faults.push(`the server says ${line}`);
  }

  async call(method, path, body) {
    return this.served.call(method, `/api/v1${path}`, body);
  }

  async close() {
    for (const device of this.devices.values()) await device.end("SIGKILL");
    await this.served?.end("SIGTERM");
    for (const { relay } of this.devices.values()) relay.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Readings as they come. */
  #listen() {
    const password = readFileSync(join(this.data, "admin-password"), "utf8").trim();
    const asked = request(
      {
        host: "127.0.0.1",
        port: this.served.ports.http,
        path: "/api/v1/events",
        headers: { authorization: `Bearer ${password}` },
      },
      (answer) => {
        let text = "";
        answer.on("error", () => {});
        answer.on("data", (chunk) => {
          text += chunk;
          for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
            const event = text.slice(0, end);
            text = text.slice(end + 2);
            if (!event.includes("event: notification")) continue;
            const data = JSON.parse(/^data: (.*)$/m.exec(event)[1]);
            this.heardAt.set(data.endpoint, performance.now());
          }
        });
      },
    );
    asked.on("error", () => {});
    asked.end();
  }
}

class RealDevice {
  strategy;
  relay;
  version = 1;
  /** The version its server has; undefined: none. */
  serverVersion = 1;
  observed = false;
  #world;
  #child;

  constructor(world, strategy) {
    this.#world = world;
    this.strategy = strategy;
    if (this.isOpen) this.serverVersion = undefined;
  }

  get isOpen() {
    return this.strategy === "udp" || this.strategy === "queue";
  }

  get isDtls() {
    return this.strategy === "resume" || this.strategy === "cid";
  }

  get state() {
    return join(this.#world.directory, `device-${this.strategy}`);
  }

  get isOn() {
    return this.#child !== undefined;
  }

  get isWelcome() {
    return this.isOpen ? this.#world.nosec : this.serverVersion === this.version;
  }

  get credentialId() {
    return this.isDtls ? `psk:${this.strategy}` : "oscore:45";
  }

  credential(version = this.version) {
    const key = Buffer.alloc(16, version).toString("hex");
    return this.isDtls
      ? { kind: "psk", endpoint: this.strategy, identity: this.strategy, key }
      : {
          kind: "oscore",
          endpoint: this.strategy,
          senderId: "53",
          recipientId: "45",
          masterSecret: key,
          derivation: "negotiated",
        };
  }

  start() {
    const args = ["--endpoint", this.strategy, "--lifetime", "20", "--state", this.state];
    const key = Buffer.alloc(16, this.version).toString("hex");
    if (this.strategy === "udp") args.push("--keep-alive", "15");
    if (this.strategy === "queue") args.push("--binding", "UQ");
    if (this.strategy === "cid") args.push("--cid");
    if (this.isDtls) args.push("--psk-identity", this.strategy, "--psk-key", key);
    if (this.strategy === "oscore-b2") {
      const file = `${this.state}.oscore.json`;
      writeFileSync(file, JSON.stringify({ senderId: "45", recipientId: "53", masterSecret: key }));
      args.push("--oscore", file);
    }
    const server = `${this.isDtls ? "coaps" : "coap"}://127.0.0.1:${this.relay.port}`;
    this.#child = spawn(process.execPath, [GODWIT, "device", "--server", server, ...args], {
      stdio: "ignore",
    });
  }

  async end(signal) {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }

  /** A copy of its directory, to be put back later. */
  copy() {
    rmSync(`${this.state}.copy`, { recursive: true, force: true });
    cpSync(this.state, `${this.state}.copy`, { recursive: true });
  }

  putBack() {
    rmSync(this.state, { recursive: true, force: true });
    cpSync(`${this.state}.copy`, this.state, { recursive: true });
    this.relay.forgive();
  }

  forget() {
    rmSync(this.state, { recursive: true, force: true });
  }

  review() {
    if (this.isWelcome) this.relay.shutSince = undefined;
    else this.relay.shutSince ??= performance.now();
  }
}

const GODWIT = fileURLToPath(new URL("../../../apps/cli/bin/godwit.mjs", import.meta.url));
/** ms */
const START_WITHIN = 20_000;
/** What a server says of a directory that was put back, as it should. */
const EXPECTED = ["put back", "older than it was", "backup"];
