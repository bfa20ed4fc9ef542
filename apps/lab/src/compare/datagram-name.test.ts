import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, hex } from "@godwit/base";
import { coapName } from "./datagram-name.ts";

for (const [datagram, name] of [
  ["41020001aa", "CON POST"],
  ["50010001", "NON GET"],
  ["4107 0001 aa", "CON iPATCH"],
  ["6144 0001 aa", "ACK 2.04 Changed"],
  ["6184 0001 aa", "ACK 4.04 Not Found"],
  ["5145 0001 aa", "NON 2.05 Content"],
  ["6000 0001", "ACK"],
  ["4000 0001", "CON"],
  ["7000 0001", "RST"],
  ["405f 0001", "CON 2.31 Continue"],
  ["4047 0001", "CON 2.07"],
] as const) {
  test(`RFC 7252 3: ${datagram} is ${name}`, () => {
    assert.equal(coapName(hex(datagram.replaceAll(" ", ""))), name);
  });
}

test("what is no CoAP message has no name", () => {
  for (const datagram of ["", "41", "01020304"]) {
    assert.throws(() => coapName(hex(datagram)), FormatError);
  }
});
