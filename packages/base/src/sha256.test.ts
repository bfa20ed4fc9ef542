import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import { test } from "node:test";
import { toHex } from "./hex.ts";
import { seededRng } from "./rng.ts";
import { HmacSha256, isWiped, sha256 } from "./sha256.ts";
import { utf8 } from "./text.ts";

test("FIPS 180-4: known answers", () => {
  assert.equal(toHex(sha256()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert.equal(
    toHex(sha256(utf8("abc"))),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

test("agrees with the system's own for every length around blocks, in any pieces", () => {
  const rng = seededRng(3);
  for (let length = 0; length < 300; length++) {
    const bytes = rng.bytes(length);
    const cut = Math.floor(rng.float() * length);
    const again = Math.floor(cut + rng.float() * (length - cut));
    const parts = [bytes.subarray(0, cut), bytes.subarray(cut, again), bytes.subarray(again)];
    const wanted = createHash("sha256").update(bytes).digest("hex");
    assert.equal(toHex(sha256(...parts)), wanted);
    assert.equal(toHex(sha256(bytes)), wanted);
    const key = rng.bytes((length * 7) % 150);
    const mac = new HmacSha256(key);
    const wantedMac = createHmac("sha256", key).update(bytes).digest("hex");
    assert.equal(toHex(mac.of(...parts)), wantedMac);
    assert.equal(toHex(mac.of(bytes)), wantedMac, "a key serves more than once");
  }
});

test("nothing of what was hashed is left in the rooms that all hashes share", () => {
  const secret = utf8(
    "a secret of more than one block, so that all of the rooms are used: 0123456789",
  );
  sha256(secret);
  assert.ok(isWiped());
  const mac = new HmacSha256(secret);
  assert.ok(isWiped());
  const first = toHex(mac.of(secret));
  assert.ok(isWiped());
  assert.equal(toHex(mac.of(secret)), first);
  mac.wipe();
  assert.notEqual(toHex(mac.of(secret)), first); // the key is gone
});
