import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger, Outbox, seededRng } from "@godwit/base";
import type { EndpointOutput } from "./endpoint-events.ts";
import { EndpointSession } from "./endpoint-session.ts";
import { Sender } from "./sender.ts";
import { coapTuning } from "./tuning.ts";

test("RFC 9175 2.4: the door is shut behind the third byte for each byte, and open where the path is proven", () => {
  for (const [bytes, leaves] of [
    [12, true],
    [13, false],
  ] as const) {
    const outbox = new Outbox<EndpointOutput>();
    const sender = new Sender(outbox, coapTuning());
    const session = new EndpointSession(1, new Ledger(), seededRng(1), 1, false);
    session.path.received(4);
    assert.equal(sender.send(session, new Uint8Array(bytes), 0, "payload"), leaves);
    assert.equal(outbox.take()?.type, leaves ? "send" : "dropped");
    assert.equal(sender.send(session, new Uint8Array(1), 0, "payload"), !leaves, "what is left");
    session.path.proven = true;
    assert.equal(sender.send(session, new Uint8Array(1_000), 0, "payload"), true);
  }
});
