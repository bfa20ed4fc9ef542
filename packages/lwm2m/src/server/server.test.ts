import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, formatCode, request, uriPath } from "@godwit/coap";
import { observeRequest, readRequest } from "./requests.ts";

import { Bench, reading } from "./bench.test-kit.ts";

test("GET /nat?s=N is answered N seconds later", () => {
  const bench = new Bench();
  assert.equal(bench.ask(1, request(Code.GET, { path: "/nat", query: ["s=40"] })), undefined);
  const exchange = bench.lastExchange;
  bench.after(39_999);
  assert.equal(bench.answerTo(exchange), undefined);
  bench.after(1);
  assert.equal(formatCode(bench.answerTo(exchange)?.code ?? 0), "2.05");
  const wrong = bench.ask(1, request(Code.GET, { path: "/nat", query: ["s=9999"] }));
  assert.equal(formatCode(wrong?.code ?? 0), "4.00");
});

test("limits: unproven registrations make room, proven ones stay; queues are bounded", () => {
  const bench = new Bench({ maxUnproven: 10, maxOperationsPerEndpoint: 3 });
  const location = bench.enrol(1, "proven");
  assert.equal(bench.update(1, location), "2.04");
  bench.feed({ type: "opened", session: 5, identity: { kind: "psk", identity: "secure5" } });
  bench.enrol(5, "secure5");
  for (let i = 0; i < 1_000; i++) bench.enrol(100 + i, `spoof${i}`);
  assert.equal(bench.server.registrationCount, 12);
  assert.equal(bench.records.get("registration")?.size, 12);
  assert.equal(bench.records.get("touch")?.size, 12);
  for (const endpoint of ["proven", "secure5"])
    assert.notEqual(bench.server.registration(endpoint, bench.now), undefined);
  const ids = [1, 2, 3, 4].map(() => bench.order("later", "read", readRequest([3, 0, 9])));
  assert.deepEqual(
    ids.map((id) => bench.state(id)),
    ["waiting", "waiting", "waiting", undefined],
  );
  const refused = bench.events.findLast((e) => e.type === "operation");
  assert.equal(refused?.type === "operation" && refused.operation.state.name, "failed");
});

test("at the limit of unproven registrations one of them that registers anew makes room for itself", () => {
  const bench = new Bench({ maxUnproven: 2 });
  for (const endpoint of ["a", "b", "b"]) bench.enrol(endpoint === "a" ? 1 : 2, endpoint);
  assert.deepEqual([...bench.server.endpoints()], ["a", "b"]);
});

test("an observation too many is refused when it is ordered, not after it was made", () => {
  const bench = new Bench({ maxObservationsPerEndpoint: 1 });
  bench.enrol(1, "dev");
  const observe = (resource: number): number =>
    bench.order("dev", "observe", observeRequest([3303, 0, resource]));
  bench.reply(observe(5700), 1, reading("1"), { final: false });
  observe(5601);
  const refused = bench.events.findLast((e) => e.type === "operation");
  const state = refused?.type === "operation" ? refused.operation.state : undefined;
  assert.match(state?.name === "failed" ? state.reason : "", /1 paths of this device are observed/);
  assert.equal(bench.sent().length, 1);
  bench.reply(observe(5700), 1, reading("2"), { final: false });
  assert.deepEqual(bench.observed("dev"), ["/3303/0/5700 active"]);
});

test("the alternate path goes before every management path", () => {
  const bench = new Bench();
  bench.register(1, ["ep=dev", "lt=60", "lwm2m=1.1"], '</lwm2m>;rt="oma.lwm2m",</lwm2m/3/0>');
  bench.order("dev", "read", readRequest([3, 0, 9]));
  assert.deepEqual(uriPath(bench.sent()[0]!.request.options), ["lwm2m", "3", "0", "9"]);
});
