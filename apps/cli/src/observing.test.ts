import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { hex } from "@godwit/base";
import { Device, psk } from "@godwit/client";
import { MasterKey } from "@godwit/io";
import { Server } from "@godwit/server";
import { Relay } from "./crash/relay.test-kit.ts";
import { Served } from "./crash/served.test-kit.ts";

// `godwit serve` and `godwit device` as an operator runs them, a link between them that can be cut, and one observation.

const PATH = "/3303/0/5700";
const KEY = "000102030405060708090a0b0c0d0e0f";

/** `godwit device`, a reading each 5 s. */
class RunningDevice {
  said = "";
  readonly #child: ChildProcess;

  constructor(args: readonly string[]) {
    this.#child = spawn(process.execPath, [GODWIT, "device", "--endpoint", "d1", ...args]);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.said += chunk.toString()));
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/** Waits for the next reading that the API tells of. */
async function reading(server: Served, data: string): Promise<void> {
  const password = readFileSync(join(data, "admin-password"), "utf8").trim();
  const signal = AbortSignal.timeout(40_000);
  const events = await fetch(`http://127.0.0.1:${server.ports.http}/api/v1/events`, {
    headers: { authorization: `Bearer ${password}` },
    signal,
  });
  let text = "";
  for await (const chunk of events.body!) {
    text += new TextDecoder().decode(chunk);
    if (/event: notification\ndata: .*"path":"\/3303\/0\/5700"/.test(text)) return;
  }
}

/** "active", as the API says it. */
async function stateOf(server: Served): Promise<string> {
  const { body } = await server.call("GET", "/api/v1/devices/d1");
  const { observations } = body as { observations: { path: string; state: string }[] };
  return observations.map(({ path, state }) => `${path} ${state}`).join(", ");
}

async function story(secure: boolean): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "godwit-observing-"));
  const [data, state] = [join(directory, "data"), join(directory, "state")];
  let server = await Served.start({ data, dtls: secure, nosec: !secure });
  const { ports } = server;
  const again = (): Promise<Served> => Served.start({ data, dtls: secure, nosec: !secure, ports });
  const relay = await Relay.open(undefined, {
    port: secure ? (ports.coaps ?? 0) : ports.coap,
  });
  const scheme = secure ? "coaps" : "coap";
  const args = ["--server", `${scheme}://127.0.0.1:${relay.port}`];
  if (secure) args.push("--psk-identity", "d1", "--psk-key", KEY, "--cid");
  let device: RunningDevice | undefined;
  try {
    const credential = { kind: "psk", endpoint: "d1", identity: "d1", key: KEY };
    if (secure) await server.call("POST", "/api/v1/credentials", credential);
    device = new RunningDevice([...args, "--state", state]);
    let observed = await server.call("POST", `/api/v1/devices/d1${PATH}?observe`);
    for (let tries = 0; observed.status === 404 && tries < 50; tries++) {
      await new Promise((done) => setTimeout(done, 200));
      observed = await server.call("POST", `/api/v1/devices/d1${PATH}?observe`);
    }
    assert.equal(observed.status, 200);
    await reading(server, data);

    await server.end("SIGTERM");
    server = await again();
    await reading(server, data);
    await server.end("SIGKILL");
    server = await again();
    await reading(server, data);
    assert.equal(await stateOf(server), `${PATH} active`, "after two restarts of the server");

    await device.kill();
    device = new RunningDevice([...args, "--state", state]);
    await reading(server, data);
    assert.doesNotMatch(device.said, /registered/, "the kept registration goes on");
    await device.kill();
    device = new RunningDevice(args);
    await reading(server, data);
    assert.match(device.said, /registered at/);

    relay.isCut = true;
    await new Promise((done) => setTimeout(done, 7_000));
    relay.isCut = false;
    await reading(server, data);
    assert.equal(await stateOf(server), `${PATH} active`, "after the dead link");
  } catch (fault) {
    throw new Error(`${server.said}\n${device?.said}`, { cause: fault });
  } finally {
    await device?.kill();
    await server.end("SIGKILL");
    relay.close();
    rmSync(directory, { recursive: true });
  }
}

test("an observation outlives two restarts of the server, reboots of the device with and without its state, and a dead link; udp and dtls cid", async () => {
  await Promise.all([story(false), story(true)]);
});

test("over real sockets: after a silence the device makes sure of its way, by an Update or by resuming its session, and the reading arrives", async () => {
  const sealer = new MasterKey(new Uint8Array(32).fill(7));
  const server = new Server({ coap: "127.0.0.1:0", coaps: "127.0.0.1:0", nosec: true, sealer });
  await server.start();
  try {
    await server.addCredential({ kind: "psk", endpoint: "resumes", identity: "i", key: hex(KEY) });
    for (const [endpoint, options, before] of [
      ["updates", { server: `coap://${server.addresses[0]}` }, "updated"],
      [
        "resumes",
        {
          server: `coaps://${server.secureAddresses[0]}`,
          security: psk("i", KEY),
          strategy: "resume",
        },
        "resumed updated",
      ],
    ] as const) {
      const device = new Device({ endpoint, tuning: { fallbackInterval: 300 }, ...options });
      device.add(3303, { 5700: 20 });
      const registered = new Promise<void>((done) => device.on("registered", () => done()));
      await device.start();
      await registered;
      const readings = server.device(endpoint).observe("/3303/0/5700");
      assert.equal((await readings.next()).value?.value, 20);
      const said: string[] = [];
      device.on("secured", ({ how }) => void said.push(how));
      device.on("updated", () => void said.push("updated"));
      await new Promise((done) => setTimeout(done, 500));
      device.set("/3303/0/5700", 21);
      assert.equal((await readings.next()).value?.value, 21);
      assert.equal(said.join(" "), before);
      await readings.return();
      await device.stop();
    }
  } finally {
    await server.close();
  }
});

const GODWIT = fileURLToPath(new URL("../bin/godwit.mjs", import.meta.url));
