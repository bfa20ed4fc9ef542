import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, response, uriPath } from "@godwit/coap";
import { observeRequest } from "./requests.ts";

import { Bench, reading } from "./bench.test-kit.ts";

test("Core 6.4.1: a new registration has its observations set up again", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const watch = bench.observe("dev", 1, 5700);
  bench.sameHost = true;
  bench.enrol(2, "dev");
  const again = bench.sent().at(-1)!;
  assert.deepEqual(uriPath(again.request.options), ["3303", "0", "5700"]);
  assert.equal(again.session, 2);
  assert.deepEqual(bench.observed("dev"), ["/3303/0/5700 asking"]);
  bench.reply(again.id, 2, reading("2"), { final: false });
  assert.deepEqual(bench.observed("dev"), ["/3303/0/5700 active"]);
  const { length } = bench.events;
  bench.reply(watch, 2, reading("1"), { notification: true, final: false });
  assert.equal(bench.events.length, length, "what belongs to the old one is no reading any more");
});

test("a user who asks for what the server is asking for already, and gives up, leaves that as it is", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.observe("dev", 1, 5700);
  bench.sameHost = true;
  bench.enrol(2, "dev");
  const again = bench.sent().at(-1)!;
  const late = bench.order("dev", "observe", observeRequest([3303, 0, 5700]));
  bench.feed({ type: "cancelOperation", id: late });
  assert.deepEqual(bench.observed("dev"), ["/3303/0/5700 asking"]);
  bench.reply(again.id, 2, reading("2"), { final: false });
  assert.equal(bench.sent().at(-1), again, "and it is asked for once");
});

test("an order that asks anew for what was refused is still the only one after a restart", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  const watch = bench.observe("dev", 1, 5700);
  bench.reply(watch, 1, response(Code.NotFound), { notification: true });
  assert.deepEqual(bench.observed("dev"), ["/3303/0/5700 refused"]);
  const again = bench.order("dev", "observe", observeRequest([3303, 0, 5700]));
  const revived = new Bench({}, bench);
  revived.update(1, location);
  revived.reply(again, 1, reading("2"), { final: false });
  assert.deepEqual(revived.observed("dev"), ["/3303/0/5700 active"]);
  assert.deepEqual(
    revived.sent().map(({ id }) => id),
    [again],
  );
});

test("RFC 7641 3.6: a device that rejects the end of an observation is not told again; what it sends of it is rejected", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const watch = bench.observe("dev", 1, 5700);
  bench.order("dev", "cancelObserve", observeRequest([3303, 0, 5700]));
  const [, end] = bench.sent();
  bench.coap.length = 0;
  bench.feed({ type: "failed", id: end!.id, session: 1, reason: "reset", again: undefined });
  bench.feed({ type: "alive", session: 1 });
  assert.equal(bench.sent().length, 0);
  assert.deepEqual(
    bench.coap.findLast((c) => c.type === "cancel" && c.id === watch),
    {
      type: "cancel",
      id: watch,
      how: "forget",
    },
  );
  assert.equal(bench.records.get("observation")?.size, 0);
});

test("the end of an observation that its device did not hear of in time is told at its next word", () => {
  const bench = new Bench({ observationAskFor: 50_000 });
  bench.enrol(1, "dev");
  const watch = bench.observe("dev", 1, 5700);
  bench.order("dev", "cancelObserve", observeRequest([3303, 0, 5700]));
  const [, end] = bench.sent();
  bench.lose(end!.id, 1);
  bench.coap.length = 0;
  bench.after(50_000);
  assert.ok(bench.coap.some((c) => c.type === "resumeObservation" && c.id === watch));
  bench.feed({ type: "alive", session: 1 });
  const [again] = bench.sent();
  assert.deepEqual(again?.request, end?.request);
  bench.reply(again!.id, 1, response(Code.Content));
  assert.equal(bench.records.get("observation")?.size, 0);
});

test("the last owner of an observation that its device refused leaves: nothing is left of it", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const watch = bench.observe("dev", 1, 5700);
  bench.reply(watch, 1, response(Code.NotFound), { notification: true });
  const end = bench.order("dev", "cancelObserve", observeRequest([3303, 0, 5700]));
  assert.equal(bench.state(end), "done");
  assert.deepEqual(bench.observed("dev"), []);
  assert.equal(bench.records.get("observation")?.size, 0);
});

test("an observation that was to be asked for by an order that the store lost is gone from both after a restart", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.order("dev", "observe", observeRequest([3303, 0, 5700]));
  bench.records.get("operation")!.clear(); // there is one
  const revived = new Bench({}, bench);
  assert.deepEqual(revived.observed("dev"), []);
  assert.equal(revived.records.get("observation")?.size, 0);
});

for (const restart of [false, true])
  test(`an observation that falls silent is shown as such at once, and as asked again only when it was${restart ? "; so also after a restart" : ""}`, () => {
    const tuning = { observationSilence: 100_000 };
    const first = new Bench(tuning);
    first.enrol(1, "dev");
    first.observe("dev", 1, 5700);
    const bench = restart ? new Bench(tuning, first) : first;
    bench.after(100_000);
    const said = bench.events.findLast((event) => event.type === "observation");
    assert.equal(said?.state, "silent");
    assert.equal(said.reason, "nothing was reported by the time it was due");
  });

test("where nobody else counts, no number of an observation is given to an operation after a restart", () => {
  const bench = new Bench({ finishedFor: 1_000 });
  bench.enrol(1, "dev");
  const refused = bench.observe("dev", 1, 5601);
  bench.reply(refused, 1, response(Code.NotFound), { notification: true });
  const watch = bench.observe("dev", 1, 5700);
  bench.after(1_000);
  assert.equal(bench.server.operation(watch), undefined, "it is forgotten");
  const revived = new Bench({}, bench);
  assert.deepEqual(revived.observed("dev"), ["/3303/0/5601 refused", "/3303/0/5700 active"]);
  assert.ok(revived.server.operationId() > watch);
});

test("a death between a Register and what it does to observations: what was observed before it is asked for again", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.observe("dev", 1, 5700);
  const rows = [...bench.records.get("observation")!]; // there is one
  const kept = new Bench({}, bench);
  assert.deepEqual(kept.observed("dev"), ["/3303/0/5700 active"]);
  kept.after(10_000);
  kept.enrol(1, "dev");
  kept.records.set("observation", new Map(rows));
  const revived = new Bench({}, kept);
  assert.deepEqual(revived.observed("dev"), ["/3303/0/5700 wanted"]);
  revived.feed({ type: "alive", session: 1 });
  assert.equal(revived.sent().length, 1);
});

test("a notification that crosses the end of an observation does not answer that: the device is told again", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.observe("dev", 1, 5700);
  const end = bench.order("dev", "cancelObserve", observeRequest([3303, 0, 5700]));
  const before = bench.sent().length;
  const [, asked] = bench.sent();
  bench.reply(asked!.id, 1, reading("2"), { final: false }); // it has Observe
  assert.equal(bench.sent().length, before + 1);
  assert.deepEqual(bench.sent().at(-1)?.request, asked?.request);
  assert.notEqual(bench.state(end), "failed");
  bench.reply(bench.sent().at(-1)!.id, 1, response(Code.Content));
  assert.equal(bench.records.get("observation")?.size, 0);
});
