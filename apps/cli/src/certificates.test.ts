import assert from "node:assert/strict";
import { X509Certificate, generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hex, toHex } from "@godwit/base";
import {
  Device,
  fileStore,
  rpk,
  x509,
  type DeviceOptions,
  type Security,
  type X509Options,
} from "@godwit/client";
import { signingKey } from "@godwit/dtls";
import { MasterKey, memoryStore, type Store } from "@godwit/io";
import type { Credential } from "@godwit/lwm2m";
import {
  MasterKeyError,
  Server,
  roots,
  rpkCredential,
  shown,
  x509Credential,
  type ServerOptions,
} from "@godwit/server";
import { undying } from "./undying.test-kit.ts";

const file = new URL("../../../packages/dtls/src/vectors/certificate-faults.json", import.meta.url);
const { keys, certificates } = JSON.parse(readFileSync(file, "utf8")) as {
  keys: Record<string, string>;
  certificates: Record<string, string>;
};
const der = (name: string): Uint8Array => hex(certificates[name] ?? "");
const pem = (...names: readonly string[]): string =>
  names.map((name) => new X509Certificate(Buffer.from(der(name))).toString()).join("");

/** The key of all leaves in the vectors; the server has it, and so have devices with certificates. */
const LEAF = hex(keys["leaf"] ?? "");
const SHOWN = shown({ key: LEAF, certificate: pem("sans", "inter") });
const SERVER_NAME = "lamp-1.example.com";
const pair = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const ownKey = pair.privateKey.export({ format: "pem", type: "pkcs8" }) as string;
const ownPublic = new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }));

const RPK = rpkCredential("lamp", ownPublic);
const NAMED = x509Credential("lamp", { name: "client.example.com" });
const PINNED = x509Credential("lamp", { certificate: pem("clientOnly", "inter") });

async function started(options: Partial<ServerOptions> = {}): Promise<Server> {
  const server = new Server({
    coaps: "127.0.0.1:0",
    sealer: new MasterKey(new Uint8Array(32).fill(7)),
    dtls: { certificates: SHOWN, anchors: roots(pem("root")) },
    ...options,
  });
  await server.start();
  return server;
}

function deviceOf(server: Server, security: Security, more: Partial<DeviceOptions> = {}): Device {
  const [address = ""] = server.secureAddresses;
  return new Device({ endpoint: "lamp", server: `coaps://${address}`, security, ...more });
}

const certified = (more: Omit<X509Options, "certificate" | "key">): Security =>
  x509({ certificate: pem("clientOnly", "inter"), key: LEAF, ...more });
const bare = (): Security => rpk({ key: ownKey, serverPublicKey: signingKey(LEAF).spki });

/** How the session came to be, once the device is registered or has updated. */
async function begin(device: Device): Promise<string> {
  const how = new Promise<string>((resolve, reject) => {
    device.on("secured", (event) => resolve(event.how));
    device.on("handshakeFailed", (event) => reject(new Error(event.why)));
  });
  const there = new Promise<void>((resolve) => {
    device.on("registered", () => resolve());
    device.on("updated", () => resolve());
  });
  await device.start();
  const began = await how;
  await there;
  return began;
}

const serverName = SERVER_NAME;
const ways: readonly { how: string; credential: Credential; security: () => Security }[] = [
  { how: "raw public keys", credential: RPK, security: bare },
  {
    how: "a certificate by its name, the server's under a root",
    credential: NAMED,
    security: () => certified({ ca: pem("root"), serverName }),
  },
  {
    how: "a certificate that is pinned, the server's by usage 3",
    credential: PINNED,
    security: () => certified({ serverCertificate: pem("sans") }),
  },
  {
    how: "usage 2: the root is the server certificate",
    credential: NAMED,
    security: () => certified({ serverCertificate: pem("root"), usage: 2, serverName }),
  },
  {
    how: "usage 1: the server's certificate, and the way to a root",
    credential: NAMED,
    security: () =>
      certified({ ca: pem("root"), serverCertificate: pem("sans"), usage: 1, serverName }),
  },
  {
    how: "usage 0: a CA on the way to a root",
    credential: NAMED,
    security: () =>
      certified({ ca: pem("root"), serverCertificate: pem("inter"), usage: 0, serverName }),
  },
  {
    how: "a certificate of the device, and the server's bare public key",
    credential: NAMED,
    security: () => certified({ serverPublicKey: signingKey(LEAF).spki }),
  },
];

for (const { how, credential, security } of ways) {
  test(`a device comes in by ${how}, and is read`, async () => {
    const server = await started();
    try {
      await server.addCredential(credential);
      const device = deviceOf(server, security());
      assert.equal(await begin(device), "full");
      assert.equal(await server.device("lamp").read("/3/0/0"), "Godwit");
      assert.equal(device.session?.kind, "dtls");
      await device.stop();
    } finally {
      await server.close();
    }
  });
}

const strangers: readonly {
  how: string;
  credential?: Credential;
  security: () => Security;
  device: RegExp;
}[] = [
  {
    how: "another server's public key",
    security: () => rpk({ key: ownKey, serverPublicKey: signingKey(otherKey()).spki }),
    device: /another public key than the one that was configured/,
  },
  {
    how: "another root",
    security: () => certified({ ca: pem("deep"), serverName }),
    device: /unknown issuer/,
  },
  {
    how: "another name",
    security: () => certified({ ca: pem("root"), serverName: "evil.example" }),
    device: /certificate is not for evil\.example/,
  },
  {
    how: "the address where a name belongs",
    security: () => certified({ ca: pem("root") }),
    device: /certificate is not for 127\.0\.0\.1/,
  },
  {
    how: "usage 3 and another certificate",
    security: () => certified({ serverCertificate: pem("clientOnly") }),
    device: /not the certificate that was configured/,
  },
  {
    how: "usage 1 and the certificate of the CA",
    security: () =>
      certified({ ca: pem("root"), serverCertificate: pem("inter"), usage: 1, serverName }),
    device: /not the certificate that was configured/,
  },
];

for (const { how, security, device: says } of strangers) {
  test(`a device that expects ${how} leaves the server, and says why`, async () => {
    const server = await started();
    try {
      await server.addCredential(RPK);
      await server.addCredential(NAMED);
      const device = deviceOf(server, security());
      await assert.rejects(begin(device), says);
      assert.equal(server.deviceCount, 0);
      await device.stop({ deregister: false });
    } finally {
      await server.close();
    }
  });
}

for (const { how, security, credential, options, says } of [
  {
    how: "a public key that nobody added",
    security: bare,
    credential: NAMED,
    options: {},
    says: new RegExp(`no credential has the public key ${toHex(ownPublic)}`),
  },
  {
    how: "a certificate whose name nobody added",
    security: () => certified({ serverCertificate: pem("sans") }),
    credential: RPK,
    options: {},
    says: /wrong name: no credential has "client only" or "client\.example\.com", nor sha256:/,
  },
  {
    how: "a certificate where no root is trusted",
    security: () => certified({ serverCertificate: pem("sans") }),
    credential: NAMED,
    options: { dtls: { certificates: SHOWN } },
    says: /unknown issuer: .*no root is trusted/,
  },
  {
    how: "a certificate for servers",
    security: () =>
      x509({
        certificate: pem("serverOnly", "inter"),
        key: LEAF,
        serverCertificate: pem("sans"),
      }),
    credential: NAMED,
    options: {},
    says: /wrong usage: the certificate is not for a client/,
  },
]) {
  test(`${how} does not let a device in, and the server's log says why`, async () => {
    const server = await started(options);
    try {
      await server.addCredential(credential);
      const why = new Promise<string>((resolve) => {
        server.on("handshakeFailed", (event) => resolve(event.why));
      });
      const device = deviceOf(server, security());
      await device.start();
      assert.match(await why, says);
      assert.equal(server.deviceCount, 0);
      await device.stop({ deregister: false });
    } finally {
      await server.close();
    }
  });
}

test("a credential that is removed cuts its device off within a second, and nothing is resumed", async () => {
  for (const { credential, security } of ways.slice(0, 3)) {
    const directory = await mkdtemp(join(tmpdir(), "godwit-"));
    const server = await started();
    try {
      const { id } = await server.addCredential(credential);
      const device = deviceOf(server, security(), { store: fileStore(directory) });
      await begin(device);
      const gone = new Promise<void>((resolve) => server.on("deregistered", () => resolve()));
      const before = performance.now();
      await server.removeCredential(id);
      await gone;
      assert.ok(performance.now() - before < 1_000);
      await device.stop({ deregister: false });
      const why = new Promise<string>((resolve) => {
        server.on("handshakeFailed", (event) => resolve(event.why));
      });
      const again = deviceOf(server, security(), {
        store: fileStore(directory),
        strategy: "resume",
      });
      await again.start();
      assert.match(await why, /no credential has|unknown issuer|wrong name/);
      assert.equal(server.deviceCount, 0);
      await again.stop({ deregister: false });
    } finally {
      await server.close();
      await rm(directory, { recursive: true });
    }
  }
});

test("sessions are kept over restarts of the device, but not once it is told to trust another server", async () => {
  const directory = await mkdtemp(join(tmpdir(), "godwit-"));
  const server = await started();
  try {
    await server.addCredential(NAMED);
    const trusted = certified({ serverCertificate: pem("sans") });
    for (const [strategy, how] of [
      ["cid", "full"],
      ["cid", "kept"],
      ["resume", "resumed"],
    ] as const) {
      const device = deviceOf(server, trusted, { store: fileStore(directory), strategy });
      assert.equal(await begin(device), how);
      await device.stop({ deregister: false });
    }
    const other = certified({ serverCertificate: pem("clientOnly") });
    const store = fileStore(directory);
    const turned = deviceOf(server, other, { store });
    await assert.rejects(begin(turned), /not the certificate that was configured/);
    await turned.stop({ deregister: false });
  } finally {
    await server.close();
    await rm(directory, { recursive: true });
  }
});

test("a server that was given no key makes one, keeps it sealed, and shows it after a restart", async () => {
  const records = memoryStore();
  const store: Store = { ...undying(records) };
  const options = { store, dtls: {} };
  let server = await started(options);
  const [own] = server.certificates;
  await server.addCredential(RPK);
  await server.addCredential(PINNED);
  const [certificate = ""] = own?.chain ?? [];
  for (const security of [
    rpk({ key: ownKey, serverPublicKey: own?.publicKey ?? "" }),
    certified({ serverPublicKey: own?.publicKey ?? "" }),
    certified({ serverCertificate: certificate }),
    certified({ serverCertificate: certificate, usage: 2, serverName: "godwit" }),
  ]) {
    const device = deviceOf(server, security);
    assert.equal(await begin(device), "full");
    await device.stop();
  }
  await server.close();
  for (const { value } of records.load("serverKey")) {
    assert.ok(!toHex(value).includes("2a8648ce3d0301"), "no P-256 key in the clear");
  }
  server = await started(options);
  assert.deepEqual(server.certificates[0], own);
  await server.close();

  // Another master key: nothing opens, so nobody gets in.
  const blind = new Server({
    coaps: "127.0.0.1:0",
    store,
    sealer: new MasterKey(new Uint8Array(32).fill(8)),
  });
  await assert.rejects(
    blind.start(),
    (fault) => fault instanceof MasterKeyError && /put back the key/.test(fault.message),
  );

  // Its own key is damaged: devices with other credentials must not suffer for it.
  await new Promise<void>((resolve) => {
    const value = new Uint8Array(40);
    store.write([{ table: "serverKey", key: "p256", value }], () => resolve());
  });
  const faults: string[] = [];
  const damaged = new Server({
    coaps: "127.0.0.1:0",
    sealer: new MasterKey(new Uint8Array(32).fill(7)),
    ...options,
  });
  damaged.on("fault", ({ fault }) => faults.push(fault.message));
  await damaged.start();
  assert.match(faults.join("\n"), /the server's own key cannot be read/);
  assert.deepEqual(damaged.certificates, []);
  await damaged.close();
});

function otherKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return privateKey.export({ format: "pem", type: "pkcs8" }) as string;
}
