import { aesCcm, type AesCcm } from "./aes/ccm.ts";
import { SelfTestError } from "./faults.ts";
import { hex, toHex } from "./hex.ts";
import { HmacSha256, sha256 } from "./sha256.ts";
import { utf8 } from "./text.ts";

/**
 * Known answers of the cryptography that is our own, before anything relies on it: a runtime that computes wrongly is found
 * at the start and not by a peer. Tens of microseconds.
 *
 * @throws SelfTestError that names what is wrong
 */
export function selfTest(tested: Tested = OURS): void {
  const { ccm, hash, hmac } = tested;
  // FIPS 180-4, one block of two; RFC 4231 4.2
  expect("SHA-256", toHex(hash(utf8("abc"))), ABC);
  expect("HMAC-SHA-256", toHex(hmac(new Uint8Array(20).fill(0x0b), utf8("Hi There"))), HI_THERE);
  if (ccm === undefined) return; // the system's own serves
  const { key, nonce, aad, plaintext, sealed } = PACKET;
  const out = new Uint8Array(sealed.length);
  ccm.seal(key, nonce, aad, plaintext, TAG, out, 0);
  expect("AES-CCM", toHex(out), toHex(sealed));
  const room = new Uint8Array(plaintext.length);
  const length = ccm.open(key, nonce, aad, sealed, 0, TAG, room);
  expect("AES-CCM", `${length} ${toHex(room)}`, `${plaintext.length} ${toHex(plaintext)}`);
  for (const at of [0, sealed.length - 1]) {
    const bent = Uint8Array.from(sealed);
    bent[at]! ^= 1; // within
    expect("AES-CCM of a forgery", `${ccm.open(key, nonce, aad, bent, 0, TAG, room)}`, "-1");
  }
}

export type Tested = {
  /** Undefined: this process has none. */
  readonly ccm: AesCcm | undefined;
  readonly hash: (bytes: Uint8Array) => Uint8Array;
  readonly hmac: (key: Uint8Array, bytes: Uint8Array) => Uint8Array;
};

function expect(what: string, came: string, wanted: string): void {
  if (came === wanted) return;
  throw new SelfTestError(
    `the self-test of ${what} has failed: this runtime computes wrongly, so nothing may be protected by it`,
  );
}

const OURS: Tested = {
  get ccm() {
    return aesCcm();
  },
  hash: sha256,
  hmac: (key, bytes) => new HmacSha256(key).of(bytes),
};

const ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const HI_THERE = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
/** RFC 3610 8, packet vector 1. */
const PACKET = {
  key: hex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"),
  nonce: hex("00000003020100a0a1a2a3a4a5"),
  aad: hex("0001020304050607"),
  plaintext: hex("08090a0b0c0d0e0f101112131415161718191a1b1c1d1e"),
  sealed: hex("588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"),
};
const TAG = 8;
