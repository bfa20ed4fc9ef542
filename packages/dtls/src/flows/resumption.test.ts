import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, Outbox, seededRng } from "@godwit/base";
import { ExtensionType } from "../codes.ts";
import type { ClientHello } from "../handshake/client-hello.ts";
import { latin1 } from "../latin1.ts";
import { PendingWrites } from "../pending-writes.ts";
import { Resumption } from "../resumption.ts";
import type { SavedSession } from "../saved-session.ts";
import { DtlsServer } from "../server.ts";
import { SUITES } from "../suites.ts";
import { DEFAULT_TUNING } from "../tuning.ts";
import { exchange } from "./exchange.ts";
import { SEALER, Wire } from "./wire.ts";

const EMPTY_CID = new Uint8Array(0);

test("RFC 5246 7.4.1.2: a session is resumed by its id, as often as wanted", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  for (let i = 0; i < 3; i++) {
    wire.connect(client, "resume");
    assert.equal(client.of("opened").at(-1)?.how, "resumed");
    assert.equal(wire.server.of("opened").at(-1)?.how, "resumed");
    exchange(wire, client);
  }
  assert.deepEqual(
    wire.server.of("closed").map((c) => c.why),
    ["replaced", "replaced", "replaced"],
  );
  assert.equal(wire.server.machine.size, 1);
});

test("RFC 5077: a session is resumed by ticket, and the server remembers nothing of it", () => {
  const wire = new Wire({ server: { tickets: true } });
  const client = wire.client({ tickets: true });
  wire.connect(client);
  assert.equal(wire.server.store.size, 0);
  wire.connect(client, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "resumed");
  exchange(wire, client);
});

test("RFC 5077 3.4: a hello that has a ticket is not resumed by its session id, however short the ticket is", () => {
  const resumption = new Resumption({
    tuning: DEFAULT_TUNING,
    rng: seededRng(1),
    tickets: true,
    host: { durable: false, seal: (plain) => plain },
    writes: new PendingWrites(new Outbox()),
  });
  const session: SavedSession = {
    suite: SUITES[0]!, // there are eleven
    master: new Uint8Array(48),
    extended: true,
    identity: { kind: "psk", identity: "dev01" },
    generation: 1,
    serverName: "",
    expires: 1_000,
    id: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    ticket: EMPTY,
  };
  resumption.keep(session, latin1(session.id));
  const find = (sessionId: Uint8Array, ticket?: Uint8Array): SavedSession | undefined => {
    const extensions =
      ticket === undefined ? [] : [{ type: ExtensionType.sessionTicket, body: ticket }];
    const hello: ClientHello = {
      version: 0xfefd,
      random: new Uint8Array(32),
      sessionId,
      cookie: EMPTY,
      suites: [],
      compression: EMPTY,
      extensions,
    };
    return resumption.find(hello, 999);
  };
  for (const ticket of [undefined, EMPTY]) {
    assert.deepEqual(find(session.id, ticket), session);
    assert.equal(find(EMPTY, ticket), undefined);
  }
  for (const length of [1, 16, 100])
    assert.equal(find(session.id, new Uint8Array(length)), undefined, `${length} bytes`);
});

test("RFC 5077 5.5: ticket keys outlive the server, so a restart makes no full handshakes", () => {
  const server = {
    tickets: true,
    sealer: SEALER,
    tuning: { ticketKeyPeriod: 10_000, sessionLifetime: 100_000 },
  };
  const wire = new Wire({ server });
  const client = wire.client({ tickets: true });
  wire.connect(client);
  const second = wire.client({ tickets: true });
  wire.run(20_000); // a new key makes tickets now, the old ones are still good
  wire.connect(second);
  restart(wire, server);
  wire.connect(client, "resume");
  wire.connect(second, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "resumed");
  assert.equal(second.of("opened").at(-1)?.how, "resumed");
  wire.run(200_000);
  wire.connect(client, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "full", "a ticket past its time is not taken");
});

test("a session of the durable cache is resumed after a restart of both sides", () => {
  const server = { sealer: SEALER };
  const wire = new Wire({ server });
  const client = wire.client({ sealer: SEALER });
  wire.connect(client);
  restart(wire, server);
  wire.clients.length = 0;
  const again = wire.client({ sealer: SEALER });
  const row = client.store.get("dtls.session client");
  assert.ok(row !== undefined);
  wire.tell(again, { type: "restore", table: "dtls.session", key: "client", value: row });
  wire.connect(again, "resume");
  assert.equal(again.of("opened").at(-1)?.how, "resumed");
});

test("CVE-2022-2576, RFC 6347 4.2.1: a resumption that misses is not answered without a cookie either", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  wire.server.machine = new DtlsServer({
    rng: seededRng(5),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
  });
  const before = wire.sent.length;
  wire.connect(client, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "full");
  const answers = wire.sent.slice(before).filter(({ from }) => from === "server");
  assert.equal(answers[0]?.bytes[13], 3, "HelloVerifyRequest first");
});

test("a session is resumed only while its identity is welcome", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  wire.server.judge = (lookup) =>
    lookup.kind === "resume" ? { ok: false, why: "revoked" } : { ok: true };
  wire.connect(client, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "full");
});

test("a revoked identity loses its association and its sessions at once", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  assert.equal(wire.server.store.size, 2);
  wire.tell(wire.server, { type: "revoke", identity: { kind: "psk", identity: "dev01" } });
  assert.deepEqual(
    wire.server.of("closed").map((c) => c.why),
    ["revoked"],
  );
  assert.equal(wire.server.store.size, 0);
  wire.server.keys.clear();
  wire.connect(client, "resume");
  wire.run(300_000);
  assert.equal(wire.server.machine.size, 0);
});

test("RFC 9146 3: resumption agrees on new connection ids in both directions", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: Uint8Array.of(1, 2, 3) });
  wire.connect(client);
  const cids = (): string[] =>
    wire.sent
      .filter(({ bytes }) => bytes[0] === 25)
      .map(
        ({ from, bytes }) => `${from} ${bytes.subarray(11, from === "client" ? 15 : 14).join()}`,
      );
  exchange(wire, client);
  const first = new Set(cids());
  wire.connect(client, "resume");
  wire.sent.length = 0;
  exchange(wire, client);
  const second = new Set(cids());
  assert.equal(second.size, 2);
  assert.equal(
    [...second].filter((cid) => first.has(cid)).length,
    1,
    "only the client's own stays",
  );
});

test("the session cache keeps no more than its limit, the oldest goes first", () => {
  const wire = new Wire({ server: { sealer: SEALER, tuning: { maxSessions: 3 } } });
  const clients = Array.from({ length: 5 }, (_, i) => {
    const identity = `dev${i}`;
    wire.server.keys.set(identity, new Uint8Array(16));
    return wire.client({ credentials: { kind: "psk", identity, key: new Uint8Array(16) } });
  });
  for (const client of clients) wire.connect(client);
  const rows = [...wire.server.store.keys()].filter((key) => key.startsWith("dtls.session "));
  assert.equal(rows.length, 3);
  for (const client of clients) wire.connect(client, "resume");
  assert.deepEqual(
    clients.map((client) => client.of("opened").at(-1)?.how),
    // the first two were gone; their new sessions drove out the next ones, one at a time
    ["full", "full", "full", "full", "full"],
  );
});

test("a damaged row of the store is counted and passed over", () => {
  const wire = new Wire({ server: { sealer: SEALER } });
  for (const table of ["dtls.association", "dtls.session", "dtls.ticketKeys"]) {
    for (const value of [Uint8Array.of(1), SEALER.seal(Uint8Array.of(9, 9)), new Uint8Array(300)]) {
      wire.tell(wire.server, { type: "restore", table, key: "00", value });
    }
  }
  assert.equal(wire.server.machine.ledger.snapshot().drops["badStoredRow"], 9);
  assert.equal(wire.server.machine.size, 0);
});

function restart(wire: Wire, options: object): void {
  wire.server.machine = new DtlsServer({
    rng: seededRng(77),
    credentials: { psk: true, certificates: [], clientCertificates: [] },
    ...options,
  });
  for (const [row, value] of wire.server.store) {
    const [table, key] = row.split(" ") as [string, string];
    wire.tell(wire.server, { type: "restore", table, key, value });
  }
}
