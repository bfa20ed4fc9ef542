import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, hex } from "@godwit/base";
import { Device } from "./device.ts";
import { parseOscore } from "./oscore.ts";

const WHOLE = { senderId: "01", recipientId: "", masterSecret: "0102030405060708090a0b0c0d0e0f10" };

test("a credential in JSON: ids and secrets are hex, an id may be empty, the rest has defaults", () => {
  const { credential } = parseOscore({ ...WHOLE, masterSalt: "9e7c", aead: 10, hkdf: "sha256" });
  assert.deepEqual(credential, {
    input: {
      senderId: hex("01"),
      recipientId: hex(""),
      masterSecret: hex(WHOLE.masterSecret),
      masterSalt: hex("9e7c"),
      aead: 10,
      hkdf: "sha256",
    },
    derivation: "negotiated",
    initiates: true,
  });
});

for (const { json, says } of [
  { json: undefined, says: /one object, not undefined/ },
  { json: {}, says: /senderId is missing/ },
  { json: { ...WHOLE, masterSecret: undefined }, says: /masterSecret is missing/ },
  { json: { ...WHOLE, senderId: "1" }, says: /senderId is no hex/ },
  { json: { ...WHOLE, secret: "00" }, says: /no option "secret"/ },
  { json: { ...WHOLE, aead: "10" }, says: /aead must be a whole number/ },
  { json: { ...WHOLE, aead: 9_999 }, says: /./ },
  { json: { ...WHOLE, derivation: "free" }, says: /derivation must be "fixed" or/ },
  { json: { ...WHOLE, senderId: "" }, says: /same/ },
  { json: { ...WHOLE, senderId: "0102030405060708" }, says: /at most 7/ },
]) {
  test(`a credential that cannot be is named: ${JSON.stringify(json)}`, () => {
    assert.throws(
      () => parseOscore(json),
      (fault) => fault instanceof UsageError && says.test(fault.message),
    );
  });
}

test("RFC 8613 B.1: a fixed context without a store is refused, for its numbers would be used twice", () => {
  const security = parseOscore({ ...WHOLE, derivation: "fixed" });
  assert.throws(
    () => new Device({ endpoint: "a", server: "coap://127.0.0.1", security }),
    /needs a store/,
  );
});
