import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Code, request } from "@godwit/coap";
import { oscore } from "@godwit/client";
import { World } from "@godwit/netsim";
import { SimulatedDevice, type DeviceEvent } from "./device.ts";
import { SimulatedServer } from "./server.ts";
import { Values } from "./values.ts";

// OSCORE in DTLS: keys that end at the server and at a proxy, or a device that is told to use both.

const ENDPOINT = "sensor";
const SECRET = "0102030405060708090a0b0c0d0e0f10";
const KEY = hex("000102030405060708090a0b0c0d0e0f");

function stage(strategy: "cid" | "resume") {
  const world = new World({ seed: 5 });
  const nat = world.nat("linux-random");
  const server = new SimulatedServer(world, {});
  const none = { masterSalt: undefined, idContext: undefined, aead: undefined, hkdf: undefined };
  server.addCredential({
    kind: "oscore",
    endpoint: ENDPOINT,
    senderId: hex("53"),
    recipientId: hex("43"),
    masterSecret: hex(SECRET),
    ...none,
    derivation: "negotiated",
  });
  server.addCredential({ kind: "psk", endpoint: ENDPOINT, identity: ENDPOINT, key: KEY });
  const said: DeviceEvent[] = [];
  const device = new SimulatedDevice(world, server.secureAddress, {
    endpoint: ENDPOINT,
    values: new Values({ "/3/0/9": 87 }),
    behind: nat,
    link: { delay: 20 },
    security: oscore({ senderId: "43", recipientId: "53", masterSecret: SECRET }),
    dtls: {
      credentials: { kind: "psk", identity: ENDPOINT, key: KEY },
      ...(strategy === "cid" && { connectionId: new Uint8Array(0) }),
    },
    coap: { emptyToken: true },
    client: { server: { 1: 3_600 } },
    onEvent: (event) => void said.push(event),
  });
  device.start();
  world.run("5 s");
  const count = (type: DeviceEvent["type"]): number => said.filter((e) => e.type === type).length;
  const read = (): (() => string | undefined) => {
    const id = server.stack.server.operationId();
    server.feed({
      type: "operate",
      id,
      endpoint: ENDPOINT,
      kind: "read",
      path: "/3/0/9",
      request: request(Code.GET, { path: "/3/0/9" }),
      expiresAt: world.now + 3_600_000,
    });
    return () => {
      const state = server.stack.server.operation(id)?.state;
      return state?.name === "done" ? new TextDecoder().decode(state.response.payload) : undefined;
    };
  };
  const registration = () => server.stack.server.registration(ENDPOINT, world.now);
  return { world, nat, server, device, count, read, registration };
}

for (const strategy of ["cid", "resume"] as const) {
  test(`OSCORE in DTLS (${strategy}): the device registers as who its OSCORE keys say, is read, and every byte is accounted for`, () => {
    const { world, server, device, count, read, registration } = stage(strategy);
    assert.equal(count("registered"), 1);
    assert.equal(registration()?.identity.kind, "oscore");
    const order = read();
    world.run("5 s");
    assert.equal(order(), "87");
    const { sent, received } = device.host;
    assert.equal(device.ledger.total("out"), sent.bytes);
    assert.equal(device.ledger.total("in"), received.bytes);
    assert.equal(device.ledger.datagramsOut, sent.datagrams);
    const account = server.stack.accountOf(registration()!.session); // it is registered
    assert.equal(account.datagramsIn, sent.datagrams - 1, "the first hello is nobody's");
    assert.ok(account.total("in") > sent.bytes - 100);
    assert.equal(account.fullHandshakes, 1);
  });

  test(`OSCORE in DTLS (${strategy}): a NAT forgets, a server is killed, a device restarts; the registration goes on`, () => {
    const { world, nat, server, device, count, read, registration } = stage(strategy);
    const before = registration();
    for (const trouble of ["forgotten", "killed", "restarted"] as const) {
      world.run("10 minutes");
      if (trouble === "forgotten") nat.clear();
      else if (trouble === "killed") server.restart();
      else device.reboot({ kept: true });
      const order = read();
      if (trouble !== "restarted") device.update();
      world.run("5 minutes");
      assert.equal(order(), "87", trouble);
      assert.equal(registration()?.id, before?.id, trouble);
    }
    assert.equal(count("registered"), 1);
    if (strategy === "cid")
      assert.equal(count("secured"), 2, "one handshake, and one that was kept");
  });
}

test("OSCORE in DTLS: a new handshake by a message under OSCORE takes the place of the session before, also over a restart", () => {
  const { world, nat, server, device, count, read } = stage("cid");
  nat.clear();
  device.reboot({ kept: false });
  world.run("5 minutes");
  const secured = count("secured");
  assert.equal(server.store.get("dtls.association")?.size, 1);
  server.restart();
  const order = read();
  device.update();
  world.run("1 minute");
  assert.equal(order(), "87");
  assert.equal(count("secured"), secured);
});

test("OSCORE in DTLS: an OSCORE credential that is revoked ends the registration, whatever DTLS says", () => {
  const { world, server, device, registration } = stage("cid");
  const mine = server.stack.credentials(ENDPOINT).find(({ kind }) => kind === "oscore");
  server.removeCredential(mine?.id ?? "");
  device.update();
  world.run("10 s");
  assert.equal(registration(), undefined);
});
