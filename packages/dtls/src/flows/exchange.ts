import assert from "node:assert/strict";
import { utf8 } from "@godwit/base";
import type { Wire } from "./wire.ts";

/** Data in both directions arrives. */
export function exchange(wire: Wire, client: ReturnType<Wire["client"]>, label = ""): void {
  const text = `${wire.now}`;
  wire.tell(client, { type: "send", session: 1, bytes: utf8(`up ${text}`) });
  wire.run(1_000);
  assert.equal(wire.server.received().at(-1), `up ${text}`, label);
  const { session } = wire.server;
  wire.tell(wire.server, { type: "send", session, bytes: utf8(`down ${text}`) });
  wire.run(1_000);
  assert.equal(client.received().at(-1), `down ${text}`, label);
}
