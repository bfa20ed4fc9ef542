import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, FormatError, utf8 } from "@godwit/base";
import { dissect, type Dissected } from "./dissect.ts";
import { Wire } from "./flows/wire.ts";

function names(found: readonly (readonly Dissected[])[]): readonly string[] {
  return found.map((parts) =>
    parts.map((p) => (p.type === "data" ? new TextDecoder().decode(p.bytes) : p.name)).join(" + "),
  );
}

function play(connectionId: Uint8Array | undefined): { wire: Wire; log: readonly string[] } {
  const wire = new Wire();
  const client = wire.client({
    keyLog: true,
    ...(connectionId === undefined ? {} : { connectionId }),
  });
  wire.connect(client);
  wire.tell(client, { type: "send", session: 1, bytes: utf8("hello") });
  wire.run(100);
  wire.connect(client, "resume");
  wire.tell(client, { type: "close", session: 1 });
  wire.run(100);
  return { wire, log: client.of("keyLog").map(({ line }) => line) };
}

for (const connectionId of [undefined, EMPTY, Uint8Array.of(1, 2)]) {
  test(`with a key log all is seen, connection id ${connectionId?.length ?? "off"}`, () => {
    const { wire, log } = play(connectionId);
    assert.deepEqual(names(dissect(wire.sent, log)).slice(0, 14), [
      "ClientHello",
      "HelloVerifyRequest",
      "ClientHello",
      "ServerHello + ServerHelloDone",
      "ClientKeyExchange + ChangeCipherSpec + Finished",
      "ChangeCipherSpec + Finished",
      "hello",
      "ClientHello",
      "HelloVerifyRequest",
      "ClientHello",
      "ServerHello + ChangeCipherSpec + Finished",
      "ChangeCipherSpec + Finished",
      "Alert",
      "Alert",
    ]);
  });
}

test("what has no key in the log, and what is no DTLS, is refused", () => {
  const { wire, log } = play(undefined);
  assert.throws(() => dissect(wire.sent, []), FormatError);
  assert.throws(() => dissect(wire.sent.slice(6), log), FormatError);
  assert.throws(
    () => dissect([{ from: "client", bytes: utf8("GET / HTTP/1.1") }], log),
    FormatError,
  );
});
