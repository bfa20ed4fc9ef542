// The cryptography of ours against vectors of others; each file names its source.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { aesCcm } from "./aes/ccm.ts";
import { concat } from "./bytes.ts";
import { UsageError } from "./faults.ts";
import { hex, toHex } from "./hex.ts";
import { HmacSha256, sha256 } from "./sha256.ts";

const ccm = aesCcm();
assert.ok(ccm !== undefined);

function read(name: string): {
  readonly cases: readonly unknown[][];
  readonly monteCarlo: string[];
} {
  const file = new URL(`../src/vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")) as never;
}

/** The plaintext in hex; "forged" where it is refused. */
function open(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
  tag: number,
): string {
  const out = new Uint8Array(sealed.length);
  const length = ccm!.open(key, nonce, aad, sealed, 0, tag, out); // asserted above
  return length < 0 ? "forged" : toHex(out.subarray(0, length));
}

function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  plaintext: Uint8Array,
  tag: number,
): string {
  const out = new Uint8Array(plaintext.length + tag);
  ccm!.seal(key, nonce, aad, plaintext, tag, out, 0); // likewise
  return toHex(out);
}

test("NIST SP 800-38C: every vector of CAVS is sealed and opened as it says, and what must be refused is", () => {
  const { cases } = read("aes-ccm-nist");
  let refused = 0;
  for (const [set, ...fields] of cases as [
    string,
    string,
    string,
    string,
    string,
    number,
    string | null,
  ][]) {
    const [key, nonce, aad, sealed] = fields.slice(0, 4).map((field) => hex(field as string)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const [, , , , tag, plaintext] = fields;
    assert.equal(open(key, nonce, aad, sealed, tag), plaintext ?? "forged", set);
    if (plaintext === null) refused += 1;
    else assert.equal(seal(key, nonce, aad, hex(plaintext), tag), toHex(sealed), set);
  }
  assert.ok(cases.length > 300 && refused > 50, `${refused} of ${cases.length}`);
});

test("Wycheproof: AES-CCM takes what is valid, and neither lengths that CCM does not have nor a bent tag", () => {
  const { cases } = read("aes-ccm-wycheproof");
  const came = { valid: 0, forged: 0, lengths: 0 };
  for (const one of cases as [number, string, string, string, string, string, number, string][]) {
    const [id, key, nonce, aad, message, sealed, tag, result] = one;
    const [k, n, a] = [hex(key), hex(nonce), hex(aad)];
    const fits = n.length >= 7 && n.length <= 13 && tag >= 4 && tag <= 16 && tag % 2 === 0;
    const isTaken =
      a.length > 0 && a.length <= 2 * ccm.longest && message.length <= 2 * ccm.longest;
    if (!fits || !isTaken) {
      // Never without additional data, of which DTLS and OSCORE always have some; nor the long ones, which the system does.
      assert.ok(fits || result === "invalid", `${id}`);
      assert.throws(() => open(k, n, a, hex(sealed), tag), UsageError, `${id}`);
      assert.throws(() => seal(k, n, a, hex(message), tag), UsageError, `${id}`);
      came.lengths += 1;
    } else if (result === "valid") {
      assert.equal(open(k, n, a, hex(sealed), tag), message, `${id}`);
      assert.equal(seal(k, n, a, hex(message), tag), sealed, `${id}`);
      came.valid += 1;
    } else {
      assert.equal(open(k, n, a, hex(sealed), tag), "forged", `${id}`);
      came.forged += 1;
    }
  }
  assert.ok(came.valid > 50 && came.lengths > 50, JSON.stringify(came));
});

test("Wycheproof: with additional data before it, each bent tag is refused as without", () => {
  // The forgeries of Wycheproof have no additional data; the same bits bent in a message that has some.
  const [key, nonce, aad] = [hex("00".repeat(16)), hex("01".repeat(12)), hex("02")];
  for (const tag of [4, 6, 8, 10, 12, 14, 16]) {
    const good = hex(seal(key, nonce, aad, hex("0304050607"), tag));
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bent = Uint8Array.from(good);
      bent[bit >> 3]! ^= 1 << (bit & 7); // within
      assert.equal(open(key, nonce, aad, bent, tag), "forged", `${tag} ${bit}`);
    }
  }
});

test("NIST SHS: SHA-256 of short and long messages, and the Monte Carlo chain", () => {
  const { cases, monteCarlo } = read("sha256-nist");
  for (const [message, digest] of cases as [string, string][]) {
    assert.equal(toHex(sha256(hex(message))), digest);
  }
  assert.ok(cases.length > 60);
  let seed = hex(monteCarlo[0]!); // it has one
  for (const digest of monteCarlo.slice(1)) {
    let last = [seed, seed, seed] as const;
    for (let i = 0; i < 1_000; i++) last = [last[1], last[2], sha256(concat(...last))];
    seed = last[2];
    assert.equal(toHex(seed), digest);
  }
});

test("Wycheproof: HMAC-SHA-256 of every vector, also where the tag is cut", () => {
  const { cases } = read("hmac-sha256-wycheproof");
  for (const [id, key, message, tag, result] of cases as [
    number,
    string,
    string,
    string,
    string,
  ][]) {
    const mac = toHex(new HmacSha256(hex(key)).of(hex(message))).slice(0, tag.length);
    assert.equal(mac === tag, result === "valid", `${id}`);
  }
  assert.ok(cases.length > 100);
});
