import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, fromUtf8, type SessionId } from "@godwit/base";
import { World, type LinkOptions, type Node } from "@godwit/netsim";
import { CoapNode, type CoapNodeInput, type CoapNodeOutput } from "../coap-node.ts";
import { Code } from "../codes.ts";
import { decodeMessage } from "../message-codec.ts";
import type { Request, Response } from "../message.ts";
import { OptionNumber } from "../option-numbers.ts";
import { request, response, uintOption } from "../options.ts";
import { coapTuning, maxTransmitWait, type CoapTuning } from "../tuning.ts";

/** A device whose link swallows IP packets above a size, and a server, in virtual time. */
class Hole {
  readonly world: World;
  readonly server: Node<CoapNodeInput, CoapNodeOutput>;
  readonly device: Node<CoapNodeInput, CoapNodeOutput>;
  readonly session: SessionId;
  /** Bodies that reached the server's application. */
  readonly bodies: string[] = [];
  readonly answers: Extract<CoapNodeOutput, { type: "response" | "failed" }>[] = [];
  observation = 0;
  readonly #client: CoapNode;
  #id = 0;

  constructor(
    link: LinkOptions,
    answer: (asked: Request, exchange: number) => Response | undefined,
    tuning: Partial<CoapTuning> = {},
  ) {
    this.world = new World({ seed: 7 });
    const server = new CoapNode({ rng: this.world.rng("server"), tuning: coapTuning(tuning) });
    this.server = this.world.host("server").attach(5_683, server, {
      onOutput: (output) => {
        if (output.type === "unobserved") this.observation = 0;
        if (output.type !== "request") return;
        this.server.feed({ type: "validated", session: output.session });
        this.bodies.push(fromUtf8(output.request.payload));
        const reply = answer(output.request, output.exchange);
        if (reply === undefined) return;
        if (reply.options.some((o) => o.number === OptionNumber.Observe))
          this.observation = output.exchange;
        this.server.feed({ type: "respond", exchange: output.exchange, response: reply });
      },
    });
    this.#client = new CoapNode({ rng: this.world.rng("device"), tuning: coapTuning(tuning) });
    const host = this.world.host("device", { link: { delay: 30, ...link } });
    this.device = host.attach(40_000, this.#client, {
      onOutput: (output) => {
        if (output.type === "response" || output.type === "failed") this.answers.push(output);
      },
    });
    this.session = this.#client.connect(this.device.path(this.server.address), 0);
  }

  ask(asked: Request, more: { repeatable?: boolean } = {}): number {
    const id = ++this.#id;
    this.device.feed({ type: "request", id, session: this.session, request: asked, ...more });
    return id;
  }

  /** The whole answers to a request, as code and text. */
  of(id: number): string[] {
    return this.answers
      .filter((a) => a.id === id)
      .map((a) => (a.type === "failed" ? a.reason : fromUtf8(a.response.payload)));
  }
}

const text = (length: number): string =>
  Array.from({ length }, (_, i) => String.fromCharCode(97 + (i % 23))).join("");
const FIRST = "0".repeat(1_100);

for (const mtu of [1_280, 576, 127]) {
  for (const length of [200, 700, 1_024, 3_000]) {
    const body = text(length);
    for (const [name, method] of [
      ["PUT", Code.PUT],
      ["FETCH", Code.FETCH],
      ["iPATCH", Code.iPATCH],
    ] as const)
      test(`F14, RFC 7959 2.5: a path that swallows packets above ${mtu} carries a ${name} of ${length} bytes in smaller blocks`, () => {
        const hole = new Hole({ mtu }, () => response(Code.Changed, { payload: "ok" }));
        const id = hole.ask(request(method, { path: "/19/0/0", payload: body }));
        hole.world.run("93 s");
        assert.deepEqual(hole.of(id), ["ok"]);
        assert.deepEqual(hole.bodies, [body]);
      });
    test(`F14, RFC 7959 2.4: a path that swallows packets above ${mtu} carries an answer of ${length} bytes in smaller blocks`, () => {
      const hole = new Hole({ mtu }, () => response(Code.Content, { payload: body }));
      const id = hole.ask(request(Code.GET, { path: "/19/0/0" }));
      hole.world.run("93 s");
      assert.deepEqual(hole.of(id), [body]);
    });
    test(`F14, RFC 7641 4.5.2: a path that swallows packets above ${mtu} carries a notification of ${length} bytes in smaller blocks`, () => {
      const hole = new Hole({ mtu }, () =>
        response(Code.Content, {
          payload: "begun",
          options: [uintOption(OptionNumber.Observe, 0)],
        }),
      );
      const id = hole.ask(
        request(Code.GET, { path: "/19/0/0", options: [uintOption(OptionNumber.Observe, 0)] }),
      );
      hole.world.run("1 s");
      const state = response(Code.Content, { payload: body });
      hole.server.feed({
        type: "notify",
        exchange: hole.observation,
        response: state,
        confirmable: true,
      });
      hole.world.run("93 s");
      assert.deepEqual(hole.of(id), ["begun", body]);
      assert.notEqual(hole.observation, 0, "it goes on");
    });
    test(`F14, RFC 7252 5.2.2: a path that swallows packets above ${mtu} carries a separate answer of ${length} bytes in smaller blocks`, () => {
      let pending = 0;
      const hole = new Hole({ mtu }, (_, exchange) => {
        pending = exchange;
        return undefined;
      });
      const id = hole.ask(request(Code.POST, { path: "/19/0/0" }));
      hole.world.run("1500 ms"); // the empty ACK is out
      const answer = response(Code.Changed, { payload: body });
      hole.server.feed({ type: "respond", exchange: pending, response: answer });
      hole.world.run("93 s");
      assert.deepEqual(hole.of(id), [body]);
      assert.equal(hole.bodies.length, 1, "carried out once");
    });
  }
  test(`F14: an upload that may not be carried out twice, above one block, finds its size on a path of ${mtu} and is carried out once`, () => {
    const body = text(3_000);
    const hole = new Hole({ mtu }, () => response(Code.Changed, { payload: "ok" }));
    const id = hole.ask(request(Code.POST, { path: "/dp", payload: body }));
    hole.world.run("93 s");
    assert.deepEqual(hole.of(id), ["ok"]);
    assert.deepEqual(hole.bodies, [body]);
  });
}

test("F14: what may not be carried out twice keeps its size and fails; the next one goes in smaller blocks", () => {
  const body = text(1_000);
  const hole = new Hole({ mtu: 576 }, () => response(Code.Changed, { payload: "ok" }));
  const first = hole.ask(request(Code.POST, { path: "/dp", payload: body }));
  hole.world.run("93 s");
  assert.deepEqual(hole.of(first), ["timeout"]);
  const second = hole.ask(request(Code.POST, { path: "/dp", payload: body }));
  hole.world.run("30 s");
  assert.deepEqual(hole.of(second), ["ok"]);
  const said = hole.ask(request(Code.POST, { path: "/rd", payload: text(900) }), {
    repeatable: true,
  });
  hole.world.run("1 s");
  assert.deepEqual(hole.of(said), ["ok"], "the path is known by now");
  assert.equal(hole.bodies.length, 2);
});

test("F14: a caller who says that a POST may be carried out twice gets it through", () => {
  const hole = new Hole({ mtu: 576 }, () => response(Code.Created, { payload: "ok" }));
  const id = hole.ask(request(Code.POST, { path: "/rd", payload: text(900) }), {
    repeatable: true,
  });
  hole.world.run("30 s");
  assert.deepEqual(hole.of(id), ["ok"]);
  assert.deepEqual(hole.bodies, [text(900)]);
});

test("F14: what was learnt about a path holds for the next requests, both ways, and is tried anew after a while", () => {
  const body = text(2_000);
  const hole = new Hole({ mtu: 576 }, () => response(Code.Content, { payload: body }));
  for (const path of ["/19/0/0", "/19/0/1"]) {
    hole.ask(request(Code.GET, { path }));
    hole.world.run("60 s");
  }
  const second = hole.ask(request(Code.GET, { path: "/19/0/1" }));
  hole.world.run("1 s");
  assert.deepEqual(hole.of(second), [body], "at once");
  hole.world.run("11 minutes");
  const third = hole.ask(request(Code.GET, { path: "/19/0/2" }));
  hole.world.run("1 s");
  assert.deepEqual(hole.of(third), [], "larger ones are tried");
  hole.world.run("30 s");
  assert.deepEqual(hole.of(third), [body]);
});

test("F14, RFC 7252 4.2: a peer that is not there gets as many transmissions as ever, in the same time", () => {
  const hole = new Hole({ cut: true }, () => undefined);
  const sizes: number[] = [];
  for (const asked of [
    request(Code.GET, { path: "/3/0" }),
    request(Code.PUT, { path: "/3/0", payload: text(1_000) }),
    request(Code.PUT, { path: "/3/0", payload: FIRST }),
    request(Code.PUT, { path: "/3/0", payload: "short" }),
  ]) {
    const before = hole.world.counts.sent;
    const id = hole.ask(asked);
    hole.world.run(maxTransmitWait(coapTuning()));
    assert.deepEqual(hole.of(id), ["timeout"]);
    sizes.push(hole.world.counts.sent - before);
  }
  assert.deepEqual(sizes, [5, 5, 5, 5]);
});

test("RFC 7252 5.4.1: a peer without block-wise transfer that lost two messages gets the whole request again", () => {
  const asked = request(Code.PUT, { path: "/3/0/14", payload: text(300) });
  let heard = 0;
  const codes: number[] = [];
  const world = new World({ seed: 1 });
  const client = new CoapNode({ rng: world.rng("device") });
  const node = world.host("device").attach(40_000, client, {
    onOutput: (output) => {
      if (output.type === "response") codes.push(output.response.code);
    },
  });
  const peer = {
    wakeAt: undefined,
    out: [] as { type: "datagram"; path: never; bytes: Uint8Array }[],
    wake(): void {
      throw new UsageError("it has no timers");
    },
    handle({ path, bytes }: { path: unknown; bytes: Uint8Array }): void {
      heard += 1;
      if (heard < 3) return;
      const { mid, token, options } = decodeMessage(bytes, 8);
      const block = options.some((o) => o.number === OptionNumber.Block1);
      const head = [0x60 | token.length, block ? Code.BadOption : Code.Changed, mid >> 8, mid];
      const bytesOut = Uint8Array.from([...head, ...token]);
      this.out.push({ type: "datagram", path: path as never, bytes: bytesOut });
    },
    poll() {
      return this.out.shift();
    },
  };
  const there = world.host("old").attach(5_683, peer as never);
  const session = client.connect(node.path(there.address), 0);
  node.feed({ type: "request", id: 1, session, request: asked });
  world.run("93 s");
  assert.deepEqual(codes, [Code.Changed]);
  assert.equal(heard, 4);
});
