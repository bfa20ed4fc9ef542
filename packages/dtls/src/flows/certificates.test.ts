import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, toHex } from "@godwit/base";
import { judgeChain } from "../certificates.ts";
import type { Certificate, ClientCredentials, Verdict } from "../credentials.ts";
import { signingKey } from "../key-material.ts";
import { SUITES } from "../suites.ts";
import { exchange } from "./exchange.ts";
import { Wire } from "./wire.ts";

const file = new URL("../../src/vectors/certificates.json", import.meta.url);
const { keys, certificates } = JSON.parse(readFileSync(file, "utf8")) as {
  keys: Record<string, string>;
  certificates: Record<string, string>;
};
const der = (name: string): Uint8Array => hex(certificates[name] ?? "");
const key = (name: string) => signingKey(hex(keys[name] ?? ""));

const RPK = (name: string): Certificate => ({ kind: "rpk", key: key(name) });
const X509 = (name: string): Certificate => ({
  kind: "x509",
  key: key(name),
  chain: [der(name), der("inter")],
});
const ECDSA = SUITES.filter(({ exchange: e }) => e === "ecdheEcdsa");

function world(
  server: { certificates: Certificate[]; clientCertificates: ("rpk" | "x509")[] },
  client: Partial<Extract<ClientCredentials, { kind: "certificate" }>>,
  more: object = {},
) {
  const wire = new Wire({ server: { credentials: { psk: false, ...server } } });
  const peer = wire.client({
    credentials: {
      kind: "certificate",
      certificate: undefined,
      serverCertificates: ["rpk", "x509"],
      ...client,
    },
    ...more,
  });
  return { wire, peer };
}

for (const suite of ECDSA) {
  test(`RFC 7250: raw public keys on both sides, ${suite.name}`, () => {
    const { wire, peer } = world(
      { certificates: [RPK("rawServer")], clientCertificates: ["rpk"] },
      { certificate: RPK("rawDevice") },
      { suites: [suite], connectionId: new Uint8Array(0) },
    );
    wire.connect(peer);
    const [at] = wire.server.of("opened");
    assert.deepEqual(at?.identity, { kind: "rpk", spki: toHex(key("rawDevice").spki) });
    assert.deepEqual(peer.of("opened")[0]?.identity, {
      kind: "rpk",
      spki: toHex(key("rawServer").spki),
    });
    exchange(wire, peer);
    wire.connect(peer, "resume");
    assert.equal(peer.of("opened").at(-1)?.how, "resumed");
    assert.deepEqual(wire.server.of("opened").at(-1)?.identity, at?.identity);
  });
}

test("RFC 5246 7.4: X.509 on both sides with chains, through small datagrams and loss", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { wire, peer } = world(
      { certificates: [X509("server")], clientCertificates: ["x509"] },
      { certificate: X509("device"), serverCertificates: ["x509"] },
      { serverName: "lwm2m.example.com", tuning: { mtus: [300] } },
    );
    const judge =
      (name?: string) =>
      (lookup: { kind: string; certificate?: unknown }): Verdict => {
        const shown = lookup.certificate as { kind: string; chain: Uint8Array[] };
        const rules = { anchors: [der("root")], wall: 1_800_000_000_000 };
        return judgeChain(shown.chain, name === undefined ? rules : { ...rules, name });
      };
    wire.server.judge = judge();
    peer.judge = judge("lwm2m.example.com");
    let n = 0;
    wire.carry = () => (++n % (seed + 3) === 0 ? [] : [10 + (n % 3) * 20]);
    wire.connect(peer);
    wire.run(200_000);
    const identity = { kind: "x509", subject: "urn:dev:ops:32473-weather-7" };
    assert.deepEqual(wire.server.of("opened")[0]?.identity, identity, `seed ${seed}`);
    wire.carry = () => [10];
    exchange(wire, peer);
  }
});

test("RFC 7250 4.1: the server shows the kind that the client likes best of those it can take", () => {
  for (const [offered, wanted] of [
    [["x509"], "x509"],
    [["rpk"], "rpk"],
    [["rpk", "x509"], "rpk"],
    [["x509", "rpk"], "x509"],
  ] as const) {
    const { wire, peer } = world(
      { certificates: [X509("server"), RPK("rawServer")], clientCertificates: [] },
      { serverCertificates: offered },
    );
    wire.connect(peer);
    assert.equal(peer.of("opened")[0]?.identity.kind, wanted);
    assert.equal(wire.server.of("opened")[0]?.identity.kind, "none");
  }
});

test("RFC 5246 7.4.6: a client without a certificate is refused where one is asked for", () => {
  const { wire, peer } = world(
    { certificates: [X509("server")], clientCertificates: ["x509"] },
    { serverCertificates: ["x509"] },
  );
  wire.connect(peer);
  wire.run(300_000);
  assert.deepEqual(
    wire.server.of("failed").map((f) => f.why),
    ["client shows no certificate"],
  );
  assert.deepEqual(
    peer.of("failed").map((f) => f.why),
    ["peer's alert 40"],
  );
});

test("RFC 5246 7.4.8: a certificate shown by somebody without its key is refused, on either side", () => {
  const stolen: Certificate = { ...X509("device"), key: key("other") } as Certificate;
  const client = world(
    { certificates: [X509("server")], clientCertificates: ["x509"] },
    { certificate: stolen, serverCertificates: ["x509"] },
  );
  client.wire.connect(client.peer);
  client.wire.run(10_000); // it may have been somebody else who said it, so the peer is given a second try
  assert.deepEqual(
    client.wire.server.of("failed").map((f) => f.why),
    ["client does not hold the key of its certificate"],
  );
  // CVE-2021-34433: the ServerKeyExchange signed by another key
  const server = world(
    {
      certificates: [{ ...X509("server"), key: key("other") } as Certificate],
      clientCertificates: [],
    },
    { serverCertificates: ["x509"] },
  );
  server.wire.connect(server.peer);
  server.wire.run(10_000);
  assert.deepEqual(
    server.peer.of("failed").map((f) => f.why),
    ["server does not hold the key of its certificate"],
  );
});

for (const tickets of [false, true]) {
  test(`a session is resumed ${tickets ? "by ticket" : "by its id"} until the proof of its identity ends, and not after that`, () => {
    const wire = new Wire({
      server: {
        tickets,
        credentials: { psk: false, certificates: [X509("server")], clientCertificates: ["x509"] },
      },
    });
    const peer = wire.client({
      tickets,
      credentials: {
        kind: "certificate",
        certificate: X509("device"),
        serverCertificates: ["x509"],
      },
    });
    const until = wire.now + 60_000;
    wire.server.judge = ({ kind }) => (kind === "certificate" ? { ok: true, until } : { ok: true });
    wire.connect(peer);
    wire.connect(peer, "resume");
    wire.run(60_000);
    wire.connect(peer, "resume");
    assert.deepEqual(
      wire.server.of("opened").map(({ how }) => how),
      ["full", "resumed", "full"],
    );
  });
}

for (const { what, more, why } of [
  {
    what: "nine certificates",
    more: Array<Uint8Array>(8).fill(der("inter")),
    why: "chain too long: more than 8 certificates",
  },
  {
    what: "10 000 bytes",
    more: [new Uint8Array(10_000)],
    why: "chain too long, or another message: above 8192 bytes",
  },
]) {
  test(`a device that shows a chain of ${what} is refused with that as the reason`, () => {
    const shown = { ...X509("device"), chain: [der("device"), ...more] } as Certificate;
    const { wire, peer } = world(
      { certificates: [X509("server")], clientCertificates: ["x509"] },
      { certificate: shown, serverCertificates: ["x509"] },
    );
    wire.connect(peer);
    wire.run(300_000);
    assert.deepEqual(
      wire.server.of("failed").map((f) => f.why),
      [why],
    );
    assert.equal(wire.server.of("opened").length, 0);
  });
}

test("a peer that the shell does not want ends with its reason, and the next good one is served (CVE-2020-27222)", () => {
  const { wire, peer } = world(
    { certificates: [RPK("rawServer")], clientCertificates: ["rpk"] },
    { certificate: RPK("rawDevice") },
  );
  wire.server.judge = () => ({ ok: false, why: "not in the store", alert: 49 });
  wire.connect(peer);
  assert.deepEqual(
    wire.server.of("failed").map((f) => f.why),
    ["not in the store"],
  );
  wire.run(300_000);
  assert.deepEqual(
    peer.of("failed").map((f) => f.why),
    ["peer's alert 49"],
  );
  wire.server.judge = () => ({ ok: true });
  wire.connect(peer);
  exchange(wire, peer);
});

test("a server that the device does not trust is left before anything is shown to it", () => {
  const { wire, peer } = world(
    { certificates: [RPK("rawServer")], clientCertificates: ["rpk"] },
    { certificate: RPK("rawDevice") },
  );
  peer.judge = () => ({ ok: false, why: "another server" });
  wire.connect(peer);
  assert.deepEqual(
    peer.of("failed").map((f) => f.why),
    ["another server"],
  );
  assert.equal(wire.sent.filter(({ from }) => from === "client").length, 3); // two hellos, one alert
  wire.run(300_000);
  assert.deepEqual(
    wire.server.of("failed").map((f) => f.why),
    ["peer's alert 46"],
  );
});

test("no suite, group or kind in common is told at once", () => {
  const { wire, peer } = world(
    { certificates: [RPK("rawServer")], clientCertificates: [] },
    { serverCertificates: ["x509"] },
  );
  wire.connect(peer);
  assert.equal(wire.server.of("failed")[0]?.why, "no cipher suite in common");
  assert.equal(wire.sent.at(-1)?.bytes.at(-1), 40);
  wire.run(1_000);
  assert.deepEqual(
    peer.of("failed").map((f) => f.why),
    ["peer's alert 40"],
    "believed once it was said twice",
  );
});

test("any byte of a handshake with raw public keys bent on the way: nobody opens as somebody else, and the next attempt succeeds", () => {
  const identity = { kind: "rpk", spki: toHex(key("rawDevice").spki) };
  for (let victim = 0; victim < 6; victim++) {
    for (let at = victim; at < 400; at += 13) {
      const { wire, peer } = world(
        { certificates: [RPK("rawServer")], clientCertificates: ["rpk"] },
        { certificate: RPK("rawDevice") },
      );
      let n = 0;
      wire.carry = ({ bytes }) => {
        if (n++ === victim && at < bytes.length) bytes[at]! ^= 0x10; // within
        return [10];
      };
      wire.connect(peer);
      wire.run(20_000);
      wire.carry = () => [10];
      if (peer.of("opened").length === 0 || wire.server.of("opened").length === 0) {
        wire.connect(peer);
      }
      const label = `byte ${at} of datagram ${victim}`;
      for (const opened of wire.server.of("opened")) {
        assert.deepEqual(opened.identity, identity, label);
      }
      exchange(wire, peer, label);
    }
  }
});
