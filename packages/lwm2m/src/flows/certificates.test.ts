import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { leafOf, signingKey, type Certificate } from "@godwit/dtls";
import { World } from "@godwit/netsim";
import { credentialId, type Credential } from "../server/credential.ts";
import { TestDevice, TestServer } from "./kit.test.ts";

const file = new URL("../../../dtls/src/vectors/certificate-faults.json", import.meta.url);
const { keys, certificates } = JSON.parse(readFileSync(file, "utf8")) as {
  keys: Record<string, string>;
  certificates: Record<string, string>;
};
const der = (name: string): Uint8Array => hex(certificates[name] ?? "");
const key = signingKey(hex(keys["leaf"] ?? ""));
const JANUARY_2027 = 1_800_000_000_000;

const RPK: Certificate = { kind: "rpk", key };
const X509: Certificate = { kind: "x509", key, chain: [der("sans"), der("inter")] };

const ways: readonly { how: string; shown: Certificate; credential: Credential }[] = [
  {
    how: "a raw public key",
    shown: RPK,
    credential: { kind: "rpk", endpoint: "device", spki: key.spki },
  },
  {
    how: "a name in its certificate",
    shown: X509,
    credential: { kind: "x509", endpoint: "device", name: "urn:dev:ops:32473-lamp-1" },
  },
  {
    how: "its certificate itself",
    shown: X509,
    credential: {
      kind: "x509",
      endpoint: "device",
      fingerprint: hex(leafOf([der("sans")]).fingerprint),
    },
  },
];

function stage(
  { shown, credential }: { shown: Certificate; credential: Credential },
  strategy: "cid" | "resume",
): { world: World; server: TestServer; device: TestDevice } {
  const world = new World({ seed: 11, start: JANUARY_2027 });
  const anchors = [der("root")];
  const server = new TestServer(world, {}, {}, { certificates: [RPK, X509], anchors });
  server.addCredential(credential);
  const device = new TestDevice(world, server, {
    behind: world.nat("linux-random"),
    lifetime: 86_400,
    security: {
      identity: "",
      strategy,
      credentials: { kind: "certificate", certificate: shown, serverCertificates: [shown.kind] },
      judge: () => ({ ok: true }),
    },
  });
  device.start();
  world.run("10 s");
  return { world, server, device };
}

function handshakes(server: TestServer, device: TestDevice): unknown {
  const registration = server.registration(device);
  return registration && server.stack.ledgerOf(registration.session).snapshot().handshakes;
}

for (const way of ways) {
  for (const strategy of ["cid", "resume"] as const) {
    test(`${way.how}, strategy ${strategy}: a device registers by it, and comes back after the NAT forgot it`, () => {
      const { world, server, device } = stage(way, strategy);
      const before = server.registration(device)?.id;
      assert.ok(before);
      world.run("31 minutes");
      device.update();
      world.run("1 minute");
      assert.equal(server.registration(device)?.id, before);
      const resumed = strategy === "cid" ? 0 : 1;
      assert.deepEqual(handshakes(server, device), { full: 1, resumed });
    });

    test(`${way.how}, strategy ${strategy}: revoked, its association ends within a second, and nothing is resumed`, () => {
      const { world, server, device } = stage(way, strategy);
      server.removeCredential(credentialId(way.credential));
      world.run("1 s");
      assert.equal(server.registration(device), undefined);
      device.update();
      world.run("30 minutes");
      device.reboot({ kept: true });
      world.run("30 minutes");
      assert.equal(server.registration(device), undefined);
      assert.ok(device.count("handshakeFailed") > 0);
      assert.equal(device.count("registered"), 1);
    });
  }

  test(`${way.how}: a restart of the server costs no handshake, and who it is stays known`, () => {
    const { world, server, device } = stage(way, "cid");
    const before = server.registration(device)?.identity;
    server.crash("2 s");
    world.run("10 s");
    device.update();
    world.run("10 s");
    assert.deepEqual(server.registration(device)?.identity, before);
    const order = server.read(device, "/3/0/9");
    world.run("10 s");
    assert.equal(order.answer, "2.05 87");
    server.removeCredential(credentialId(way.credential));
    world.run("1 s");
    assert.equal(server.registration(device), undefined);
  });

  test(`${way.how}: it opens no other endpoint's name`, () => {
    const { credential } = way;
    const { world, server, device } = stage(
      { ...way, credential: { ...credential, endpoint: "another" } },
      "cid",
    );
    world.run("1 minute");
    assert.equal(server.registration(device), undefined);
    assert.ok(device.count("refused") > 0);
  });
}
