import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { ContentType } from "../codes.ts";
import { readFragments } from "../handshake/header.ts";
import { signingKey } from "../key-material.ts";
import { readRecord } from "../record/header.ts";
import { exchange } from "./exchange.ts";
import { Wire } from "./wire.ts";

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
