import assert from "node:assert/strict";
import { test } from "node:test";
import { ContentFormat, mediaType } from "./content-format.ts";

test("RFC 7252 12.3: every named format has its media type, another has none", () => {
  for (const [name, number] of Object.entries(ContentFormat))
    assert.match(mediaType(number) ?? "", /^(application|text)\//, name);
  assert.equal(mediaType(ContentFormat.Lwm2mCbor), "application/vnd.oma.lwm2m+cbor");
  assert.equal(mediaType(9999), undefined);
});
