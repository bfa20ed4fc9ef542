import assert from "node:assert/strict";
import { test } from "node:test";
import { type Identity } from "@godwit/base";
import {
  Code,
  formatCode,
  locationPath,
  observeOption,
  request,
  response,
  withOption,
  type Response,
  OptionNumber,
  findUint,
} from "@godwit/coap";
import { decodeRegistration } from "./records.ts";
import { observeRequest, readRequest } from "./requests.ts";

import { Bench } from "./bench.test-kit.ts";

test("Core 6.2.1: a Register is answered 2.01 with a Location of 8 unguessable characters", () => {
  const bench = new Bench();
  const [root, id] = bench.enrol(1, "dev");
  assert.equal(root, "rd");
  assert.match(id ?? "", /^[\w-]{8}$/);
  assert.equal(bench.server.registration("dev", bench.now)?.lifetime, 300);
  assert.notEqual(new Bench().enrol(1, "dev")[1], undefined);
});

test("nothing is answered before it is durable, and a refusing store is answered 5.03", () => {
  const bench = new Bench();
  bench.store = "hold";
  assert.equal(bench.register(1, ["ep=dev", "lt=300", "lwm2m=1.1"]), undefined);
  bench.decide(true);
  assert.equal(formatCode(bench.answerTo(bench.lastExchange)?.code ?? 0), "2.01");
  bench.store = "fail";
  const refused = bench.register(2, ["ep=other", "lt=300", "lwm2m=1.1"]);
  assert.equal(formatCode(refused?.code ?? 0), "5.03");
  assert.equal(secondsToWait(refused), 60);
  assert.equal(bench.server.registration("other", bench.now), undefined);
});

const refusals = [
  { what: "no endpoint name", query: ["lt=60", "lwm2m=1.1"], code: "4.00", says: "ep" },
  {
    what: "a name that has credentials",
    query: ["ep=secure1", "lt=60", "lwm2m=1.1"],
    code: "4.03",
    says: "credentials",
  },
  {
    what: "a version nobody knows",
    query: ["ep=a", "lt=60", "lwm2m=3.0"],
    code: "4.12",
    says: "3.0",
  },
  { what: "no lifetime in 1.1", query: ["ep=a", "lwm2m=1.1"], code: "4.00", says: "lt" },
  {
    what: "a lifetime that is none",
    query: ["ep=a", "lt=x", "lwm2m=1.1"],
    code: "4.00",
    says: "lt",
  },
  {
    what: "an unknown parameter",
    query: ["ep=a", "lt=1", "lwm2m=1.1", "zz=1"],
    code: "4.00",
    says: "zz",
  },
] as const;

for (const { what, query, code, says } of refusals) {
  test(`Core 6.2.1: a Register with ${what} is refused with ${code} that names it`, () => {
    const bench = new Bench();
    const answer = bench.register(1, [...query]);
    assert.equal(formatCode(answer?.code ?? 0), code);
    assert.match(new TextDecoder().decode(answer?.payload), new RegExp(says));
    assert.equal(bench.server.registrationCount, 0);
    assert.equal(bench.records.size, 0);
  });
}

test("NoSec is off unless switched on; who is refused is told that, or that the endpoint has credentials", () => {
  const bench = new Bench({ nosec: false });
  for (const [endpoint, says] of [
    ["open", "NoSec is switched off"],
    ["secure", "this endpoint has credentials"],
  ] as const) {
    const answer = bench.register(1, [`ep=${endpoint}`, "lt=60", "lwm2m=1.1"]);
    assert.equal(formatCode(answer?.code ?? 0), "4.03");
    assert.equal(new TextDecoder().decode(answer?.payload), says);
  }
});

test("RFC 6690 4: the server names its resources to who GETs /.well-known/core; no other method or path is served", () => {
  const bench = new Bench();
  for (const [code, path, answered] of [
    [Code.GET, "/.well-known/core", "2.05"],
    [Code.POST, "/.well-known/core", "4.05"],
    [Code.GET, "/.well-known", "4.04"],
    [Code.GET, "/.well-known/core/x", "4.04"],
    [Code.GET, "/.well-known/other", "4.04"],
    [Code.GET, "/rd", "4.05"],
    [Code.GET, "/rd/x", "4.05"],
    [Code.POST, "/rd/x/y", "4.04"],
    [Code.POST, "/nat", "4.05"],
    [Code.GET, "/nat/x", "4.04"],
    [Code.GET, "/", "4.04"],
  ] as const) {
    const answer = bench.ask(1, request(code, { path, query: ["s=1"] }));
    assert.equal(formatCode(answer?.code ?? 0), answered, `${formatCode(code)} ${path}`);
    const named = answered === "2.05" ? '</rd>;rt="core.rd",</nat>' : "";
    assert.equal(new TextDecoder().decode(answer?.payload), named);
  }
});

test("a credential registers its own endpoint only, and may leave the name out", () => {
  const bench = new Bench();
  bench.feed({ type: "opened", session: 5, identity: { kind: "psk", identity: "secure5" } });
  const wrong = bench.register(5, ["ep=secure6", "lt=60", "lwm2m=1.1"]);
  assert.equal(formatCode(wrong?.code ?? 0), "4.00");
  const right = bench.register(5, ["lt=60", "lwm2m=1.1"]);
  assert.equal(locationPath(right!.options)[1]?.length, 1);
  assert.equal(bench.server.registration("secure5", bench.now)?.session, 5);
});

/** Devices by how they prove themselves: the session of each, and its endpoint. */
const KINDS: readonly {
  kind: string;
  identity: (n: number) => Identity;
  name: (n: number) => string;
}[] = [
  { kind: "NoSec", identity: () => ({ kind: "none" }), name: (n) => `open${n}` },
  {
    kind: "DTLS",
    identity: (n) => ({ kind: "psk", identity: `secure${n}` }),
    name: (n) => `secure${n}`,
  },
  {
    kind: "OSCORE",
    identity: (n) => ({ kind: "oscore", senderId: `0${n}`, idContext: undefined }),
    name: (n) => `secure-0${n}`,
  },
];

for (const owner of KINDS) {
  for (const other of KINDS) {
    // Where nothing is proven, the Location is the proof: there a device can only guess it.
    const guesses = owner.kind === "NoSec" && other.kind === "NoSec";
    test(`Core 6.2.2, 6.2.3: a device over ${other.kind} neither updates nor deletes the registration of another over ${owner.kind}${guesses ? ", whose Location it guesses" : ""}`, () => {
      const bench = new Bench();
      const [mine, theirs] = [5, 6];
      for (const [session, { kind, identity }] of [
        [mine, owner],
        [theirs, other],
      ] as const) {
        if (kind !== "NoSec") bench.feed({ type: "opened", session, identity: identity(session) });
      }
      const location = bench.enrol(mine, owner.name(mine));
      const own = bench.enrol(theirs, other.name(theirs));
      assert.equal(bench.update(mine, location), "2.04"); // its Location is known in its session now
      const asked = guesses ? ["rd", `${location[1]!.slice(0, -1)}~`] : location;
      const [events, rebinds] = [bench.events.length, bench.other.length];
      const stored = JSON.stringify([...bench.records].map(([name, rows]) => [name, [...rows]]));
      const update = request(Code.POST, { path: asked, query: ["lt=9999"] });
      assert.equal(formatCode(bench.ask(theirs, update)?.code ?? 0), "4.04");
      const leave = request(Code.DELETE, { path: asked });
      assert.equal(formatCode(bench.ask(theirs, leave)?.code ?? 0), "4.04");
      const registration = bench.server.registration(owner.name(mine), bench.now);
      assert.deepEqual([registration?.session, registration?.lifetime], [mine, 300]);
      assert.deepEqual(
        bench.events.slice(events).map(({ type }) => type),
        ["refused", "refused"],
      );
      assert.equal(bench.other.length, rebinds); // no session was moved
      assert.equal(
        JSON.stringify([...bench.records].map(([name, rows]) => [name, [...rows]])),
        stored,
      );
      assert.equal(bench.update(mine, location), "2.04");
      assert.equal(bench.update(theirs, own), "2.04");
    });
  }
}

test("Locations of many devices that prove who they are differ, the shortest first", () => {
  const bench = new Bench();
  const ids = Array.from({ length: 150 }, (_, n) => {
    const endpoint = `secure${n}`;
    bench.feed({ type: "opened", session: n, identity: { kind: "psk", identity: endpoint } });
    const [, id = ""] = bench.enrol(n, endpoint);
    assert.match(id, /^[\w-]{1,2}$/);
    return id;
  });
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual([...new Set(ids.map(({ length }) => length))], [1, 2]);
});

for (const { what, restart } of [
  { what: "from the Update on", restart: false },
  { what: "after a restart, too", restart: true },
]) {
  test(`Core 6.2.2: a lifetime that an Update shortens ends the registration earlier, ${what}`, () => {
    const first = new Bench({ restartGrace: 0 });
    const location = first.enrol(1, "dev"); // 300 s
    assert.equal(first.update(1, location, { query: ["lt=60"] }), "2.04");
    const bench = restart ? new Bench({ restartGrace: 0 }, first) : first;
    bench.after(59_000);
    assert.equal(bench.server.registration("dev", bench.now)?.lifetime, 60);
    bench.after(2_000);
    assert.equal(bench.server.registration("dev", bench.now), undefined);
    const ended = bench.events.findLast((e) => e.type === "deregistered");
    assert.equal(ended?.type === "deregistered" && ended.why, "expired");
  });
}

test("Core 6.2.2: an Update refreshes the lifetime and changes what it names", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  bench.after(200_000);
  assert.equal(bench.update(1, location, { query: ["lt=600"] }), "2.04");
  bench.after(500_000);
  assert.equal(bench.server.registration("dev", bench.now)?.lifetime, 600);
  bench.after(200_000);
  assert.equal(bench.server.registration("dev", bench.now), undefined);
  assert.equal(bench.update(1, location), "4.04");
  const ended = bench.events.findLast((e) => e.type === "deregistered");
  assert.equal(ended?.type === "deregistered" && ended.why, "expired");
  assert.equal(bench.records.get("registration")?.size, 0);
});

for (const { what, query = [], payload, now } of [
  { what: "the lifetime", query: ["lt=600"], now: { lifetime: 600 } },
  { what: "the binding", query: ["b=UT"], now: { binding: "UT" } },
  { what: "queue mode", query: ["Q"], now: { queueMode: true } },
  { what: "the number for SMS", query: ["sms=4711"], now: { sms: "4711" } },
  {
    what: "the objects",
    payload: "</1/0>",
    now: {
      objects: { root: [], formats: [], objects: [{ id: 1, version: undefined, instances: [0] }] },
    },
  },
  { what: "nothing", now: {} },
] as const) {
  test(`Core 6.2.2: an Update that names ${what} changes that, durably, and nothing else`, () => {
    const bench = new Bench();
    const location = bench.enrol(1, "dev");
    const row = (): Uint8Array => bench.records.get("registration")!.get(location[1]!)!; // it is registered
    const before = decodeRegistration(row());
    const parts = payload === undefined ? {} : { contentFormat: 40, payload };
    bench.store = "hold";
    bench.update(1, location, { query, ...parts });
    assert.deepEqual(
      bench.held.flatMap(({ changes }) => changes.map(({ table }) => table)),
      what === "nothing" ? ["touch"] : ["touch", "registration"],
    );
    bench.decide(true);
    assert.deepEqual(decodeRegistration(row()), { ...before, ...now });
    assert.equal(bench.update(1, location, { query: ["lt=301"] }), "2.04");
    assert.deepEqual(decodeRegistration(row()), { ...before, ...now, lifetime: 301 });
  });
}

test("Core 6.2.3: a De-register removes the registration, durably", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  const answer = bench.ask(1, request(Code.DELETE, { path: location }));
  assert.equal(formatCode(answer?.code ?? 0), "2.02");
  assert.equal(new Bench({}, bench).server.registrationCount, 0);
});

test("an Update from another raw path rebinds the session before it is obeyed", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  assert.equal(bench.update(2, location), "0.00");
  const rebind = bench.other.findLast((o) => o.type === "rebind");
  assert.deepEqual(rebind, { type: "rebind", exchange: bench.lastExchange, from: 2, into: 1 });
  bench.update(1, location); // the endpoint gives it back under the right session
  const updated = bench.events.findLast((e) => e.type === "updated");
  assert.equal(updated?.type === "updated" && updated.moved, true);
});

test("a device that is heard at the address of another has it from then on: nothing is sent there to the other", () => {
  const bench = new Bench();
  const lamp = bench.enrol(1, "lamp");
  bench.enrol(2, "door");
  bench.update(2, lamp);
  assert.equal(bench.server.registration("lamp", bench.now)?.reachability, "reachable");
  assert.equal(bench.server.registration("door", bench.now)?.reachability, "unreachable");
  bench.order("door", "read", readRequest([3, 0, 9]));
  assert.equal(bench.sent().length, 0);
});

test("RFC 7959 2.9.2: a block from another path moves the session of the registration it is for; any other is to begin again", () => {
  const bench = new Bench();
  const [, id = ""] = bench.enrol(1, "dev");
  for (const path of [["rd"], ["rd", "x"], ["bs", id], ["rd", id, "x"]]) {
    const answer = bench.askFragment(2, request(Code.POST, { path }));
    assert.equal(formatCode(answer?.code ?? 0), "4.08", path.join("/"));
  }
  assert.ok(!bench.other.some(({ type }) => type === "rebind"));
  assert.equal(bench.askFragment(2, request(Code.POST, { path: ["rd", id] })), undefined);
  const rebind = { type: "rebind", exchange: bench.lastExchange, from: 2, into: 1 };
  assert.deepEqual(bench.other.at(-1), rebind);
});

test("a registered device that comes by a new association is reached there, once it has spoken; what it observes goes on there", () => {
  const bench = new Bench();
  const identity = { kind: "psk", identity: "secure" } as const;
  bench.feed({ type: "opened", session: 5, identity });
  const location = bench.enrol(5, "secure");
  const watch = bench.order("secure", "observe", observeRequest([3303, 0, 5700]));
  const first = response(Code.Content, { payload: "1", contentFormat: 0 });
  const accepted = { ...first, options: withOption(first.options, observeOption(1)) };
  bench.reply(watch, 5, accepted, { final: false });
  bench.feed({ type: "opened", session: 6, identity });
  assert.equal(bench.server.registration("secure", bench.now)?.session, 6);
  const resumed = bench.coap.findLast((c) => c.type === "resumeObservation");
  assert.deepEqual([resumed?.session, resumed?.token], [6, Uint8Array.of(9)]);
  const read = bench.order("secure", "read", readRequest([3, 0, 9]));
  assert.equal(bench.state(read), "waiting"); // it may have forgotten all, and register
  assert.equal(bench.update(6, location), "2.04");
  const updated = bench.events.findLast((e) => e.type === "updated");
  assert.equal(updated?.moved, true);
  assert.deepEqual([bench.sent().at(-1)?.id, bench.sent().at(-1)?.session], [read, 6]);
  bench.update(6, location);
  const again = bench.events.findLast((e) => e.type === "updated");
  assert.equal(again?.moved, false);
});

test("an Update that follows a device to another address says so, the next one does not", () => {
  const bench = new Bench();
  bench.feed({ type: "moved", session: 5 }); // registered nobody yet
  const identity = { kind: "oscore", senderId: "05", idContext: undefined } as const;
  bench.feed({ type: "opened", session: 5, identity });
  const location = bench.enrol(5, "secure-05");
  bench.feed({ type: "moved", session: 5 });
  for (const moved of [true, false]) {
    assert.equal(bench.update(5, location), "2.04");
    const updated = bench.events.findLast((e) => e.type === "updated");
    assert.equal(updated?.moved, moved);
  }
});

test("an address that a NAT gave to another device takes nothing from the first", () => {
  const bench = new Bench();
  bench.enrol(1, "first");
  assert.equal(bench.register(1, ["ep=second", "lt=60", "lwm2m=1.1"]), undefined);
  const exchange = bench.lastExchange;
  assert.deepEqual(bench.other.at(-1), { type: "displace", exchange, session: 1 });
  assert.equal(bench.server.registration("first", bench.now)?.reachability, "unreachable");
  bench.enrol(2, "second");
  assert.equal(bench.server.registrationCount, 2);
});

test("a NoSec newcomer takes a name only when the incumbent does not answer", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  assert.equal(bench.register(2, ["ep=dev", "lt=60", "lwm2m=1.1"]), undefined);
  const contested = bench.lastExchange;
  const ping = bench.coap.findLast((c) => c.type === "ping");
  assert.equal(ping?.session, 1);
  bench.feed({ type: "pong", id: ping!.id, session: 1 });
  assert.equal(formatCode(bench.answerTo(contested)?.code ?? 0), "4.03");
  assert.equal(bench.server.registration("dev", bench.now)?.session, 1);

  bench.register(2, ["ep=dev", "lt=60", "lwm2m=1.1"]);
  bench.after(5_000);
  assert.equal(formatCode(bench.answerTo(bench.lastExchange)?.code ?? 0), "2.01");
  assert.equal(bench.server.registration("dev", bench.now)?.session, 2);
  assert.equal(bench.server.registrationCount, 1);

  bench.register(3, ["ep=dev", "lt=60", "lwm2m=1.1"]);
  const lost = bench.coap.findLast((c) => c.type === "ping");
  bench.lose(lost!.id, 2); // there is one
  assert.equal(formatCode(bench.answerTo(bench.lastExchange)?.code ?? 0), "2.01");
  assert.equal(bench.server.registration("dev", bench.now)?.session, 3);
});

test("who contests a name and turns out to be at the address of a device gives it up: nobody is asked on its behalf any more", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const known = bench.enrol(2, "known");
  assert.equal(bench.register(3, ["ep=dev", "lt=60", "lwm2m=1.1"]), undefined);
  const contested = bench.lastExchange;
  const ping = bench.coap.findLast((c) => c.type === "ping")!; // the incumbent is asked
  bench.update(3, known);
  assert.deepEqual(bench.other.at(-1), {
    type: "rebind",
    exchange: bench.lastExchange,
    from: 3,
    into: 2,
  });
  assert.equal(formatCode(bench.answerTo(contested)?.code ?? 0), "5.03");
  assert.deepEqual(bench.coap.at(-2), { type: "cancel", id: ping.id, how: "forget" });
  bench.after(60_000);
  assert.equal(bench.server.registration("dev", bench.now)?.session, 1);
});

test("an endpoint that is not registered is removed without a word", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.feed({ type: "remove", endpoint: "nobody" });
  assert.deepEqual(
    bench.events.filter(({ type }) => type === "deregistered"),
    [],
  );
  assert.equal(bench.server.registrationCount, 1);
});

test("as many names are contested at once as `maxTakeovers` says; who comes then is to try later", () => {
  const bench = new Bench({ maxTakeovers: 1 });
  for (const [n, endpoint] of ["a", "b"].entries()) bench.enrol(n, endpoint);
  const contest = (endpoint: string): Response | undefined =>
    bench.register(7, [`ep=${endpoint}`, "lt=60", "lwm2m=1.1"]);
  assert.equal(contest("a"), undefined);
  const busy = contest("b");
  assert.equal(secondsToWait(busy), 60);
  assert.equal(formatCode(busy?.code ?? 0), "5.03");
  assert.match(new TextDecoder().decode(busy?.payload), /being checked/);
  const pings = bench.coap.filter((c) => c.type === "ping");
  assert.deepEqual(
    pings.map(({ session }) => session),
    [0],
  );
  bench.feed({ type: "pong", id: pings[0]!.id, session: 0 }); // there is one
  assert.equal(contest("b"), undefined);
});

test("a device that comes back on the same host replaces its registration at once, and what is kept of its old session goes with that", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.enrol(1, "dev");
  const ended = (): readonly unknown[] => bench.other.filter(({ type }) => type === "unkeep");
  assert.deepEqual(ended(), []);
  bench.sameHost = true;
  bench.enrol(2, "dev");
  assert.deepEqual(ended(), [{ type: "unkeep", session: 1 }]);
  assert.equal(bench.server.registrationCount, 1);
  assert.equal(bench.records.get("registration")?.size, 1);
});

function secondsToWait(answer: Response | undefined): number | undefined {
  return answer && findUint(answer.options, OptionNumber.MaxAge);
}
