import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger, seededRng } from "@godwit/base";
import fc from "fast-check";
import { Code } from "../codes.ts";
import type { EndpointInput, EndpointOutput } from "../endpoint-events.ts";
import { Endpoint } from "../endpoint.ts";
import { OptionNumber } from "../option-numbers.ts";
import { request, response, uintOption } from "../options.ts";
import { coapTuning } from "../tuning.ts";

const SESSION = 7;
type Side = "server" | "device";

/**
 * A server, a device at address A, and somebody on the path between them who copies, holds back and drops what he likes, and
 * sends what the device had sent from address B, where nobody ever answers. The session is a secured one: its path follows the
 * newest datagram, as that of a DTLS association does.
 */
class Redirection {
  readonly ends: Record<Side, Endpoint> = { server: endpoint(1), device: endpoint(2) };
  now = 0;
  /** Where the session's peer seems to be. */
  at: "A" | "B" = "A";
  readonly toB: { bytes: number; fromB: number } = { bytes: 0, fromB: 0 };
  /** What the device has sent and did not arrive. */
  readonly heldBack: Uint8Array[] = [];
  /** What becomes of what is sent at A. */
  passes: boolean = true;
  keeps: boolean = false;
  readonly #exchanges: number[] = [];
  #id = 0;

  constructor() {
    this.tell("server", { type: "validated", session: SESSION });
    this.tell("device", { type: "validated", session: SESSION });
  }

  tell(side: Side, input: EndpointInput): void {
    this.ends[side].handle(input, this.now);
    this.drain(side);
  }

  wait(ms: number): void {
    this.now += ms;
    for (const side of ["server", "device"] as const) {
      this.ends[side].wake(this.now);
      this.drain(side);
    }
  }

  drain(side: Side): void {
    for (let o = this.ends[side].poll(); o !== undefined; o = this.ends[side].poll())
      this.act(side, o);
  }

  act(side: Side, output: EndpointOutput): void {
    if (output.type === "request") this.answer(side, output);
    if (output.type !== "send") return;
    const { bytes } = output;
    if (side === "device") {
      if (this.keeps) this.heldBack.push(bytes);
      else if (this.passes) this.arrive("A", bytes);
    } else if (this.at === "A") {
      if (this.passes) this.tell("device", { type: "received", session: SESSION, bytes });
    } else {
      this.toB.bytes += bytes.length;
      const { bytes: out, fromB } = this.toB;
      assert.ok(
        out <= 3 * fromB,
        `${out} bytes to an address that was not proven, ${fromB} from it`,
      );
    }
  }

  arrive(from: "A" | "B", bytes: Uint8Array): void {
    if (from !== this.at) {
      this.at = from;
      this.tell("server", { type: "moved", session: SESSION, validated: from === "A" });
    }
    if (from === "B") this.toB.fromB += bytes.length;
    this.tell("server", { type: "received", session: SESSION, bytes });
  }

  /** The newest that was held back comes from B. */
  redirect(): void {
    const bytes = this.heldBack.pop();
    if (bytes !== undefined) this.arrive("B", bytes);
  }

  answer(
    side: Side,
    { exchange, request: asked }: Extract<EndpointOutput, { type: "request" }>,
  ): void {
    const observes = asked.options.some(({ number }) => number === OptionNumber.Observe);
    const options = observes ? [uintOption(OptionNumber.Observe, 0)] : [];
    if (observes) this.#exchanges.push(exchange);
    const answer = response(Code.Content, { options, payload: new Uint8Array(20) });
    if (asked.payload.length === 1) {
      // A separate answer.
      this.wait(6_000);
    }
    this.tell(side, { type: "respond", exchange, response: answer });
  }

  ask(payload: number, more: { confirmable?: boolean; observe?: boolean } = {}): void {
    const options = more.observe === true ? [uintOption(OptionNumber.Observe, 0)] : [];
    const asked = request(payload > 0 ? Code.PUT : Code.GET, { path: "/3/0" });
    const whole = {
      ...asked,
      options: [...options, ...asked.options],
      payload: new Uint8Array(payload),
    };
    const { confirmable = true } = more;
    this.tell("server", {
      type: "request",
      id: ++this.#id,
      session: SESSION,
      request: whole,
      confirmable,
    });
  }

  step(what: Step): void {
    switch (what) {
      case "get":
        return this.ask(0);
      case "non":
        return this.ask(0, { confirmable: false });
      case "observe":
        return this.ask(0, { observe: true });
      case "separate":
        return this.ask(1);
      case "put":
        return this.ask(900);
      case "ping":
        return this.tell("server", { type: "ping", id: ++this.#id, session: SESSION });
      case "notify":
        for (const exchange of this.#exchanges) {
          const state = response(Code.Content, { payload: new Uint8Array(20) });
          this.tell("device", { type: "notify", exchange, response: state, confirmable: true });
        }
        return undefined;
      case "keep":
        this.keeps = true;
        return undefined;
      case "let go":
        this.keeps = false;
        return undefined;
      case "cut":
        this.passes = false;
        return undefined;
      case "heal":
        this.passes = true;
        return undefined;
      case "redirect":
        return this.redirect();
      case "update": {
        // A word of the device, from A.
        const asked = request(Code.POST, { path: "/rd/1" });
        return this.tell("device", {
          type: "request",
          id: ++this.#id,
          session: SESSION,
          request: asked,
        });
      }
      case "wait":
        return this.wait(3_000);
    }
  }
}

const STEPS = [
  "get",
  "non",
  "observe",
  "separate",
  "put",
  "ping",
  "notify",
  "keep",
  "let go",
  "cut",
  "heal",
  "redirect",
  "update",
  "wait",
] as const;
type Step = (typeof STEPS)[number];

function endpoint(seed: number): Endpoint {
  const ledger = new Ledger();
  return new Endpoint({ rng: seededRng(seed), tuning: coapTuning(), ledgerOf: () => ledger });
}

test("RFC 9175 2.4, RFC 9146 6: an answer that is held back and sent from another address does not prove that address", () => {
  for (const first of ["get", "non", "separate", "ping"] as const) {
    const world = new Redirection();
    world.step("keep");
    world.step(first); // answered from A, and the answer kept
    world.step("let go");
    world.step("redirect");
    assert.equal(world.at, "B", first);
    for (let i = 0; i < 5; i++) world.step("put");
    for (let i = 0; i < 40; i++) world.wait(3_000);
  }
});

test("RFC 9146 6: a notification proves nothing, wherever it comes from", () => {
  const world = new Redirection();
  world.step("observe");
  world.step("keep");
  world.step("notify");
  world.step("redirect");
  world.step("put");
  for (let i = 0; i < 40; i++) world.wait(3_000);
});

test("RFC 9146 6: whoever holds back and redirects what the device says gets no more than three bytes per byte, in any order of events", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...STEPS), { minLength: 4, maxLength: 40 }), (steps) => {
      const world = new Redirection();
      for (const step of steps) world.step(step);
      for (let i = 0; i < 20; i++) world.wait(5_000);
    }),
    { numRuns: 2_000 },
  );
});

test("RFC 9146 6: a device that has moved is proven by its answer to what was sent to the new address alone", () => {
  const server = endpoint(3);
  const sent: Uint8Array[] = [];
  const proven: number[] = [];
  const tell = (input: EndpointInput): void => {
    server.handle(input, 0);
    for (let o = server.poll(); o !== undefined; o = server.poll()) {
      if (o.type === "send") sent.push(o.bytes);
      if (o.type === "proven") proven.push(o.session);
    }
  };
  const ack = ([, , high, low]: Uint8Array): Uint8Array => Uint8Array.of(0x60, 0, high!, low!); // of 4 bytes
  const word = (mid: number): Uint8Array =>
    Uint8Array.of(0x51, 0x02, mid, 0, mid, ...new Uint8Array(200));
  const asked = request(Code.GET, { path: "/3/0" });
  tell({ type: "validated", session: SESSION });
  tell({ type: "request", id: 1, session: SESSION, request: asked });
  tell({ type: "moved", session: SESSION, validated: false });
  tell({ type: "received", session: SESSION, bytes: word(1).with(5, 0xff) });
  tell({ type: "received", session: SESSION, bytes: ack(sent[0] ?? new Uint8Array(4)) });
  assert.deepEqual(proven, [], "it went to both");
  sent.length = 0;
  tell({ type: "ping", id: 2, session: SESSION });
  const reset = ack(sent[0] ?? new Uint8Array(4)).with(0, 0x70);
  tell({ type: "received", session: SESSION, bytes: reset });
  assert.deepEqual(proven, [SESSION], "it went to the new one only");
});
