import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, concat, hex, toHex, utf8, type StoreChange } from "@godwit/base";
import { CREDENTIAL_TABLE, CredentialBook, SECURED_TABLE } from "./credential-book.ts";
import { encodeCredential, identityOf, type Credential } from "./credential.ts";

type Psk = Extract<Credential, { kind: "psk" }>;

/** The book's own layout is looked at here, so nothing is sealed. */
const open = { seal: (secret: Uint8Array) => secret, open: (sealed: Uint8Array) => sealed };
const lamp: Psk = { kind: "psk", endpoint: "lamp", identity: "lamp-1", key: hex("11".repeat(16)) };
const id = "psk:lamp-1";

test("an endpoint is locked once for each unreadable credential, whoever says so how often", () => {
  const book = new CredentialBook(open);
  const [change] = book.lock(id, "lamp");
  assert.ok(change);
  const { revision } = book;
  assert.deepEqual(book.lock(id, "lamp"), [change]);
  assert.equal(book.revision, revision);
  assert.equal(change.table, SECURED_TABLE);
  assert.equal(change.key, id);
  assert.equal(toHex(change.value!), "0100046c616d70"); // a lock stores a value
  book.restoreOwner({ key: "psk:lamp-2", value: change.value! }); // likewise
  remove(book, id);
  assert.equal(book.isSecured("lamp"), true, "the other is still locked");
  remove(book, "psk:lamp-2");
  assert.equal(book.isSecured("lamp"), false);
});

test("an owner's record beside a readable credential locks nothing", () => {
  const book = new CredentialBook(open);
  const [, owner] = put(book, lamp);
  book.restoreOwner({ key: id, value: owner!.value! }); // adding stores two values
  assert.equal(book.isUnreadable(id), false);
  assert.equal(book.vouches(identityOf(lamp), 1), "good");
  assert.equal(book.vouches(identityOf({ ...lamp, identity: "other" }), 1), "gone");
  assert.equal(book.vouches({ kind: "none" }, 1), "gone");
  assert.equal(book.views().length, 1);
});

test("each change of the book counts, and nothing else does", () => {
  const book = new CredentialBook(open);
  assert.equal(book.revision, 0);
  let before = 0;
  for (const change of [
    () => put(book, lamp),
    () => put(book, { ...lamp, key: hex("22".repeat(16)) }),
    () => remove(book, id),
    () => book.lock("psk:lamp-2", "lamp"),
    () => remove(book, "psk:lamp-2"),
  ]) {
    change();
    assert.ok(book.revision > before);
    before = book.revision;
  }
  const other = new CredentialBook(open);
  put(other, lamp);
  assert.equal(other.revision, 1);
  assert.equal(remove(book, id), undefined);
  book.views();
  assert.equal(book.revision, before);
});

test("views are of one endpoint or of all; an unreadable credential shows the kind and the subject of its id", () => {
  const book = new CredentialBook(open);
  put(book, lamp);
  book.lock("x509:urn:dev:ops:1", "door");
  const view = { id, kind: "psk", endpoint: "lamp", subject: "lamp-1" };
  const locked = {
    id: "x509:urn:dev:ops:1",
    kind: "x509",
    endpoint: "door",
    subject: "urn:dev:ops:1",
    unreadable: true,
  };
  assert.deepEqual(book.views(), [view, locked]);
  assert.deepEqual(book.views("lamp"), [view]);
  assert.deepEqual(book.views("door"), [locked]);
  assert.deepEqual(book.views("none"), []);
  assert.equal(book.size, 1);
});

test("the key of a PSK identity is no other kind's, and of nobody where there is none", () => {
  const book = new CredentialBook(open);
  put(book, lamp);
  put(book, { kind: "x509", endpoint: "door", name: "lamp-2" });
  assert.deepEqual(book.pskOf("lamp-1"), lamp.key);
  assert.equal(book.pskOf("lamp-2"), undefined);
});

test("generations count from 1 unless told otherwise, and a credential keeps the one it was stored with", () => {
  const book = new CredentialBook(open);
  put(book, lamp);
  put(book, { ...lamp, identity: "lamp-2" });
  assert.equal(book.generationOf({ kind: "psk", identity: "lamp-1" }), 1);
  assert.equal(book.generationOf({ kind: "psk", identity: "lamp-2" }), 2);
  assert.equal(book.generationOf({ kind: "psk", identity: "lamp-3" }), undefined);
  assert.equal(book.generationOf({ kind: "none" }), undefined);
  const [row] = put(new CredentialBook(open, () => 0x1234), lamp);
  assert.equal(toHex(row!.value!), `0200000000001234${toHex(encodeCredential(lamp))}`); // adding stores it
});

test("a record under the key of another credential is refused, and stands for nobody", () => {
  const [row] = put(new CredentialBook(open), lamp);
  const book = new CredentialBook(open);
  const value = row!.value!; // adding stores it
  assert.throws(() => book.restore({ key: "psk:lamp-2", value }), FormatError);
  assert.equal(book.size, 0);
  assert.equal(book.isSecured("lamp"), false);
  book.restore({ key: id, value });
  assert.deepEqual(book.get(id), lamp);
});

test("owners that the store does not know are named, those that it knows are not", () => {
  const book = new CredentialBook(open);
  const [, first] = put(book, lamp);
  const [, second] = put(book, { ...lamp, endpoint: "door", identity: "door-1" });
  assert.deepEqual(book.owners(new Set()), [first, second]);
  assert.deepEqual(book.owners(new Set([id])), [second]);
});

test("what is revoked is taken from both tables", () => {
  const book = new CredentialBook(open);
  put(book, lamp);
  const gone: StoreChange[] = [
    { table: CREDENTIAL_TABLE, key: id, value: undefined },
    { table: SECURED_TABLE, key: id, value: undefined },
  ];
  assert.deepEqual(remove(book, id), gone);
});

test("an owner's record of an unknown layout, cut, or with a byte more is refused", () => {
  const whole = concat(hex("010004"), utf8("lamp"));
  const restore = (value: Uint8Array): void => {
    const book = new CredentialBook(open);
    try {
      book.restoreOwner({ key: id, value });
    } finally {
      assert.equal(book.isSecured("lamp"), value === whole);
    }
  };
  restore(whole);
  assert.throws(() => restore(concat(hex("020004"), utf8("lamp"))), /unknown layout/);
  assert.throws(() => restore(concat(whole, hex("00"))), FormatError);
  for (let length = 0; length < whole.length; length++)
    assert.throws(() => restore(whole.subarray(0, length)), FormatError);
});

function put(book: CredentialBook, credential: Credential): readonly StoreChange[] {
  const { rows, take } = book.adding(credential);
  take();
  return rows;
}

function remove(book: CredentialBook, key: string): readonly StoreChange[] | undefined {
  const change = book.removing(key);
  change?.take();
  return change?.rows;
}

test("a credential that cannot be read and whose endpoint nobody knows locks the one of its name, until it is added again", () => {
  const book = new CredentialBook(open);
  assert.deepEqual(book.lock("psk:lamp-1", undefined), []);
  assert.equal(book.isSecured("lamp-1"), true);
  put(book, { kind: "psk", endpoint: "lamp", identity: "lamp-1", key: lamp.key });
  assert.deepEqual([book.isSecured("lamp-1"), book.isSecured("lamp")], [false, true]);
  assert.equal(book.isUnreadable("psk:lamp-1"), false);
  book.lock("psk:door-1", "door");
  const other = { kind: "psk", endpoint: "gate", identity: "door-1", key: lamp.key } as const;
  assert.throws(() => book.adding(other), /belongs to the endpoint door/);
});
