import assert from "node:assert/strict";
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  X509Certificate,
} from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { UsageError, hex, seededRng, toHex } from "@godwit/base";
import { makeKey } from "./crypto.ts";
import { checkChain, readCertificates, readPublicKey, signingKey } from "./key-material.ts";

const file = new URL("../src/vectors/certificate-faults.json", import.meta.url);
const { keys, certificates } = JSON.parse(readFileSync(file, "utf8")) as {
  keys: Record<string, string>;
  certificates: Record<string, string>;
};
const PKCS8 = hex(keys["leaf"] ?? "");
const leaf = createPrivateKey({ key: Buffer.from(PKCS8), format: "der", type: "pkcs8" });
const open = createPublicKey(leaf);
const SPKI = new Uint8Array(open.export({ format: "der", type: "spki" }));
const pem = (name: string): string =>
  new X509Certificate(Buffer.from(certificates[name] ?? "", "hex")).toString();
const der = (name: string): Uint8Array => hex(certificates[name] ?? "");
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const text = (bytes: string): Uint8Array => new TextEncoder().encode(bytes);

const privatePem = leaf.export({ format: "pem", type: "pkcs8" }) as string;
const sec1Pem = leaf.export({ format: "pem", type: "sec1" }) as string;
const publicPem = open.export({ format: "pem", type: "spki" }) as string;
const PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
const encrypted = leaf.export({
  format: "pem",
  type: "pkcs8",
  cipher: "aes-256-cbc",
  passphrase: "secret",
}) as string;
const encryptedSec1 = leaf.export({
  format: "pem",
  type: "sec1",
  cipher: "aes-256-cbc",
  passphrase: "secret",
}) as string;
const rsa = generateKeyPairSync("rsa", { modulusLength: 1_024 });
const p384 = generateKeyPairSync("ec", { namedCurve: "secp384r1" });

for (const [how, given] of [
  ["PEM", privatePem],
  ["PEM of SEC 1", sec1Pem],
  ["PEM of SEC 1 behind its parameters", PARAMETERS + sec1Pem],
  ["PEM with text around it", `Bag attributes\n${privatePem}\nend`],
  ["PEM as bytes", text(privatePem)],
  ["hex", toHex(PKCS8)],
  ["base64", base64(PKCS8)],
  ["DER", PKCS8],
] as const) {
  test(`a private key is read from ${how}`, () => {
    assert.deepEqual(new Uint8Array(signingKey(given).spki), SPKI);
  });
}

for (const [how, given] of [
  ["PEM", publicPem],
  ["hex", toHex(SPKI)],
  ["base64 in lines", base64(SPKI).replace(/(.{40})/g, "$1\n")],
  ["DER", SPKI],
] as const) {
  test(`a public key is read from ${how}`, () => {
    assert.deepEqual(new Uint8Array(readPublicKey(given)), SPKI);
  });
}

test("certificates are read from PEM in their order, or one from base64, hex or DER", () => {
  assert.deepEqual(readCertificates(pem("sans") + pem("inter")), [der("sans"), der("inter")]);
  for (const one of [base64(der("sans")), toHex(der("sans")), der("sans")]) {
    assert.deepEqual(readCertificates(one), [der("sans")]);
  }
});

for (const { what, read, says } of [
  {
    what: "an encrypted key",
    read: () => signingKey(encrypted),
    says: /encrypted with a passphrase/,
  },
  {
    what: "an encrypted key of the older kind",
    read: () => signingKey(encryptedSec1),
    says: /encrypted with a passphrase/,
  },
  {
    what: "a public key as a private one",
    read: () => signingKey(publicPem),
    says: /a private key is wanted, and this is a public key/,
  },
  {
    what: "a certificate as a private key",
    read: () => signingKey(pem("sans")),
    says: /private key is wanted.*certificate/,
  },
  {
    what: "an RSA key",
    read: () => signingKey(rsa.privateKey.export({ format: "pem", type: "pkcs8" })),
    says: /only P-256 keys sign here, not RSA/,
  },
  {
    what: "a P-384 key",
    read: () => signingKey(p384.privateKey.export({ format: "pem", type: "pkcs8" })),
    says: /only P-256 keys sign here, not secp384r1/,
  },
  { what: "half a key", read: () => signingKey(privatePem.slice(0, 120)), says: /damaged/ },
  {
    what: "a key with a letter too many",
    read: () => signingKey(privatePem.replace("M", "MM")),
    says: /damaged|not a private key/,
  },
  { what: "nothing", read: () => signingKey(" \n"), says: /is empty/ },
  { what: "a file's name", read: () => signingKey("./key.pem"), says: /not PEM, base64 or hex/ },
  {
    what: "a private key as a public one",
    read: () => readPublicKey(privatePem),
    says: /stays with its owner.*-pubout/,
  },
  {
    what: "a private key in hex as a public one",
    read: () => readPublicKey(toHex(PKCS8)),
    says: /not a SubjectPublicKeyInfo/,
  },
  {
    what: "a certificate as a public key",
    read: () => readPublicKey(pem("sans")),
    says: /openssl x509 .* -pubkey/,
  },
  {
    what: "an RSA public key",
    read: () => readPublicKey(rsa.publicKey.export({ format: "pem", type: "spki" })),
    says: /not a P-256 key, but RSA/,
  },
  {
    what: "a key as a certificate",
    read: () => readCertificates(privatePem),
    says: /a certificate is wanted, and this is a private key/,
  },
  {
    what: "a certificate that is cut off",
    read: () => readCertificates(der("sans").subarray(0, 99)),
    says: /not an X\.509 certificate/,
  },
]) {
  test(`${what} is refused in words, without its bytes`, () => {
    assert.throws(read, (fault) => {
      assert.ok(fault instanceof UsageError, String(fault));
      assert.match(fault.message, says);
      assert.ok(!fault.message.includes(base64(PKCS8).slice(0, 20)) && fault.message.length < 250);
      return true;
    });
  });
}

test("what is shown belongs together: the key to the first certificate, each certificate to the next", () => {
  const key = signingKey(PKCS8);
  checkChain([der("sans"), der("inter")], key);
  checkChain([der("sans")], key);
  for (const [chain, says] of [
    [[], /there is none/],
    [["inter", "sans"], /another key than the one.*put its own certificate first/],
    [["root"], /another key than the one that is given$/],
    [["sans", "root"], /the second certificate did not issue the one before it/],
    [["sans", "inter", "deep"], /the next certificate did not issue/],
  ] as const) {
    assert.throws(() => checkChain(chain.map(der), key), says);
  }
});

test("RFC 5915 3: a key that is made is another each time, and signs", () => {
  const rng = seededRng(1);
  const [one, two] = [makeKey(rng), makeKey(rng)].map((made) => signingKey(made));
  assert.notDeepEqual(one?.spki, two?.spki);
  assert.equal(one?.spki.length, 91);
});
