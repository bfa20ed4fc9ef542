import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FormatError, concat, hex } from "@godwit/base";
import { readTraits } from "./certificate-traits.ts";
import { judgeChain, judgeServer, leafOf } from "./certificates.ts";
import { parseCertificate } from "./crypto.ts";

const certificates = ["certificates", "certificate-faults"].map((name) => {
  const file = new URL(`../src/vectors/${name}.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { certificates: Record<string, string> })
    .certificates;
});
const [GOOD = {}, FAULTS = {}] = certificates;
const der = (name: string): Uint8Array => hex(GOOD[name] ?? "");
const faulty = (name: string): Uint8Array => hex(FAULTS[name] ?? "");

const IN_TIME = 1_800_000_000_000; // January 2027
const NAME = "lwm2m.example.com";

test("dates and names of a certificate are read as they are written in it", () => {
  const parsed = parseCertificate(der("expired"));
  assert.equal(parsed.validFrom.at, Date.UTC(2026, 10, 22, 18, 47, 55));
  assert.equal(parsed.validTo.at, Date.UTC(2026, 10, 23, 18, 47, 55));
  assert.equal(parseCertificate(der("device")).commonName, "urn:dev:ops:32473-weather-7");
});

for (const [what, chain, rules, wanted] of [
  ["leaf, intermediate, root", ["server", "inter"], {}, undefined],
  ["the root sent along", ["server", "inter", "root"], {}, undefined],
  ["in another order", ["server", "root", "inter"], {}, undefined],
  ["by its address", ["server", "inter"], { name: "198.51.100.1" }, undefined],
  ["the intermediate left out", ["server"], {}, "unknown issuer: no way to a trusted root"],
  [
    "another root trusted",
    ["server", "inter"],
    { anchors: ["other"] },
    "unknown issuer: no way to a trusted root",
  ],
  [
    "self-signed by somebody",
    ["other"],
    { name: undefined },
    "unknown issuer: no way to a trusted root",
  ],
  [
    "another name",
    ["server", "inter"],
    { name: "evil.example" },
    "certificate is not for evil.example",
  ],
  ["expired", ["expired"], {}, "certificate expired on Nov 23 18:47:55 2026 GMT"],
  [
    "not yet valid",
    ["server", "inter"],
    { wall: 0 },
    "certificate not yet valid, but from Nov 22 18:47:55 2026 GMT on",
  ],
  ["issued by a leaf", ["under", "server", "inter"], {}, "wrong usage: issuer is no CA"],
  ["nothing", [], {}, "no certificate"],
  ["a curve of another kind", ["p384"], {}, "wrong key type: not a P-256 key, but secp384r1"],
] as const) {
  test(`RFC 5280 6: chain: ${what}`, () => {
    const { anchors, ...rest } = { anchors: ["root"], wall: IN_TIME, name: NAME, ...rules };
    const { name, wall } = rest;
    const verdict = judgeChain(chain.map(der), {
      anchors: anchors.map(der),
      wall,
      ...(name === undefined ? {} : { name }),
    });
    assert.equal(verdict.ok ? undefined : verdict.why, wanted);
  });
}

for (const [what, chain, purpose, wanted] of [
  ["purposes named, both", ["sans", "inter"], "client", undefined],
  ["any purpose named", ["anyUse", "inter"], "client", undefined],
  [
    "for servers only",
    ["serverOnly", "inter"],
    "client",
    "wrong usage: the certificate is not for a client",
  ],
  [
    "for clients only",
    ["clientOnly", "inter"],
    "server",
    "wrong usage: the certificate is not for a server",
  ],
  [
    "a key for key agreement",
    ["noSigning", "inter"],
    "client",
    "wrong usage: the certificate's key is not for signatures",
  ],
  [
    "the signature bent",
    ["forged", "inter"],
    "client",
    "bad signature: the issuer that the certificate names did not make it",
  ],
  [
    "a CA too many",
    ["tooDeep", "deep", "inter"],
    "client",
    "chain too long: 1 CAs below one that allows 0",
  ],
  [
    "RFC 5280 4.2: a critical extension that nobody knows",
    ["critical", "inter"],
    "client",
    "certificate has the critical extension 1.3.6.1.4.1.32473.1, which is not known here",
  ],
  [
    "RFC 5280 4.2.1.10: a CA with name constraints, which are not checked here",
    ["underConstrained", "constrained"],
    "client",
    "issuer's certificate has the critical extension 2.5.29.30, which is not known here",
  ],
  [
    "RFC 5280 4.2.1.3: a CA whose key may not sign certificates",
    ["underNoCertSign", "noCertSign"],
    "client",
    "wrong usage: issuer is no CA",
  ],
  ["an RSA key", ["rsa", "inter"], "client", "wrong key type: not a P-256 key, but RSA"],
] as const) {
  test(`RFC 5280: ${what}: ${wanted ?? "accepted"}`, () => {
    const rules = { anchors: [faulty("root")], wall: IN_TIME, purpose };
    const verdict = judgeChain(chain.map(faulty), rules);
    assert.equal(verdict.ok ? undefined : verdict.why, wanted);
  });
}

test("RFC 5280 6.1: a root may have any key, and may be sent along; what it issued may not", () => {
  const chain = [faulty("underRsa"), faulty("rsaRoot")];
  const judge = (anchors: readonly Uint8Array[]): string | undefined => {
    const verdict = judgeChain(chain, { anchors, wall: IN_TIME });
    return verdict.ok ? undefined : verdict.why;
  };
  assert.equal(judge([faulty("rsaRoot")]), undefined);
  assert.equal(judge([faulty("root")]), "wrong key type: not a P-256 key, but RSA");
});

test("RFC 5280 4.2.1.6: a leaf is known by its common name, its DNS names and its URIs, and nothing else", () => {
  const { names, fingerprint } = leafOf([faulty("sans")]);
  assert.deepEqual(names, ["lamp-1", "urn:dev:ops:32473-lamp-1", "lamp-1.example.com"]);
  assert.match(fingerprint, /^[0-9a-f]{64}$/);
  assert.throws(() => leafOf([]), FormatError);
});

test("every prefix of a certificate, and one with a byte more, is refused when its extensions are read", () => {
  const whole = faulty("sans");
  assert.doesNotThrow(() => readTraits(whole));
  for (let length = 0; length < whole.length; length++) {
    assert.throws(() => readTraits(whole.subarray(0, length)), FormatError);
  }
  assert.throws(() => readTraits(concat(whole, Uint8Array.of(0))), FormatError);
});

test("a certificate with any byte bent is read or refused, and nothing else escapes", () => {
  const whole = faulty("sans");
  for (let at = 0; at < whole.length; at++) {
    for (const bit of [0x01, 0x80, 0xff]) {
      const bent = Uint8Array.from(whole);
      bent[at]! ^= bit; // within
      const rules = { anchors: [faulty("root")], wall: IN_TIME };
      const chain = [bent, faulty("inter")];
      assert.equal(judgeChain(chain, rules).ok, false, `byte ${at}`);
      try {
        readTraits(bent);
        leafOf(chain);
      } catch (fault) {
        assert.ok(fault instanceof FormatError, `byte ${at}: ${String(fault)}`);
      }
    }
  }
});

for (const [usage, configured, wanted] of [
  [0, "inter", true],
  [0, "root", true],
  [0, "other", false],
  [1, "server", true],
  [1, "inter", false],
  [2, "root", true],
  [2, "inter", true],
  [2, "other", false],
  [3, "server", true],
  [3, "root", false],
] as const) {
  test(`RFC 6698 2.1.1: usage ${usage} with ${configured} ${wanted ? "accepts" : "refuses"} the server`, () => {
    const rules = { anchors: [der("root")], wall: IN_TIME, name: NAME };
    const verdict = judgeServer([der("server"), der("inter")], rules, {
      usage,
      certificate: der(configured),
    });
    assert.equal(verdict.ok, wanted);
  });
}

test("RFC 6698 2.1.1: usage 3 asks for no root, no name and no date", () => {
  const rules = { anchors: [], wall: 0 };
  const verdict = judgeServer([der("expired")], rules, { usage: 3, certificate: der("expired") });
  assert.equal(verdict.ok, true);
});

test("bytes that are no certificate are refused with a reason", () => {
  const rules = { anchors: [der("root")], wall: IN_TIME };
  for (const bytes of [
    new Uint8Array(0),
    Uint8Array.of(0x30, 0x82),
    der("server").subarray(0, 99),
  ]) {
    const verdict = judgeChain([bytes], rules);
    assert.equal(verdict.ok, false);
  }
});
