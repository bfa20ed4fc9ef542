import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Code } from "./codes.ts";
import type { Request, Response } from "./message.ts";
import { ObservationOrder } from "./observe-client.ts";
import { findObserve } from "./observe-option.ts";
import { Observers, type ObserversOutput } from "./observe-server.ts";
import { request, response } from "./options.ts";
import { coapTuning, type CoapTuning } from "./tuning.ts";

const token = (n: number): Uint8Array => Uint8Array.of(n);
const get = (path: string): Request => request(Code.GET, { path, observe: 0 });
const state = (text: string): Response => response(Code.Content, { payload: text });

function observers(overrides: Partial<CoapTuning> = {}): {
  o: Observers;
  out: () => ObserversOutput[];
  /** What is due, shortened: "text" NON, "text!" CON, "why:exchange". */
  short: () => string[];
} {
  const o = new Observers(coapTuning(overrides));
  const out = (): ObserversOutput[] => {
    const all: ObserversOutput[] = [];
    for (let one = o.poll(); one; one = o.poll()) all.push(one);
    return all;
  };
  const short = (): string[] =>
    out().map((one) =>
      one.type === "notify"
        ? String.fromCharCode(...one.response.payload) + (one.confirmable ? "!" : "")
        : `${one.type === "unobserved" ? one.why : one.type}:${one.exchange}`,
    );
  return { o, out, short };
}

function add(
  o: Observers,
  exchange: number,
  path = "/t",
  session = 1,
  now = 0,
): number | undefined {
  return o.register({ exchange, session, token: token(exchange), request: get(path) }, now);
}

test("RFC 7641 4.1: registering the same token anew replaces the observation and goes on with its sequence", () => {
  const { o, short } = observers();
  assert.equal(add(o, 5), 1);
  const again = o.register({ exchange: 9, session: 1, token: token(5), request: get("/t") }, 0);
  assert.equal(again, 2);
  assert.deepEqual(short(), ["replaced:5"]);
  assert.equal(o.find(1, token(5)), 9);
  assert.equal(o.size, 1);
});

test("RFC 7641 3.1: the same resource and options with another token replace the observation, others do not", () => {
  const { o, short } = observers();
  add(o, 1, "/a");
  add(o, 2, "/b");
  add(o, 3, "/a");
  assert.deepEqual(short(), ["replaced:1"]);
  o.register(
    {
      exchange: 4,
      session: 1,
      token: token(4),
      request: request(Code.GET, { path: "/a", accept: 0, observe: 0 }),
    },
    0,
  );
  add(o, 5, "/a", 2);
  assert.deepEqual(short(), []);
  assert.equal(o.size, 4);
});

test("RFC 7641 4.1: past the limits, per session and over all, nothing is registered; replacing still is", () => {
  const { o } = observers({ maxObservationsPerSession: 2, maxObservations: 3 });
  assert.equal(add(o, 1, "/a"), 1);
  assert.equal(add(o, 2, "/b"), 2);
  assert.equal(add(o, 3, "/c"), undefined);
  assert.equal(add(o, 4, "/b"), 3);
  assert.equal(add(o, 5, "/a", 2), 1);
  assert.equal(add(o, 6, "/b", 2), undefined);
  assert.equal(o.size, 3);
});

test("RFC 7641 4.4: values of Observe grow by one, wrap at 24 bits and do not start over within a session", () => {
  const { o, out } = observers({ nonNotifyBurst: 1_000 });
  add(o, 1);
  o.notify(1, state("a"), false, 1);
  o.notify(1, state("b"), false, 2);
  assert.deepEqual(
    out().map((n) => n.type === "notify" && findObserve(n.response.options)),
    [2, 3],
  );
  o.unobserve(1);
  assert.equal(add(o, 2), 4);
});

test("RFC 7641 4.4: at one instant no more than 32 values are given out, so that 2^23 never pass in 256 s", () => {
  const { o, out } = observers();
  add(o, 1);
  let mid = 0;
  let sent = 0;
  for (let i = 0; i < 100; i++) {
    o.notify(1, state("x"), true, 500);
    for (const _ of out()) {
      sent++;
      o.sent(1, 1, ++mid, 500);
      o.acknowledged(1, mid, 500);
    }
  }
  assert.equal(sent, 32);
  assert.equal(o.wakeAt, 501);
  o.wake(501);
  assert.equal(out().length, 1);
});

test("RFC 7641 4.5: the first notification after 24 h is confirmable, the ones before are as asked", () => {
  const { o, short } = observers();
  const day = 86_400_000;
  add(o, 1);
  o.notify(1, state("a"), undefined, day - 1);
  o.notify(1, state("b"), undefined, day);
  assert.deepEqual(short(), ["a", "b!"]);
  o.sent(1, 1, 7, day);
  o.acknowledged(1, 7, day + 50);
  o.notify(1, state("c"), undefined, day + 60);
  o.notify(1, state("d"), true, day + 60);
  assert.deepEqual(short(), ["c", "d!"]);
});

test("RFC 7641 4.5.2: while one is unacknowledged only the newest state waits, and goes out after the ACK", () => {
  const { o, short } = observers();
  add(o, 1);
  o.notify(1, state("a"), true, 0);
  o.sent(1, 1, 10, 0);
  for (const text of ["b", "c", "d"]) o.notify(1, state(text), false, 5);
  assert.deepEqual(short(), ["a!"]);
  assert.equal(o.acknowledged(1, 10, 100), true);
  assert.deepEqual(short(), ["d"]);
  assert.equal(o.acknowledged(1, 10, 100), false);
});

test("RFC 7641 4.5.2: a retransmission carries the newest state under a new message id", () => {
  const { o, short } = observers();
  add(o, 1);
  o.notify(1, state("a"), true, 0);
  o.sent(1, 1, 10, 0);
  assert.equal(o.retransmit(1, 10, 2_000), undefined);
  o.notify(1, state("b"), false, 3_000);
  o.notify(1, state("c"), false, 4_000);
  const newest = o.retransmit(1, 10, 6_000);
  assert.deepEqual(newest?.response.payload, state("c").payload);
  assert.equal(newest?.confirmable, true);
  assert.equal(findObserve(newest?.response.options ?? []), 3);
  o.sent(1, 1, 11, 6_000);
  assert.deepEqual(short(), ["a!"]);
  // The late ACK of the old state proves interest, not that the new one arrived.
  assert.equal(o.acknowledged(1, 10, 6_100), true);
  o.notify(1, state("d"), false, 6_200);
  assert.deepEqual(short(), []);
  o.acknowledged(1, 11, 6_300);
  assert.deepEqual(short(), ["d"]);
});

test("RFC 7641 4.5.1: non-confirmable ones go one per 3 s on average after a burst, the newest state each time", () => {
  const { o, short } = observers({ nonNotifyBurst: 2 });
  add(o, 1);
  const sent: [number, string][] = [];
  for (let now = 0; now <= 30_000; now += 100) {
    o.wake(now);
    o.notify(1, state(String(now)), false, now);
    for (const text of short()) sent.push([now, text]);
  }
  assert.equal(sent.length, 2 + 10);
  assert.equal(o.wakeAt, 33_000);
  o.wake(33_000);
  assert.deepEqual(short(), ["30000"]);
  assert.equal(o.wakeAt, undefined);
});

test("RFC 7641 4.5.1: a measured round trip takes the place of the 3 s", () => {
  const { o, short } = observers({ nonNotifyBurst: 1 });
  add(o, 1);
  o.notify(1, state("a"), true, 0);
  o.sent(1, 1, 3, 0);
  o.acknowledged(1, 3, 80);
  o.notify(1, state("b"), false, 100);
  o.notify(1, state("c"), false, 110);
  assert.deepEqual(short(), ["a!", "b"]);
  assert.equal(o.wakeAt, 180);
});

test("RFC 7641 4.5.1: NSTART counts over all observations of a session, not over sessions, and none starves", () => {
  const { o, short } = observers();
  add(o, 1, "/a");
  add(o, 2, "/b");
  add(o, 3, "/c");
  add(o, 4, "/a", 2);
  o.notify(1, state("a"), true, 0);
  o.sent(1, 1, 1, 0);
  for (const exchange of [1, 2, 3]) o.notify(exchange, state(`${exchange}`), true, 1);
  o.notify(4, state("4"), true, 1);
  assert.deepEqual(short(), ["a!", "4!"]);
  const order: string[] = [];
  for (let mid = 1; mid < 4; mid++) {
    o.acknowledged(1, mid, mid * 10);
    const [next] = short();
    order.push(next ?? "-");
    o.sent(1, Number(next?.[0]), mid + 1, mid * 10);
  }
  assert.deepEqual(order, ["2!", "3!", "1!"]);
});

for (const confirmable of [true, false]) {
  test(`RFC 7641 4.5: RST to a ${confirmable ? "confirmable" : "non-confirmable"} notification ends that observation alone`, () => {
    const { o, short } = observers();
    add(o, 1, "/a");
    add(o, 2, "/b");
    o.notify(1, state("a"), confirmable, 0);
    o.sent(1, 1, 77, 0);
    short();
    assert.equal(o.reset(1, 76, 1), false);
    assert.equal(o.reset(2, 77, 1), false);
    assert.equal(o.reset(1, 77, 1), true);
    assert.deepEqual(short(), ["reset:1"]);
    assert.equal(o.notify(1, state("b"), false, 2), false);
    assert.equal(o.notify(2, state("c"), true, 2), true);
    assert.deepEqual(short(), ["c!"]);
  });
}

test("RFC 7641 4.2: an error notification goes out confirmable, without Observe, and ends the observation", () => {
  const { o, out } = observers();
  add(o, 1);
  o.notify(1, response(Code.NotFound), undefined, 0);
  const [why, last] = out();
  assert.deepEqual(why, { type: "unobserved", exchange: 1, why: "error" });
  assert.ok(last?.type === "notify" && last.confirmable);
  assert.deepEqual(last.response, response(Code.NotFound));
  assert.equal(o.size, 0);
  o.sent(1, 1, 5, 0);
  assert.equal(o.acknowledged(1, 5, 10), true);
});

test("RFC 7641 4.5: a confirmable notification that times out ends all observations of that session and no other", () => {
  const { o, short } = observers();
  add(o, 1, "/a");
  add(o, 2, "/b");
  add(o, 3, "/a", 2);
  o.notify(1, state("a"), true, 0);
  o.sent(1, 1, 8, 0);
  assert.equal(o.timedOut(1, 9), false);
  assert.equal(o.timedOut(1, 8), true);
  assert.deepEqual(short().toSorted(), ["a!", "timeout:1", "timeout:2"]);
  assert.equal(o.size, 1);
});

test("RFC 7641 4.1: Observe 1 ends the observation of its token, or else of its resource", () => {
  const { o, short } = observers();
  add(o, 1, "/a");
  add(o, 2, "/b");
  const stop = (path: string): Request => request(Code.GET, { path, observe: 1 });
  assert.equal(o.deregister(1, token(1), stop("/a")), true);
  assert.equal(o.deregister(2, token(2), stop("/b")), false);
  assert.equal(o.deregister(1, token(9), stop("/c")), false);
  assert.equal(o.deregister(1, token(9), stop("/b")), true);
  assert.deepEqual(short(), ["deregistered:1", "deregistered:2"]);
});

test("a session's end ends its observations; one that moved keeps them, their tokens and their sequence", () => {
  const { o, short, out } = observers();
  add(o, 1, "/a");
  add(o, 2, "/b");
  add(o, 3, "/a", 2);
  o.moved(1, 2, 0);
  assert.deepEqual(short(), ["replaced:3"]);
  assert.equal(o.find(2, token(2)), 2);
  o.notify(2, state("x"), false, 1);
  const [moved] = out();
  assert.ok(moved?.type === "notify" && moved.session === 2);
  assert.equal(findObserve(moved.response.options), 3);
  o.closed(2);
  assert.deepEqual(short(), ["closed:1", "closed:2"]);
  assert.deepEqual([o.size, o.wakeAt], [0, undefined]);
});

test("RFC 7641 1.3: whatever is lost, late or doubled, the client ends with the newest state", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          wait: fc.integer({ min: 0, max: 9_000 }),
          confirmable: fc.boolean(),
          fate: fc.constantFrom("arrives", "late", "lost", "twice"),
        }),
        { minLength: 1, maxLength: 40 },
      ),
      (changes) => {
        const { o, out } = observers();
        const order = new ObservationOrder(coapTuning());
        let seen = "";
        let now = 0;
        let mid = 0;
        let late: (() => void)[] = [];
        add(o, 1);
        const deliver = (text: string, value: number): void => {
          if (order.newer(value, now)) seen = text;
        };
        const flush = (fate: string): void => {
          for (const one of out()) {
            if (one.type !== "notify") continue;
            const text = String.fromCharCode(...one.response.payload);
            const value = findObserve(one.response.options)!; // a notification has it
            const id = ++mid;
            o.sent(1, 1, id, now);
            const arrive = (): void => {
              deliver(text, value);
              if (one.confirmable) o.acknowledged(1, id, now);
            };
            if (fate === "late" || (fate === "lost" && one.confirmable)) late.push(arrive);
            else if (fate !== "lost") arrive();
            if (fate === "twice") late.push(() => deliver(text, value));
          }
        };
        changes.forEach(({ wait, confirmable, fate }, i) => {
          now += wait;
          o.wake(now);
          flush(fate);
          o.notify(1, state(String(i)), confirmable, now);
          flush(fate);
          if (i % 3 === 2) {
            for (const arrive of late) arrive();
            late = [];
          }
        });
        o.notify(1, state("end"), true, now);
        for (let i = 0; i < 100 && seen !== "end"; i++) {
          for (const arrive of late) arrive();
          late = [];
          flush("arrives");
          now += 1_000;
          o.wake(now);
        }
        assert.equal(seen, "end");
      },
    ),
    { numRuns: 300 },
  );
});

test("RFC 7641 4.5: of lasting observations a time-out ends none, and gives back what did not arrive", () => {
  const o = new Observers(coapTuning(), true);
  const out = (): string[] => {
    const all: string[] = [];
    for (let one = o.poll(); one; one = o.poll()) {
      if (one.type === "notify") o.sent(1, one.exchange, 7, 0);
      all.push(`${one.type}:${one.exchange}`);
    }
    return all;
  };
  add(o, 1, "/a");
  add(o, 2, "/b");
  add(o, 3, "/c");
  o.notify(1, state("1"), true, 0);
  o.notify(2, state("2"), false, 0);
  assert.deepEqual(out(), ["notify:1"], "NSTART 1: the other one waits");
  assert.equal(o.timedOut(1, 7), true);
  assert.deepEqual(out(), ["unnotified:1", "unnotified:2"]);
  assert.equal(o.size, 3);
  o.notify(2, state("3"), false, 1);
  assert.deepEqual(out(), ["notify:2"]);
});

test("RFC 7641 4.4: an observation from before a restart goes on above the values it used; not where there is one already", () => {
  const { o, out } = observers();
  const registration = { exchange: -1, session: 1, token: token(5), request: get("/t") };
  assert.equal(o.resume(registration, 300, 0), true);
  assert.equal(o.resume({ ...registration, exchange: -2 }, 0, 0), false, "the token");
  const other = { ...registration, exchange: -3, token: token(6) };
  assert.equal(o.resume(other, 0, 0), false, "the resource");
  o.notify(-1, state("1"), false, 0);
  const [sent] = out();
  assert.ok(sent?.type === "notify");
  assert.equal(findObserve(sent.response.options), 301);
});

for (const [what, happens] of [
  ["is never acknowledged", (o: Observers) => void o.timedOut(1, 7)],
  [
    "is answered by RST, as by a peer that has forgotten it",
    (o: Observers) => void o.reset(1, 7, 1),
  ],
  ["is under way when its session closes", (o: Observers) => o.closed(1)],
  ["is under way when its session is another", (o: Observers) => o.moved(1, 2, 1)],
] as const) {
  test(`RFC 7641 4.2: the last word of a lasting observation that ${what} is given back, another notification is not`, () => {
    for (const [last, told] of [
      [response(Code.NotFound), ["unnotified:1"]],
      [state("1"), what === "is never acknowledged" ? ["unnotified:1"] : []],
    ] as const) {
      const o = new Observers(coapTuning(), true);
      add(o, 1, "/a");
      o.notify(1, last, true, 0);
      for (let one = o.poll(); one; one = o.poll())
        if (one.type === "notify") o.sent(1, one.exchange, 7, 0);
      happens(o);
      const all: string[] = [];
      for (let one = o.poll(); one; one = o.poll())
        if (one.type === "unnotified") all.push(`${one.type}:${one.exchange}`);
      assert.deepEqual(all, told);
    }
  });
}
