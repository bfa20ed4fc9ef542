import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { CON, Code, NON, encodeMessage, request, type Request } from "@godwit/coap";
import { memoryStore } from "@godwit/io";
import { Server, parseAddress } from "@godwit/server";
import { metrics } from "./metrics.ts";

test("what is thrown away and refused is counted by reason, and stays what it is however often it is read", async () => {
  const server = new Server({ coap: "127.0.0.1:0", store: memoryStore() });
  await server.start();
  const { registry, stop } = metrics(server);
  const stranger = createSocket("udp4");
  let mid = 0;
  const say = (type: typeof CON | typeof NON, asked: Request): Promise<unknown> => {
    const heard = once(stranger, "message");
    const bytes = encodeMessage({ type, mid: mid++, token: Uint8Array.of(mid), ...asked });
    const { host, port } = parseAddress(server.addresses[0] ?? "");
    stranger.send(bytes, port, host);
    return heard;
  };
  try {
    const unknown = request(Code.GET, { options: [{ number: 9_999, value: Uint8Array.of(1) }] });
    await say(NON, unknown);
    await say(NON, unknown);
    await say(
      CON,
      request(Code.POST, { path: "/rd", query: ["ep=stranger", "lt=60", "lwm2m=1.1"] }),
    );
    for (let time = 0; time < 2; time++) {
      const text = await registry.metrics();
      assert.match(text, /godwit_dropped_total\{reason="criticalOption"\} 2\n/);
      assert.match(text, /godwit_refusals_total\{code="4\.03"\} 1\n/);
    }
  } finally {
    stranger.close();
    stop();
    await server.close();
  }
});
