import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "@godwit/base";
import { Wire } from "./wire.ts";

const EMPTY_CID = new Uint8Array(0);

test("RFC 6347 4.2, RFC 4279: a full PSK handshake, then data both ways", () => {
  const wire = new Wire();
  const client = wire.client();
  wire.connect(client);
  assert.deepEqual(
    client.of("opened").map((o) => [o.how, o.identity]),
    [["full", { kind: "psk", identity: "dev01" }]],
  );
  assert.deepEqual(
    wire.server.of("opened").map((o) => [o.how, o.identity]),
    [["full", { kind: "psk", identity: "dev01" }]],
  );
  wire.tell(client, { type: "send", session: 1, bytes: utf8("up") });
  wire.tell(wire.server, { type: "send", session: wire.server.session, bytes: utf8("down") });
  wire.run(100);
  assert.deepEqual(wire.server.received(), ["up"]);
  assert.deepEqual(client.received(), ["down"]);
});

test("byte floors: default settings with connection id establish in at most 470 bytes", () => {
  const wire = new Wire();
  const client = wire.client({ connectionId: EMPTY_CID });
  wire.connect(client);
  assert.deepEqual(
    wire.sent.map(({ from, bytes }) => [from, bytes.length]),
    [
      ["client", 78],
      ["server", 36],
      ["client", 86],
      ["server", 98],
      ["client", 104],
      ["server", 67],
    ],
  );
  const before = wire.sent.length;
  wire.tell(client, { type: "send", session: 1, bytes: new Uint8Array(13) });
  wire.run(100);
  wire.tell(wire.server, { type: "send", session: wire.server.session, bytes: new Uint8Array(5) });
  wire.run(100);
  assert.deepEqual(
    wire.sent.slice(before).map(({ bytes }) => bytes.length),
    [47, 34],
  );
});
