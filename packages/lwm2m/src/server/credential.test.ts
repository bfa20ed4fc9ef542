import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, UsageError, concat, hex, toHex, utf8, type StoreChange } from "@godwit/base";
import { CREDENTIAL_TABLE, CredentialBook, SECURED_TABLE } from "./credential-book.ts";
import {
  checkCredential,
  credentialId,
  credentialIdOf,
  decodeCredential,
  encodeCredential,
  identityOf,
  viewCredential,
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
  const stored = credentials.flatMap((credential) => put(book, credential));
  const revived = new CredentialBook(sealer);
  const rows = (table: string): { key: string; value: Uint8Array }[] =>
    stored
      .filter((change) => change.table === table)
      .map(({ key, value }) => ({ key, value: value! })); // adding stores a value
  const records = rows(CREDENTIAL_TABLE);
  for (const record of records) revived.restore(record);
  for (const record of rows(SECURED_TABLE)) revived.restoreOwner(record);
  assert.deepEqual(revived.views(), book.views());
  assert.equal(stored[0]?.table, CREDENTIAL_TABLE);
  assert.equal(revived.endpointOf({ kind: "psk", identity: "dev01" }), "a");
  assert.equal(revived.endpointOf({ kind: "psk", identity: "dev02" }), undefined);
  assert.equal(revived.isSecured("d"), true);
  assert.equal(revived.isSecured("f"), false);
  assert.doesNotMatch(JSON.stringify(book.views()), /0001020304|01020304050607|9e7c/);
  const { value } = records[0]!; // there are five
  assert.throws(() => new CredentialBook(sealer).restore({ key: "psk:dev02", value }), FormatError);
});

test("a replaced credential is of another generation, the same once more is not, and neither over a restart", () => {
  const [psk] = credentials as [Extract<Credential, { kind: "psk" }>];
  const identity = identityOf(psk);
  const book = new CredentialBook(sealer);
  put(book, psk);
  const first = book.generationOf(identity)!; // it was added
  put(book, { ...psk });
  assert.equal(book.vouches(identity, first), "good");
  const [row] = put(book, { ...psk, key: hex("ff".repeat(16)) });
  assert.equal(book.vouches(identity, first), "gone");
  const revived = new CredentialBook(sealer);
  revived.restore({ key: row!.key, value: row!.value! }); // adding stores a value
  assert.equal(revived.generationOf(identity), book.generationOf(identity));
  assert.equal(revived.vouches(identity, first), "gone");
});

test("a record of a release without generations is read as generation 0", () => {
  const [psk] = credentials as [Credential];
  const book = new CredentialBook(sealer);
  const id = credentialId(psk);
  book.restore({ key: id, value: sealer.seal(encodeCredential(psk), `credential/${id}`) });
  assert.equal(book.vouches(identityOf(psk), 0), "good");
});

test("a credential that cannot be read locks its endpoint until it is given again or removed", () => {
  const [psk] = credentials as [Extract<Credential, { kind: "psk" }>];
  const [, owner] = put(new CredentialBook(sealer), psk);
  const locked = (): CredentialBook => {
    const book = new CredentialBook(sealer);
    book.restoreOwner({ key: owner!.key, value: owner!.value! }); // adding stores a value
    return book;
  };
  const book = locked();
  assert.equal(book.isSecured("a"), true);
  assert.equal(book.endpointOf(identityOf(psk)), undefined);
  assert.equal(book.vouches(identityOf(psk), 1), "unreadable");
  const shown = { id: "psk:dev01", kind: "psk", endpoint: "a", subject: "dev01", unreadable: true };
  assert.deepEqual(book.views(), [shown]);
  assert.throws(() => put(book, { ...psk, endpoint: "other" }), /belongs to the endpoint a/);
  put(book, psk);
  assert.equal(book.endpointOf(identityOf(psk)), "a");
  remove(book, "psk:dev01");
  assert.equal(book.isSecured("a"), false);
  const other = locked();
  assert.notEqual(remove(other, "psk:dev01"), undefined);
  assert.equal(other.isSecured("a"), false);
});

test("a credential stands for one endpoint; the last one removed leaves it unsecured", () => {
  const book = new CredentialBook(sealer);
  const [psk] = credentials as [Extract<Credential, { kind: "psk" }>];
  put(book, psk);
  assert.throws(() => put(book, { ...psk, endpoint: "other" }), /belongs to the endpoint a/);
  put(book, { ...psk, key: hex("ff".repeat(16)) });
  assert.equal(book.pskOf("dev01")?.[0], 0xff);
  put(book, { ...psk, identity: "dev01-next" });
  remove(book, "psk:dev01");
  assert.equal(book.isSecured("a"), true);
  remove(book, "psk:dev01-next");
  assert.equal(book.isSecured("a"), false);
  assert.equal(remove(book, "psk:dev01"), undefined);
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

const oscore = credentials[1] as Extract<Credential, { kind: "oscore" }>;
const some = (length: number): Uint8Array => new Uint8Array(length).fill(0x61);

/** OMA TS Transport 5.2, RFC 8613 3.3: from how many bytes to how many. */
const limits: readonly [string, number, number, (length: number) => Credential][] = [
  ["PSK identity", 1, 128, (n) => ({ ...psk(), identity: "i".repeat(n) })],
  ["PSK", 8, 64, (n) => ({ ...psk(), key: some(n) })],
  ["Sender ID", 0, 7, (n) => ({ ...oscore, senderId: some(n) })],
  ["Recipient ID", 0, 7, (n) => ({ ...oscore, recipientId: some(n) })],
  ["Master Secret", 8, 64, (n) => ({ ...oscore, masterSecret: some(n) })],
  ["Master Salt", 0, 64, (n) => ({ ...oscore, masterSalt: some(n) })],
  ["ID Context", 0, 32, (n) => ({ ...oscore, idContext: some(n) })],
  ["public key", 1, 600, (n) => ({ kind: "rpk", endpoint: "c", spki: some(n) })],
  ["fingerprint", 32, 32, (n) => ({ kind: "x509", endpoint: "e", fingerprint: some(n) })],
  ["name", 1, 128, (n) => ({ kind: "x509", endpoint: "d", name: "n".repeat(n) })],
];

for (const [what, from, to, make] of limits) {
  test(`the ${what} of a credential has ${from} to ${to} bytes, and one more or less is refused by name`, () => {
    for (const length of [from, to]) checkCredential(make(length));
    for (const length of [from - 1, to + 1]) {
      if (length < 0) continue;
      const says = new RegExp(`the ${what} has ${length} bytes; ${from} to ${to} are possible`);
      assert.throws(() => checkCredential(make(length)), says);
      assert.throws(() => put(new CredentialBook(sealer), make(length)), says, "in the book");
    }
  });
}

const records: readonly [string, Credential, string][] = [
  [
    "PSK",
    { kind: "psk", endpoint: "ab", identity: "dev", key: hex("0011223344556677") },
    "0100 00026162 0003646576 00080011223344556677",
  ],
  [
    "OSCORE with all its fields",
    {
      kind: "oscore",
      endpoint: "b",
      senderId: hex("aa"),
      recipientId: hex("01"),
      masterSecret: hex("0102030405060708"),
      masterSalt: hex("9e7c"),
      idContext: hex("37cb"),
      aead: 24,
      hkdf: "sha512",
      derivation: "both",
    },
    "0101 000162 0001aa 000101 00080102030405060708 0100029e7c 01000237cb 00000018 02 02",
  ],
  [
    "OSCORE with its defaults",
    {
      ...oscore,
      masterSecret: hex("0102030405060708"),
      masterSalt: undefined,
      aead: undefined,
      hkdf: "sha256",
      derivation: "fixed",
    },
    "0101 000162 0001aa 000101 00080102030405060708 00 00 00000000 00 00",
  ],
  ["raw public key", { kind: "rpk", endpoint: "c", spki: hex("3059") }, "0102 000163 00023059"],
  ["certificate", { kind: "x509", endpoint: "d", name: "n" }, "0103 000164 00016e"],
];

for (const [what, credential, record] of records) {
  test(`the stored record of a credential of the kind ${what} is laid out as ever`, () => {
    const bytes = hex(record.replaceAll(" ", ""));
    assert.equal(toHex(encodeCredential(credential)), toHex(bytes));
    assert.deepEqual(decodeCredential(bytes), credential);
  });
}

for (const [what, record, says] of [
  ["layout", "02 00 000161 000162 00080011223344556677", /unknown layout/],
  ["kind", "01 04 000161", /unknown kind/],
  ["length of fingerprint", "01 03 000164 00097368613235363a3030", /fingerprint of another length/],
] as const) {
  test(`a credential record of an unknown ${what} is refused`, () => {
    assert.throws(() => decodeCredential(hex(record.replaceAll(" ", ""))), says);
  });
}

test("RFC 8613 3.3: an ID Context tells two credentials of one Recipient ID apart, in id, view and identity", () => {
  const inContext = { ...oscore, idContext: hex("37cb") };
  assert.equal(credentialId(oscore), "oscore:01");
  assert.equal(credentialId(inContext), "oscore:01@37cb");
  assert.deepEqual(identityOf(inContext), { kind: "oscore", senderId: "01", idContext: "37cb" });
  assert.equal(credentialIdOf(identityOf(inContext)), "oscore:01@37cb");
  assert.equal(viewCredential(inContext).subject, "01@37cb");
  assert.equal(credentialIdOf({ kind: "none" }), undefined);
});

function psk(): Extract<Credential, { kind: "psk" }> {
  return { kind: "psk", endpoint: "a", identity: "dev01", key: some(16) };
}

function put(book: CredentialBook, credential: Credential): readonly StoreChange[] {
  const { rows, take } = book.adding(credential);
  take();
  return rows;
}

function remove(book: CredentialBook, id: string): readonly StoreChange[] | undefined {
  const change = book.removing(id);
  change?.take();
  return change?.rows;
}
