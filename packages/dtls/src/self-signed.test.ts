import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { seededRng, toHex } from "@godwit/base";
import { readTraits } from "./certificate-traits.ts";
import { judgeChain, judgeServer, leafOf } from "./certificates.ts";
import { makeKey } from "./crypto.ts";
import { checkChain, signingKey } from "./key-material.ts";
import { selfSigned } from "./self-signed.ts";

const JANUARY_2027 = 1_800_000_000_000;

test("RFC 5280 4.1: a certificate of our own making is read by others as it is meant, and is its own issuer", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const rng = seededRng(seed);
    const key = signingKey(makeKey(rng));
    const der = selfSigned(key, "godwit", rng);
    const read = new X509Certificate(der);
    assert.equal(read.subject, "CN=godwit");
    assert.equal(read.issuer, read.subject);
    assert.ok(read.verify(read.publicKey), `seed ${seed}`);
    assert.equal(read.ca, false);
    assert.equal(read.validTo, "Dec 31 23:59:59 9999 GMT");
    assert.equal(toHex(read.raw), toHex(der));
    assert.match(read.serialNumber, /^[4-7][0-9A-F]{31}$/);
    assert.deepEqual(readTraits(der), {
      keyUsage: 0x80,
      purposes: ["1.3.6.1.5.5.7.3.1"],
      pathLength: undefined,
      names: [],
      unknown: undefined,
    });
    checkChain([der], key);
    assert.deepEqual(leafOf([der]).names, ["godwit"]);
  }
});

test("RFC 6698 2.1.1: it is trusted by who pins it, by usage 2 and 3, under its name, and by nobody else", () => {
  const rng = seededRng(7);
  const certificate = selfSigned(signingKey(makeKey(rng)), "godwit", rng);
  const rules = { anchors: [], wall: JANUARY_2027, name: "godwit", purpose: "server" } as const;
  for (const usage of [2, 3] as const) {
    assert.deepEqual(judgeServer([certificate], rules, { usage, certificate }), { ok: true });
  }
  assert.equal(judgeChain([certificate], rules).ok, false);
  const other = selfSigned(signingKey(makeKey(rng)), "godwit", rng);
  assert.equal(judgeServer([other], rules, { usage: 2, certificate }).ok, false);
});
