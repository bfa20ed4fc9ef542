import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "@godwit/base";
import fc from "fast-check";
import { ECHO_LENGTH, EchoMint, PathProof } from "./amplification.ts";
import { coapTuning } from "./tuning.ts";

const tuning = coapTuning();

test("RFC 9175 2.3: an Echo is good for its path, until echoLifetime, and only as it was made", () => {
  const mint = new EchoMint(tuning, seededRng(1));
  const echo = mint.make(0.5, 10_000);
  assert.equal(echo.length, ECHO_LENGTH);
  assert.equal(mint.verify(0.5, echo, 10_000), true);
  assert.equal(mint.verify(0.5, echo, 10_000 + tuning.echoLifetime), true);
  assert.equal(mint.verify(0.5, echo, 11_000 + tuning.echoLifetime), false);
  assert.equal(mint.verify(0.25, echo, 10_000), false);
  assert.equal(new EchoMint(tuning, seededRng(2)).verify(0.5, echo, 10_000), false);
  for (let i = 0; i < ECHO_LENGTH; i++) {
    const forged = Uint8Array.from(echo);
    forged[i]! ^= 1; // i < length
    assert.equal(mint.verify(0.5, forged, 10_000), false);
  }
  assert.equal(mint.verify(0.5, echo.subarray(1), 10_000), false);
});

test("an Echo from before the clock's 24 bits of seconds wrap is still young after it", () => {
  const mint = new EchoMint(tuning, seededRng(1));
  const wrap = 0x100_0000 * 1_000;
  assert.equal(mint.verify(0.5, mint.make(0.5, wrap - 1_000), wrap + 1_000), true);
});

test("RFC 9175 2.3: who takes over a path is known there by the Echo that was sent to it, and not by that of its old path", () => {
  const mint = new EchoMint(tuning, seededRng(1));
  const [own, other] = [new PathProof(0.25, false), new PathProof(0.5, false)];
  const echoes = [own, other].map(({ nonce }) => mint.make(nonce, 10_000));
  own.takeOver(other);
  const known = echoes.map((echo) => mint.verify(own.nonce, echo, 10_000));
  assert.deepEqual(known, [false, true]);
});

test("RFC 9175 2.4: what was sent never exceeds three times what came, until the path is proven", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1_500), fc.nat(5_000))), (steps) => {
      const path = new PathProof(0, false);
      let [received, sent] = [0, 0];
      for (const [size, answer] of steps) {
        path.received(size);
        received += size;
        if (answer <= path.allowance(3)) {
          path.sent(answer);
          sent += answer;
        }
        assert.ok(sent <= 3 * received);
      }
      path.proven = true;
      assert.equal(path.allowance(3), Number.POSITIVE_INFINITY);
    }),
  );
});
