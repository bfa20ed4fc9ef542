import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Code,
  codeClass,
  codeName,
  formatCode,
  isRequest,
  isResponse,
  isSuccess,
} from "./codes.ts";

test("RFC 7252 12.1: a code is written as its class, a dot and two digits", () => {
  const rows = [
    [Code.Empty, "0.00"],
    [Code.GET, "0.01"],
    [Code.iPATCH, "0.07"],
    [Code.Created, "2.01"],
    [Code.Content, "2.05"],
    [Code.Continue, "2.31"],
    [Code.RequestEntityIncomplete, "4.08"],
    [Code.Conflict, "4.09"],
    [Code.PreconditionFailed, "4.12"],
    [Code.RequestEntityTooLarge, "4.13"],
    [Code.UnsupportedContentFormat, "4.15"],
    [Code.UnprocessableEntity, "4.22"],
    [Code.TooManyRequests, "4.29"],
    [Code.ProxyingNotSupported, "5.05"],
    [Code.HopLimitReached, "5.08"],
  ] as const;
  for (const [code, text] of rows) {
    assert.equal(formatCode(code), text);
    assert.equal(codeClass(code), Number(text[0]));
  }
});

test("RFC 7252 12.1: every code is a request, a response, empty or reserved", () => {
  for (let code = 0; code < 256; code++) {
    assert.equal(isRequest(code), code !== 0 && code < 32, formatCode(code));
    assert.equal(isResponse(code), code >= 64 && code < 192, formatCode(code));
    assert.equal(isSuccess(code), code >= 64 && code < 96, formatCode(code));
  }
});

test("a registered code has its name, another has none", () => {
  for (const [name, code] of Object.entries(Code)) assert.equal(codeName(code), name);
  assert.equal(codeName(0x08), undefined);
});
