import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex, UsageError } from "@godwit/base";
import { ipBytes } from "./ip.ts";

test("RFC 4291 2.2: printed addresses and their bytes", () => {
  for (const [text, bytes] of [
    ["192.0.2.1", "c0000201"],
    ["255.255.255.255", "ffffffff"],
    ["::", "0".repeat(32)],
    ["::1", "0".repeat(31) + "1"],
    ["2001:db8::", "20010db8" + "0".repeat(24)],
    ["2001:DB8:0:0:8:800:200C:417A", "20010db80000000000080800200c417a"],
    ["2001:db8::8:800:200c:417a", "20010db80000000000080800200c417a"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
  ] as const)
    assert.equal(toHex(ipBytes(text)), bytes, text);
});

test("what is no address is refused", () => {
  for (const text of [
    ...["", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.x", ":", ":::", "1::2::3"],
    ...["1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", "g::", "1:2:3:4:5:6:7::8", "::1.2.3"],
  ])
    assert.throws(() => ipBytes(text), UsageError, text);
});
