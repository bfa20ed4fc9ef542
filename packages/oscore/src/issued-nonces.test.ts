import assert from "node:assert/strict";
import { test } from "node:test";
import { concat, hex, seededRng, toHex } from "@godwit/base";
import { IssuedNonces } from "./issued-nonces.ts";
import { oscoreTuning } from "./tuning.ts";

const tuning = oscoreTuning({ maxNonces: 2, runLifetime: 1_000, nonceLength: 8 });
const ID = hex("aa");
const R3 = hex("0303030303030303");
const piv = (n: number): Uint8Array => Uint8Array.of(n);
const fresh = (): IssuedNonces => new IssuedNonces(tuning, seededRng(1));

test("RFC 8613 B.2.1: the same request 1 gets the same R2, another one another, remembered or not", () => {
  const nonces = fresh();
  const given = [1, 2, 3, 4].map((n) => nonces.issue(ID, piv(n), 0));
  assert.equal(new Set(given.map(toHex)).size, 4);
  assert.deepEqual(
    given.map(({ length }) => length),
    [8, 8, 16, 16],
  );
  assert.deepEqual(
    [1, 2, 3, 4].map((n) => nonces.issue(ID, piv(n), 999)),
    given,
  );
  assert.notDeepEqual(nonces.issue(hex("bb"), piv(1), 0), given[0]);
  const parts = [nonces.issue(hex("0102"), hex("03"), 0), nonces.issue(hex("02"), hex("0103"), 0)];
  assert.notDeepEqual(parts[0], parts[1], "where one ends and the other begins counts");
});

test("RFC 8613 B.2.1: an ID Context begins with an R2 of ours only if it is whole, unchanged and has an R3 behind it", () => {
  const nonces = fresh();
  const given = [1, 2, 3].map((n) => nonces.issue(ID, piv(n), 0));
  for (const r2 of given) {
    assert.equal(nonces.begins(concat(r2, R3), 0), true);
    assert.equal(nonces.begins(concat(r2, hex("01")), 0), true);
    assert.equal(nonces.begins(r2, 0), false, "no R3");
    for (let at = 0; at < r2.length; at++) {
      const bent = concat(r2, R3);
      bent[at]! ^= 1; // within
      assert.equal(nonces.begins(bent, 0), false, `byte ${at}`);
    }
  }
  assert.equal(nonces.begins(concat(given[0]!, R3).subarray(1), 0), false);
  assert.equal(fresh().begins(concat(given[2]!, R3), 0), false, "before a key there is");
});

test("RFC 8613 B.2.1: an R2 is good for the lifetime of a run, to the millisecond, and its place is free then", () => {
  const nonces = fresh();
  assert.equal(nonces.until, 0);
  const first = nonces.issue(ID, piv(1), 0);
  const second = nonces.issue(ID, piv(2), 400);
  assert.equal(nonces.until, 1_400);
  assert.equal(nonces.begins(concat(first, R3), 999), true);
  assert.equal(nonces.begins(concat(first, R3), 1_000), false);
  assert.equal(nonces.begins(concat(second, R3), 1_399), true);
  assert.equal(nonces.issue(ID, piv(3), 1_000).length, 8);
  assert.notDeepEqual(nonces.issue(ID, piv(1), 1_500), first);
});

test("RFC 8613 B.2.1: a request 1 that comes again after the lifetime of its run gets another R2, whatever came between", () => {
  const nonces = fresh();
  const given = [1, 2, 3].map((n) => nonces.issue(ID, piv(n), 0));
  const again = [1, 2, 3].map((n) => nonces.issue(ID, piv(n), 1_000));
  assert.equal(new Set([...given, ...again].map(toHex)).size, 6);
});

test("RFC 8613 B.2.1: those that are not remembered end together, and a new key knows none of them", () => {
  const nonces = fresh();
  for (const n of [1, 2]) nonces.issue(ID, piv(n), 0);
  const r2 = nonces.issue(ID, piv(3), 300);
  const later = nonces.issue(ID, piv(4), 900);
  assert.equal(nonces.until, 1_300);
  assert.equal(nonces.begins(concat(later, R3), 1_299), true);
  for (const one of [r2, later]) assert.equal(nonces.begins(concat(one, R3), 1_300), false);
  assert.equal(nonces.until, 0);
  for (const n of [5, 6]) nonces.issue(ID, piv(n), 1_300);
  assert.notDeepEqual(nonces.issue(ID, piv(3), 1_300), r2);
  assert.equal(nonces.begins(concat(r2, R3), 1_300), false);
  assert.equal(nonces.until, 2_300);
});
