import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "@godwit/base";
import { Server, type ServerOptions } from "./server.ts";

const COAP = { coap: "127.0.0.1:0" };
const cases: readonly (readonly [unknown, RegExp])[] = [
  [undefined, /options is undefined/],
  [{}, /needs coap or coaps/],
  [{ coap: 5683 }, /coap is 5683: give HOST:PORT/],
  [{ coap: "nowhere" }, /coap: "nowhere" is no address/],
  [{ coap: "127.0.0.1:70000" }, /coap: .* is no address/],
  [{ coaps: "localhost:5684" }, /coaps: "localhost" is no IP address/],
  [{ ...COAP, nosuch: 1 }, /no option "nosuch"; there are: coap, coaps/],
  [{ ...COAP, nosec: "yes" }, /nosec is "yes": give a boolean/],
  [{ ...COAP, store: {} }, /store has no method load/],
  [{ ...COAP, clock: 5 }, /clock has no method now/],
  [{ ...COAP, sealer: { seal: () => undefined } }, /sealer has no method open/],
  [{ ...COAP, dtls: "on" }, /dtls is "on": give an object/],
  [{ ...COAP, rolledBack: true }, /rolledBack is true: give an object/],
  [{ ...COAP, tuning: { awakeWindow: "93" } }, /tuning\.awakeWindow is "93": give a number/],
  [{ ...COAP, tuning: { awakeWindow: Number.NaN } }, /tuning\.awakeWindow is NaN/],
  [{ ...COAP, tuning: { awake: 1 } }, /tuning has no "awake"/],
  [{ ...COAP, coapTuning: { ackTimeout: -1 } }, /coapTuning\.ackTimeout is -1/],
];
for (const [options, says] of cases) {
  test(`an option that cannot be is named where it is given: ${String(says)}`, () => {
    assert.throws(
      () => new Server(options as ServerOptions),
      (fault) => fault instanceof UsageError && says.test(fault.message),
    );
  });
}

test("an event that there is not is named, with those that there are", () => {
  const server = new Server(COAP);
  const on = server.on.bind(server) as (name: string, listener: unknown) => void;
  assert.throws(
    () => on("registred", () => undefined),
    /no event "registred".*registered, updated/,
  );
  assert.throws(() => on("registered", undefined), /listener of "registered" is no function/);
});

test("how long an order may wait is a number of ms", async () => {
  const server = new Server(COAP);
  await server.start();
  try {
    for (const expires of [Number.NaN, -1, 0, "100", Infinity]) {
      const options = { expires } as { expires: number };
      await assert.rejects(server.device("x").read("/3/0/0", options), /expires is .*: give ms/);
    }
  } finally {
    await server.close();
  }
});
