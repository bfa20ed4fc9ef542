import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, Ledger, below, concat, hex, seededRng, type SessionId } from "@godwit/base";
import {
  ACK,
  CON,
  Code,
  Endpoint,
  NON,
  OptionNumber,
  coapTuning,
  decodeMessage,
  encodeMessage,
  findOption,
  findUint,
  formatCode,
  opaqueOption,
  request,
  response,
  uintOption,
  withOption,
  withoutOption,
  type CoapTuning,
  type EndpointOutput,
  type ExchangeId,
  type Message,
  type MessageType,
  type Option,
  type Request,
  type Response,
} from "@godwit/coap";
import type { Credential } from "../layer-events.ts";
import { INPUT, mirrored } from "../layer-kit.test.ts";
import { OscoreLayer } from "../oscore-layer.ts";
import { oscoreTuning } from "../tuning.ts";

// RFC 8613 4.1.3.4.2. Between the two ends of an OSCORE session stands who cuts their messages into outer blocks.

const CARRIER = 700;
const SESSION = 2 ** 41;

type Seen = Extract<EndpointOutput, { type: "response" | "failed" | "request" | "alive" }>;

/** One end: an endpoint with its protection, and a store that says yes. */
class Side {
  readonly endpoint: Endpoint;
  readonly layer: OscoreLayer;
  readonly ledgers = new Map<SessionId, Ledger>();
  readonly sent: Message[] = [];
  readonly seen: Seen[] = [];
  readonly drops: string[] = [];
  now = 0;

  constructor(credential: Credential, tuning: Partial<CoapTuning>, maxUnfragmented: number) {
    this.layer = new OscoreLayer(oscoreTuning({ maxUnfragmented }), seededRng(1));
    const ledgerOf = (id: SessionId): Ledger => {
      const ledger = this.ledgers.get(id) ?? new Ledger();
      this.ledgers.set(id, ledger);
      return ledger;
    };
    const common = { rng: seededRng(2), tuning: coapTuning(tuning), ledgerOf };
    this.endpoint = new Endpoint({ ...common, protection: this.layer });
    this.layer.handle({ type: "add", session: SESSION, credential, carrier: CARRIER }, 0);
    this.handle({ type: "validated", session: CARRIER });
  }

  handle(input: Parameters<Endpoint["handle"]>[0]): void {
    this.endpoint.handle(input, this.now);
    this.#settle();
  }

  receive(message: Message, carrier = CARRIER): void {
    this.handle({ type: "received", session: carrier, bytes: encodeMessage(message) });
  }

  advance(ms: number): void {
    this.now += ms;
    this.layer.wake(this.now);
    this.endpoint.wake(this.now);
    this.#settle();
  }

  take<T extends Seen["type"]>(type: T): Extract<Seen, { type: T }>[] {
    const found = this.seen.filter((event) => event.type === type);
    this.seen.splice(0, this.seen.length, ...this.seen.filter((event) => event.type !== type));
    return found as Extract<Seen, { type: T }>[]; // filtered by type
  }

  #settle(): void {
    for (;;) {
      const output = this.endpoint.poll();
      if (output?.type === "send") this.sent.push(decodeMessage(output.bytes, 8));
      else if (output?.type === "dropped") this.drops.push(output.reason);
      else if (output !== undefined && "type" in output) this.seen.push(output as Seen);
      const beside = this.layer.poll();
      if (beside?.type === "store") {
        this.layer.handle({ type: "stored", ticket: beside.ticket, ok: true }, this.now);
      } else if (beside?.type === "released") {
        const { ref: exchange, result } = beside;
        this.endpoint.handle({ type: "released", exchange, result }, this.now);
      } else if (beside?.type === "ready") this.endpoint.handle(beside, this.now);
      else if (beside?.type === "dropped") this.drops.push(beside.reason);
      if (output === undefined && beside === undefined) return;
    }
  }
}

/** Two ends, and between them a proxy that cuts what is longer than a block. */
class Way {
  readonly client: Side;
  readonly server: Side;
  /** What the proxy was told about the blocks of requests, and asked for of answers. */
  readonly codes: string[] = [];
  /** What was answered last. */
  exchange: ExchangeId | undefined;
  #mid = 5_000;
  #id = 1;
  /** The request that went on in blocks, and the message id of the last. */
  #cutRequest: { readonly last: number; readonly mid: number } | undefined;
  /** The answer of which the client has a part. */
  #kept: Message | undefined;

  constructor({ derivation = "both", tuning = {}, max = 4_096 }: WayOptions = {}) {
    this.client = new Side({ input: INPUT, derivation, initiates: true }, tuning, max);
    const input = mirrored(INPUT);
    this.server = new Side({ input, derivation, initiates: false }, tuning, max);
  }

  ask(asked: Request): number {
    const id = this.#id++;
    this.client.handle({ type: "request", id, session: SESSION, request: asked });
    return id;
  }

  /** The protected message that the client sends for it. */
  protect(asked: Request): Message {
    this.ask(asked);
    return this.client.sent.pop()!; // a first request is sent at once
  }

  /** Carries until both sides are silent; the server answers with `answer`. */
  run(answer: Response = response(Code.Changed)): void {
    for (;;) {
      const asked = this.server.take("request");
      for (const { exchange } of asked) {
        this.server.handle({ type: "respond", exchange, response: answer });
        this.exchange = exchange;
      }
      const up = this.client.sent.shift();
      if (up !== undefined) this.#up(up);
      const down = this.server.sent.shift();
      if (down !== undefined) this.#down(down);
      if (asked.length === 0 && up === undefined && down === undefined) return;
    }
  }

  /** The blocks that a protected request becomes, each as a message. */
  blocks(message: Message, tag?: Uint8Array): Message[] {
    const count = Math.ceil(message.payload.length / SIZE);
    return Array.from({ length: count }, (_, num) => {
      let options = withOption(message.options, block(OptionNumber.Block1, num, num < count - 1));
      if (tag !== undefined)
        options = withOption(options, opaqueOption(OptionNumber.RequestTag, tag));
      return { ...message, mid: this.#mid++, options, payload: part(message.payload, num) };
    });
  }

  /** The server's code for it, if it answers at once. */
  give(message: Message, carrier?: SessionId): string {
    this.server.receive(message, carrier);
    const said = this.server.sent.pop();
    return said === undefined ? "" : formatCode(said.code);
  }

  #up(message: Message): void {
    const wanted = findUint(message.options, OptionNumber.Block2);
    if (wanted !== undefined && this.#kept !== undefined) {
      this.codes.push(`Block2 ${wanted >> 4}`);
      const { mid, token } = message;
      this.client.receive({ ...partOf(this.#kept, wanted >> 4), type: ACK, mid, token });
      return;
    }
    if (message.payload.length <= SIZE) {
      this.server.receive(message);
      return;
    }
    const blocks = this.blocks(message);
    this.#cutRequest = { last: blocks.at(-1)!.mid, mid: message.mid };
    for (const one of blocks.slice(0, -1)) this.codes.push(this.give(one));
    this.server.receive(blocks.at(-1)!);
  }

  #down(message: Message): void {
    let to = message;
    if (message.type === ACK && message.mid === this.#cutRequest?.last) {
      const told = findOption(message.options, OptionNumber.Block1) === undefined ? "" : " Block1";
      this.codes.push(`${formatCode(message.code)}${told}`);
      to = { ...message, mid: this.#cutRequest.mid };
    }
    if (to.payload.length > SIZE) {
      this.#kept = to;
      to = partOf(to, 0);
    }
    this.client.receive(to);
  }
}

type WayOptions = {
  readonly derivation?: Credential["derivation"];
  readonly tuning?: Partial<CoapTuning>;
  readonly max?: number;
};

function block(number: number, num: number, more: boolean): Option {
  return uintOption(number, (num << 4) | (more ? 8 : 0) | SZX);
}

function part(payload: Uint8Array, num: number): Uint8Array {
  return payload.subarray(num * SIZE, (num + 1) * SIZE);
}

/** A block of an answer, as the message that it is cut from. */
function partOf(whole: Message, num: number): Message {
  const more = whole.payload.length > (num + 1) * SIZE;
  const options = withOption(whole.options, block(OptionNumber.Block2, num, more));
  return { ...whole, options, payload: part(whole.payload, num) };
}

const SZX = 2;
const SIZE = 64;
const PUT = request(Code.PUT, { path: "/echo", payload: "x".repeat(300) });
const FURTHER = ["Block2 1", "Block2 2", "Block2 3", "Block2 4"];
const GET = request(Code.GET, { path: "/large" });
const CONTENT = response(Code.Content, { payload: "y".repeat(300) });

/** The server's whole answer, as it travels. */
function answerTo({ server }: Way, asked: Message): Message {
  server.receive(asked);
  for (const { exchange } of server.take("request"))
    server.handle({ type: "respond", exchange, response: CONTENT });
  return server.sent.pop()!; // it answers at once
}

// ── requests ──

test("RFC 8613 4.1.3.4.2: a request in outer blocks is put together, verified, and obeyed once", () => {
  const way = new Way();
  way.ask(PUT);
  const message = way.client.sent[0]!; // a first request is sent at once
  way.run();
  assert.deepEqual(way.codes, ["2.31", "2.31", "2.31", "2.31", "2.04 Block1"]);
  assert.equal(way.client.take("response").length, 1);
  assert.deepEqual(way.server.drops, []);
  const again = way.blocks(message).map((one) => way.give(one));
  assert.deepEqual(again, ["2.31", "2.31", "2.31", "2.31", "4.01"]);
  assert.deepEqual(way.server.take("request"), []);
  assert.deepEqual(way.server.drops, ["replayed"]);
});

test("RFC 8613 4.1.3.4.2, B.2: the request that goes with new keys may come in outer blocks", () => {
  const way = new Way({ derivation: "negotiated" });
  way.ask(PUT);
  way.run();
  assert.deepEqual(way.codes, ["2.31", "2.31", "2.31", "2.31", "2.04 Block1"]);
  assert.equal(way.client.take("response")[0]?.response.code, Code.Changed);
  assert.deepEqual(way.server.drops, []);
});

test("RFC 8613 4.1.3.4.2: an answer goes out in outer blocks of the size that the request asks for outside", () => {
  const way = new Way();
  const asked = way.protect(GET);
  const ask = (num: number, mid: number): Message => {
    const options = withOption(asked.options, block(OptionNumber.Block2, num, false));
    return answerTo(way, { ...asked, mid, options });
  };
  const parts = [0, 1, 2, 3, 4].map((num) => ask(num, 100 + num));
  const payload = concat(...parts.map((one) => one.payload));
  assert.deepEqual(
    parts.map((one) => one.payload.length),
    [64, 64, 64, 64, payload.length - 256],
  );
  way.client.receive({
    ...asked,
    type: ACK,
    code: parts[0]!.code,
    options: parts[0]!.options.filter((o) => o.number === OptionNumber.Oscore),
    payload,
  });
  assert.deepEqual(way.client.take("response")[0]?.response.payload, CONTENT.payload);
  assert.equal(ask(1, 200).code, Code.RequestEntityIncomplete, "all of it was fetched");
});

test("RFC 7959 2.9, RFC 8613 8.2: what goes wrong with outer blocks is refused, and the context is as it was", () => {
  const damaged = (one: Message): Message => ({ ...one, payload: one.payload.toReversed() });
  const cases: Record<string, readonly [(all: Message[]) => Message[], string]> = {
    "the first is missing": [(all) => all.slice(1), "4.08"],
    "one in the middle is missing": [(all) => all.toSpliced(2, 1), "4.08"],
    "one is damaged": [(all) => all.with(1, damaged(all[1]!)), "4.00"],
    "the last is damaged": [(all) => all.with(4, damaged(all[4]!)), "4.00"],
    "one is shorter than it says": [
      (all) => [{ ...all[0]!, payload: all[0]!.payload.subarray(1) }],
      "4.00",
    ],
    "a size that is reserved": [
      (all) => [
        {
          ...all[0]!,
          options: withOption(
            withoutOption(all[0]!.options, OptionNumber.Block1),
            uintOption(OptionNumber.Block1, 0x0f),
          ),
        },
      ],
      "4.00",
    ],
  };
  for (const [title, [change, code]] of Object.entries(cases)) {
    const way = new Way();
    const message = way.protect(PUT);
    assert.equal(
      change(way.blocks(message))
        .map((one) => way.give(one))
        .at(-1),
      code,
      title,
    );
    assert.deepEqual(way.server.take("request"), [], title);
    const again = way.blocks(message).map((one) => way.give(one));
    assert.deepEqual(
      again,
      ["2.31", "2.31", "2.31", "2.31", ""],
      `${title}: the genuine ones pass`,
    );
    assert.equal(way.server.take("request").length, 1, title);
  }
});

test("RFC 8613 4.1.3.4.2: longer than MAX_UNFRAGMENTED_SIZE is 4.13, from the first block that says so, and nothing is kept", () => {
  const way = new Way({ max: 200 });
  const blocks = way.blocks(way.protect(PUT));
  assert.deepEqual(
    blocks.slice(0, 4).map((one) => way.give(one)),
    ["2.31", "2.31", "2.31", "4.13"],
  );
  assert.equal(way.give({ ...blocks[1]!, mid: 78 }), "4.08", "the first is gone");
  const told = withOption(blocks[0]!.options, uintOption(OptionNumber.Size1, 321));
  way.server.receive({ ...blocks[0]!, mid: 77, options: told });
  const said = way.server.sent.pop();
  assert.equal(said?.code, Code.RequestEntityTooLarge);
  assert.equal(findUint(said.options, OptionNumber.Size1), 200);
});

test("RFC 8613 4.1.3.4.2, RFC 9175 3.3: messages of one path do not mix: by their OSCORE options, and by Request-Tags", () => {
  const way = new Way({ tuning: { nstart: 3 } });
  const [one, two] = [way.protect(PUT), way.protect(PUT)].map((message) => way.blocks(message));
  for (let i = 0; i < 5; i++) for (const blocks of [one!, two!]) way.give(blocks[i]!);
  assert.equal(way.server.take("request").length, 2);
  assert.deepEqual(way.server.drops, []);

  const third = way.protect(PUT);
  const [tagged, forged] = [hex("01"), hex("02")].map((tag) => way.blocks(third, tag));
  way.give(tagged![0]!);
  for (const message of forged!) way.give({ ...message, payload: message.payload.toReversed() });
  assert.deepEqual(way.server.drops, ["forged"]);
  for (const message of tagged!.slice(1)) way.give(message);
  assert.equal(way.server.take("request").length, 1, "those with the other tag touched nothing");
});

test("RFC 8613 4.1.3.4.2: messages being put together are bounded per path, in number, in bytes and in time", () => {
  const limits = { maxOuterBodiesPerSession: 2, maxOuterBodies: 3, outerBodyLifetime: 10_000 };
  const begin = (way: Way, kid: number, carrier: SessionId): string => {
    const oscore = opaqueOption(OptionNumber.Oscore, Uint8Array.of(0x09, 0, kid));
    const options = [oscore, block(OptionNumber.Block1, 0, true)];
    const payload = new Uint8Array(SIZE);
    const mid = carrier * 64 + kid;
    return way.give({ type: CON, code: Code.POST, mid, token: EMPTY, options, payload }, carrier);
  };
  const way = new Way({ tuning: { nstart: 2, ...limits } });
  const genuine = way.blocks(way.protect(PUT));
  assert.equal(way.give(genuine[0]!), "2.31");
  for (const kid of [1, 2])
    assert.equal(begin(way, kid, CARRIER), "2.31", "the oldest of the path goes");
  assert.equal(way.give(genuine[1]!), "4.08");
  assert.equal(begin(way, 1, 701), "2.31");
  assert.equal(begin(way, 1, 702), "5.03", "none of another path goes");
  way.server.advance(10_001);
  assert.equal(begin(way, 2, 702), "2.31");
  way.server.handle({ type: "closed", session: 702 });
  const few = new Way({ tuning: { maxOuterBytes: 128 } });
  assert.equal(begin(few, 1, CARRIER), "2.31");
  assert.equal(begin(few, 1, 701), "5.03");
});

// ── answers ──

test("RFC 8613 4.1.3.4.2: an answer in outer blocks is fetched to its end, then verified", () => {
  for (const derivation of ["both", "negotiated"] as const) {
    const way = new Way({ derivation });
    way.ask(GET);
    way.run(CONTENT);
    assert.deepEqual(way.codes, FURTHER);
    const answers = way.client.take("response");
    assert.deepEqual(
      answers.map(({ response: { payload } }) => payload),
      [CONTENT.payload],
    );
    assert.deepEqual(way.client.drops, []);
    way.client.advance(300_000);
    assert.deepEqual(way.client.take("failed"), [], "nothing of it waits any more");
  }
});

test("RFC 8613 4.1.3.4.2: both directions at once, and a notification", () => {
  const way = new Way();
  way.ask(request(Code.FETCH, { path: "/large", payload: "z".repeat(100), observe: 0 }));
  const observed = { ...CONTENT, options: [{ number: OptionNumber.Observe, value: EMPTY }] };
  way.run(observed);
  assert.deepEqual(way.codes, ["2.31", "2.05 Block1", ...FURTHER]);
  assert.equal(way.client.take("response").length, 1);
  const news = response(Code.Content, { payload: "n".repeat(200) });
  way.server.handle({ type: "notify", exchange: way.exchange!, response: news });
  way.run();
  const [notification] = way.client.take("response");
  assert.equal(notification?.notification, true);
  assert.deepEqual(notification.response.payload, news.payload);
});

test("RFC 8613 8.4: outer blocks that do not verify, do not fit or are too long are passed over, and the request goes on", () => {
  const forge = (one: Message): Message => ({ ...one, payload: one.payload.toReversed() });
  const otherKey = (one: Message): Message => ({
    ...one,
    options: withOption(
      withoutOption(one.options, OptionNumber.Oscore),
      opaqueOption(OptionNumber.Oscore, hex("0105")),
    ),
  });
  const cases: Record<string, (num: number, one: Message) => Message> = {
    "a forged first block": (num, one) => (num === 0 ? forge(one) : one),
    "a forged later block": (num, one) => (num === 2 ? forge(one) : one),
    "a block of another message": (num, one) => (num === 1 ? otherKey(one) : one),
    "a block that begins elsewhere": (num, one) => (num === 0 ? partOf(one, 1) : one),
    "a size above the limit": (num, one) =>
      num === 0
        ? { ...one, options: withOption(one.options, uintOption(OptionNumber.Size2, 5_000)) }
        : one,
  };
  for (const [title, change] of Object.entries(cases)) {
    const way = new Way();
    const asked = way.protect(GET);
    const genuine = answerTo(way, asked);
    way.client.receive(change(0, partOf(genuine, 0)));
    for (let num = 1; num < 5; num++) {
      const further = way.client.sent.pop();
      if (further === undefined) break;
      const { mid, token } = further;
      way.client.receive({ ...change(num, partOf(genuine, num)), type: ACK, mid, token });
    }
    assert.deepEqual(way.client.take("response"), [], title);
    assert.deepEqual(way.client.take("failed"), [], title);
    assert.ok(
      way.client.drops.some((why) => why === "outerBlocks" || why === "forgedResponse"),
      title,
    );
    way.client.receive({ ...genuine, type: NON, mid: 9 });
    assert.equal(way.client.take("response").length, 1, `${title}: the genuine answer is taken`);
  }
});

test("RFC 8613 4.1.3.4.2: answers being put together are bounded in number and in time, and end with their requests", () => {
  const begin = (way: Way): Message => {
    const asked = way.protect(GET);
    const answer = answerTo(way, asked);
    way.client.receive(partOf(answer, 0));
    return answer;
  };
  const few = new Way({ tuning: { nstart: 4, maxOuterBodies: 1 } });
  begin(few);
  assert.equal(few.client.sent.length, 1);
  begin(few);
  assert.equal(few.client.sent.length, 1, "one is enough");
  assert.deepEqual(few.client.drops, ["outerBlocks"]);

  const slow = new Way({ tuning: { outerBodyLifetime: 1_000 } });
  const answer = begin(slow);
  slow.client.now += 1_001;
  const { mid, token } = slow.client.sent.pop()!; // the next block is asked for
  slow.client.receive({ ...partOf(answer, 1), type: ACK, mid, token });
  assert.deepEqual(slow.client.drops, ["outerBlocks"]);
  assert.deepEqual(slow.client.sent, []);

  const given = new Way();
  begin(given);
  given.client.handle({ type: "cancel", id: 1 });
  given.client.advance(300_000);
  assert.deepEqual([given.client.take("failed"), given.client.endpoint.wakeAt], [[], undefined]);
  const lost = new Way();
  begin(lost);
  for (let i = 0; i < 40; i++) lost.client.advance(10_000);
  assert.deepEqual(
    lost.client.take("failed").map(({ reason }) => reason),
    ["timeout"],
  );
});

test("RFC 8613 4.1.3.4.2: random blocks into every state: nothing is thrown, and the genuine request is obeyed once", () => {
  for (let seed = 0; seed < 40; seed++) {
    const rng = seededRng(seed);
    const way = new Way({ tuning: { nstart: 4, maxOuterBodies: 8 } });
    const asked = way.protect(GET);
    const parts = way.blocks(way.protect(PUT));
    const answer = answerTo(way, asked);
    way.client.receive(partOf(answer, 0));
    const noise = (to: Side, code: number): void => {
      const oscore = rng.float() < 0.7 ? asked.options[0]!.value : rng.bytes(below(rng, 12));
      const numbers = [OptionNumber.Block2, OptionNumber.Block1, OptionNumber.Size2];
      const blocks = numbers
        .filter(() => rng.float() < 0.6)
        .map((number) => ({ number, value: rng.bytes(below(rng, 7)) }));
      const options = [opaqueOption(OptionNumber.Oscore, oscore), ...blocks];
      const type = below(rng, code < Code.Created ? 2 : 3) as MessageType; // a request is no ACK
      const payload = rng.bytes([0, 16, 64, 100][below(rng, 4)]!);
      const token = rng.float() < 0.5 ? asked.token : rng.bytes(1);
      to.receive({ type, code, mid: below(rng, 0x1_0000), token, options, payload }, 701);
      to.receive({ type, code, mid: asked.mid + below(rng, 3), token, options, payload });
    };
    for (const one of parts) {
      for (let i = 0; i < 20; i++) noise(way.server, Code.POST + below(rng, 4));
      for (let i = 0; i < 20; i++) noise(way.client, Code.Changed + below(rng, 2));
      way.server.sent.length = 0;
      way.server.receive(one);
    }
    const obeyed = way.server.take("request").filter((it) => it.request.code === Code.PUT);
    // Noise may have begun anew what it saw the option of: then the genuine blocks come once more.
    if (obeyed.length === 0)
      for (const one of parts) way.server.receive({ ...one, mid: one.mid + 99 });
    obeyed.push(...way.server.take("request").filter((it) => it.request.code === Code.PUT));
    assert.equal(obeyed.length, 1, `seed ${seed}`);
    for (let i = 0; i < 40; i++) for (const side of [way.client, way.server]) side.advance(20_000);
    assert.ok((way.client.ledgers.size ?? 0) <= 4, `seed ${seed}`);
  }
});
