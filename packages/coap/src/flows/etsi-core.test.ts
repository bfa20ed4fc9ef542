import assert from "node:assert/strict";
import { test } from "node:test";
import { equal, fromUtf8 } from "@godwit/base";
import { Code } from "../codes.ts";
import { ContentFormat } from "../content-format.ts";
import type { Response } from "../message.ts";
import { OptionNumber } from "../option-numbers.ts";
import {
  findOption,
  findUint,
  formatPath,
  locationPath,
  opaqueOption,
  request,
  response,
  stringOption,
  uriPath,
  uriQuery,
} from "../options.ts";
import { HERE, LOST, Pair, type Handler } from "./pair.test-kit.ts";

// ETSI CoAP plugtests, TD_COAP_CORE_01 to 31, between our two roles.

/** The plugtest server's resources. */
function plugtest(): Handler {
  let [etag, content] = [1, "before"];
  return ({ request: asked, exchange }, pair) => {
    const { code, options } = asked;
    const path = formatPath(uriPath(options));
    const tag = opaqueOption(OptionNumber.ETag, Uint8Array.of(etag));
    switch (path) {
      case "/separate":
        later(pair, exchange, response(Code.Content, { payload: "late", contentFormat: 0 }));
        return undefined;
      case "/seg1/seg2/seg3":
        return text(path);
      case "/query":
        return text(uriQuery(options).join("&"));
      case "/location1/location2/location3":
        return text(path);
      case "/multi-format":
        return formats(findUint(options, OptionNumber.Accept) ?? 0);
      case "/location-query":
        return response(Code.Created, {
          options: [
            stringOption(OptionNumber.LocationQuery, "first=1"),
            stringOption(OptionNumber.LocationQuery, "second=2"),
          ],
        });
      case "/create1": {
        const once = findOption(options, OptionNumber.IfNoneMatch) !== undefined;
        if (once && content === "created") return response(Code.PreconditionFailed);
        content = "created";
        return response(Code.Created);
      }
      case "/validate": {
        if (code === Code.PUT) {
          const wanted = findOption(options, OptionNumber.IfMatch);
          if (wanted && !equal(wanted.value, tag.value)) return response(Code.PreconditionFailed);
          etag += 1;
          content = fromUtf8(asked.payload);
          return response(Code.Changed);
        }
        const known = findOption(options, OptionNumber.ETag);
        if (known && equal(known.value, tag.value)) return response(Code.Valid, { options: [tag] });
        return response(Code.Content, { options: [tag], payload: content, maxAge: 30 });
      }
      default:
        return test1(code);
    }
  };
}

function test1(code: number): Response {
  if (code === Code.GET) return text("plain");
  if (code === Code.DELETE) return response(Code.Deleted);
  if (code === Code.PUT) return response(Code.Changed);
  return response(Code.Created, { locationPath: "/location1/location2/location3" });
}

function text(payload: string): Response {
  return response(Code.Content, { payload, contentFormat: ContentFormat.Text });
}

function formats(accept: number): Response {
  if (accept === ContentFormat.Text) return text("text");
  if (accept === ContentFormat.Xml)
    return response(Code.Content, { payload: "<xml/>", contentFormat: ContentFormat.Xml });
  return response(Code.NotAcceptable);
}

const LATER = 5_000;
function later(pair: Pair, exchange: number, answer: Response): void {
  due.push({ pair, exchange, answer });
}
const due: { pair: Pair; exchange: number; answer: Response }[] = [];

/** Runs until the late answers are due, gives them, and runs on. */
function run(pair: Pair): void {
  pair.run(LATER);
  for (const { exchange, answer } of due.splice(0))
    pair.handle("server", { type: "respond", exchange, response: answer });
  pair.run(60_000);
}

for (const [number, method, answer] of [
  ["01", Code.GET, Code.Content],
  ["02", Code.DELETE, Code.Deleted],
  ["03", Code.PUT, Code.Changed],
  ["04", Code.POST, Code.Created],
] as const) {
  test(`TD_COAP_CORE_${number}: a CON request with method ${method} is answered in its ACK, with its message id and token`, () => {
    const pair = new Pair(plugtest());
    const payload = method === Code.PUT || method === Code.POST ? "content" : "";
    const id = pair.ask(request(method, { path: "/test", payload }));
    run(pair);
    const [asked] = pair.messages("client");
    const [answered] = pair.messages("server");
    assert.equal(answered?.type, 2);
    assert.equal(answered.code, answer);
    assert.equal(answered.mid, asked?.mid);
    assert.deepEqual(answered.token, asked?.token);
    assert.equal(pair.responses(id)[0]?.code, answer);
    assert.equal(pair.wire.length, 2);
  });
}

for (const [number, method, answer] of [
  ["05", Code.GET, "2.05"],
  ["06", Code.DELETE, "2.02"],
  ["07", Code.PUT, "2.04"],
  ["08", Code.POST, "2.01"],
] as const) {
  test(`TD_COAP_CORE_${number}: a NON request with method ${method} is answered by a NON`, () => {
    const pair = new Pair(plugtest());
    const payload = method === Code.PUT || method === Code.POST ? "content" : "";
    const id = pair.ask(request(method, { path: "/test", payload }), { confirmable: false });
    run(pair);
    assert.deepEqual(pair.story, [`C NON 0.0${method}`, `S NON ${answer}`]);
    assert.equal(pair.responses(id).length, 1);
  });
}

test("TD_COAP_CORE_09, 11: a separate answer comes as CON with the request's token and another message id", () => {
  const pair = new Pair(plugtest());
  const id = pair.ask(request(Code.GET, { path: "/separate" }));
  run(pair);
  assert.deepEqual(pair.story, ["C CON 0.01", "S ACK", "S CON 2.05", "C ACK"]);
  const [asked] = pair.messages("client");
  const [ack, answered] = pair.messages("server");
  assert.equal(ack?.mid, asked?.mid);
  assert.deepEqual(answered?.token, asked?.token);
  assert.equal(pair.responses(id).length, 1);
});

test("TD_COAP_CORE_10: requests that run together have different tokens, and answers find theirs", () => {
  const pair = new Pair(({ request: asked }) => text(formatPath(uriPath(asked.options))), {
    tuning: { nstart: 4 },
  });
  const ids = ["/a", "/b", "/c"].map((path) => pair.ask(request(Code.GET, { path })));
  run(pair);
  const tokens = pair.messages("client").map((m) => m.token.join());
  assert.equal(new Set(tokens).size, 3);
  assert.deepEqual(
    ids.map((id) => fromUtf8(pair.responses(id)[0]!.payload)), // each has one
    ["/a", "/b", "/c"],
  );
});

test("TD_COAP_CORE_12: a request without token is answered without token", () => {
  const pair = new Pair(plugtest(), { tuning: { emptyToken: true } });
  const id = pair.ask(request(Code.GET, { path: "/test" }));
  run(pair);
  assert.deepEqual(pair.messages("client")[0]?.token.length, 0);
  assert.deepEqual(pair.messages("server")[0]?.token.length, 0);
  assert.equal(pair.responses(id).length, 1);
});

test("TD_COAP_CORE_13: several Uri-Path options arrive in order", () => {
  const pair = new Pair(plugtest());
  const id = pair.ask(request(Code.GET, { path: "/seg1/seg2/seg3" }));
  run(pair);
  assert.equal(fromUtf8(pair.responses(id)[0]!.payload), "/seg1/seg2/seg3"); // it has one
});

test("TD_COAP_CORE_14: several Uri-Query options arrive in order", () => {
  const pair = new Pair(plugtest());
  const query = ["first=1", "second=2", "third=3"];
  const id = pair.ask(request(Code.GET, { path: "/query", query }));
  run(pair);
  assert.equal(fromUtf8(pair.responses(id)[0]!.payload), query.join("&")); // it has one
});

for (const [number, path] of [
  ["15", "/test"],
  ["16", "/separate"],
] as const) {
  for (const lost of [1, 2, 3, 4])
    test(`TD_COAP_CORE_${number}: with datagram ${lost} lost, GET ${path} is carried out once and answered once`, () => {
      const pair = new Pair(plugtest());
      pair.network = (_from, _bytes, n) => (n === lost ? LOST : HERE);
      const id = pair.ask(request(Code.GET, { path }));
      run(pair);
      assert.equal(pair.executed, 1);
      assert.equal(pair.responses(id).length, 1);
    });
}

test("TD_COAP_CORE_17: a separate answer to a NON request is a NON, without any ACK", () => {
  const pair = new Pair(plugtest());
  const id = pair.ask(request(Code.GET, { path: "/separate" }), { confirmable: false });
  run(pair);
  assert.deepEqual(pair.story, ["C NON 0.01", "S NON 2.05"]);
  assert.equal(pair.responses(id).length, 1);
});

test("TD_COAP_CORE_18, 24: several Location-Path options arrive in order", () => {
  const pair = new Pair(plugtest());
  const id = pair.ask(request(Code.POST, { path: "/test" }));
  run(pair);
  const location = locationPath(pair.responses(id)[0]!.options); // it has one
  assert.deepEqual(location, ["location1", "location2", "location3"]);
  const there = pair.ask(request(Code.GET, { path: location }));
  run(pair);
  assert.equal(pair.responses(there)[0]?.code, Code.Content);
});

test("TD_COAP_CORE_19, 25: several Location-Query options arrive in order", () => {
  const pair = new Pair(plugtest());
  // Long enough for a stranger's answer.
  const id = pair.ask(request(Code.POST, { path: "/location-query", payload: "content" }));
  run(pair);
  assert.deepEqual(
    pair.responses(id)[0]?.options.map((o) => fromUtf8(o.value)),
    ["first=1", "second=2"],
  );
});

for (const [number, accept, code, format] of [
  ["20", ContentFormat.Text, Code.Content, ContentFormat.Text],
  ["20", ContentFormat.Xml, Code.Content, ContentFormat.Xml],
  ["26", ContentFormat.Json, Code.NotAcceptable, undefined],
] as const) {
  test(`TD_COAP_CORE_${number}: Accept ${accept} gets Content-Format ${format}`, () => {
    const pair = new Pair(plugtest());
    const id = pair.ask(request(Code.GET, { path: "/multi-format", accept }));
    run(pair);
    const [got] = pair.responses(id);
    assert.equal(got?.code, code);
    assert.equal(findUint(got.options, OptionNumber.ContentFormat), format);
  });
}

test("TD_COAP_CORE_21, 27, 28: an ETag that still holds gets 2.03, one that does not the new content", () => {
  const pair = new Pair(plugtest());
  const ask = (options: ReturnType<typeof opaqueOption>[]) => {
    const id = pair.ask(request(Code.GET, { path: "/validate", options }));
    run(pair);
    return pair.responses(id)[0]!; // it has one
  };
  const first = ask([]);
  assert.equal(first.code, Code.Content);
  const tag = findOption(first.options, OptionNumber.ETag)!; // the handler sets it
  const second = ask([tag]);
  assert.equal(second.code, Code.Valid);
  assert.equal(second.payload.length, 0);
  pair.ask(request(Code.PUT, { path: "/validate", payload: "after" }));
  run(pair);
  assert.equal(fromUtf8(ask([tag]).payload), "after");
});

test("TD_COAP_CORE_22: If-Match lets only one of two writers through", () => {
  const pair = new Pair(plugtest());
  const options = [opaqueOption(OptionNumber.IfMatch, Uint8Array.of(1))];
  const put = () => pair.ask(request(Code.PUT, { path: "/validate", options, payload: "x" }));
  const [first, second] = [put(), put()];
  run(pair);
  assert.equal(pair.responses(first)[0]?.code, Code.Changed);
  assert.equal(pair.responses(second)[0]?.code, Code.PreconditionFailed);
});

test("TD_COAP_CORE_23: If-None-Match creates once", () => {
  const pair = new Pair(plugtest());
  const options = [opaqueOption(OptionNumber.IfNoneMatch, new Uint8Array(0))];
  const put = () => pair.ask(request(Code.PUT, { path: "/create1", options }));
  const [first, second] = [put(), put()];
  run(pair);
  assert.equal(pair.responses(first)[0]?.code, Code.Created);
  assert.equal(pair.responses(second)[0]?.code, Code.PreconditionFailed);
});

test("TD_COAP_CORE_29: Max-Age arrives", () => {
  const pair = new Pair(plugtest());
  const id = pair.ask(request(Code.GET, { path: "/validate" }));
  run(pair);
  assert.equal(findUint(pair.responses(id)[0]!.options, OptionNumber.MaxAge), 30); // it has one
});

test("TD_COAP_CORE_31: a ping is answered by RST", () => {
  const pair = new Pair(plugtest());
  pair.handle("client", { type: "ping", id: 1, session: pair.session });
  run(pair);
  assert.deepEqual(pair.story, ["C CON", "S RST"]);
});
