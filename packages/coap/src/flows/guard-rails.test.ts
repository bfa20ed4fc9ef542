import assert from "node:assert/strict";
import { test } from "node:test";
import { below, seededRng, type Path, type Rng } from "@godwit/base";
import { blockOption } from "../block-option.ts";
import { CoapNode } from "../coap-node.ts";
import { Code } from "../codes.ts";
import { encodeMessage } from "../message-codec.ts";
import { CON, NON, type MessageType } from "../message.ts";
import { OptionNumber } from "../option-numbers.ts";
import { opaqueOption, request, response, sortOptions, uintOption } from "../options.ts";
import { coapTuning } from "../tuning.ts";
import { SERVER } from "./pair.test-kit.ts";

const path = (n: number): Path => ({
  local: SERVER,
  remote: { host: `198.51.100.${n % 200}`, port: 1_024 + (n % 60_000) },
});
const big = new Uint8Array(3_000);
const tuning = coapTuning({
  maxReplies: 500,
  maxReplyBytes: 20_000,
  maxRepliesPerSession: 100,
  maxPending: 20,
  maxPendingPerSession: 5,
  maxRequestsPerSession: 8,
  maxUnpinnedSessions: 30,
  maxObservations: 10,
  maxObservationsPerSession: 4,
  maxPartialBodies: 6,
});

/** A node with everything under way at once: requests in every state, observations of both kinds, uploads, downloads. */
class Busy {
  readonly node: CoapNode;
  readonly rng: Rng;
  readonly peer: number;
  now = 0;
  id = 1;
  /** What the node sent to its peer: material for answers that nearly fit. */
  sent: Uint8Array[] = [];
  exchanges: number[] = [];

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.node = new CoapNode({ rng: seededRng(seed + 1_000), tuning });
    this.peer = this.node.connect(path(0), 0);
  }

  act(): void {
    const { node, rng, now } = this;
    const id = this.id++;
    const { peer: session } = this;
    const exchange = this.exchanges[below(rng, this.exchanges.length)] ?? 0;
    switch (below(rng, 9)) {
      case 0:
        node.handle(
          { type: "request", id, session, request: request(Code.GET, { observe: 0 }) },
          now,
        );
        break;
      case 1:
        node.handle(
          { type: "request", id, session, request: request(Code.PUT, { payload: big }) },
          now,
        );
        break;
      case 2:
        node.handle(
          { type: "request", id, session, request: request(Code.GET), confirmable: false },
          now,
        );
        break;
      case 3:
        node.handle({ type: "ping", id, session }, now);
        break;
      case 4:
        node.handle({ type: "cancel", id: below(rng, id) }, now);
        break;
      case 5:
        node.handle(
          { type: "notify", exchange, response: response(Code.Content, { payload: big }) },
          now,
        );
        break;
      case 6:
        node.handle({ type: "adopt", exchange, into: session }, now);
        break;
      case 7:
        node.handle({ type: "challenge", exchange }, now);
        break;
      default:
        this.now += [1, 50, 3_000, 100_000][below(rng, 4)]!; // one of four
        node.wake(this.now);
    }
    this.drain();
  }

  receive(bytes: Uint8Array): void {
    const from = below(this.rng, 3) > 0 ? 0 : below(this.rng, 100_000);
    this.node.handle({ type: "datagram", path: path(from), bytes }, this.now);
    this.drain();
  }

  drain(): void {
    const { node, rng } = this;
    for (let o = node.poll(); o !== undefined; o = node.poll()) {
      if (o.type === "datagram") {
        if (this.sent.push(o.bytes) > 40) this.sent.shift();
      } else if (o.type === "request") {
        if (this.exchanges.push(o.exchange) > 40) this.exchanges.shift();
        const options = [uintOption(OptionNumber.Observe, 0)];
        const payload = below(rng, 2) === 0 ? big : "small";
        const answer = response(Code.Content, { payload, options });
        if (below(rng, 3) > 0)
          node.handle({ type: "respond", exchange: o.exchange, response: answer }, this.now);
      }
    }
    assert.ok(node.endpoint.remembered <= 500);
    assert.ok(node.sessions.size <= 31);
  }

  /** Something a peer might send: noise, a message turned around, a message of every kind. */
  bytes(): Uint8Array {
    const { rng } = this;
    const known = this.sent[below(rng, this.sent.length)];
    switch (below(rng, 4)) {
      case 0:
        return rng.bytes(below(rng, 40));
      case 1: {
        if (known === undefined) return new Uint8Array(0);
        const mutated = Uint8Array.from(known);
        for (let n = below(rng, 4); n >= 0; n--)
          mutated[below(rng, mutated.length)] = below(rng, 256);
        return mutated.subarray(0, below(rng, 5) === 0 ? below(rng, mutated.length) : undefined);
      }
      case 2: {
        // An answer to what the node sent: its id and token are right.
        if (known === undefined || known.length < 4) return new Uint8Array(0);
        const [first, code] = [
          known[0]!,
          [0, 0x41, 0x45, 0x5f, 0x81, 0x88, 0x8d, 0xa0][below(rng, 8)]!,
        ];
        const length = code === 0 ? 0 : first & 0x0f;
        const body = code === 0 ? [] : [...known.subarray(4, 4 + length), ...this.options()];
        return Uint8Array.of(
          0x40 | (below(rng, 4) << 4) | length,
          code,
          known[2]!, // there are four
          known[3]!,
          ...body,
        );
      }
      default:
        return encodeMessage({
          type: (below(rng, 2) === 0 ? CON : NON) satisfies MessageType,
          code: 1 + below(rng, 8),
          mid: below(rng, 50),
          token: rng.bytes(below(rng, 9)),
          options: sortOptions([
            uintOption(OptionNumber.Observe, below(rng, 3)),
            blockOption(below(rng, 2) === 0 ? 23 : 27, {
              num: below(rng, 3),
              more: below(rng, 2) === 0,
              szx: below(rng, 7),
            }),
            opaqueOption(OptionNumber.UriPath, rng.bytes(below(rng, 3))),
          ]),
          payload: new Uint8Array([0, 16, 64, 1_024][below(rng, 4)]!), // one of four
        });
    }
  }

  options(): number[] {
    const { rng } = this;
    const choices = [
      [0x60],
      [0x61, below(rng, 256)],
      [0xd1, 0x0a, 0x08 | (below(rng, 16) << 4), 0xff, 1],
      [0xd1, 0x0e, 0x08],
      [0xd8, 0xef, 1, 2, 3, 4, 5, 6, 7, 8],
      [0xff],
      [0xf0],
      [],
    ];
    return choices[below(rng, choices.length)]!; // one of them
  }
}

test("random and nearly right bytes into every state: nothing is thrown, nothing grows past its limit", () => {
  for (let seed = 0; seed < 40; seed++) {
    const busy = new Busy(seed);
    try {
      for (let n = 0; n < 600; n++) {
        if (below(busy.rng, 3) === 0) busy.act();
        else busy.receive(busy.bytes());
      }
      // When all is quiet, all is over.
      for (let n = 0; n < 5_000 && busy.node.wakeAt !== undefined; n++) {
        busy.now = Math.max(busy.now, busy.node.wakeAt);
        busy.node.wake(busy.now);
        for (let o = busy.node.poll(); o !== undefined; o = busy.node.poll()) assert.ok(o.type);
      }
      assert.equal(busy.node.wakeAt, undefined);
      assert.equal(busy.node.endpoint.remembered, 0);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
});

test("spoofed requests, a hundred times as many as the limits hold: sessions and memory of exchanges stay within their limits", () => {
  const limits = coapTuning({ maxUnpinnedSessions: 200, maxReplies: 400 });
  const node = new CoapNode({ rng: seededRng(1), tuning: limits });
  const ask = encodeMessage({ type: CON, ...request(Code.GET), mid: 0, token: Uint8Array.of(1) });
  const answer = response(Code.Content, { payload: "x" });
  for (let n = 0; n < 40_000; n++) {
    const bytes = Uint8Array.from(ask);
    bytes[2] = n >>> 8;
    bytes[3] = n;
    node.handle({ type: "datagram", path: path(n * 7), bytes }, n / 1_000);
    for (let o = node.poll(); o !== undefined; o = node.poll())
      if (o.type === "request" && n % 100 !== 0)
        node.handle({ type: "respond", exchange: o.exchange, response: answer }, n / 1_000);
    assert.ok(node.sessions.size <= 200);
    assert.ok(node.endpoint.remembered <= 400);
  }
});
