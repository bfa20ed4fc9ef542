import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, toHex } from "@godwit/base";
import { Code, response } from "@godwit/coap";
import { executeRequest, observeRequest, readRequest, writeRequest } from "./requests.ts";

import { Bench, reading } from "./bench.test-kit.ts";

test("an operation goes out, is answered and ends once, and is written no more", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const id = bench.order("dev", "read", readRequest([3, 0, 9]));
  assert.equal(bench.sent().length, 1);
  bench.reply(id, 1, response(Code.Content, { payload: "87", contentFormat: 0 }));
  assert.equal(bench.state(id), "done");
  bench.reply(id, 1, response(Code.Content, { payload: "88", contentFormat: 0 }));
  const ends = bench.events.filter(
    (e) => e.type === "operation" && e.operation.state.name === "done",
  );
  assert.equal(ends.length, 1);
  const { writes } = bench;
  bench.after(60_000);
  assert.equal(bench.writes, writes);
});

test("an operation that is cancelled while it waits holds up none of those behind it", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const [first, second, third] = [1, 2, 3].map((n) =>
    bench.order("dev", "read", readRequest([3, 0, n])),
  ) as [number, number, number];
  bench.feed({ type: "cancelOperation", id: second });
  assert.equal(bench.server.registration("dev", bench.now)?.waitingOperations, 2);
  bench.reply(first, 1, response(Code.Content));
  assert.equal(bench.sent().at(-1)?.id, third);
});

test("what a device cannot hear waits for its next word and goes out under the same message id", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  bench.after(40_000);
  const id = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  assert.equal(bench.sent().length, 1);
  bench.lose(id, 1);
  assert.equal(bench.state(id), "waiting");
  assert.equal(bench.server.registration("dev", bench.now)?.reachability, "unreachable");
  const other = bench.order("dev", "read", readRequest([3, 0, 9]));
  assert.equal(bench.sent().length, 1, "nothing is pushed into silence");
  bench.update(1, location);
  const [first, again] = bench.sent();
  assert.deepEqual(again?.again, first?.again);
  assert.equal(bench.server.operation(id)?.attempts, 2);
  bench.reply(id, 1, response(Code.Changed));
  assert.equal(bench.sent().at(-1)?.id, other, "the next one follows the answer");
});

test("RFC 7252 5.9.3.4: an order that meets 5.03 is sent anew after Max-Age or the next Update, not for ever", () => {
  const bench = new Bench({ busyAttempts: 3 });
  const location = bench.enrol(1, "dev");
  const id = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  const busy = response(Code.ServiceUnavailable, { maxAge: 20 });
  bench.reply(id, 1, busy);
  assert.equal(bench.state(id), "waiting");
  bench.after(19_999);
  assert.equal(bench.sent().length, 1);
  bench.after(1);
  const [first, second] = bench.sent();
  assert.notDeepEqual(second?.again, first?.again, "the old message id would bring the old answer");
  bench.reply(id, 1, busy);
  bench.update(1, location);
  assert.equal(bench.sent().length, 3);
  bench.reply(id, 1, busy);
  assert.equal(bench.state(id), "done");
});

test("RFC 7252 5.9.3.4: 5.03 to an Observe of what is observed already ends no notifications", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const watch = bench.observe("dev", 1, 5700);
  const again = bench.order("dev", "observe", observeRequest([3303, 0, 5700]));
  bench.coap.length = 0;
  bench.reply(again, 1, response(Code.ServiceUnavailable, { maxAge: 20 }));
  const resumed = bench.coap.find((c) => c.type === "resumeObservation");
  assert.equal(resumed?.id, watch);
  assert.deepEqual(bench.observed("dev"), ["/3303/0/5700 active"]);
});

test("what was lost on the way is no 5.03: an order that was sent often in vain is put off as any other", () => {
  const bench = new Bench({ busyAttempts: 2 });
  const location = bench.enrol(1, "dev");
  const id = bench.order("dev", "observe", observeRequest([3, 0, 9]));
  for (let n = 0; n < 5; n++) {
    bench.lose(id, 1);
    bench.update(1, location);
  }
  bench.reply(id, 1, response(Code.ServiceUnavailable, { maxAge: 20 }));
  assert.equal(bench.state(id), "waiting");
  bench.update(1, location);
  bench.reply(id, 1, response(Code.ServiceUnavailable, { maxAge: 20 }));
  assert.equal(bench.state(id), "done");
});

test("a lost push teaches how long the mapping lives; later orders wait instead of being lost", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  bench.after(60_000);
  const id = bench.order("dev", "read", readRequest([3, 0, 9]));
  bench.lose(id, 1);
  bench.update(1, location);
  bench.reply(id, 1, response(Code.Content));
  bench.after(61_000);
  const count = bench.sent().length;
  const later = bench.order("dev", "read", readRequest([3, 0, 9]));
  assert.equal(bench.sent().length, count);
  assert.equal(bench.state(later), "waiting");
});

test("Core 6.5: in queue mode orders wait for the next word once the awake window is over", () => {
  const bench = new Bench({ awakeWindow: 10_000 });
  const location = bench.enrol(1, "dev", ["Q"]);
  bench.after(11_000);
  assert.equal(bench.server.registration("dev", bench.now)?.reachability, "asleep");
  const ids = [1, 2, 3].map((n) => bench.order("dev", "read", readRequest([3, 0, n])));
  assert.equal(bench.sent().length, 0);
  bench.update(1, location);
  for (const id of ids) {
    assert.equal(bench.sent().at(-1)?.id, id, "one at a time, in order");
    bench.reply(id, 1, response(Code.Content));
  }
  assert.equal(bench.sent().length, 3);
});

test("what may not be done twice is sent only after its message id is durable", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.store = "hold";
  const id = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  assert.equal(bench.sent().length, 0);
  bench.decide(true);
  assert.equal(bench.sent().length, 1);
  const revived = new Bench({}, bench);
  assert.equal(revived.state(id), "waiting");
  const [location] = [...bench.records.get("registration")!.keys()];
  revived.update(1, ["rd", location!]);
  assert.equal(
    toHex(revived.sent()[0]?.again?.token ?? EMPTY),
    toHex(bench.sent()[0]!.again!.token),
  );
});

test("an Execute that a device wants proof for goes out under its new message id once that is durable", () => {
  for (const ok of [true, false]) {
    const bench = new Bench();
    const location = bench.enrol(1, "dev");
    const id = bench.order("dev", "execute", executeRequest([3, 0, 4]));
    assert.equal(bench.sent()[0]?.lasting, true);
    bench.store = "hold";
    const again = { mid: 99, token: Uint8Array.of(99) };
    bench.feed({ type: "renamed", id, session: 1, again });
    assert.ok(!bench.coap.some(({ type }) => type === "proceed"));
    bench.decide(ok);
    if (!ok) {
      assert.ok(bench.coap.some((c) => c.type === "cancel" && c.id === id));
      assert.equal(bench.state(id), "waiting");
      continue;
    }
    assert.deepEqual(bench.coap.at(-1), { type: "proceed", id, mid: 99 });
    const revived = new Bench({}, bench);
    revived.update(1, location);
    assert.deepEqual(revived.sent()[0]?.again, again);
  }
});

test("an Execute that a device may have obeyed before it restarted is not sent again", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const reboot = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  const read = bench.order("dev", "read", readRequest([3, 0, 9]));
  bench.sameHost = true;
  bench.enrol(2, "dev");
  assert.equal(bench.state(reboot), "failed");
  assert.equal(bench.sent().at(-1)?.id, read);
});

test("F18: what may not be done twice is not sent while the store refuses its message id", () => {
  const bench = new Bench({ awakeWindow: 10_000 });
  bench.enrol(1, "dev", ["Q"]);
  bench.after(11_000);
  const reboot = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  bench.store = "fail";
  for (let word = 0; word < 3; word++) bench.feed({ type: "alive", session: 1 });
  assert.equal(bench.sent().length, 0);
  assert.equal(bench.state(reboot), "waiting");
  bench.store = "ok";
  bench.feed({ type: "alive", session: 1 });
  assert.equal(bench.sent()[0]?.id, reboot);
});

test("an Execute that a device may have obeyed before both ends restarted is not sent again", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const reboot = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  assert.equal(bench.sent().length, 1);
  const revived = new Bench({}, bench);
  revived.sameHost = true;
  revived.enrol(2, "dev");
  assert.equal(revived.state(reboot), "failed");
  assert.equal(revived.sent().length, 0);
});

test("an Execute lost in a long silence and sent again is remembered as heard from then on", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  bench.after(60_000); // a NAT may have forgotten the device
  const reboot = bench.order("dev", "execute", executeRequest([3, 0, 4]));
  bench.lose(reboot, 1);
  const unheard = new Bench({}, bench);
  unheard.sameHost = true;
  unheard.enrol(2, "dev");
  assert.equal(unheard.sent()[0]?.id, reboot);
  bench.update(1, location);
  assert.equal(bench.sent().length, 2);
  const heard = new Bench({}, bench);
  heard.sameHost = true;
  heard.enrol(2, "dev");
  assert.equal(heard.state(reboot), "failed");
});

test("orders wait across a restart, a missing registration and a new one; they expire in time", () => {
  const bench = new Bench();
  const kept = bench.order("later", "read", readRequest([3, 0, 9]));
  const revived = new Bench({}, bench);
  assert.equal(revived.state(kept), "waiting");
  revived.enrol(4, "later");
  assert.equal(revived.sent()[0]?.id, kept);
  const lost = revived.order("never", "read", readRequest([3, 0, 9]));
  revived.after(3_600_001);
  assert.equal(revived.state(lost), "expired");
});

test("a restart keeps registrations, observations and finished orders", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  const done = bench.order(
    "dev",
    "write",
    writeRequest([3303, 0, 5601], [{ path: [3303, 0, 5601], value: { type: "float", value: 1 } }]),
  );
  bench.reply(done, 1, response(Code.Changed));
  const watch = bench.observe("dev", 1, 5700);
  const revived = new Bench({}, bench);
  assert.equal(revived.state(done), "done");
  assert.deepEqual(revived.observed("dev"), ["/3303/0/5700 active"]);
  const resumed = revived.coap.find((c) => c.type === "resumeObservation");
  assert.equal(resumed?.type === "resumeObservation" && toHex(resumed.token), "09");
  revived.reply(watch, 1, reading("2"), { notification: true, final: false });
  assert.equal(revived.events.at(-1)?.type, "notification");
  assert.equal(revived.update(1, location), "2.04");
});
