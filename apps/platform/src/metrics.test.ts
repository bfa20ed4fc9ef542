import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { memoryStore } from "@godwit/io";
import { Server, parseAddress } from "@godwit/server";
import { metrics } from "./metrics.ts";

test("what is thrown away and refused is counted by reason, and stays what it is however often it is read", async () => {
  const server = new Server({ coap: "127.0.0.1:0", store: memoryStore() });
  await server.start();
  const { registry, stop } = metrics(server);
  const stranger = createSocket("udp4");
  const say = (message: string): Promise<unknown> => {
    const heard = once(stranger, "message");
    const { host, port } = parseAddress(server.addresses[0] ?? "");
    stranger.send(hex(message), port, host);
    return heard;
  };
  try {
    await say("51 01 0001 01 e1 2602 00"); // NON GET with option 9999, which is critical
    await say("51 01 0002 02 e1 2602 00");
    await say("41 02 0003 03 b2 7264 44 65703d73"); // CON POST /rd?ep=s
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
