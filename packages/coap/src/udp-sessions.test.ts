import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hex, type Path, type SessionId } from "@godwit/base";
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

test("rebind: an unpinned session was heard by it, and ends after those that were silent since before", () => {
  const sessions = new UdpSessions(coapTuning({ maxUnpinnedSessions: 3 }));
  for (const port of [1, 2, 3])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, port);
  sessions.handle({ type: "rebind", from: 3, into: 1 }, 10);
  assert.equal(sessions.wakeAt, 2 + coapTuning().sessionLifetime);
  drain(sessions);
  for (const port of [4, 5, 6])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, 20);
  const closed = said(sessions).filter((one) => one.startsWith("closed"));
  assert.deepEqual(closed, ["closed 2", "closed 1"]);
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

test("connect twice is one session; close ends it, and nothing is sent in it any more", () => {
  const sessions = new UdpSessions(coapTuning());
  const session = sessions.connect(from(1), 0);
  assert.equal(sessions.connect(from(1), 0), session);
  sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 0);
  drain(sessions);
  sessions.handle({ type: "close", session }, 0);
  sessions.handle({ type: "send", session, bytes: ping }, 0);
  assert.deepEqual(drain(sessions), [{ type: "closed", session, why: "asked" }]);
  assert.equal(sessions.pathOf(session), undefined);
});

test("RFC 7252 4.1: hosts, ports and our own ends tell sessions apart, however many there are and whichever ends first", () => {
  const locals = [LOCAL, { host: "192.0.2.2", port: 5_683 }, { host: "192.0.2.1", port: 5_685 }];
  const paths = locals.flatMap((local) =>
    ["198.51.100.7", "198.51.100.8"].flatMap((host) =>
      [1, 2, 3].map((port) => ({ local, remote: { host, port } })),
    ),
  );
  for (const order of [[...paths], [...paths].toReversed()]) {
    const sessions = new UdpSessions(coapTuning());
    const ids = new Map(paths.map((path) => [path, sessions.connect(path, 0)]));
    assert.equal(new Set(ids.values()).size, paths.length);
    for (const gone of order) {
      for (const [path, id] of ids) assert.equal(sessions.sessionAt(path), id);
      sessions.handle({ type: "close", session: ids.get(gone)! }, 0); // each path has one
      ids.delete(gone);
      assert.equal(sessions.sessionAt(gone), undefined);
    }
    assert.equal(sessions.size, 0);
  }
});

test("displace: whoever is at the path is a session of its own, and nothing is sent to it for the other", () => {
  const sessions = new UdpSessions(coapTuning());
  const session = sessions.connect(from(1), 0);
  sessions.handle({ type: "displace", session }, 5);
  assert.deepEqual(said(sessions), ["opened 2"]);
  assert.equal(sessions.sessionAt(from(1)), 2);
  sessions.handle({ type: "displace", session }, 5);
  sessions.handle({ type: "send", session, bytes: ping }, 5);
  assert.deepEqual(said(sessions), []);
  assert.equal(sessions.ledgerOf(session).snapshot().drops["displaced"], 1);
  assert.equal(sessions.ledgerOf(session).datagramsOut, 0);
  assert.equal(sessions.wakeAt, 5 + coapTuning().sessionLifetime, "the new one is not pinned");
  sessions.handle({ type: "datagram", path: from(2), bytes: ping }, 6);
  sessions.handle({ type: "rebind", from: 3, into: session }, 6);
  sessions.handle({ type: "send", session, bytes: ping }, 6);
  assert.deepEqual(drain(sessions).at(-1), { type: "datagram", path: from(2), bytes: ping });
  assert.equal(sessions.sessionAt(from(1)), 2, "the other stays where it is");
  sessions.handle({ type: "displace", session: 99 }, 6);
  assert.deepEqual(said(sessions), []);
});

test("rebind from a pinned session: it stays without a path", () => {
  const sessions = new UdpSessions(coapTuning());
  const [a, b] = [sessions.connect(from(1), 0), sessions.connect(from(2), 0)];
  sessions.handle({ type: "rebind", from: b, into: a }, 0);
  assert.equal(sessions.size, 2);
  assert.equal(sessions.sessionAt(from(2)), a);
  assert.equal(sessions.sessionAt(from(1)), undefined);
  drain(sessions);
  sessions.handle({ type: "send", session: b, bytes: ping }, 0);
  assert.deepEqual(drain(sessions), []);
  sessions.handle({ type: "close", session: b }, 0);
  assert.equal(sessions.sessionAt(from(2)), a, "its end takes nobody's path");
});

test("rebind from a session that was displaced: it has no path to give, and everybody stays where he is", () => {
  const sessions = new UdpSessions(coapTuning());
  const [a, b] = [sessions.connect(from(1), 0), sessions.connect(from(2), 0)];
  sessions.handle({ type: "displace", session: a }, 0);
  const there = sessions.sessionAt(from(1));
  drain(sessions);
  sessions.handle({ type: "rebind", from: a, into: b }, 0);
  assert.deepEqual(drain(sessions), []);
  assert.equal(sessions.sessionAt(from(1)), there);
  assert.equal(sessions.sessionAt(from(2)), b);
});

test("restore onto a path that is in use: a pinned session loses it, another ends", () => {
  for (const pinned of [true, false]) {
    const sessions = new UdpSessions(coapTuning());
    sessions.handle({ type: "datagram", path: from(1), bytes: ping }, 0);
    if (pinned) sessions.handle({ type: "pin", session: 1 }, 0);
    drain(sessions);
    sessions.handle({ type: "restore", session: 7, path: from(1) }, 0);
    const closed = { type: "closed", session: 1, why: "replaced" } as const;
    assert.deepEqual(drain(sessions), pinned ? [] : [closed]);
    assert.equal(sessions.sessionAt(from(1)), 7);
    assert.equal(sessions.size, pinned ? 2 : 1);
    sessions.handle({ type: "restore", session: 7, path: from(2) }, 0);
    assert.deepEqual(sessions.pathOf(7), from(1), "it is there already");
  }
});

test("a session that has the last number is the last one; strangers are counted from then on", () => {
  const sessions = new UdpSessions(coapTuning(), { first: 5, last: 6 });
  for (const port of [1, 2, 3])
    sessions.handle({ type: "datagram", path: from(port), bytes: ping }, 0);
  assert.deepEqual(said(sessions), ["opened 5", "received 5", "opened 6", "received 6"]);
  assert.equal(sessions.strays.snapshot().drops["numbersUsedUp"], 1);
  assert.equal(sessions.strays.datagramsIn, 1);
});

for (const [host, isGroup] of [
  ["223.255.255.255", false],
  ["224.0.0.0", true],
  ["239.255.255.255", true],
  ["240.0.0.0", false],
  ["2001:db8::ff02", false],
  ["FF05::FD", true],
] as const) {
  test(`RFC 5771, RFC 4291 2.7: ${host} is ${isGroup ? "a" : "no"} multicast address`, () => {
    const sessions = new UdpSessions(coapTuning());
    const path = { local: { host, port: 5_683 }, remote: from(1).remote };
    sessions.handle({ type: "datagram", path, bytes: ping }, 0);
    assert.equal(sessions.size, isGroup ? 0 : 1);
  });
}

test("sessions agree with a list of them, whatever opens, ends, moves, is pinned and unpinned", () => {
  type Row = { port: number; pinned: boolean; heard: number };
  const limit = 4;
  const step = fc.record({
    what: fc.constantFrom("datagram", "close", "pin", "unpin", "rebind", "connect", "wake"),
    port: fc.integer({ min: 1, max: 8 }),
    other: fc.integer({ min: 1, max: 8 }),
    after: fc.integer({ min: 0, max: 40_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const tuning = coapTuning({ maxUnpinnedSessions: limit });
      const sessions = new UdpSessions(tuning);
      const rows = new Map<SessionId, Row>();
      /** The unpinned, the most silent first. */
      let silent: SessionId[] = [];
      let now = 0;
      let next = 1;
      const at = (port: number): SessionId | undefined =>
        [...rows].find(([, row]) => row.port === port)?.[0];
      const quiet = (id: SessionId): void => void (silent = silent.filter((one) => one !== id));
      const heard = (id: SessionId): void => {
        quiet(id);
        const row = rows.get(id)!; // the caller has looked
        row.heard = now;
        if (silent.length >= limit) rows.delete(silent.shift()!); // there are as many as the limit
        silent.push(id);
      };
      for (const { what, port, other, after } of steps) {
        now += after;
        const id = at(port);
        const row = rows.get(id ?? 0);
        const into = at(other);
        switch (what) {
          case "datagram":
            sessions.handle({ type: "datagram", path: from(port), bytes: ping }, now);
            if (id === undefined) {
              rows.set(next, { port, pinned: false, heard: now });
              heard(next++);
            } else if (row?.pinned === false) heard(id);
            break;
          case "connect":
            assert.equal(sessions.connect(from(port), now), id ?? next);
            if (row === undefined) rows.set(next++, { port, pinned: true, heard: now });
            else {
              row.pinned = true;
              quiet(id!); // it has a row
            }
            break;
          case "close":
            sessions.handle({ type: "close", session: id ?? 0 }, now);
            quiet(id ?? 0);
            rows.delete(id ?? 0);
            break;
          case "pin":
            sessions.handle({ type: "pin", session: id ?? 0 }, now);
            if (row !== undefined) row.pinned = true;
            quiet(id ?? 0);
            break;
          case "unpin":
            sessions.handle({ type: "unpin", session: id ?? 0 }, now);
            if (row?.pinned === true) {
              row.pinned = false;
              heard(id!); // it has a row
            }
            break;
          case "rebind":
            if (row?.pinned === true) break; // has a test of its own
            sessions.handle({ type: "rebind", from: id ?? 0, into: into ?? 0 }, now);
            if (row === undefined || into === undefined || id === into) break;
            quiet(id!); // it has a row
            rows.delete(id!); // likewise
            rows.get(into)!.port = port; // the line above has looked
            if (!rows.get(into)!.pinned) heard(into); // likewise
            break;
          case "wake":
            sessions.wake(now);
            for (const one of [...silent])
              if (rows.get(one)!.heard + tuning.sessionLifetime <= now) {
                quiet(one); // the list has rows only
                rows.delete(one);
              }
        }
        drain(sessions);
        assert.equal(sessions.size, rows.size, what);
        for (let one = 1; one <= 8; one++)
          assert.equal(sessions.sessionAt(from(one)), at(one), `${what}: port ${one}`);
        const oldest = silent[0] === undefined ? undefined : rows.get(silent[0])?.heard;
        const wakeAt = oldest === undefined ? undefined : oldest + tuning.sessionLifetime;
        assert.equal(sessions.wakeAt, wakeAt, what);
        assert.equal(sessions.nextSession, next);
      }
    }),
  );
});
