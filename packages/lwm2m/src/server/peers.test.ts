import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, toHex, type Identity } from "@godwit/base";
import { leafOf, signingKey } from "@godwit/dtls";
import { CredentialBook } from "./credential-book.ts";
import { judgePeer } from "./peers.ts";

const file = new URL("../../../dtls/src/vectors/certificate-faults.json", import.meta.url);
const { keys, certificates } = JSON.parse(readFileSync(file, "utf8")) as {
  keys: Record<string, string>;
  certificates: Record<string, string>;
};
const der = (name: string): Uint8Array => hex(certificates[name] ?? "");
const fingerprint = (name: string): string => leafOf([der(name)]).fingerprint;
const { spki } = signingKey(hex(keys["leaf"] ?? ""));
const IN_TIME = 1_800_000_000_000; // January 2027

function book(): CredentialBook {
  const empty = new CredentialBook({ seal: (secret) => secret, open: (sealed) => sealed });
  empty.adding({ kind: "x509", endpoint: "lamp", name: "urn:dev:ops:32473-lamp-1" }).take();
  empty
    .adding({ kind: "x509", endpoint: "pinned", fingerprint: hex(fingerprint("clientOnly")) })
    .take();
  empty
    .adding({ kind: "x509", endpoint: "server", fingerprint: hex(fingerprint("serverOnly")) })
    .take();
  empty.adding({ kind: "rpk", endpoint: "bare", spki }).take();
  return empty;
}

function judged(
  chain: readonly string[],
  { anchors = ["root"], now = IN_TIME }: { anchors?: readonly string[]; now?: number } = {},
): Identity | string {
  const lookup = {
    kind: "certificate",
    identity: { kind: "x509", subject: "not looked at" },
    certificate: { kind: "x509", chain: chain.map(der) },
    serverName: "",
  } as const;
  const verdict = judgePeer(lookup, book(), { port: 5_684, anchors: anchors.map(der) }, now);
  return verdict.ok ? (verdict.identity ?? "nobody") : verdict.why;
}

test("a certificate under a trusted root is known by whichever of its names has a credential", () => {
  const identity = { kind: "x509", subject: "urn:dev:ops:32473-lamp-1" };
  assert.deepEqual(judged(["sans", "inter"]), identity);
});

test("a pinned certificate needs no root and no chain, and has the name of its fingerprint", () => {
  const identity = { kind: "x509", subject: `sha256:${fingerprint("clientOnly")}` };
  assert.deepEqual(judged(["clientOnly"], { anchors: [] }), identity);
});

for (const { what, chain, options, says } of [
  {
    what: "a stranger's name",
    chain: ["anyUse", "inter"],
    options: {},
    says: /^wrong name: no credential has "any use", nor sha256:[0-9a-f]{64}$/,
  },
  {
    what: "five strange names, of which three are told, and 64 letters of each",
    chain: ["manyNames"],
    options: { anchors: ["manyNames"] },
    says: /has "name-1" or "name-2\.example\.com" or "name-3\.[^"]{57}", nor sha256:/,
  },
  {
    what: "no root at all",
    chain: ["sans", "inter"],
    options: { anchors: [] },
    says: /^unknown issuer: .*\(no root is trusted, and sha256:[0-9a-f]{64} is no credential's\)$/,
  },
  {
    what: "another root",
    chain: ["sans", "inter"],
    options: { anchors: ["deep"] },
    says: /^unknown issuer: /,
  },
  {
    what: "a known name, forged",
    chain: ["forged", "inter"],
    options: {},
    says: /^bad signature: /,
  },
  {
    what: "a time before it",
    chain: ["sans", "inter"],
    options: { now: 0 },
    says: /^certificate not yet valid/,
  },
  {
    what: "a pinned certificate out of its time",
    chain: ["clientOnly"],
    options: { now: 5_000_000_000_000 },
    says: /^certificate expired on /,
  },
  {
    what: "a pinned certificate for servers",
    chain: ["serverOnly"],
    options: {},
    says: /^wrong usage: /,
  },
  { what: "an RSA key", chain: ["rsa", "inter"], options: {}, says: /^wrong key type: / },
  { what: "nothing", chain: [], options: {}, says: /^no certificate$/ },
  {
    what: "bytes that are none",
    chain: ["missing"],
    options: {},
    says: /^certificate unreadable: /,
  },
] as const) {
  test(`a certificate with ${what} is refused in words`, () => {
    const verdict = judged(chain, options);
    assert.ok(typeof verdict === "string", what);
    assert.match(verdict, says);
  });
}

test("a raw public key is known as it is, or told as it is so that it can be added", () => {
  const ask = (shown: Uint8Array): string => {
    const identity = { kind: "rpk", spki: toHex(shown) } as const;
    const certificate = { kind: "rpk", spki: shown } as const;
    const lookup = { kind: "certificate", identity, certificate, serverName: "" } as const;
    const verdict = judgePeer(lookup, book(), { port: 5_684 }, IN_TIME);
    return verdict.ok ? "in" : verdict.why;
  };
  assert.equal(ask(spki), "in");
  const other = Uint8Array.from(spki).fill(1, -8);
  assert.equal(ask(other), `no credential has the public key ${toHex(other)}`);
});

test("a session is resumed for as long as its identity has the credential that it was proven by", () => {
  const known = book();
  for (const [subject, ok] of [
    ["urn:dev:ops:32473-lamp-1", true],
    [`sha256:${fingerprint("clientOnly")}`, true],
    ["lamp-1", false],
  ] as const) {
    const identity = { kind: "x509", subject } as const;
    const generation = known.generationOf(identity) ?? 0;
    const resumes = (by: number): boolean => {
      const lookup = { kind: "resume", identity, generation: by } as const;
      return judgePeer(lookup, known, { port: 5_684 }, IN_TIME).ok;
    };
    assert.equal(resumes(generation), ok);
    assert.equal(resumes(generation + 100), false, "of the one before it");
  }
});
