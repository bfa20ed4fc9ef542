import assert from "node:assert/strict";
import crypto, { type CipherCCMTypes, createDecipheriv, createHmac } from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { mock, test } from "node:test";
import { EMPTY, FormatError, concat, hex, seededRng, toHex, utf8 } from "@godwit/base";
import { ContentType } from "../codes.ts";
import { SUITES, keyLength } from "../suites.ts";
import {
  plainRecord,
  read48,
  readRecord,
  recordAt,
  sizeOfNameless,
  write48,
  writeHeader,
} from "./header.ts";
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

/** What the record's own ends do not share: RFC 5246 6.2.3.3 and RFC 9146 5.3, written down a second time. */
function additionalData(cid: Uint8Array, length: number): Uint8Array {
  const number = hex("0001" + "123456789abc");
  const size = Uint8Array.of(length >> 8, length & 0xff);
  if (cid.length === 0) return concat(number, hex("17fefd"), size);
  const head = concat(hex("ffffffffffffffff19"), Uint8Array.of(cid.length), hex("19fefd"));
  return concat(head, number, cid, size);
}

for (const { name, cipher } of CIPHERS) {
  test(`RFC 5246 6.2.3.3, RFC 9146 5.3: a record under ${name} is what node:crypto makes of it`, () => {
    const keys = rng.bytes(keyLength(cipher));
    for (const n of [0, 1, 5]) {
      const cid = new Uint8Array(n).fill(0xcc);
      for (const length of [3, 255, 256, 300, 1_200]) {
        const content = rng.bytes(length);
        const number = { epoch: 1, sequence: 0x1234_5678_9abc };
        const sealed = sealRecord(cipher, keys, { type: 23, ...number, cid, content }, rng);
        assert.equal(sealed[0], n === 0 ? 23 : 25);
        const inner = n === 0 ? content : concat(content, Uint8Array.of(23));
        const body = sealed.subarray(13 + n);
        if (cipher.kind === "cbc") {
          const covered = body.subarray(0, -32);
          const mac = createHmac("sha256", keys.subarray(0, 32));
          mac.update(additionalData(cid, covered.length)).update(covered);
          assert.equal(toHex(body.subarray(-32)), toHex(mac.digest()));
          const open = createDecipheriv(
            "aes-128-cbc",
            keys.subarray(32, 48),
            covered.subarray(0, 16),
          );
          open.setAutoPadding(false);
          const plain = concat(open.update(covered.subarray(16)), open.final());
          const pad = 16 - (inner.length % 16);
          const padding = new Uint8Array(pad).fill(pad - 1); // RFC 5246 6.2.3.2
          assert.equal(toHex(plain), toHex(concat(inner, padding)));
          continue;
        }
        const suite = `aes-${cipher.key * 8}-${cipher.kind}` as CipherCCMTypes;
        const nonce = concat(keys.subarray(cipher.key), body.subarray(0, 8));
        const tag = { authTagLength: cipher.tag };
        const open = createDecipheriv(suite, keys.subarray(0, cipher.key), nonce, tag);
        open.setAuthTag(body.subarray(-cipher.tag));
        open.setAAD(additionalData(cid, inner.length), { plaintextLength: inner.length });
        assert.equal(toHex(open.update(body.subarray(8, -cipher.tag))), toHex(inner));
        open.final();
      }
    }
  });

  test(`RFC 5246 6.2.1, ${name}: 2^14 bytes of plaintext are the most that a record may have`, () => {
    const keys = rng.bytes(keyLength(cipher));
    const open = (length: number, cid: Uint8Array): boolean => {
      const plain = { type: 23, epoch: 1, sequence: 9, cid, content: new Uint8Array(length) };
      const sealed = sealRecord(cipher, keys, plain, rng);
      return openRecord(cipher, keys, readRecord(sealed, 0, cid.length)).ok;
    };
    assert.equal(open(2 ** 14, EMPTY), true);
    assert.equal(open(2 ** 14 + 1, EMPTY), false);
    assert.equal(open(2 ** 14 - 1, Uint8Array.of(1)), true);
    assert.equal(open(2 ** 14, Uint8Array.of(1)), false);
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

for (const { name, cipher } of CIPHERS.filter(({ cipher }) => cipher.kind !== "cbc")) {
  test(`${name}: once a record is sealed or opened, the key that was given to node:crypto is all zeros`, () => {
    const keys = new Uint8Array(keyLength(cipher)).fill(0xee);
    const given: Uint8Array[] = [];
    for (const which of ["createCipheriv", "createDecipheriv"] as const) {
      const real = crypto[which] as (...all: unknown[]) => unknown;
      mock.method(crypto, which, (...all: unknown[]) => {
        const key = all[1] as Uint8Array;
        assert.equal(toHex(key), "ee".repeat(cipher.key));
        given.push(key);
        return real(...all);
      });
    }
    syncBuiltinESMExports();
    try {
      const content = new Uint8Array(1_000);
      const plain = { type: 23, epoch: 1, sequence: 1, cid: EMPTY, content };
      const record = readRecord(sealRecord(cipher, keys, plain, rng), 0, 0);
      assert.equal(given.map(toHex).join(), "00".repeat(cipher.key));
      assert.ok(openRecord(cipher, keys, record).ok);
      assert.equal(given.length, 2);
      for (const key of given) assert.equal(toHex(key), "00".repeat(cipher.key));
    } finally {
      mock.restoreAll();
      syncBuiltinESMExports();
    }
  });
}

test("record header: every cut is refused, and so is a length beyond the datagram", () => {
  const whole = plainRecord(ContentType.handshake, 7, utf8("abc"));
  for (let length = 1; length < whole.length; length++) {
    assert.throws(() => readRecord(whole.subarray(0, length), 0, 0), FormatError);
  }
  assert.equal(readRecord(whole, 0, 0).size, whole.length);
});

test("RFC 6347 4.1: each field of a header is where it belongs, and comes back", () => {
  const out = new Uint8Array(20);
  const header = { type: 25, epoch: 0x0102, sequence: 0x0304_0506_0708, cid: hex("a1b2") };
  assert.equal(writeHeader(out, 1, { ...header, version: 0xfeff }, 0x0003), 16);
  out.set(hex("0d0e0f"), 16);
  assert.equal(toHex(out), "00" + "19feff0102030405060708a1b20003" + "0d0e0f" + "00");
  const record = readRecord(out, 1, 2);
  assert.deepEqual(record, {
    ...header,
    version: 0xfeff,
    fragment: hex("0d0e0f"),
    size: 18,
  });
  writeHeader(out, 0, header, 0x1234);
  assert.equal(toHex(out.subarray(0, 15)), "19fefd0102030405060708a1b21234");
  assert.throws(
    () => writeHeader(out, 0, { ...header, epoch: 0x1_0000 }, 0),
    /65536 does not fit u16/,
  );
  assert.throws(() => writeHeader(out, 0, header, 0x1_0000), /65536 does not fit u16/);
  assert.throws(() => write48(out, 0, 2 ** 48), /281474976710656 does not fit u48/);
});

test("RFC 6347 4.1: a length above 255 is read from both of its bytes", () => {
  const whole = plainRecord(ContentType.handshake, 2 ** 48 - 1, new Uint8Array(0x0203));
  const record = readRecord(whole, 0, 0);
  assert.equal(record.size, 13 + 0x0203);
  assert.equal(record.sequence, 2 ** 48 - 1);
  assert.equal(sizeOfNameless(whole, 0), 13 + 0x0203);
});

test("RFC 6347 4.1: a record without content is one, also at the end of its datagram", () => {
  const empty = plainRecord(ContentType.applicationData, 1, EMPTY);
  assert.equal(readRecord(empty, 0, 0).size, 13);
  assert.equal(recordAt(empty, 0, 0)?.fragment.length, 0);
  assert.equal(sizeOfNameless(empty, 0), 13);
});

test("no record begins where the type is none of DTLS 1.2's", () => {
  const whole = plainRecord(ContentType.handshake, 7, utf8("abc"));
  for (const [type, is, nameless] of [
    [19, false, false],
    [20, true, true],
    [23, true, true],
    [24, true, false],
    [27, true, false],
    [28, false, false],
  ] as const) {
    whole[0] = type;
    assert.equal(recordAt(whole, 0, 0) !== undefined, is, `type ${type}`);
    assert.equal(sizeOfNameless(whole, 0), nameless ? 16 : 0, `type ${type}`);
  }
});

test("a nameless record is passed over as a whole, wherever it begins, and not where it is cut", () => {
  const whole = plainRecord(ContentType.handshake, 7, utf8("abc"));
  const two = concat(utf8("....."), whole, utf8("more"));
  assert.equal(sizeOfNameless(two, 5), 16);
  assert.equal(sizeOfNameless(whole, 0), 16);
  for (let length = 0; length < whole.length; length++)
    assert.equal(sizeOfNameless(whole.subarray(0, length), 0), 0, `${length} bytes`);
  whole[1] = 0xfd;
  assert.equal(sizeOfNameless(whole, 0), 0, "another version");
});

test("RFC 6347 4.1: 48-bit numbers are written as they are, on both sides of 2^32 too", () => {
  const out = new Uint8Array(8);
  for (const value of [
    0,
    1,
    255,
    256,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 32 + 1,
    2 ** 47,
    2 ** 48 - 1,
  ]) {
    write48(out, 1, value);
    assert.equal(toHex(out), `00${value.toString(16).padStart(12, "0")}00`);
    assert.equal(read48(out, 1), value);
  }
});
