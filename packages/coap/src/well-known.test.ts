import assert from "node:assert/strict";
import { test } from "node:test";
import { fromUtf8 } from "@godwit/base";
import { Code, formatCode } from "./codes.ts";
import { OptionNumber } from "./option-numbers.ts";
import { opaqueOption, request, response } from "./options.ts";
import { ResourceTree } from "./well-known.ts";

const tree = new ResourceTree()
  .add("/hello", {
    get: () => response(Code.Content, { payload: "world" }),
    attributes: [{ name: "rt", value: "greeting" }],
  })
  .add("/rd", { post: () => undefined, attributes: [{ name: "rt", value: "core.rd" }] })
  .add("/files", { get: () => response(Code.Content), subtree: true, hidden: true })
  .add("/files/x", { put: () => response(Code.Changed), hidden: true });

for (const [code, path, answer] of [
  [Code.GET, "/hello", "2.05"],
  [Code.PUT, "/hello", "4.05"],
  [Code.GET, "/", "4.04"],
  [Code.GET, "/hello/x", "4.04"],
  [Code.GET, "/hell", "4.04"],
  [Code.GET, "/files/a/b", "2.05"],
  [Code.PUT, "/files/x", "2.04"],
  [Code.GET, "/files/x", "4.05"],
  [Code.POST, "/rd", "later"],
  [0x1f, "/hello", "4.05"],
] as const) {
  test(`RFC 7252 5.8: ${formatCode(code)} ${path} gets ${answer}`, () => {
    const got = tree.handle(request(code, { path }), 1);
    assert.equal(got === undefined ? "later" : formatCode(got.code), answer);
  });
}

for (const [query, links] of [
  [[], '</hello>;rt="greeting",</rd>;rt="core.rd"'],
  [["rt=core.rd"], '</rd>;rt="core.rd"'],
  [["href=/h*"], '</hello>;rt="greeting"'],
  [["rt=none"], ""],
] as const) {
  test(`RFC 6690 4.1: /.well-known/core?${query.join("&")} lists ${links || "nothing"}`, () => {
    const got = tree.handle(request(Code.GET, { path: "/.well-known/core", query }), 1);
    assert.equal(fromUtf8(got!.payload), links); // it answers at once
    assert.deepEqual(got?.options, [
      { number: OptionNumber.ContentFormat, value: Uint8Array.of(40) },
    ]);
  });
}

test("RFC 7252 5.10.4: /.well-known/core in another format than link-format is 4.06", () => {
  const got = tree.handle(request(Code.GET, { path: "/.well-known/core", accept: 50 }), 1);
  assert.equal(got?.code, Code.NotAcceptable);
});

test("a path or query that is no UTF-8 is 4.00 and no exception", () => {
  const bad = Uint8Array.of(0xff);
  const path = { code: Code.GET, options: [opaqueOption(OptionNumber.UriPath, bad)], payload: bad };
  assert.equal(tree.handle(path, 1)?.code, Code.BadRequest);
  const options = [opaqueOption(OptionNumber.UriQuery, bad)];
  const query = request(Code.GET, { path: "/.well-known/core", options });
  assert.equal(tree.handle(query, 1)?.code, Code.BadRequest);
});

test("a resource that is taken away is 4.04, and one that is added again replaces it", () => {
  const own = new ResourceTree().add("/a", { get: () => response(Code.Content) });
  assert.equal(own.remove("/a"), true);
  assert.equal(own.remove("/a"), false);
  assert.equal(own.handle(request(Code.GET, { path: "/a" }), 1)?.code, Code.NotFound);
  own
    .add("/a", { get: () => response(Code.Valid) })
    .add("/a", { get: () => response(Code.Changed) });
  assert.equal(own.handle(request(Code.GET, { path: "/a" }), 1)?.code, Code.Changed);
  const core = own.handle(request(Code.GET, { path: "/.well-known/core" }), 1);
  assert.equal(fromUtf8(core!.payload), "</a>"); // it answers at once
});
