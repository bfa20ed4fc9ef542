import assert from "node:assert/strict";
import { test } from "node:test";
import type { Path, SessionId, StoreChange } from "@godwit/base";
import { UdpSessions, coapTuning } from "@godwit/coap";
import { HeldPaths } from "./held-paths.ts";
import { SESSION_TABLE } from "./path-records.ts";

const GET = Uint8Array.of(0x40, 1, 0, 1);

// Sessions of a gateway: a device without security and devices under OSCORE speak from one socket.

const OSCORE: readonly SessionId[] = [101, 102].map((n) => 2 ** 42 + n);

class Bench {
  readonly udp = new UdpSessions(coapTuning());
  readonly carriers = new Map<SessionId, SessionId>();
  readonly relocated: string[] = [];
  /** Keys of rows that are there. */
  readonly stored = new Set<string>();
  readonly adopted: string[] = [];
  readonly held: HeldPaths;

  constructor() {
    const { carriers } = this;
    const ridersOf = (carrier: SessionId): SessionId[] =>
      [...carriers].flatMap(([rider, its]) => (its === carrier ? [rider] : []));
    const ride = (session: SessionId, carrier: SessionId): SessionId | undefined => {
      const before = carriers.get(session);
      carriers.set(session, carrier);
      return before !== undefined && ridersOf(before).length === 0 ? before : undefined;
    };
    this.held = new HeldPaths({
      transports: {
        handle: (input, now) => {
          if (input.type === "rebind" || input.type === "displace") this.udp.handle(input, now);
          else if (input.type === "pin" || input.type === "unpin") this.udp.handle(input, now);
        },
        pathOf: (session) => this.udp.pathOf(session),
        sessionAt: (path) => this.udp.sessionAt(path),
        connect: (path, now) => this.udp.connect(path, now),
      },
      endpoint: {
        handle: (input) => {
          if (input.type === "adopt")
            this.adopted.push(`${input.into}${input.fromStays === true ? ", from stays" : ""}`);
        },
      },
      sessions: {
        has: (session) => OSCORE.includes(session),
        isCarrier: (session) => ridersOf(session).length > 0,
        ridersOf,
        moved: ride,
        relocate: (session, carrier) => {
          this.relocated.push(`${OSCORE.indexOf(session)} to ${carrier}`);
          return ride(session, carrier);
        },
        change: (session) => ({ table: "protected", key: String(session), value: undefined }),
      },
      passed: () => {},
      write: (changes) => this.#write(changes),
      hear: () => {
        while (this.udp.poll() !== undefined);
      },
    });
  }

  /** A datagram of somebody from a port; the session it belongs to. */
  from(port: number): SessionId {
    this.udp.handle({ type: "datagram", path: pathFrom(port), bytes: GET }, 0);
    while (this.udp.poll() !== undefined);
    return this.udp.sessionAt(pathFrom(port))!; // it was opened
  }

  settled(): void {
    this.#write(this.held.takeChanges());
  }

  #write(changes: readonly StoreChange[]): void {
    for (const { table, key, value } of changes) {
      if (table !== SESSION_TABLE) continue;
      if (value === undefined) this.stored.delete(key);
      else this.stored.add(key);
    }
  }
}

test("who travels at a path that becomes another session's goes along; who had a row for it has none", () => {
  const bench = new Bench();
  const home = bench.from(1_000);
  bench.held.pin(home, 0);
  bench.settled();
  const there = bench.from(2_000);
  for (const session of OSCORE) bench.held.follow(session, there, 0);
  assert.deepEqual([...bench.stored], [String(home), String(there)]);
  bench.held.rebind(1, there, home, 0);
  bench.settled();
  assert.deepEqual(bench.relocated, [`0 to ${home}`, `1 to ${home}`]);
  assert.deepEqual(bench.adopted, [`${home}, from stays`]);
  assert.deepEqual([...bench.stored], [String(home)]);
  assert.equal(bench.udp.sessionAt(pathFrom(2_000)), home);
  assert.equal(bench.udp.pathOf(there), undefined);
});

test("who travels in a session that goes elsewhere stays where it was", () => {
  const bench = new Bench();
  const home = bench.from(1_000);
  bench.held.pin(home, 0);
  for (const session of OSCORE) bench.held.follow(session, home, 0);
  bench.settled();
  const there = bench.from(2_000);
  bench.held.rebind(1, there, home, 0);
  bench.settled();
  const stayed = bench.udp.sessionAt(pathFrom(1_000));
  assert.ok(stayed !== undefined && stayed !== home);
  assert.deepEqual(bench.relocated, [`0 to ${stayed}`, `1 to ${stayed}`]);
  assert.deepEqual(bench.adopted, [String(home)]);
  assert.deepEqual([...bench.stored], [String(home), String(stayed)]);
});

test("who travels at a path that a newcomer registers from stays there; the device that had it has no row of it", () => {
  const bench = new Bench();
  const home = bench.from(1_000);
  bench.held.pin(home, 0);
  for (const session of OSCORE) bench.held.follow(session, home, 0);
  bench.settled();
  bench.held.displace(1, home, 0);
  bench.settled();
  const into = bench.udp.sessionAt(pathFrom(1_000));
  assert.ok(into !== undefined && into !== home);
  assert.deepEqual(bench.relocated, [`0 to ${into}`, `1 to ${into}`]);
  assert.deepEqual([...bench.stored], [String(into)]);
  bench.held.pin(home, 0); // it has no path to be kept
  bench.settled();
  assert.deepEqual([...bench.stored], [String(into)]);
});

function pathFrom(port: number): Path {
  return { local: { host: "192.0.2.1", port: 5_683 }, remote: { host: "192.0.2.9", port } };
}
