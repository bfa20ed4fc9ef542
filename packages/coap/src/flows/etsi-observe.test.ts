import assert from "node:assert/strict";
import { test } from "node:test";
import { fromUtf8, seededRng } from "@godwit/base";
import { Code, formatCode } from "../codes.ts";
import type { ExchangeId } from "../endpoint-events.ts";
import { ACK, CON, NON, RST } from "../message.ts";
import { registerAgainAt } from "../observe-client.ts";
import { findObserve, observeOption } from "../observe-option.ts";
import { OptionNumber } from "../option-numbers.ts";
import { findOption, request, response, withOption } from "../options.ts";
import { HERE, LOST, Pair } from "./pair.test-kit.ts";

// ETSI CoAP plugtest cases TD_COAP_OBS_01, 02 and 04 to 10, and fault F27 (notification storm).

/** A server with one observable resource, /obs, and a client. */
class Observed {
  readonly pair: Pair;
  value = "0";
  exchange: ExchangeId | undefined;
  maxAge = 60;

  constructor(seed = 1) {
    this.pair = new Pair(
      ({ request: asked, exchange }) => {
        if (asked.code === Code.PUT) {
          this.change(fromUtf8(asked.payload), true);
          return response(Code.Changed);
        }
        if (asked.code === Code.DELETE) {
          this.end(Code.NotFound);
          return response(Code.Deleted);
        }
        const answer = this.state();
        if (findObserve(asked.options) !== 0) return answer;
        this.exchange = exchange;
        return { ...answer, options: withOption(answer.options, observeOption(0)) };
      },
      { seed },
    );
  }

  state() {
    return response(Code.Content, { payload: this.value, contentFormat: 0, maxAge: this.maxAge });
  }

  change(value: string, confirmable?: boolean): void {
    this.value = value;
    if (this.exchange === undefined) return;
    const more = confirmable === undefined ? {} : { confirmable };
    this.pair.handle("server", {
      type: "notify",
      exchange: this.exchange,
      response: this.state(),
      ...more,
    });
  }

  end(code: number): void {
    if (this.exchange !== undefined)
      this.pair.handle("server", {
        type: "notify",
        exchange: this.exchange,
        response: response(code),
      });
  }

  observe(): number {
    return this.pair.ask(request(Code.GET, { path: "/obs", observe: 0 }));
  }

  /** What the client's application has heard of `id`. */
  heard(id: number): string[] {
    return this.pair
      .responses(id)
      .map((r) => (r.code === Code.Content ? fromUtf8(r.payload) : formatCode(r.code)));
  }

  /** Why the server ended observations. */
  get ended(): string[] {
    return this.pair.seen.server.flatMap((o) => (o.type === "unobserved" ? [o.why] : []));
  }

  /** Types of the server's notifications. */
  get notified(): number[] {
    return this.pair
      .messages("server")
      .filter((m) => m.type !== ACK && m.code !== 0)
      .map((m) => m.type);
  }
}

for (const [name, confirmable, type] of [
  ["TD_COAP_OBS_01: observing with confirmable notifications", true, CON],
  ["TD_COAP_OBS_02: observing with non-confirmable notifications", false, NON],
] as const) {
  test(name, () => {
    const o = new Observed();
    const id = o.observe();
    o.pair.run(5_000);
    for (const value of ["1", "2", "3"]) {
      o.change(value, confirmable);
      o.pair.run(5_000);
    }
    assert.deepEqual(o.heard(id), ["0", "1", "2", "3"]);
    // The first may be confirmable to prove the path.
    assert.deepEqual(o.notified.slice(1), [type, type]);
    const values = o.pair
      .messages("server")
      .map((m) => findObserve(m.options))
      .filter((v) => v !== undefined);
    assert.deepEqual(
      values,
      values.toSorted((a, b) => a - b),
    );
    assert.equal(new Set(values).size, 4);
    const tokens = o.pair
      .messages("server")
      .filter((m) => m.code !== 0)
      .map((m) => m.token);
    assert.equal(new Set(tokens.map(String)).size, 1);
    const acks = o.pair.messages("client").filter((m) => m.type === ACK).length;
    assert.equal(acks, o.notified.filter((t) => t === CON).length);
    assert.deepEqual(o.ended, []);
  });
}

test("TD_COAP_OBS_04: a client that hears nothing registers again 5 to 15 s after Max-Age", () => {
  const o = new Observed();
  o.maxAge = 30;
  const id = o.observe();
  o.pair.run(1_000);
  // The server forgets, as by a reboot.
  assert.ok(o.exchange !== undefined);
  o.pair.handle("server", { type: "unobserve", exchange: o.exchange });
  o.exchange = undefined;
  o.change("1");
  const [freshest] = o.pair.responses(id);
  assert.ok(freshest);
  const at = registerAgainAt(freshest, o.pair.now, seededRng(9));
  assert.ok(at >= o.pair.now + 35_000 && at < o.pair.now + 45_000);
  o.pair.run(at - o.pair.now);
  assert.deepEqual(o.heard(id), ["0"]);
  o.pair.handle("client", { type: "cancel", id, how: "forget" });
  const again = o.observe();
  o.pair.run(1_000);
  o.change("2");
  o.pair.run(5_000);
  assert.deepEqual(o.heard(again), ["1", "2"]);
});

test("TD_COAP_OBS_05: a client that is off is taken off the list when a confirmable notification times out", () => {
  const o = new Observed();
  o.observe();
  o.pair.run(5_000);
  o.change("1", true); // its ACK proves the path
  o.pair.run(5_000);
  o.pair.network = (from) => (from === "server" ? LOST : HERE);
  o.change("2", true);
  o.pair.run(120_000);
  assert.equal(o.notified.length, 1 + 5);
  assert.deepEqual(o.ended, ["timeout"]);
  const before = o.pair.wire.length;
  o.change("3", true);
  o.pair.run(120_000);
  assert.equal(o.pair.wire.length, before);
});

for (const confirmable of [true, false]) {
  test(`TD_COAP_OBS_06: a client that forgot answers a ${confirmable ? "confirmable" : "non-confirmable"} notification by RST, and that ends it`, () => {
    const o = new Observed();
    const id = o.observe();
    o.pair.run(5_000);
    o.change("1", true);
    o.pair.run(5_000);
    o.pair.handle("client", { type: "cancel", id, how: "forget" });
    o.change("2", confirmable);
    o.pair.run(60_000);
    assert.equal(o.pair.messages("client").filter((m) => m.type === RST).length, 1);
    assert.deepEqual(o.ended, ["reset"]);
    assert.deepEqual(o.heard(id), ["0", "1"]);
  });
}

test("RFC 7641 3.6: a client that is no longer interested says so by Observe 1 under the same token", () => {
  const o = new Observed();
  const id = o.observe();
  o.pair.run(5_000);
  o.pair.handle("client", { type: "cancel", id });
  o.pair.run(5_000);
  const [first, last] = o.pair.messages("client");
  assert.deepEqual(last?.token, first?.token);
  assert.equal(findObserve(last?.options ?? []), 1);
  assert.deepEqual(o.ended, ["deregistered"]);
  assert.equal(
    findOption(o.pair.messages("server").at(-1)?.options ?? [], OptionNumber.Observe),
    undefined,
  );
});

for (const [name, code] of [
  ["TD_COAP_OBS_07: when the resource is deleted, observers get 4.04", Code.NotFound],
  ["TD_COAP_OBS_08: when its Content-Format changes, observers get 4.06", Code.NotAcceptable],
] as const) {
  test(`${name} without Observe, and are off the list`, () => {
    const o = new Observed();
    const id = o.observe();
    o.pair.run(5_000);
    if (code === Code.NotFound) o.pair.ask(request(Code.DELETE, { path: "/obs" }));
    else o.end(code);
    o.pair.run(5_000);
    assert.deepEqual(o.heard(id), ["0", formatCode(code)]);
    const last = o.pair.messages("server").find((m) => m.code === code);
    assert.equal(findOption(last?.options ?? [], OptionNumber.Observe), undefined);
    assert.deepEqual(o.ended, ["error"]);
    const final = o.pair.seen.client.findLast((one) => one.type === "response" && one.id === id);
    assert.ok(final?.type === "response" && final.final);
    const before = o.pair.wire.length;
    o.change("1", true);
    o.pair.run(5_000);
    assert.equal(o.pair.wire.length, before);
  });
}

test("TD_COAP_OBS_09: an update of the observed resource is notified", () => {
  const o = new Observed();
  const id = o.observe();
  o.pair.run(5_000);
  const put = o.pair.ask(request(Code.PUT, { path: "/obs", payload: "new" }));
  o.pair.run(5_000);
  assert.equal(o.pair.responses(put)[0]?.code, Code.Changed);
  assert.deepEqual(o.heard(id), ["0", "new"]);
});

test("TD_COAP_OBS_10: a GET under another token does not end the observation", () => {
  const o = new Observed();
  const id = o.observe();
  o.pair.run(5_000);
  const get = o.pair.ask(request(Code.GET, { path: "/obs" }));
  o.pair.run(5_000);
  o.change("1");
  o.pair.run(5_000);
  assert.deepEqual(o.heard(get), ["0"]);
  assert.deepEqual(o.heard(id), ["0", "1"]);
  assert.deepEqual(o.ended, []);
});

test("F27: in a storm of 10 000 changes over lossy links few datagrams go out, in order, and the last state arrives", () => {
  for (let seed = 1; seed <= 5; seed++) {
    const rng = seededRng(seed);
    const o = new Observed(seed);
    const id = o.observe();
    o.pair.run(5_000);
    o.change("0", true); // its ACK proves the path
    o.pair.run(5_000);
    const before = o.pair.wire.length;
    o.pair.network = () => ({
      copies: rng.float() < 0.1 ? 0 : rng.float() < 0.2 ? 2 : 1,
      delay: rng.float() * 400,
    });
    for (let i = 1; i <= 10_000; i++) {
      o.change(String(i), i % 500 === 0);
      o.pair.run(10);
    }
    o.pair.network = () => HERE;
    o.change("last", true);
    o.pair.run();
    const heard = o.heard(id);
    assert.equal(heard.at(-1), "last", `seed ${seed}`);
    const numbers = heard.slice(0, -1).map(Number);
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
      `seed ${seed}`,
    );
    assert.ok(
      o.pair.wire.length - before < 1_500,
      `seed ${seed}: ${o.pair.wire.length - before} datagrams`,
    );
  }
});
