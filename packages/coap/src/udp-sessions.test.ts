import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, type Path } from "@godwit/base";
import type { TransportOutput } from "./endpoint-events.ts";
import { coapTuning } from "./tuning.ts";
import { UdpSessions } from "./udp-sessions.ts";

const LOCAL = { host: "192.0.2.1", port: 5_683 };
const from = (port: number, host = "198.51.100.7"): Path => ({
  local: LOCAL,
  remote: { host, port },
});
const ping = hex("40000001");

function drain(sessions: UdpSessions): TransportOutput[] {
  const all: TransportOutput[] = [];
  for (let o = sessions.poll(); o !== undefined; o = sessions.poll()) all.push(o);
  return all;
}

function said(sessions: UdpSessions): string[] {
  return drain(sessions).map((o) => (o.type === "datagram" ? o.type : `${o.type} ${o.session}`));
}

test("RFC 7252 4.1: a new path opens a session, a known one continues it", () => {
  const sessions = new UdpSessions(coapTuning());
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 0);
  sessions.handle({ type: "datagram", path: from(2), bytes: ping }, 0);
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 0);
  sessions.handle({ type: "datagram", path: from(1, "2001:db8::1"), bytes: ping }, 0);
  assert.deepEqual(said(sessions), [
    "opened 1",
    "received 1",
    "opened 2",
    "received 2",
    "received 1",
    "opened 3",
    "received 3",
  ]);
  sessions.handle({ type: "send", session: 2, bytes: ping }, 0);
  assert.deepEqual(drain(sessions), [{ type: "datagram", path: from(2), bytes: ping }]);
  assert.equal(sessions.ledgerOf(1).datagramsIn, 2);
  assert.equal(sessions.ledgerOf(2).datagramsOut, 1);
});

for (const [what, bytes, reason, path] of [
  ["an ACK", "60450001", "strayAnswer", from(1)],
  ["an RST", "70000001", "strayAnswer", from(1)],
  ["version 0", "00010001", "version", from(1)],
  ["version 2", "80010001", "version", from(1)],
  ["version 3", "c0010001", "version", from(1)],
  ["3 bytes", "400100", "short", from(1)],
  ["nothing", "", "short", from(1)],
  ["an empty NON", "50000001", "format", from(1)],
  ["a NON of a reserved class", "50e00001", "format", from(1)],
  [
    "a CON to an IPv4 multicast address",
    "40010001",
    "multicast",
    { local: { host: "224.0.1.187", port: 5_683 }, remote: { host: "198.51.100.7", port: 1 } },
  ],
  [
    "a NON to an IPv6 multicast address",
    "50010001",
    "multicast",
    { local: { host: "ff02::fd", port: 5_683 }, remote: { host: "2001:db8::1", port: 1 } },
  ],
] as const) {
  test(`RFC 7252 4.2, 4.3, 8: ${what} from a stranger opens no session, and is counted`, () => {
    const sessions = new UdpSessions(coapTuning());
    sessions.handle({ type: "datagram", path, bytes: hex(bytes) }, 0);
    assert.deepEqual(drain(sessions), []);
    assert.equal(sessions.size, 0);
    assert.equal(sessions.strays.snapshot().drops[reason], 1);
    assert.equal(sessions.strays.total("in"), bytes.length / 2);
  });
}

test("what the layers above know for nobody's opens no session either, and is counted; a known path is not asked about", () => {
  const strange = (bytes: Uint8Array): string | undefined =>
    bytes[3] === 2 ? "nobody" : undefined;
  const sessions = new UdpSessions(coapTuning(), { strange });
  sessions.handle({ type: "datagram", path: from(1), bytes: hex("40010002") }, 0);
  assert.deepEqual(said(sessions), []);
  assert.equal(sessions.strays.snapshot().drops["nobody"], 1);
  sessions.handle({ type: "datagram", path: from(1), bytes: hex("40010001") }, 0);
  sessions.handle({ type: "datagram", path: from(1), bytes: hex("40010002") }, 0);
  assert.deepEqual(said(sessions), ["opened 1", "received 1", "received 1"]);
});

test("an ACK in a known session is received", () => {
  const sessions = new UdpSessions(coapTuning());
  const session = sessions.connect(from(1), 0);
  sessions.handle({ type: "datagram", path: from(1), bytes: hex("60000001") }, 0);
  assert.deepEqual(said(sessions), [`received ${session}`]);
});

test("tuning.maxUnpinnedSessions: one more ends the most silent, never a pinned one", () => {
  const sessions = new UdpSessions(coapTuning({ maxUnpinnedSessions: 3 }));
  for (const port of [1, 2, 3])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, port);
  sessions.handle({ type: "pin", session: 1 }, 4);
  sessions.handle({ type: "datagram", path: from(2), bytes: ping }, 5);
  for (const port of [4, 5])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, 6);
  const closed = drain(sessions).filter((o) => o.type === "closed");
  assert.deepEqual(closed, [{ type: "closed", session: 3, why: "evicted" }]);
  for (let port = 100; port < 1_000; port++)
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, 7);
  assert.equal(sessions.size, 4);
  assert.deepEqual(sessions.pathOf(1), from(1));
  sessions.handle({ type: "unpin", session: 1 }, 8);
  assert.equal(sessions.size, 3);
});

test("tuning.sessionLifetime: a silent session ends, a pinned one stays", () => {
  const sessions = new UdpSessions(coapTuning());
  for (const port of [1, 2])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, 0);
  sessions.handle({ type: "pin", session: 2 }, 0);
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 1_000);
  drain(sessions);
  assert.equal(sessions.wakeAt, 301_000);
  sessions.wake(300_999);
  assert.equal(sessions.size, 2);
  sessions.wake(301_000);
  assert.deepEqual(drain(sessions), [{ type: "closed", session: 1, why: "idle" }]);
  assert.equal(sessions.wakeAt, undefined);
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 302_000);
  assert.deepEqual(said(sessions), ["opened 3", "received 3"]);
});

test("rebind: the session goes on at the new path with both accounts, the provisional one is no more", () => {
  const sessions = new UdpSessions(coapTuning());
  for (const port of [1, 2])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, 0);
  drain(sessions);
  sessions.handle({ type: "rebind", from: 2, into: 1 }, 0);
  assert.deepEqual(drain(sessions), [{ type: "moved", session: 1, validated: false }]);
  assert.equal(sessions.size, 1);
  assert.deepEqual(sessions.pathOf(1), from(2));
  assert.equal(sessions.ledgerOf(1).datagramsIn, 2);
  assert.equal(sessions.ledgerOf(1).addressChanges, 1);
  sessions.handle({ type: "datagram", path: from(2), bytes: ping }, 0);
  assert.deepEqual(said(sessions), ["received 1"]);
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 0);
  assert.deepEqual(said(sessions), ["opened 3", "received 3"], "the old address is a stranger's");
});

test("rebind of sessions that are gone, or of one onto itself, changes nothing", () => {
  const sessions = new UdpSessions(coapTuning());
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 0);
  drain(sessions);
  for (const [a, b] of [
    [9, 1],
    [1, 9],
    [1, 1],
  ] as const)
    sessions.handle({ type: "rebind", from: a, into: b }, 0);
  assert.deepEqual(drain(sessions), []);
  assert.deepEqual(sessions.pathOf(1), from(1));
});

test("restore: a session comes back pinned under its number, and no number is given out twice", () => {
  const sessions = new UdpSessions(coapTuning(), { first: 40 });
  sessions.handle({ type: "restore", session: 77, path: from(1) }, 0);
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 1_000_000);
  assert.deepEqual(said(sessions), ["received 77"]);
  sessions.handle({ type: "datagram", path: from(2), bytes: ping }, 1_000_000);
  assert.deepEqual(said(sessions), ["opened 78", "received 78"]);
  assert.equal(sessions.nextSession, 79);
  assert.equal(sessions.wakeAt, 1_300_000);
});

test("connect twice is one session; close ends it", () => {
  const sessions = new UdpSessions(coapTuning());
  const session = sessions.connect(from(1), 0);
  assert.equal(sessions.connect(from(1), 0), session);
  sessions.handle({ type: "close", session }, 0);
  sessions.handle({ type: "send", session, bytes: ping }, 0);
  assert.deepEqual(drain(sessions), [{ type: "closed", session, why: "asked" }]);
  assert.equal(sessions.pathOf(session), undefined);
});
