import assert from "node:assert/strict";
import { test } from "node:test";
import { type Running, RunningHandshakes } from "./running-handshakes.ts";
import { DEFAULT_TUNING } from "./tuning.ts";

const tuning = {
  ...DEFAULT_TUNING,
  maxHandshakes: 8,
  maxHandshakesPerHost: 3,
  maxHandshakesPerNetwork: 5,
  halfOpenGrace: 100,
};
const NOW = 1_000;

const one = (host: string, port: number, over: Partial<Running> = {}): Running => ({
  path: { local: { host: "198.51.100.1", port: 5_684 }, remote: { host, port } },
  waits: true,
  wentOnAt: NOW,
  ...over,
});

function running(...all: readonly Running[]): RunningHandshakes<Running> {
  const handshakes = new RunningHandshakes<Running>(tuning);
  for (const each of all) handshakes.set(each);
  return handshakes;
}

test("a handshake is found at its path and counted for its host and network until it is taken out", () => {
  const [a, b] = [one("192.0.2.1", 1), one("192.0.2.2", 1)];
  const handshakes = running(a, b);
  assert.equal(handshakes.size, 2);
  assert.equal(handshakes.at(a.path), a);
  assert.equal(handshakes.at(one("192.0.2.1", 2).path), undefined);
  assert.deepEqual(handshakes.values(), [a, b]);
  assert.equal(handshakes.counted, 3, "two hosts, one network");
  handshakes.delete(one("192.0.2.1", 1));
  assert.equal(handshakes.at(a.path), a, "another at the same path is not it");
  handshakes.delete(a);
  assert.equal(handshakes.at(a.path), undefined);
  assert.equal(handshakes.counted, 2);
  handshakes.delete(b);
  assert.equal(handshakes.counted, 0);
  assert.equal(handshakes.at(b.path), undefined);
});

test("tuning.maxHandshakesPerHost: one more makes its host's oldest go that has waited long enough, else it waits", () => {
  const own = [1, 2, 3].map((port) => one("192.0.2.1", port));
  const handshakes = running(...own);
  assert.deepEqual(handshakes.room("192.0.2.2", NOW), { gone: undefined });
  assert.equal(handshakes.room("192.0.2.1", NOW + 99), "share");
  assert.deepEqual(handshakes.room("192.0.2.1", NOW + 100), { gone: own[0] });
  const busy = running(one("192.0.2.1", 1, { waits: false }), ...own.slice(1));
  assert.deepEqual(busy.room("192.0.2.1", NOW + 100), { gone: own[1] });
  handshakes.delete(own[2]!); // there are three
  assert.deepEqual(handshakes.room("192.0.2.1", NOW), { gone: undefined });
});

test("tuning.maxHandshakesPerNetwork: of a full network its oldest goes, or one of a host that has two more than the newcomer's", () => {
  const many = [1, 2, 3].map((port) => one("192.0.2.1", port));
  const others = [4, 5].map((port) => one("192.0.2.2", port));
  const handshakes = running(...others, ...many);
  assert.deepEqual(handshakes.room("192.0.2.3", NOW + 100), { gone: others[0] });
  assert.deepEqual(handshakes.room("192.0.2.3", NOW), { gone: others[0] });
  assert.deepEqual(handshakes.room("192.0.2.2", NOW), "share");
  const alone = running(...[1, 2, 3, 4, 5].map((n) => one(`192.0.2.${n}`, n)));
  assert.equal(alone.room("192.0.2.9", NOW), "share");
  assert.deepEqual(alone.room("203.0.113.1", NOW), { gone: undefined });
});

test("tuning.maxHandshakes: where the server is full the oldest goes, or one of a network that has two more than the newcomer's", () => {
  const near = [1, 2, 3, 4].map((n) => one(`192.0.2.${n}`, n));
  const far = [1, 2, 3, 4].map((n) => one(`203.0.113.${n}`, n));
  const handshakes = running(...near, ...far);
  assert.deepEqual(handshakes.room("198.18.0.1", NOW + 100), { gone: near[0] });
  assert.deepEqual(handshakes.room("198.18.0.1", NOW), { gone: near[0] });
  assert.equal(handshakes.room("192.0.2.9", NOW), "full");
  const wide = running(...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => one(`10.${n}.0.1`, n)));
  assert.equal(wide.room("198.18.0.1", NOW), "full");
});

test("for a newcomer at most 16 handshakes are looked at", () => {
  const roomy = {
    ...tuning,
    maxHandshakes: 17,
    maxHandshakesPerHost: 99,
    maxHandshakesPerNetwork: 99,
  };
  for (const [busy, result] of [
    [15, "found"],
    [16, "full"],
  ] as const) {
    const handshakes = new RunningHandshakes<Running>(roomy);
    for (let port = 1; port <= 17; port++)
      handshakes.set(one("192.0.2.1", port, { waits: port > busy, wentOnAt: 0 }));
    const room = handshakes.room("198.18.0.1", NOW);
    if (result === "full") assert.equal(room, "full");
    else assert.ok(typeof room !== "string" && room.gone?.path.remote.port === 16);
  }
});
