import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { seededRng, type Path } from "@godwit/base";
import { CoapNode } from "./coap-node.ts";
import { Code } from "./codes.ts";
import { encodeMessage } from "./message-codec.ts";
import { CON } from "./message.ts";
import { request, response } from "./options.ts";
import { coapTuning } from "./tuning.ts";
import { UdpSessions } from "./udp-sessions.ts";

const SESSIONS = 10_000;
/**
 * All in: UDP session, path, endpoint session, ledger, and their places in the maps. About 610 in a process of its own, some
 * 70 more where other tests have made the engine's field layouts wider.
 */
const MOST_BYTES_PER_IDLE_SESSION = 760;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function used(): number {
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Each peer has asked once, was asked once, and has been silent since. */
function filled(sessions: number): CoapNode {
  const node = new CoapNode({ rng: seededRng(1) });
  const start = 1_700_000_000_000;
  const content = response(Code.Content, { payload: "x" });
  const token = Uint8Array.of(1);
  const ask = encodeMessage({ type: CON, ...request(Code.GET, { path: "/3" }), mid: 1, token });
  for (let n = 0; n < sessions; n++) {
    const local = { host: "192.0.2.1", port: 5_683 };
    const path = { local, remote: { host: `10.0.${n >> 8}.${n & 0xff}`, port: 1_024 + n } };
    node.handle({ type: "datagram", path, bytes: Uint8Array.from(ask) }, start);
    for (let o = node.poll(); o !== undefined; o = node.poll()) {
      if (o.type === "request") {
        const { exchange, session } = o;
        node.handle({ type: "pin", session }, start);
        node.handle({ type: "respond", exchange, response: content }, start);
        const question = request(Code.GET, { path: "/3" });
        node.handle({ type: "request", id: n, session, request: question }, start);
      } else if (o.type === "datagram" && o.bytes[0]! >>> 4 === 4) {
        const [, , high, low, tag] = o.bytes;
        const bytes = Uint8Array.of(0x61, Code.Content, high!, low!, tag!); // a request with a token
        node.handle({ type: "datagram", path, bytes }, start);
      }
    }
  }
  node.wake(start + 300_000); // past EXCHANGE_LIFETIME
  return node;
}

test(`limit: an idle session takes at most ${MOST_BYTES_PER_IDLE_SESSION} bytes`, () => {
  filled(500); // what is made once for all
  const before = used();
  const node = filled(SESSIONS);
  const each = (used() - before) / SESSIONS;
  assert.equal(node.sessions.size, SESSIONS);
  assert.equal(node.endpoint.remembered, 0);
  assert.ok(each > 100, `${each} is no measurement`);
  assert.ok(each <= MOST_BYTES_PER_IDLE_SESSION, `${each} bytes`);
});

for (const [order, next] of [
  ["the newest first", -1],
  ["the oldest first", 1],
] as const) {
  test(`sessions that ended, ${order}, take no memory, nor do their hosts and what stays beside them`, () => {
    const tuning = coapTuning({ maxUnpinnedSessions: 2 * SESSIONS });
    const sessions = new UdpSessions(tuning);
    const path = (round: number, n: number): Path => ({
      local: { host: "192.0.2.1", port: 5_683 },
      remote: { host: `10.${round}.${n >> 9}.${(n >> 1) & 0xff}`, port: n & 1 },
    });
    const bytes = Uint8Array.of(0x40, 0, 0, 1);
    const fill = (round: number): void => {
      const first = sessions.nextSession;
      const last = first + SESSIONS - 1;
      for (let n = 0; n < SESSIONS; n++)
        sessions.handle({ type: "datagram", path: path(round, n), bytes }, 0);
      for (const session of [first, last]) sessions.handle({ type: "pin", session }, 0);
      for (let n = 1; n < SESSIONS - 1; n++) {
        const session = next > 0 ? first + n : last - n;
        sessions.handle({ type: "close", session }, 0);
      }
      while (sessions.poll() !== undefined);
    };
    fill(1); // what is made once for all
    const before = used();
    fill(2);
    const each = (used() - before) / SESSIONS;
    assert.equal(sessions.size, 4);
    assert.ok(each < 60, `${each} bytes`);
  });
}
