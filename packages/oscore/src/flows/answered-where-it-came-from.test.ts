import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger, seededRng, type SessionId } from "@godwit/base";
import { Code, Endpoint, NON, coapTuning, encodeMessage, request, response } from "@godwit/coap";
import { INPUT, mirrored } from "../layer-kit.test.ts";
import { OscoreLayer } from "../oscore-layer.ts";
import { protectRequest } from "../protection.ts";
import { KeySource } from "../security-context.ts";
import { oscoreTuning } from "../tuning.ts";

const [DEVICE, STRANGER] = [700, 701];
const SESSION = 2 ** 41;

/** A server with one device; returns by which carriers it sent something in answer to what came. */
function server(): (carrier: SessionId, payload: Uint8Array, mid: number) => readonly SessionId[] {
  const layer = new OscoreLayer(oscoreTuning(), seededRng(1));
  const endpoint = new Endpoint({
    rng: seededRng(2),
    tuning: coapTuning(),
    ledgerOf: () => new Ledger(),
    protection: layer,
  });
  const credential = { input: mirrored(INPUT), derivation: "fixed", initiates: false } as const;
  layer.handle({ type: "add", session: SESSION, credential, carrier: DEVICE }, 0);
  const asked = protectRequest(
    new KeySource(INPUT).derive(undefined),
    request(Code.GET, { path: "/3/0/9" }),
  )!.request;
  return (carrier, payload, mid) => {
    const { code, options } = asked;
    const token = Uint8Array.of(mid, 1, 2, 3);
    const bytes = encodeMessage({
      type: NON,
      code,
      mid,
      token,
      options,
      payload: payload.length > 0 ? payload : asked.payload,
    });
    endpoint.handle({ type: "received", session: carrier, bytes }, 0);
    const by: SessionId[] = [];
    for (;;) {
      const output = endpoint.poll();
      const beside = layer.poll();
      if (output?.type === "send") by.push(output.session);
      if (output?.type === "request")
        endpoint.handle(
          { type: "respond", exchange: output.exchange, response: response(Code.Content) },
          0,
        );
      if (beside?.type === "store")
        layer.handle({ type: "stored", ticket: beside.ticket, ok: true }, 0);
      if (beside?.type === "released")
        endpoint.handle({ type: "released", exchange: beside.ref, result: beside.result }, 0);
      if (output === undefined && beside === undefined) return by;
    }
  };
}

const NOTHING = new Uint8Array(0);

test("RFC 8613 8.2: what does not verify, or was said before, is answered where it came from, and not where the device is", () => {
  const receive = server();
  assert.deepEqual(receive(STRANGER, new Uint8Array(20), 1), [STRANGER], "forged");
  assert.deepEqual(receive(DEVICE, NOTHING, 2), [DEVICE]);
  assert.deepEqual(receive(STRANGER, NOTHING, 3), [STRANGER], "replayed");
});
