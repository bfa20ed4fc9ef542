import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8, type StoreChange } from "@godwit/base";
import { MasterKey, memoryStore, type MemoryStore } from "@godwit/io";
import { MasterKeyError, checkMasterKey, holdsSealedRecords } from "./master-key-check.ts";

const [right, wrong] = [1, 2].map((fill) => new MasterKey(new Uint8Array(32).fill(fill))) as [
  MasterKey,
  MasterKey,
];

test("J2: a store that holds nothing sealed takes any key, and knows it from then on", async () => {
  const store = memoryStore();
  assert.equal(holdsSealedRecords(store), false);
  await checkMasterKey(store, right);
  assert.equal(holdsSealedRecords(store), true);
  assert.equal([...store.load("masterKey")].length, 2);
  await checkMasterKey(store, right);
  await assert.rejects(checkMasterKey(store, wrong), MasterKeyError);
  await assert.rejects(checkMasterKey(store, undefined), /give the server the key/);
});

test("J2: a store of an earlier release knows its key by what it opens", async () => {
  const store = memoryStore();
  await write(store, "credential", "psk:a", right.seal(utf8("a"), "credential/psk:a"));
  await assert.rejects(
    checkMasterKey(store, wrong),
    /opens none of the 1 sealed records .* put back the key/,
  );
  await checkMasterKey(store, right);
  assert.equal([...store.load("masterKey")].length, 2);
});

test("J4: with one record damaged, of whatever table, the key is still known for the right one", async () => {
  for (const [table, key] of [
    ["credential", "psk:a"],
    ["masterKey", "check-1"],
    ["masterKey", "check-2"],
  ] as const) {
    const store = memoryStore();
    await write(store, "credential", "psk:a", right.seal(utf8("a"), "credential/psk:a"));
    await checkMasterKey(store, right);
    await write(store, table, key, new Uint8Array(40));
    await checkMasterKey(store, right);
    await assert.rejects(checkMasterKey(store, wrong), MasterKeyError);
    const checks = [...store.load("masterKey")];
    assert.equal(checks.length, 2);
    for (const { key: name, value } of checks) right.open(value, `master-key/${name}`);
  }
});

function write(store: MemoryStore, table: string, key: string, value: Uint8Array): Promise<void> {
  const change: StoreChange = { table, key, value };
  return new Promise((resolve, reject) => {
    store.write([change], (fault) => (fault === undefined ? resolve() : reject(fault)));
  });
}
