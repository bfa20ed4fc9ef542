import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError, concat, hex, utf8 } from "@godwit/base";
import { CREDENTIAL_TABLE, CredentialBook } from "./credential-book.ts";
import {
  checkCredential,
  credentialId,
  credentialIdOf,
  decodeCredential,
  encodeCredential,
  identityOf,
  type Credential,
} from "./credential.ts";

const credentials: readonly Credential[] = [
  { kind: "psk", endpoint: "a", identity: "dev01", key: hex("000102030405060708090a0b0c0d0e0f") },
  {
    kind: "oscore",
    endpoint: "b",
    senderId: hex("aa"),
    recipientId: hex("01"),
    masterSecret: hex("0102030405060708090a0b0c0d0e0f10"),
    masterSalt: hex("9e7ca92223786340"),
    idContext: undefined,
    aead: 10,
    hkdf: "sha256",
    derivation: "negotiated",
  },
  { kind: "rpk", endpoint: "c", spki: hex("3059301306072a8648ce3d0201") },
  { kind: "x509", endpoint: "d", name: "urn:dev:ops:32473-d-1" },
  { kind: "x509", endpoint: "e", fingerprint: new Uint8Array(32).fill(0xe5) },
];

/** Enough of a cipher to see that nothing is stored in the clear and that the place is bound. */
const sealer = {
  seal: (secret: Uint8Array, context: string): Uint8Array =>
    concat(
      utf8(`${context}|`),
      secret.map((byte) => byte ^ 0x5a),
    ),
  open(sealed: Uint8Array, context: string): Uint8Array {
    const head = utf8(`${context}|`);
    if (new TextDecoder().decode(sealed.subarray(0, head.length)) !== `${context}|`) {
      throw new FormatError("sealed for another place");
    }
    return sealed.subarray(head.length).map((byte) => byte ^ 0x5a);
  },
};

for (const credential of credentials) {
  test(`a ${credential.kind} credential survives its record; every prefix of it is refused`, () => {
    const record = encodeCredential(credential);
    assert.deepEqual(decodeCredential(record), credential);
    for (let length = 0; length < record.length; length++) {
      assert.throws(() => decodeCredential(record.subarray(0, length)), FormatError);
    }
    assert.throws(() => decodeCredential(concat(record, hex("00"))), FormatError);
    assert.equal(credentialIdOf(identityOf(credential)), credentialId(credential));
  });
}

test("a book keeps what it is given, over a restart, and shows no secret", () => {
  const book = new CredentialBook(sealer);
  const stored = credentials.map((credential) => book.add(credential));
  const revived = new CredentialBook(sealer);
  const records = stored.map(({ key, value }) => ({ key, value: value! })); // adding stores a value
  assert.equal(revived.restore(records), 0);
  assert.deepEqual(revived.views(), book.views());
  assert.equal(stored[0]?.table, CREDENTIAL_TABLE);
  assert.equal(revived.endpointOf({ kind: "psk", identity: "dev01" }), "a");
  assert.equal(revived.endpointOf({ kind: "psk", identity: "dev02" }), undefined);
  assert.equal(revived.isSecured("d"), true);
  assert.equal(revived.isSecured("f"), false);
  assert.doesNotMatch(JSON.stringify(book.views()), /0001020304|01020304050607|9e7c/);
  records[0] = { key: "psk:dev02", value: records[0]!.value };
  assert.equal(new CredentialBook(sealer).restore(records), 1);
});

test("a credential stands for one endpoint; the last one removed leaves it unsecured", () => {
  const book = new CredentialBook(sealer);
  const [psk] = credentials as [Extract<Credential, { kind: "psk" }>];
  book.add(psk);
  assert.throws(() => book.add({ ...psk, endpoint: "other" }), /belongs to the endpoint a/);
  book.add({ ...psk, key: hex("ff".repeat(16)) });
  assert.equal(book.pskOf("dev01")?.[0], 0xff);
  book.add({ ...psk, identity: "dev01-next" });
  book.remove("psk:dev01");
  assert.equal(book.isSecured("a"), true);
  book.remove("psk:dev01-next");
  assert.equal(book.isSecured("a"), false);
  assert.equal(book.remove("psk:dev01"), undefined);
});

const bad: readonly { what: string; credential: Credential; says: RegExp }[] = [
  {
    what: "a short key",
    credential: { kind: "psk", endpoint: "a", identity: "i", key: hex("00") },
    says: /PSK has 1 bytes/,
  },
  {
    what: "no identity",
    credential: { kind: "psk", endpoint: "a", identity: "", key: hex("00".repeat(16)) },
    says: /identity has 0/,
  },
  {
    what: "no endpoint name",
    credential: { kind: "x509", endpoint: "", name: "x" },
    says: /endpoint name is empty/,
  },
  {
    what: "a name that looks like a fingerprint",
    credential: { kind: "x509", endpoint: "a", name: "sha256:00" },
    says: /give it as fingerprint/,
  },
  {
    what: "a short fingerprint",
    credential: { kind: "x509", endpoint: "a", fingerprint: hex("00") },
    says: /fingerprint has 1 bytes/,
  },
  {
    what: "equal ids",
    credential: {
      ...(credentials[1] as Extract<Credential, { kind: "oscore" }>),
      senderId: hex("01"),
    },
    says: /must differ/,
  },
  {
    what: "a long id",
    credential: {
      ...(credentials[1] as Extract<Credential, { kind: "oscore" }>),
      senderId: hex("0102030405060708"),
    },
    says: /Sender ID has 8/,
  },
];

for (const { what, credential, says } of bad) {
  test(`${what} is refused by name`, () => {
    assert.throws(
      () => checkCredential(credential),
      (fault) => fault instanceof UsageError && says.test(fault.message),
    );
  });
}
