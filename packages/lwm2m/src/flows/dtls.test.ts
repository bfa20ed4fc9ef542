import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, toHex } from "@godwit/base";
import { signingKey } from "@godwit/dtls";
import { World, type Host, type Nat } from "@godwit/netsim";
import { CredentialBook } from "../server/credential-book.ts";
import { judgePeer, type ServerDtlsOptions } from "../server/peers.ts";
import { pair, TestDevice, TestServer, type PairOptions, type TestSecurity } from "./kit.test.ts";

const CID: TestSecurity = { identity: "dev01", strategy: "cid" };
const RESUME: TestSecurity = { identity: "dev01", strategy: "resume" };

/** Content types and sizes of what crosses a device's link. */
function watch(host: Host): { type: number; bytes: Uint8Array; up: boolean }[] {
  const seen: { type: number; bytes: Uint8Array; up: boolean }[] = [];
  host.link.watch(({ direction, bytes, icmp }) => {
    if (icmp === undefined)
      seen.push({ type: bytes[0] ?? 0, bytes: new Uint8Array(bytes), up: direction === "up" });
  });
  return seen;
}

function handshakes(server: TestServer, device: TestDevice): unknown {
  const registration = server.registration(device);
  return registration && server.stack.ledgerOf(registration.session).snapshot().handshakes;
}

function stage(
  security: TestSecurity,
  options: Partial<PairOptions> = {},
): { world: World; nat: Nat; server: TestServer; device: TestDevice } {
  const world = new World({ seed: 7 });
  const nat = world.nat("linux-random");
  const { server, device } = pair(world, { behind: nat, security, lifetime: 86_400, ...options });
  return { world, nat, server, device };
}

for (const security of [CID, RESUME]) {
  test(`strategy ${security.strategy}: a device registers with the name of its key, and is read`, () => {
    const { world, server, device } = stage(security);
    const registration = server.registration(device);
    assert.deepEqual(registration?.identity, { kind: "psk", identity: "dev01" });
    assert.ok(
      (registration?.id.length ?? 9) <= 4,
      "a short location where the session is authenticated",
    );
    const order = server.read(device, "/3/0/9");
    world.run("1 s");
    assert.equal(order.answer, "2.05 87");
    assert.deepEqual(handshakes(server, device), { full: 1, resumed: 0 });
  });
}

test("CID: the NAT's mapping expires; the next Update comes from elsewhere and a push works at once, with 0 extra datagrams", () => {
  const { world, server, device } = stage(CID);
  const before = server.addressOf(device);
  world.run("31 minutes");
  const seen = watch(device.host);
  const order = server.read(device, "/3/0/9");
  world.run("1 s");
  assert.equal(order.answer, undefined, "the mapping is long gone");
  device.update();
  world.run("2 minutes");
  assert.notEqual(server.addressOf(device), before);
  assert.equal(order.answer, "2.05 87");
  // Update and its answer, the read and its answer; what did not pass the NAT was not seen here.
  assert.deepEqual(seen.map(({ type, up }) => `${up ? ">" : "<"} ${type}`).toSorted(), [
    "< 23",
    "< 23",
    "> 25",
    "> 25",
  ]);
  assert.deepEqual(handshakes(server, device), { full: 1, resumed: 0 });
});

test("CID: a restart of the server costs no handshake, and no nonce is used twice", () => {
  const { world, server, device } = stage(CID);
  const seen = watch(device.host);
  for (let round = 0; round < 5; round++) {
    server.crash("2 s");
    world.run("10 s");
    device.update();
    world.run("10 s");
    const order = server.read(device, "/3/0/9");
    world.run("10 s");
    assert.equal(order.answer, "2.05 87");
  }
  assert.ok(
    seen.every(({ type }) => type === 25 || type === 23),
    "application data only",
  );
  const nonces = seen.map(({ type, up, bytes }) => {
    const at = type === 25 ? 17 : 13; // behind the header, the record's explicit nonce
    return `${up} ${toHex(bytes.subarray(at, at + 8))}`;
  });
  assert.equal(new Set(nonces).size, nonces.length);
});

test("CID: after a restart of the server, more than a bare Update is obeyed once an Echo has come back", () => {
  const { world, server, device } = stage(CID);
  server.crash("2 s");
  world.run("10 s");
  const seen = watch(device.host);
  device.deregister();
  world.run("10 s");
  assert.equal(server.registration(device), undefined);
  assert.deepEqual(
    seen.map(({ up }) => (up ? ">" : "<")),
    [">", "<", ">", "<"],
    "DELETE, 4.01 with Echo, DELETE with Echo, 2.02",
  );
});

test("CID: a replay of what was received before a restart is not obeyed", () => {
  const { world, server, device } = stage(CID);
  let deletion: Uint8Array | undefined;
  device.host.link.up.tap(({ bytes }) => {
    deletion = new Uint8Array(bytes);
    return "drop";
  });
  device.deregister();
  world.run("1 s");
  const thief = world.host("thief");
  server.crash("2 s");
  world.run("5 s");
  const from = { host: thief.address, port: 9 };
  assert.ok(deletion !== undefined);
  thief.inject({ from, to: server.secureAddress, bytes: deletion });
  world.run("1 s");
  assert.ok(server.registration(device), "what may be a replay is asked for again");
});

for (const kept of [true, false]) {
  test(`CID: a device reboots ${kept ? "with its state: one Update, no handshake" : "without its state: a new handshake and registration"}`, () => {
    const { world, server, device } = stage(CID);
    const before = server.registration(device)?.id;
    const seen = watch(device.host);
    device.reboot({ kept, outage: "5 minutes" });
    world.run("310 s");
    if (kept) {
      assert.equal(server.registration(device)?.id, before);
      assert.deepEqual(
        seen.map(({ type }) => type),
        [25, 23],
      );
    } else {
      assert.notEqual(server.registration(device)?.id, before);
      assert.equal(seen.filter(({ type }) => type === 22).length, 5);
    }
    const order = server.read(device, "/3/0/9");
    world.run("10 s");
    assert.equal(order.answer, "2.05 87");
  });
}

test("resume: the mapping expires, silence shows it, an abbreviated handshake follows; registration, orders and observations stay", () => {
  const { world, server, device } = stage(RESUME);
  const before = server.registration(device)?.id;
  server.observe(device, "/3303/0/5700");
  world.run("31 minutes");
  const order = server.execute(device, "once");
  world.run("1 minute");
  assert.equal(order.answer, undefined);
  device.update();
  world.run("1 minute");
  assert.equal(server.registration(device)?.id, before);
  assert.equal(order.answer, "2.04");
  assert.deepEqual(device.obeyed, ["once"]);
  assert.deepEqual(handshakes(server, device), { full: 1, resumed: 1 });
  const { handshakes: own } = device.stack.ledger.snapshot();
  assert.deepEqual(own, { full: 1, resumed: 1 });
  const told = server.notifications().length;
  device.set("/3303/0/5700", { type: "float", value: 30.5 });
  world.run("10 s");
  assert.deepEqual(server.notifications().slice(told), ["/3303/0/5700 30.5"]);
});

test("resume: a device reboots with its state and resumes its session; the registration goes on", () => {
  const { world, server, device } = stage(RESUME);
  const before = server.registration(device)?.id;
  device.reboot({ kept: true, outage: "1 hour" });
  world.run("2 hours");
  assert.equal(server.registration(device)?.id, before);
  assert.deepEqual(handshakes(server, device), { full: 1, resumed: 1 });
});

test("a revoked credential is cut off: the association ends, no session is resumed, no handshake succeeds", () => {
  for (const security of [CID, RESUME]) {
    const { world, server, device } = stage(security);
    server.removeCredential("psk:dev01");
    world.run("1 s");
    assert.equal(server.registration(device), undefined);
    device.update();
    world.run("30 minutes");
    assert.equal(server.registration(device), undefined);
    assert.ok(device.count("handshakeFailed") > 0);
  }
});

test("a device with another key does not come in, and says so", () => {
  const world = new World({ seed: 3 });
  const server = new TestServer(world);
  server.addCredential({
    kind: "psk",
    endpoint: "device",
    identity: "dev01",
    key: new Uint8Array(16),
  });
  const device = new TestDevice(world, server, {
    security: { ...CID, key: new Uint8Array(16).fill(1) },
  });
  device.start();
  world.run("20 minutes");
  assert.equal(server.registration(device), undefined);
  assert.ok(device.count("handshakeFailed") > 1, "it tries again, with growing patience");
});

for (const security of [CID, RESUME]) {
  test(`strategy ${security.strategy}: registers under 30 % loss`, () => {
    for (let seed = 1; seed <= 10; seed++) {
      const world = new World({ seed });
      const { server, device } = pair(world, { security, link: { loss: 0.3 } });
      world.run("30 minutes");
      assert.ok(server.registration(device), `seed ${seed}`);
    }
  });
}

test("an old address is given to another device: each keeps its own session", () => {
  const world = new World({ seed: 5 });
  const nat = world.nat("linux-random");
  const { server, device } = pair(world, { behind: nat, security: CID, lifetime: 86_400 });
  const other = new TestDevice(world, server, {
    endpoint: "other",
    behind: nat,
    lifetime: 86_400,
    security: { identity: "dev02", strategy: "cid" },
  });
  nat.reboot?.();
  other.start();
  world.run("10 s");
  device.update();
  world.run("10 s");
  for (const one of [device, other]) {
    const order = server.read(one, "/3/0/9");
    world.run("10 s");
    assert.equal(order.answer, "2.05 87");
  }
  assert.notEqual(server.addressOf(device), server.addressOf(other));
});

test("raw public keys: a device whose key is known comes in by it, another does not", () => {
  const [device, stranger, own] = [0, 1, 2].map((n) => signingKey(hex(KEYS[n] ?? "")));
  assert.ok(device && stranger && own);
  for (const key of [device, stranger]) {
    const world = new World({ seed: 9 });
    const server = new TestServer(world, {}, {}, { certificates: [{ kind: "rpk", key: own }] });
    server.addCredential({ kind: "rpk", endpoint: "device", spki: device.spki });
    const asked: string[] = [];
    const one = new TestDevice(world, server, {
      security: {
        identity: "",
        strategy: "cid",
        credentials: {
          kind: "certificate",
          certificate: { kind: "rpk", key },
          serverCertificates: ["rpk"],
        },
        judge: ({ identity }) => {
          asked.push(identity.kind === "rpk" ? identity.spki : "");
          return { ok: true };
        },
      },
    });
    one.start();
    world.run("10 s");
    assert.equal(asked[0], toHex(own.spki));
    const spki = toHex(device.spki);
    const expected: unknown = key === device ? { kind: "rpk", spki } : undefined;
    assert.deepEqual(server.registration(one)?.identity, expected);
    if (key === stranger) assert.ok(one.count("handshakeFailed") > 0);
  }
});

test("F19: a certificate is valid by the wall clock, however wrong it was when the clock of instants began", () => {
  const vectors = new URL("../../../dtls/src/vectors/certificates.json", import.meta.url);
  const { certificates } = JSON.parse(readFileSync(vectors, "utf8")) as {
    certificates: Record<string, string>;
  };
  const [leaf, between, root] = ["device", "inter", "root"].map((n) => hex(certificates[n] ?? ""));
  assert.ok(leaf && between && root);
  const book = new CredentialBook({ seal: (secret) => secret, open: (sealed) => sealed });
  const subject = "urn:dev:ops:32473-weather-7";
  book.adding({ kind: "x509", endpoint: "device", name: subject }).take();
  const lookup = {
    kind: "certificate",
    identity: { kind: "x509", subject },
    certificate: { kind: "x509", chain: [leaf, between] },
    serverName: "",
  } as const;
  const inTime = Date.UTC(2027, 0, 1);
  const year = 366 * 86_400_000;
  for (const skew of [-year, 0, year]) {
    const wall = (now: number): number => now + skew;
    const how: ServerDtlsOptions = { port: 5_684, anchors: [root], wall };
    assert.equal(judgePeer(lookup, book, how, inTime - skew).ok, true);
  }
  const early = judgePeer(lookup, book, { port: 5_684, anchors: [root], wall: () => 0 }, inTime);
  assert.equal(early.ok, false);
});

/** P-256 keys in PKCS#8, made for these tests. */
const KEYS = [
  "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420d5ba8e33b846fe8eb1c61f6031696baca81b9b68df079c64512928e06f606baea14403420004e4c8bec5badc1059120358c4d5a4b768dc80f73d8a87d4396d73be7025cdab121a2867094f2b0fadae60f46b5b4ad520acfc02aad8a44bfe6bd012964350d4a0",
  "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420232358aff1e07d0ae34ccd72cb9caca22088de7012ef4a9f4e831bfcd23fd243a1440342000438fa8425f4d1c480e6901e5f4dd4054ad2748aa4132675b0dc8db0405c5f7bc5e48af065fd21350d0f7fc94496fe2e09a8fb25ba2c9486b16f34ea13f21660e9",
  "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420ef33220a5c06b77bc0cd8832eae166adaf6ea88f2b29c657be45f4dd6b6dfd3da144034200049df46ea559afe48570089b37e2869032b6a6fd0eeb439b67ca044c8b4d289d4a174b3b3c8738dbc37230daae83700fea8ad5553182aebaa3566d0ba0c76fb197",
];
