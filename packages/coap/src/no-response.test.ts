import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { Code } from "./codes.ts";
import { NoResponse, suppresses } from "./no-response.ts";
import { OptionNumber } from "./option-numbers.ts";
import { opaqueOption, uintOption } from "./options.ts";

test("RFC 7967 2.1: each bit suppresses the responses of its class", () => {
  const rows: [number, number, boolean][] = [
    [0, Code.Content, false],
    [0, Code.BadRequest, false],
    [NoResponse.Success, Code.Changed, true],
    [NoResponse.Success, Code.BadRequest, false],
    [NoResponse.ClientError, Code.NotFound, true],
    [NoResponse.ClientError, Code.Content, false],
    [NoResponse.ServerError, Code.InternalServerError, true],
    [NoResponse.ServerError, Code.NotFound, false],
    [NoResponse.All, Code.Content, true],
    [NoResponse.All, Code.NotFound, true],
    [NoResponse.All, Code.InternalServerError, true],
    [0xff, 0x60, false],
  ];
  for (const [bits, code, expected] of rows)
    assert.equal(
      suppresses([uintOption(OptionNumber.NoResponse, bits)], code),
      expected,
      `${bits} ${code}`,
    );
});

test("RFC 7967 2.1: without the option, or with one too long, every response is wanted", () => {
  assert.equal(suppresses([], Code.Content), false);
  assert.equal(
    suppresses([opaqueOption(OptionNumber.NoResponse, hex("001a"))], Code.Content),
    false,
  );
});
