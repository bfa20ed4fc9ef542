import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { judgeChain, judgeServer } from "./certificates.ts";
import { parseCertificate } from "./crypto.ts";

const file = new URL("../src/vectors/certificates.json", import.meta.url);
const { certificates } = JSON.parse(readFileSync(file, "utf8")) as {
  certificates: Record<string, string>;
};
const der = (name: string): Uint8Array => hex(certificates[name] ?? "");

const IN_TIME = 1_800_000_000_000; // January 2027
const NAME = "lwm2m.example.com";

test("dates and names of a certificate are read as they are written in it", () => {
  const parsed = parseCertificate(der("expired"));
  assert.equal(parsed.validFrom, Date.UTC(2026, 10, 22, 18, 47, 55));
  assert.equal(parsed.validTo, Date.UTC(2026, 10, 23, 18, 47, 55));
  assert.equal(parseCertificate(der("device")).commonName, "urn:dev:ops:32473-weather-7");
});

for (const [what, chain, rules, wanted] of [
  ["leaf, intermediate, root", ["server", "inter"], {}, undefined],
  ["the root sent along", ["server", "inter", "root"], {}, undefined],
  ["in another order", ["server", "root", "inter"], {}, undefined],
  ["by its address", ["server", "inter"], { name: "198.51.100.1" }, undefined],
  ["the intermediate left out", ["server"], {}, "no way to a trusted root"],
  ["another root trusted", ["server", "inter"], { anchors: ["other"] }, "no way to a trusted root"],
  ["self-signed by somebody", ["other"], { name: undefined }, "no way to a trusted root"],
  [
    "another name",
    ["server", "inter"],
    { name: "evil.example" },
    "certificate is not for evil.example",
  ],
  ["expired", ["expired"], {}, "certificate expired"],
  ["not yet valid", ["server", "inter"], { wall: 0 }, "certificate not yet valid"],
  ["issued by a leaf", ["under", "server", "inter"], {}, "issuer is no CA"],
  ["nothing", [], {}, "no certificate"],
  ["a curve of another kind", ["p384"], {}, "certificate unreadable: not a P-256 key"],
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
