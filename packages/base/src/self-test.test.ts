import assert from "node:assert/strict";
import { test } from "node:test";
import { aesCcm, type AesCcm } from "./aes/ccm.ts";
import { SelfTestError } from "./faults.ts";
import { selfTest, type Tested } from "./self-test.ts";
import { HmacSha256, sha256 } from "./sha256.ts";

const good: Tested = {
  ccm: aesCcm(),
  hash: (bytes) => sha256(bytes),
  hmac: (key, bytes) => new HmacSha256(key).of(bytes),
};

function bent(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[0]! ^= 1; // not empty
  return copy;
}

/** AES-CCM that goes wrong in one way. */
function wrong(how: "seal" | "open" | "forgery"): AesCcm {
  const ccm = aesCcm()!; // every runtime of ours has it
  return {
    longest: ccm.longest,
    seal(key, nonce, aad, plaintext, tag, out, at) {
      ccm.seal(key, nonce, aad, plaintext, tag, out, at);
      if (how === "seal") out[at]! ^= 1; // written just now
    },
    open(key, nonce, aad, sealed, from, tag, out) {
      const length = ccm.open(key, nonce, aad, sealed, from, tag, out);
      if (how === "open" && length > 0) out[0]! ^= 1; // likewise
      return how === "forgery" && length < 0 ? out.length : length;
    },
  };
}

test("the self-test passes where all answers are right, with and without our AES-CCM", () => {
  selfTest();
  selfTest(good);
  selfTest({ ...good, ccm: undefined });
});

for (const { what, tested } of [
  { what: "SHA-256", tested: { ...good, hash: (bytes: Uint8Array) => bent(sha256(bytes)) } },
  {
    what: "HMAC-SHA-256",
    tested: { ...good, hmac: (k: Uint8Array, b: Uint8Array) => bent(good.hmac(k, b)) },
  },
  { what: "AES-CCM", tested: { ...good, ccm: wrong("seal") } },
  { what: "AES-CCM", tested: { ...good, ccm: wrong("open") } },
  { what: "AES-CCM of a forgery", tested: { ...good, ccm: wrong("forgery") } },
]) {
  test(`the self-test finds a wrong answer of ${what}`, () => {
    assert.throws(
      () => selfTest(tested),
      (fault) =>
        fault instanceof SelfTestError &&
        fault.code === "SELF_TEST_FAILED" &&
        fault.message.startsWith(`the self-test of ${what} has failed`),
    );
  });
}
