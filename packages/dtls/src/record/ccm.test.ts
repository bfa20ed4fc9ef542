import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng, toHex } from "@godwit/base";
import { aeadOpen, aeadSeal } from "../crypto.ts";
import { HotPool } from "../hot-keys.ts";
import { SUITES } from "../suites.ts";
import { Ccm } from "./ccm.ts";

test("RFC 3610: the ready-made cipher and the system's own agree, for every length, in any order of use", () => {
  const rng = seededRng(8);
  for (const { cipher } of SUITES.filter((suite) => suite.cipher.kind === "ccm")) {
    const key = rng.bytes(cipher.key);
    const ready = new Ccm(key, cipher.tag);
    for (const length of [0, 1, 15, 16, 17, 31, 32, 33, 100, 1_023, 1_024, 1_025, 4_000]) {
      const nonce = rng.bytes(12);
      const aad = rng.bytes(13 + (length % 20));
      const plaintext = rng.bytes(length);
      const [ours, theirs] = [0, 1].map(() => new Uint8Array(length + cipher.tag + 3));
      if (ours === undefined || theirs === undefined) throw new Error("two arrays");
      ready.seal(nonce, aad, plaintext, ours, 3);
      aeadSeal(cipher, key, nonce, aad, plaintext, theirs, 3);
      assert.equal(toHex(ours), toHex(theirs));
      const sealed = theirs.subarray(3);
      assert.equal(toHex(ready.open(nonce, aad, sealed) ?? hex("ff")), toHex(plaintext));
      for (const at of [0, length, sealed.length - 1]) {
        const bent = Uint8Array.from(sealed);
        bent[at]! ^= 4; // within
        assert.equal(ready.open(nonce, aad, bent), undefined);
        assert.equal(aeadOpen(cipher, key, nonce, aad, bent), undefined);
      }
    }
  }
});

test("ready-made ciphers have a limit: at it the unused make way, and nobody waits", () => {
  const pool = new HotPool(4);
  const { cipher } = SUITES[0]!; // there are eleven
  const keys = () => ({ readKeys: new Uint8Array(20), writeKeys: new Uint8Array(20) });
  const holders = Array.from({ length: 12 }, () => ({ hot: undefined }));
  for (const holder of holders) {
    pool.of(holder, cipher, keys);
    assert.ok(pool.size <= 4);
  }
  for (let round = 0; round < 4; round++) {
    for (const holder of holders.slice(8)) pool.of(holder, cipher, keys);
  }
  assert.equal(pool.size, 4);
  assert.ok(holders.slice(8).every((holder) => holder.hot !== undefined));
  pool.cool();
  pool.cool();
  assert.equal(pool.size, 0);
});
