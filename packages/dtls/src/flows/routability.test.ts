import assert from "node:assert/strict";
import { test } from "node:test";
import { type SocketAddress, seededRng, utf8 } from "@godwit/base";
import { DtlsServer } from "../server.ts";
import { exchange } from "./exchange.ts";
import { SEALER, Wire } from "./wire.ts";

const EMPTY_CID = new Uint8Array(0);
const ELSEWHERE: SocketAddress = { host: "203.0.113.9", port: 999 };

function pair(routabilityCheck: "off" | "basic" | "enhanced", seed = 1) {
  const wire = new Wire({ seed, server: { tuning: { routabilityCheck } } });
  const client = wire.client({ connectionId: EMPTY_CID, routability: true });
  wire.connect(client);
  exchange(wire, client);
  wire.sent.length = 0;
  return { wire, client, session: wire.server.session };
}

test("RFC 9853 5.1: a moved peer answers the challenge from its new address and is proven", () => {
  const { wire, client, session } = pair("basic");
  wire.nat = () => ELSEWHERE;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("moved") });
  wire.run(100);
  // The record, the challenge to the new address, the response.
  assert.deepEqual(
    wire.sent.map(({ from, bytes }) => [from, bytes.length]),
    [
      ["client", 39],
      ["server", 38],
      ["client", 43],
    ],
  );
  assert.deepEqual(
    wire.server.of("moved").map((m) => m.validated),
    [false],
  );
  assert.deepEqual(wire.server.of("validated"), [{ type: "validated", session }]);
  assert.equal(wire.server.machine.wakeAt !== undefined, true);
  exchange(wire, client);
});

test("RFC 9853 5.1: an address that does not answer is left again, and nothing above three times went there", () => {
  const { wire, client, session } = pair("basic");
  wire.carry = ({ from }) => (from === "client" ? [10] : []);
  wire.nat = () => ELSEWHERE;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("copied") });
  wire.run(60_000);
  assert.deepEqual(
    wire.server.of("moved").map((m) => m.validated),
    [false, true],
  );
  assert.equal(wire.server.machine.pathOf(session)?.remote.port, client.address.port);
  const challenges = wire.sent.filter(({ from }) => from === "server");
  assert.equal(challenges.length, 3);
  assert.equal(new Set(challenges.map(({ bytes }) => bytes.join())).size, 3);
  const out = challenges.reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.ok(out <= 3 * (wire.sent[0]?.bytes.length ?? 0));
});

test("RFC 9853 5.2: a racing copy does not move a peer that still answers at its old address", () => {
  const { wire, client, session } = pair("enhanced");
  wire.tell(client, { type: "send", session: 1, bytes: utf8("raced") });
  const record = wire.sent.at(-1)?.bytes ?? EMPTY_CID;
  wire.inject(record, ELSEWHERE);
  assert.equal(
    wire.sent.at(-1)?.path.remote.port,
    client.address.port,
    "the old address is asked first",
  );
  wire.run(5_000);
  assert.equal(wire.server.machine.pathOf(session)?.remote.port, client.address.port);
  assert.deepEqual(
    wire.server.of("moved").map((m) => m.validated),
    [false, true],
  );
  assert.equal(
    wire.sent.filter(({ path }) => path.remote.host === ELSEWHERE.host).length,
    0,
    "not a byte went to the racer",
  );
  exchange(wire, client);
});

test("RFC 9853 5.2: a peer that is gone from its old address is asked at its new one", () => {
  const { wire, client, session } = pair("enhanced");
  wire.nat = () => ELSEWHERE;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("moved") });
  wire.run(5_000);
  assert.deepEqual(wire.server.of("validated"), [{ type: "validated", session }]);
  assert.equal(wire.server.machine.pathOf(session)?.remote.host, ELSEWHERE.host);
});

test("RFC 9853 4: not agreed on, the check is not sent and a challenge is not answered", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  wire.nat = () => ELSEWHERE;
  wire.sent.length = 0;
  exchange(wire, client);
  assert.equal(wire.sent.length, 2);
});

test("RFC 9853 3: the server does not agree without connection ids, and not where it is switched off", () => {
  for (const [options, tuning] of [
    [{ routability: true }, {}],
    [{ routability: true, connectionId: EMPTY_CID }, { routabilityCheck: "off" }],
  ] as const) {
    const wire = new Wire({ server: { tuning } });
    const client = wire.client(options);
    wire.connect(client);
    assert.equal(client.of("opened").length, 1);
    wire.nat = () => ELSEWHERE;
    wire.sent.length = 0;
    wire.tell(client, { type: "send", session: 1, bytes: utf8("x") });
    wire.run(1_000);
    assert.equal(wire.sent.length, 1);
  }
});

test("RFC 9853 5: a response with another cookie, an old one, or from another address proves nothing", () => {
  const { wire, client, session } = pair("basic");
  // The challenge is caught; its answer arrives from a third address, then from the first.
  wire.nat = () => ELSEWHERE;
  wire.tell(client, { type: "send", session: 1, bytes: utf8("moved") });
  const responses: Uint8Array[] = [];
  wire.carry = ({ from, bytes }) => {
    if (from === "server") return [10];
    responses.push(bytes);
    return [];
  };
  wire.run(100);
  const [response] = responses;
  assert.ok(response !== undefined);
  wire.inject(response, { host: "203.0.113.77", port: 1 });
  assert.deepEqual(wire.server.of("validated"), []);
  wire.inject(response, ELSEWHERE);
  assert.deepEqual(wire.server.of("validated"), [], "a copy of it is a replay");
  assert.ok((wire.server.machine.ledgerOf(session).snapshot().drops["strayRoutability"] ?? 0) >= 1);
});

test("after a crash the routability check shows that the peer speaks now", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  const client = wire.client({ connectionId: EMPTY_CID, routability: true });
  wire.connect(client);
  wire.server.machine = new DtlsServer({
    rng: seededRng(3),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
    sealer: SEALER,
  });
  for (const [row, value] of wire.server.store) {
    const [table, key] = row.split(" ") as [string, string];
    wire.tell(wire.server, { type: "restore", table, key, value });
  }
  for (const text of ["first", "second"]) {
    wire.tell(client, { type: "send", session: 1, bytes: utf8(text) });
    wire.run(100);
    const { session } = wire.server;
    wire.tell(wire.server, { type: "send", session, bytes: utf8("ok") });
    wire.run(1_000);
  }
  wire.tell(client, { type: "send", session: 1, bytes: utf8("third") });
  wire.run(100);
  assert.equal(wire.server.of("received").at(-1)?.fresh, true);
});
