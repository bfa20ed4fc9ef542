import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Device, fileStore, oscore, psk, type DeviceOptions } from "@godwit/client";
import { MasterKey, memoryStore } from "@godwit/io";
import { Server, type ServerOptions } from "@godwit/server";
import { undying } from "./undying.test-kit.ts";

const OSCORE = {
  senderId: "01",
  recipientId: "02",
  masterSecret: "00112233445566778899aabbccddeeff",
};
const KEY = "000102030405060708090a0b0c0d0e0f";
const sealer = new MasterKey(new Uint8Array(32).fill(7));

async function started(options: Partial<ServerOptions> = {}): Promise<Server> {
  const server = new Server({ coaps: "127.0.0.1:0", sealer, ...options });
  await server.start();
  return server;
}

async function knows(server: Server): Promise<void> {
  const key = new Uint8Array(16).map((_, i) => i);
  await server.addCredential({ kind: "psk", endpoint: "weather", identity: "weather-7", key });
}

function deviceOf(server: string, options: Partial<DeviceOptions> = {}): Device {
  return new Device({
    endpoint: "weather",
    server: `coaps://${server}`,
    security: psk("weather-7", KEY),
    ...options,
  });
}

/** How the device's next session comes to be, and its registration or Update after that. */
async function begin(device: Device): Promise<string> {
  const how = new Promise<string>((resolve) => device.on("secured", (event) => resolve(event.how)));
  const there = new Promise<void>((resolve) => {
    device.on("registered", () => resolve());
    device.on("updated", () => resolve());
  });
  await device.start();
  await there;
  return await how;
}

test("a device comes in by its key, is read, and goes on with its session after restarts of both sides", async () => {
  const directory = await mkdtemp(join(tmpdir(), "godwit-"));
  const store = undying(memoryStore());
  const lines: string[] = [];
  let server = await started({ store, dtls: { keyLog: true } });
  server.on("keyLog", ({ line }) => lines.push(line));
  try {
    await knows(server);
    const [address = ""] = server.secureAddresses;
    const options = { store: fileStore(directory) } as const;
    const first = deviceOf(address, options);
    assert.equal(await begin(first), "full");
    assert.equal(await server.device("weather").read("/3/0/0"), "Godwit");
    assert.deepEqual(server.deviceView("weather")?.identity, {
      kind: "psk",
      identity: "weather-7",
    });
    assert.deepEqual(first.session?.handshakes, { full: 1, resumed: 0 });
    assert.equal(first.session?.kind, "dtls");
    assert.match(lines[0] ?? "", /^CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}$/);
    await first.stop({ deregister: false });

    const second = deviceOf(address, options);
    assert.equal(await begin(second), "kept");
    await second.stop({ deregister: false });

    await server.close();
    server = await started({ store, coaps: address });
    const third = deviceOf(address, options);
    assert.equal(await begin(third), "kept");
    assert.equal(await server.device("weather").read("/3/0/0"), "Godwit");
    await third.stop({ deregister: false });

    const fourth = deviceOf(address, { ...options, strategy: "resume" });
    assert.equal(await begin(fourth), "resumed");
    await fourth.stop();
  } finally {
    await server.close();
    await rm(directory, { recursive: true });
  }
});

test("OSCORE inside DTLS: the device is who its OSCORE keys say, and goes on after restarts of both sides", async () => {
  const directory = await mkdtemp(join(tmpdir(), "godwit-"));
  const store = undying(memoryStore());
  let server = await started({ store });
  try {
    await knows(server);
    const secret = "0f0e0d0c0b0a09080706050403020100";
    await server.addCredential({
      ...{ kind: "oscore", endpoint: "weather", derivation: "negotiated" },
      ...{ senderId: Uint8Array.of(2), recipientId: Uint8Array.of(1), masterSecret: hex(secret) },
      ...{ masterSalt: undefined, idContext: undefined, aead: undefined, hkdf: undefined },
    });
    const [address = ""] = server.secureAddresses;
    const ids = { senderId: "01", recipientId: "02", masterSecret: secret };
    const security = oscore(ids, psk("weather-7", KEY));
    const options = { store: fileStore(directory), security } as const;
    const first = deviceOf(address, options);
    assert.equal(await begin(first), "full");
    assert.equal(await server.device("weather").read("/3/0/0"), "Godwit");
    const view = server.deviceView("weather");
    assert.equal(view?.identity.kind, "oscore");
    assert.equal(view?.ledger.handshakes.full, 1, "what carries it is on its account");
    assert.equal(first.session?.kind, "oscore");
    assert.equal(first.session?.handshakes.full, 1);
    await first.stop({ deregister: false });
    await server.close();
    server = await started({ store, coaps: address });
    const second = deviceOf(address, options);
    assert.equal(await begin(second), "kept");
    assert.equal(await server.device("weather").read("/3/0/0"), "Godwit");
    await second.stop();
  } finally {
    await server.close();
    await rm(directory, { recursive: true });
  }
});

test("a server with plain and secured CoAP has two ports, and needs different numbers for them", async () => {
  const server = await started({ coap: "127.0.0.1:0", nosec: true });
  const plain = server.addresses[0] ?? "";
  assert.notEqual(plain, server.secureAddresses[0]);
  const [, number] = plain.split(":");
  const same = { coap: `127.0.0.2:${number}`, coaps: `127.0.0.3:${number}` };
  await assert.rejects(started(same), /different/);
  await server.close();
});

for (const { what, options, words } of [
  {
    what: "coaps without a key",
    options: { server: "coaps://127.0.0.1" },
    words: /needs a key/,
  },
  {
    what: "coaps with OSCORE that travels in nothing",
    options: { server: "coaps://127.0.0.1", security: oscore(OSCORE) },
    words: /key of its own/,
  },
  {
    what: "OSCORE inside DTLS on plain coap",
    options: { server: "coap://127.0.0.1", security: oscore(OSCORE, psk("a", KEY)) },
    words: /coaps/,
  },
  {
    what: "a key for plain coap",
    options: { server: "coap://127.0.0.1", security: psk("a", KEY) },
    words: /coaps/,
  },
]) {
  test(`${what} is refused in words`, () => {
    assert.throws(() => new Device({ endpoint: "x", ...options }), words);
  });
}

for (const [identity, key] of [
  ["", KEY],
  ["a".repeat(129), KEY],
  ["a", "0001"],
  ["a", "00".repeat(65)],
  ["a", "xyz"],
] as const) {
  test(`psk("${identity.slice(0, 5)}", "${key.slice(0, 5)}") is refused`, () => {
    assert.throws(() => psk(identity, key), /PSK/);
  });
}
