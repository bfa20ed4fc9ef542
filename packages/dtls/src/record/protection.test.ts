import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, FormatError, seededRng, toHex, utf8 } from "@godwit/base";
import { ContentType } from "../codes.ts";
import { SUITES, keyLength } from "../suites.ts";
import { plainRecord, readRecord } from "./header.ts";
import { openRecord, recordOverhead, sealRecord } from "./protection.ts";

const rng = seededRng(5);
const CIPHERS = SUITES.filter(
  (suite, i) => SUITES.findIndex((other) => other.cipher === suite.cipher) === i,
);

for (const { name, cipher } of CIPHERS) {
  const keys = rng.bytes(keyLength(cipher));
  const seal = (length: number, n: number, padding = 0): Uint8Array =>
    sealRecord(
      cipher,
      keys,
      {
        type: 23,
        epoch: 1,
        sequence: 0x1234_5678_9abc,
        cid: new Uint8Array(n).fill(0xcc),
        content: new Uint8Array(length).fill(0xda),
        padding,
      },
      rng,
    );

  test(`${name}: what was sealed opens, at every length around a block, with connection ids of 0 to 255 bytes`, () => {
    for (const n of [0, 1, 4, 8, 255]) {
      for (const length of [0, 1, 13, 14, 15, 16, 17, 31, 32, 33, 254, 255, 256, 257, 1_200]) {
        const record = readRecord(seal(length, n), 0, n);
        assert.equal(record.sequence, 0x1234_5678_9abc);
        const opened = openRecord(cipher, keys, record);
        assert.ok(opened.ok);
        assert.equal(opened.type, 23);
        assert.equal(toHex(opened.content), toHex(new Uint8Array(length).fill(0xda)));
        assert.equal(record.size - length, recordOverhead(cipher, n, length));
      }
    }
  });

  test(`${name}: any flipped bit of a record, header or body, is noticed`, () => {
    for (const n of [0, 4]) {
      const sealed = seal(20, n);
      for (let at = 0; at < sealed.length; at++) {
        // The length field is not the record's any more, and the explicit nonce is the key of its own.
        const bent = Uint8Array.from(sealed);
        bent[at]! ^= 0x01; // within
        let record;
        try {
          record = readRecord(bent, 0, n);
        } catch (error) {
          assert.ok(error instanceof FormatError);
          continue;
        }
        if (record.version !== 0xfefd) continue; // refused before it comes to keys
        assert.equal(openRecord(cipher, keys, record).ok, false, `byte ${at}`);
      }
    }
  });

  test(`${name}: too short for its tag is no exception`, () => {
    const sealed = seal(0, 0);
    for (let length = 0; length < sealed.length - 13; length++) {
      const record = { ...readRecord(sealed, 0, 0), fragment: sealed.subarray(13, 13 + length) };
      const opened = openRecord(cipher, keys, record);
      assert.equal(opened.ok, false, `${length}`);
    }
  });

  test(`RFC 9146 4, ${name}: zeros after the type are padding, and all zeros are no record`, () => {
    for (const padding of [1, 15, 300, 2 ** 14 - 21]) {
      const opened = openRecord(cipher, keys, readRecord(seal(20, 4, padding), 0, 4));
      assert.ok(opened.ok);
      assert.equal(opened.content.length, 20);
    }
    const overlong = openRecord(cipher, keys, readRecord(seal(20, 4, 2 ** 14), 0, 4));
    assert.deepEqual(overlong, { ok: false, why: "overflow" });
    for (const [type, why] of [
      [0, "noType"],
      [20, "innerType"],
      [25, "innerType"],
      [26, "innerType"],
      [255, "innerType"],
    ] as const) {
      const cid = Uint8Array.of(1, 2);
      const plain = { type, epoch: 1, sequence: 1, cid, content: EMPTY };
      const record = readRecord(sealRecord(cipher, keys, plain, rng), 0, 2);
      assert.deepEqual(openRecord(cipher, keys, record), { ok: false, why });
    }
  });
}

test("CVE-2026-26014: the explicit nonce is epoch and sequence number, never chance", () => {
  const { cipher } = SUITES[0]!; // there are eleven
  const keys = new Uint8Array(keyLength(cipher));
  for (const sequence of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1]) {
    const plain = { type: 23, epoch: 1, sequence, cid: EMPTY, content: utf8("x") };
    const sealed = sealRecord(cipher, keys, plain, rng);
    assert.equal(toHex(sealed.subarray(13, 21)), toHex(sealed.subarray(3, 11)));
  }
});

test("record header: every cut is refused, and so is a length beyond the datagram", () => {
  const whole = plainRecord(ContentType.handshake, 7, utf8("abc"));
  for (let length = 1; length < whole.length; length++) {
    assert.throws(() => readRecord(whole.subarray(0, length), 0, 0), FormatError);
  }
  assert.equal(readRecord(whole, 0, 0).size, whole.length);
});
