import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, Ledger, concat, utf8 } from "@godwit/base";
import { ContentType } from "./codes.ts";
import { encodeClientHello } from "./handshake/client-hello.ts";
import { wholeMessage } from "./handshake/header.ts";
import { HEADER, plainRecord, writeHeader } from "./record/header.ts";
import { StrayRecords } from "./stray-records.ts";

const path = {
  local: { host: "198.51.100.1", port: 5_684 },
  remote: { host: "192.0.2.7", port: 1 },
};
const plain = plainRecord(ContentType.alert, 1, utf8("ab"));
const hello = plainRecord(
  ContentType.handshake,
  0,
  wholeMessage(
    1,
    0,
    encodeClientHello({
      version: 0xfefd,
      random: new Uint8Array(32),
      sessionId: EMPTY,
      cookie: EMPTY,
      suites: [0xc0a8],
      compression: Uint8Array.of(0),
      extensions: [],
    }),
  ),
);

function sealed(epoch: number): Uint8Array {
  const out = new Uint8Array(HEADER + 4);
  writeHeader(out, 0, { type: 23, epoch, sequence: 5, cid: EMPTY }, 4);
  return out;
}

/** Where reading goes on, how often the association was looked for, and what was counted. */
function passed(records: readonly Uint8Array[], isKnown = false) {
  const ledger = new Ledger();
  let asked = 0;
  const strays = new StrayRecords(ledger, () => {
    asked += 1;
    return isKnown;
  });
  const at = strays.passOver(concat(...records), path);
  const { strayPlain = 0, noAssociation = 0 } = ledger.snapshot().drops;
  return [at, asked, strayPlain, noAssociation];
}

for (const [what, records, isKnown, result] of [
  ["nothing", [], false, [0, 0, 0, 0]],
  ["two in the clear", [plain, plain], false, [30, 0, 2, 0]],
  ["one under keys, of nobody", [sealed(1)], false, [17, 1, 0, 1]],
  ["one under keys of epoch 256, of nobody", [sealed(256)], false, [17, 1, 0, 1]],
  ["one under keys, of somebody", [sealed(1)], true, [0, 1, 0, 0]],
  ["both, of nobody", [plain, sealed(1), sealed(1)], false, [49, 1, 1, 2]],
  ["one in the clear before one of somebody", [plain, sealed(1)], true, [15, 1, 1, 0]],
  ["a ClientHello", [hello], false, [0, 0, 0, 0]],
  ["one in the clear before a ClientHello", [plain, hello], false, [15, 0, 1, 0]],
  [
    "seven, and something after them",
    [...Array<Uint8Array>(7).fill(plain), hello],
    false,
    [105, 0, 7, 0],
  ],
  [
    "eight: what follows is not looked at",
    [...Array<Uint8Array>(8).fill(plain), hello],
    false,
    [120 + hello.length, 0, 8, 0],
  ],
] as const) {
  test(`records that are nobody's are passed over together and counted: ${what}`, () => {
    assert.deepEqual(passed(records, isKnown), result);
  });
}
