import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, utf8, type SessionId } from "@godwit/base";
import { SEALER, Wire } from "./wire.ts";

const GUESTS = { server: { guests: true } } as const;
const IDENTITY = { kind: "psk", identity: "dev01" } as const;
type Client = ReturnType<Wire["client"]>;

/** Data in both directions arrives, and this is the session. */
function exchange(wire: Wire, client: Client): SessionId {
  const text = `${wire.now} of ${client.address.port}`;
  wire.tell(client, { type: "send", session: 1, bytes: utf8(text) });
  wire.run(1_000);
  const heard = wire.server.outputs.findLast((output) => output.type === "received");
  assert.ok(heard?.type === "received");
  assert.deepEqual(heard.bytes, utf8(text));
  wire.tell(wire.server, { type: "send", session: heard.session, bytes: utf8(text) });
  wire.run(1_000);
  assert.equal(client.received().at(-1), text);
  return heard.session;
}

test("whoever handshakes by the key of a peer that is there is a guest: both are served, until one is settled", () => {
  const wire = new Wire(GUESTS);
  const [first, second, third] = [1, 2, 3].map(() => wire.client({ connectionId: EMPTY }));
  assert.ok(first && second && third);
  wire.connect(first);
  wire.connect(second);
  const { machine } = wire.server;
  assert.equal(machine.size, 2);
  const before = exchange(wire, first);
  exchange(wire, second);
  assert.equal(machine.sessionOf(IDENTITY), before);
  wire.connect(third); // in place of the guest, not of the first
  assert.equal(machine.size, 2);
  assert.equal(exchange(wire, first), before);
  wire.tell(wire.server, { type: "settle", session: before }); // is no guest
  assert.equal(machine.size, 2);
  const session = exchange(wire, third);
  const { fullHandshakes } = machine.ledgerOf(before);
  wire.tell(wire.server, { type: "settle", session });
  assert.equal(machine.size, 1);
  assert.equal(machine.sessionOf(IDENTITY), session);
  assert.equal(machine.ledgerOf(session).fullHandshakes, fullHandshakes + 1);
  const closed = wire.server.outputs.filter((output) => output.type === "closed");
  assert.deepEqual(
    closed.map((output) => output.type === "closed" && output.why),
    ["replaced", "replaced"],
  );
  exchange(wire, third);
});

test("a handshake from the very address of the peer that is there is that peer's: no guest", () => {
  const wire = new Wire(GUESTS);
  const address = { host: "192.0.2.7", port: 40_000 };
  for (let i = 0; i < 2; i++) {
    const client = wire.client({ connectionId: EMPTY, address });
    wire.clients.splice(0, wire.clients.length - 1);
    wire.connect(client);
    assert.equal(wire.server.machine.size, 1);
    exchange(wire, client);
  }
});

test("revocation ends a guest as well", () => {
  const wire = new Wire(GUESTS);
  for (let i = 0; i < 2; i++) wire.connect(wire.client({ connectionId: EMPTY }));
  assert.equal(wire.server.machine.size, 2);
  wire.tell(wire.server, { type: "revoke", identity: IDENTITY });
  assert.equal(wire.server.machine.size, 0);
});

test("nothing of a guest is stored before it is settled; then it stands in place of the one before, in one write", () => {
  const wire = new Wire({ server: { guests: true, sealer: SEALER } });
  const associations = (): string[] =>
    [...wire.server.store.keys()].filter((key) => key.includes("association"));
  const writes = (): number => wire.server.of("store").length;
  wire.connect(wire.client({ connectionId: EMPTY }));
  const before = associations();
  assert.equal(before.length, 1);
  const guest = wire.client({ connectionId: EMPTY });
  wire.connect(guest);
  assert.deepEqual(associations(), before);
  assert.equal(wire.server.machine.size, 2);
  const count = writes();
  wire.tell(wire.server, { type: "settle", session: wire.server.session });
  wire.run(1_000);
  assert.equal(associations().length, 1);
  assert.notDeepEqual(associations(), before);
  assert.equal(writes(), count + 1);
  exchange(wire, guest);
});

test("a store that refuses the row of a guest keeps nobody waiting, and has it once it takes rows again", () => {
  const wire = new Wire({ server: { guests: true, sealer: SEALER } });
  const associations = (): string[] =>
    [...wire.server.store.keys()].filter((key) => key.includes("association"));
  wire.connect(wire.client({ connectionId: EMPTY }));
  const guest = wire.client({ connectionId: EMPTY });
  wire.connect(guest);
  const { session } = wire.server;
  wire.server.storeBroken = true;
  wire.tell(wire.server, { type: "settle", session });
  for (let i = 0; i < 20; i++) exchange(wire, guest);
  wire.server.storeBroken = false;
  wire.run(6_000);
  assert.ok(associations().some((key) => key.endsWith(` ${session}`)));
  exchange(wire, guest);
});
