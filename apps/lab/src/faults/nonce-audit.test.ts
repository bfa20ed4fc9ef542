import assert from "node:assert/strict";
import { test } from "node:test";
import crypto from "node:crypto";
import { aesCcm, hex, utf8 } from "@godwit/base";
import { World } from "@godwit/netsim";
import { NonceAudit } from "../stories/nonce-audit.ts";

test("the audit of nonces sees a nonce that serves twice under one key, and nothing else", () => {
  const audit = new NonceAudit();
  const seal = (key: number, nonce: number, text: string): void => {
    const length = { authTagLength: 8 };
    const [k, n] = [new Uint8Array(16).fill(key), new Uint8Array(12).fill(nonce)];
    const cipher = crypto.createCipheriv("aes-128-ccm", k, n, length);
    cipher.setAAD(new Uint8Array(1), { plaintextLength: text.length });
    cipher.update(new TextEncoder().encode(text));
    cipher.final();
  };
  audit.during(() => {
    seal(1, 1, "a");
    seal(1, 1, "a");
    seal(1, 2, "b");
    seal(2, 1, "b");
  });
  assert.deepEqual([audit.sealed, audit.faults], [4, []]);
  audit.during(() => seal(1, 1, "b"));
  assert.equal(audit.faults.length, 1);
  seal(1, 1, "c");
  assert.equal(audit.faults.length, 1, "it is off again");
});

test("the audit of nonces sees what our own CCM encrypts", () => {
  const audit = new NonceAudit();
  const ccm = aesCcm();
  assert.ok(ccm, "this runtime has it");
  const seal = (text: string): void => {
    const [key, nonce] = [new Uint8Array(16), new Uint8Array(12)];
    ccm.seal(key, nonce, new Uint8Array(1), utf8(text), 8, new Uint8Array(20), 0);
  };
  audit.during(() => ["a", "a", "b"].forEach(seal));
  assert.deepEqual([audit.sealed, audit.faults.length], [3, 1]);
  seal("c");
  assert.equal(audit.sealed, 3, "it is off again");
});

test("the audit of nonces sees one that serves twice in records of a connection id", () => {
  const world = new World({ seed: 1 });
  const device = world.host("device");
  const audit = new NonceAudit();
  audit.watchRecords(device, 4);
  const to = { host: world.host("server").address, port: 5_684 };
  const from = { host: device.address, port: 1 };
  // Two records of the connection id 01020304, epoch 1, with explicit nonce 0001000000000005.
  for (const last of ["aa", "aa", "bb"])
    device.inject({
      from,
      to,
      bytes: hex(`19fefd000100000000000501020304000a0001000000000005ff${last}`),
    });
  assert.equal(audit.faults.length, 1);
});
