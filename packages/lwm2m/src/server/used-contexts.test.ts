import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, concat, hex, utf8, type StoreChange } from "@godwit/base";
import type { OscoreCredential } from "./protected-sessions.ts";
import { USED_TABLE, UsedContexts, shareFixedContext } from "./used-contexts.ts";

const FIXED: OscoreCredential = {
  kind: "oscore",
  endpoint: "lamp",
  senderId: hex("53"),
  recipientId: hex("43"),
  masterSecret: hex("0102030405060708090a0b0c0d0e0f10"),
  masterSalt: hex("9e7ca92223786340"),
  idContext: undefined,
  aead: undefined,
  hkdf: undefined,
  derivation: "fixed",
};

/** Binds the place, hides nothing. */
const sealer = {
  seal: (secret: Uint8Array, context: string) => concat(utf8(context), secret),
  open: (sealed: Uint8Array, context: string) => {
    const head = sealed.subarray(0, context.length);
    if (new TextDecoder().decode(head) !== context) throw new FormatError("of another place");
    return sealed.subarray(context.length);
  },
};

test("RFC 8613 3.2.1: a context was used if either of its keys was, whatever else is different", () => {
  const used = new UsedContexts(sealer, 100);
  used.noting(FIXED).take();
  const cases: readonly (readonly [
    what: string,
    changes: Partial<OscoreCredential>,
    has: boolean,
  ])[] = [
    ["itself", {}, true],
    ["of another endpoint", { endpoint: "other" }, true],
    ["with its defaults written out", { aead: 10, hkdf: "sha256" }, true],
    ["our key the same", { recipientId: hex("44") }, true],
    ["the device's key the same", { senderId: hex("54") }, true],
    ["both ids others", { senderId: hex("54"), recipientId: hex("44") }, false],
    ["another secret", { masterSecret: hex("ff02030405060708090a0b0c0d0e0f10") }, false],
    ["another salt", { masterSalt: undefined }, false],
    ["an ID Context", { idContext: hex("01") }, false],
    ["an empty ID Context", { idContext: hex("") }, false],
    ["another algorithm", { aead: 1 }, false],
    ["another hash", { hkdf: "sha512" }, false],
  ];
  for (const [what, changes, has] of cases) {
    assert.equal(used.has({ ...FIXED, ...changes }), has, what);
    assert.equal(shareFixedContext(FIXED, { ...FIXED, ...changes }), has, what);
  }
});

test("nothing has changed before it is taken; it is known over a restart; the oldest give way", () => {
  const rows = new Map<string, Uint8Array>();
  const write = (changes: readonly StoreChange[]): void => {
    for (const { key, value } of changes) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    }
  };
  const of = (n: number): OscoreCredential => {
    return { ...FIXED, masterSecret: Uint8Array.from({ length: 16 }, () => n) };
  };
  let used = new UsedContexts(sealer, 6);
  for (let n = 1; n <= 5; n++) {
    const { rows: changes, take } = used.noting(of(n));
    assert.ok(changes.every(({ table }) => table === USED_TABLE));
    assert.equal(used.has(of(n)), false);
    write(changes);
    take();
    assert.equal(used.has(of(n)), true);
    used = new UsedContexts(sealer, 6);
    for (const [key, value] of rows) used.restore({ key, value });
    assert.equal(rows.size, Math.min(2 * n, 6));
  }
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((n) => used.has(of(n))),
    [false, false, true, true, true],
  );
  assert.deepEqual(used.noting(of(5)).rows, [], "once is enough");
  const [key, value] = [...rows][0]!; // six are left
  assert.throws(() => used.restore({ key: "000000000099", value }), FormatError);
  assert.throws(() => used.restore({ key, value: value.subarray(0, 40) }), FormatError);
});

test("of a credential that nobody could read its id is noted", () => {
  const used = new UsedContexts(sealer, 6);
  used.noting("oscore:43").take();
  assert.equal(used.has(FIXED), false);
  assert.equal(used.mayHave(FIXED), true);
  assert.equal(used.mayHave({ ...FIXED, recipientId: hex("44") }), false);
});
