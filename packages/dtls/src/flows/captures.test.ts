import assert from "node:assert/strict";
import { test } from "node:test";
import { equal, hex, seededRng, toHex } from "@godwit/base";
import { ContentType, HandshakeType } from "../codes.ts";
import { verifyData } from "../keys.ts";
import { sealRecord } from "../record/protection.ts";
import { CAPTURES, capture, openCapture, plainMessagesOf } from "./captures.ts";
import { decodeClientKeyExchange } from "../handshake/key-exchange.ts";

for (const name of CAPTURES) {
  test(`RFC 6347 4.1.2, RFC 9146 5: every record of ${name} opens from the PSK alone`, () => {
    const recorded = capture(name);
    const opened = openCapture(recorded);
    assert.ok(opened.length >= 2, "both Finished at least");
    for (const side of ["client", "server"] as const) {
      const finished = opened.find((o) => o.from === side && o.type === ContentType.handshake);
      assert.ok(finished !== undefined, `no Finished of the ${side}`);
      const wanted = verifyData(finished.secret.master, side, finished.transcript);
      assert.equal(toHex(finished.content.subarray(12)), toHex(wanted), `Finished of the ${side}`);
    }
    const identity = plainMessagesOf(recorded).find(
      ({ message }) => message.type === HandshakeType.clientKeyExchange,
    );
    assert.ok(identity !== undefined);
    const shown = decodeClientKeyExchange("psk", identity.message.body).identity;
    assert.equal(new TextDecoder().decode(shown), recorded.identity);
  });

  test(`RFC 6347 4.1.2, RFC 9146 5: every record of ${name} is made again byte for byte`, () => {
    const rng = seededRng(1);
    const recorded = capture(name);
    const again = openCapture(recorded).map(({ from, record, secret, type, content, bytes }) => {
      const { epoch, sequence, cid } = record;
      const { cipher } = secret.suite;
      const inner = record.fragment.length - 8 - cipher.tag;
      const padding = cid.length > 0 ? inner - content.length - 1 : 0;
      const plain = { type, epoch, sequence, cid, content, padding };
      return { bytes, made: sealRecord(cipher, secret[from], plain, rng) };
    });
    for (const { bytes, made } of again) {
      if (name === "wolf-dtls12-psk-ccm8") {
        // This stack counts its explicit nonce apart from the record number, so all after it differs.
        assert.equal(toHex(made.subarray(0, 13)), toHex(bytes.subarray(0, 13)));
        assert.equal(equal(made.subarray(13, 21), bytes.subarray(13, 21)), false);
        assert.equal(made.length, bytes.length);
      } else assert.equal(toHex(made), toHex(bytes));
    }
  });
}

test("RFC 7627 4: the master secret of the Mbed TLS capture is the one in its key log", () => {
  const [first] = openCapture(capture("mbed-dtls12-psk-ccm8-cid"));
  assert.deepEqual(
    toHex(first?.secret.master ?? hex("")),
    "2177582ca2dd7fa528469b45121b717d07a479f0d06865c4bac321691eb592b5cb538c3bb3d1ce9a3116c6e7edc69e64",
  );
});
