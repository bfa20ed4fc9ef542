import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Alert, ContentType, HandshakeType } from "../codes.ts";
import { decodeClientHello } from "../handshake/client-hello.ts";
import { readFragments } from "../handshake/header.ts";
import { signingKey } from "../key-material.ts";
import { plainRecord, readRecord } from "../record/header.ts";
import { exchange } from "./exchange.ts";
import { SERVER, Wire } from "./wire.ts";

const EMPTY = new Uint8Array(0);
const file = new URL("../../src/vectors/certificates.json", import.meta.url);
const { keys } = JSON.parse(readFileSync(file, "utf8")) as { keys: Record<string, string> };
const rpk = (name: string) => ({ kind: "rpk", key: signingKey(hex(keys[name] ?? "")) }) as const;

/** The most handshake messages that a record in the clear had, by who sent it. */
function mostMessages(wire: Wire): { client: number; server: number } {
  const most = { client: 0, server: 0 };
  for (const { from, bytes } of wire.sent) {
    for (let at = 0; at < bytes.length;) {
      const record = readRecord(bytes, at, 4);
      at += record.size;
      if (record.type !== ContentType.handshake || record.epoch > 0) continue;
      most[from] = Math.max(most[from], readFragments(record.fragment).length);
    }
  }
  return most;
}

for (const [kind, most] of [
  ["psk", { client: 1, server: 2 }],
  ["rpk", { client: 3, server: 5 }],
] as const) {
  for (const connectionId of [undefined, EMPTY]) {
    const shows = connectionId !== undefined;
    test(`RFC 6347 4.2.3, tinydtls: ${kind} ${shows ? "with a connection id in the hellos, messages share records" : "without a connection id in the hello, one message a record, both roles"}`, () => {
      const wire = new Wire({
        server: {
          credentials: {
            psk: kind === "psk",
            certificates: kind === "psk" ? [] : [rpk("rawServer")],
            clientCertificates: kind === "psk" ? [] : ["rpk"],
          },
        },
      });
      const client = wire.client({
        ...(shows ? { connectionId } : {}),
        ...(kind === "psk"
          ? {}
          : {
              credentials: {
                kind: "certificate",
                certificate: rpk("rawDevice"),
                serverCertificates: ["rpk"],
              },
            }),
      });
      wire.connect(client);
      assert.equal(client.of("opened").length, 1);
      exchange(wire, client);
      assert.deepEqual(mostMessages(wire), shows ? most : { client: 1, server: 1 });
    });
  }
}

for (const [coalesce, most] of [
  ["always", 2],
  ["never", 1],
] as const) {
  test(`coalesce "${coalesce}" holds whatever the hello says`, () => {
    for (const connectionId of [undefined, EMPTY]) {
      const wire = new Wire({ server: { tuning: { coalesce } } });
      const client = wire.client(connectionId === undefined ? {} : { connectionId });
      wire.connect(client);
      assert.equal(mostMessages(wire).server, most);
    }
  });
}

test("RFC 5746 3.4, tinydtls: a server that refuses a hello without the signal gets one with it, at once, and the next time from the start", () => {
  const wire = new Wire();
  let refused = 0;
  wire.carry = ({ from, bytes }) => {
    if (from !== "client" || bytes[0] !== ContentType.handshake) return [10];
    const [fragment] = readFragments(readRecord(bytes, 0, 0).fragment);
    if (fragment?.type !== HandshakeType.clientHello) return [10];
    const { cookie, suites } = decodeClientHello(fragment.body);
    if (cookie.length === 0 || suites.includes(0x00ff)) return [10];
    refused += 1;
    const path = { local: client.address, remote: SERVER };
    const alert = plainRecord(ContentType.alert, 1, Uint8Array.of(2, Alert.handshakeFailure));
    wire.later(20, () => wire.tell(client, { type: "datagram", path, bytes: alert }));
    return [];
  };
  const client = wire.client();
  wire.connect(client);
  assert.equal(client.of("opened").length, 1);
  assert.equal(client.of("failed").length, 0);
  assert.equal(refused, 1);
  exchange(wire, client);
  wire.connect(client, "resume");
  assert.equal(client.of("opened").at(-1)?.how, "resumed");
  assert.equal(refused, 1);
});

test("RFC 5746 3.4: a server that refuses either hello is given up, and told of once", () => {
  const wire = new Wire({ server: { suites: [] } });
  const client = wire.client();
  wire.connect(client);
  wire.run(10_000);
  assert.deepEqual(
    client.of("failed").map((f) => f.why),
    ["peer's alert 40"],
  );
  assert.equal(client.machine.wakeAt, undefined);
});
