import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, seededRng, toHex, utf8 } from "@godwit/base";
import { prf } from "./crypto.ts";
import { KeySlab, keyBlock, pskPremaster } from "./keys.ts";
import { SUITES } from "./suites.ts";

test("RFC 5246 5: the PRF gives the known answer for SHA-256", () => {
  const secret = hex("9bbe436ba940f017b17652849a71db35");
  const seed = hex("a0ba9f936cda311827a6f796ffd5198c");
  assert.equal(
    toHex(prf(secret, utf8("test label"), seed, 100)),
    "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a" +
      "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab" +
      "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701" +
      "87347b66",
  );
});

test("RFC 4279 2, RFC 5489 2: premaster secrets, zeros of an agreed secret kept", () => {
  assert.equal(toHex(pskPremaster(hex("aabbcc"))), "0003000000" + "0003aabbcc");
  assert.equal(toHex(pskPremaster(hex("aabb"), hex("0001"))), "00020001" + "0002aabb");
});

test("RFC 5246 6.3: the key block is cut in the order of its section, for every cipher", () => {
  const master = new Uint8Array(48).fill(1);
  const randoms = { client: new Uint8Array(32).fill(2), server: new Uint8Array(32).fill(3) };
  for (const { cipher, name } of SUITES) {
    const { mac, key, salt } = cipher;
    const seed = new Uint8Array(64).fill(3, 0, 32).fill(2, 32);
    const block = toHex(prf(master, utf8("key expansion"), seed, 2 * (mac + key + salt)));
    const { client, server } = keyBlock(cipher, master, randoms);
    const cut = (from: number, n: number): string => block.slice(2 * from, 2 * (from + n));
    const keysAt = 2 * mac;
    const saltsAt = keysAt + 2 * key;
    assert.equal(toHex(client), cut(0, mac) + cut(keysAt, key) + cut(saltsAt, salt), name);
    assert.equal(
      toHex(server),
      cut(mac, mac) + cut(keysAt + key, key) + cut(saltsAt + salt, salt),
      name,
    );
  }
});

test("places for keys: what was kept is found, what was dropped is wiped and used again", () => {
  const slab = new KeySlab();
  const rng = seededRng(2);
  const kept = Array.from({ length: 1_000 }, (_, i) => {
    const length = [20, 36, 48][i % 3] ?? 20;
    const [read, write] = [rng.bytes(length), rng.bytes(length)];
    return { length, read, write, slot: slab.keep(read, write) };
  });
  for (const { length, read, write, slot } of kept) {
    assert.equal(toHex(slab.view(slot, length, false)), toHex(read));
    assert.equal(toHex(slab.view(slot, length, true)), toHex(write));
  }
  const [first] = kept;
  assert.ok(first !== undefined);
  slab.drop(first.slot, first.length);
  assert.equal(slab.used, 999);
  assert.ok(slab.view(first.slot, first.length, false).every((byte) => byte === 0));
  assert.equal(slab.keep(first.read, first.write), first.slot);
});
