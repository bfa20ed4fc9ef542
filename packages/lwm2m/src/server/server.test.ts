import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, seededRng, toHex, type Identity, type StoreChange } from "@godwit/base";
import {
  Code,
  formatCode,
  locationPath,
  observeOption,
  request,
  response,
  uriPath,
  withOption,
  type EndpointInput,
  type Request,
  type Response,
} from "@godwit/coap";
import type { ServerEvent, ServerInput, ServerOutput } from "./events.ts";
import { decodeRegistration } from "./records.ts";
import { executeRequest, observeRequest, readRequest, writeRequest } from "./requests.ts";
import { Lwm2mServer } from "./server.ts";
import type { ServerTuning } from "./tuning.ts";

/** A server with a store that answers at once, unless told otherwise. */
class Bench {
  now = 1_000_000;
  readonly server: Lwm2mServer;
  readonly records = new Map<string, Map<string, Uint8Array>>();
  readonly coap: EndpointInput[] = [];
  readonly events: ServerEvent[] = [];
  readonly other: ServerOutput[] = [];
  /** `hold`: changes stay undecided; `fail`: the store refuses. */
  store: "ok" | "hold" | "fail" = "ok";
  readonly held: { ticket: number; changes: readonly StoreChange[] }[] = [];
  /** Writes that the store was asked for. */
  writes = 0;
  sameHost = false;
  #exchange = 0;
  #mid = 0;

  constructor(tuning: Partial<ServerTuning> = {}, from?: Bench) {
    this.server = new Lwm2mServer(
      {
        rng: seededRng(7),
        allocate: () => ({ mid: ++this.#mid, token: Uint8Array.of(this.#mid) }),
        sameHost: () => this.sameHost,
        endpointOf: (identity) => {
          if (identity.kind === "psk") return identity.identity;
          return identity.kind === "oscore" ? `secure-${identity.senderId}` : undefined;
        },
        credentialRevision: () => 0, // who proves what does not change here
        isSecured: (endpoint) => endpoint.startsWith("secure"),
      },
      { nosec: true, ...tuning },
    );
    if (from === undefined) return;
    this.now = from.now;
    for (const [table, records] of from.records) this.records.set(table, new Map(records));
    this.server.restore(
      {
        trusted: true,
        each: (table, take) => {
          for (const [key, value] of this.records.get(table) ?? []) take({ key, value });
        },
        sessionOf: ({ session }) => session,
        nowhere: () => assert.fail("every session is there"),
        refusal: () => undefined,
      },
      this.now,
    );
    this.#drain();
  }

  feed(input: ServerInput): void {
    this.server.handle(input, this.now);
    this.#drain();
  }

  after(ms: number): void {
    const end = this.now + ms;
    for (let at = this.server.wakeAt; at !== undefined && at <= end; at = this.server.wakeAt) {
      this.now = Math.max(this.now, at);
      this.server.wake(this.now);
      this.#drain();
    }
    this.now = end;
  }

  /** "/3303/0/5700 active" */
  observed(endpoint: string): readonly string[] {
    return this.server
      .observationsOf(endpoint, this.now)
      .map(({ path, state }) => `${path} ${state}`);
  }

  /** Feeds a request and returns the answer, if one was given at once. */
  ask(session: number, req: Request): Response | undefined {
    const exchange = ++this.#exchange;
    const token = Uint8Array.of(exchange % 256);
    this.feed({ type: "request", exchange, session, request: req, validated: false, token });
    return this.answerTo(exchange);
  }

  /** As `ask`, for a block of a request that began on another path. */
  askFragment(session: number, req: Request): Response | undefined {
    const exchange = ++this.#exchange;
    this.feed({ type: "fragment", exchange, session, request: req });
    return this.answerTo(exchange);
  }

  get lastExchange(): number {
    return this.#exchange;
  }

  answerTo(exchange: number): Response | undefined {
    const found = this.coap.findLast((c) => c.type === "respond" && c.exchange === exchange);
    return found?.type === "respond" ? found.response : undefined;
  }

  register(
    session: number,
    query: string[],
    payload = "</1/0>,</3/0>,</3303/0>",
  ): Response | undefined {
    return this.ask(
      session,
      request(Code.POST, { path: "/rd", query, contentFormat: 40, payload }),
    );
  }

  enrol(session: number, endpoint: string, more: string[] = []): string[] {
    const answer = this.register(session, [`ep=${endpoint}`, "lt=300", "lwm2m=1.1", ...more]);
    assert.equal(formatCode(answer?.code ?? 0), "2.01");
    return locationPath(answer!.options); // asserted above
  }

  update(session: number, location: string[], parts: Parameters<typeof request>[1] = {}): string {
    return formatCode(
      this.ask(session, request(Code.POST, { path: location, ...parts }))?.code ?? 0,
    );
  }

  order(
    endpoint: string,
    kind: "read" | "execute" | "write" | "observe" | "cancelObserve",
    req: Request,
  ): number {
    const id = this.server.operationId();
    const path = `/${uriPath(req.options).join("/")}`;
    this.feed({
      type: "operate",
      id,
      endpoint,
      kind,
      path,
      request: req,
      expiresAt: this.now + 3_600_000,
    });
    return id;
  }

  sent(): Extract<EndpointInput, { type: "request" }>[] {
    return this.coap.filter((c) => c.type === "request");
  }

  state(id: number): string | undefined {
    return this.server.operation(id)?.state.name;
  }

  reply(
    id: number,
    session: number,
    res: Response,
    more: { notification?: boolean; final?: boolean } = {},
  ): void {
    this.feed({
      type: "response",
      id,
      session,
      response: res,
      notification: more.notification ?? false,
      final: more.final ?? true,
      token: Uint8Array.of(9),
    });
  }

  /** Orders an observation, and the device accepts it. */
  observe(endpoint: string, session: number, resource: number): number {
    const id = this.order(endpoint, "observe", observeRequest([3303, 0, resource]));
    this.reply(id, session, reading("1"), { final: false });
    return id;
  }

  lose(id: number, session: number): void {
    this.feed({ type: "failed", id, session, reason: "timeout", again: undefined });
  }

  decide(ok: boolean): void {
    this.store = ok ? "ok" : "fail";
    for (const { ticket, changes } of this.held.splice(0)) this.#commit(ticket, changes);
    this.#drain();
  }

  #drain(): void {
    for (let out = this.server.poll(); out !== undefined; out = this.server.poll()) {
      if (out.type === "coap") this.coap.push(out.input);
      else if (out.type === "store") {
        this.writes += 1;
        if (this.store === "hold") this.held.push(out);
        else this.#commit(out.ticket, out.changes);
      } else if (out.type === "pin" || out.type === "unpin") this.other.push(out);
      else if (out.type === "unkeep") this.other.push(out);
      else if (out.type === "rebind" || out.type === "displace") this.other.push(out);
      else this.events.push(out);
    }
  }

  #commit(ticket: number, changes: readonly StoreChange[]): void {
    const ok = this.store === "ok";
    for (const { table, key, value } of ok ? changes : []) {
      const records = this.records.get(table) ?? new Map<string, Uint8Array>();
      if (value === undefined) records.delete(key);
      else records.set(key, value);
      this.records.set(table, records);
    }
    this.server.handle({ type: "stored", ticket, ok }, this.now);
  }
}

/** An answer with Observe, or a notification. */
function reading(payload: string): Response {
  const answer = response(Code.Content, { payload, contentFormat: 0 });
  return { ...answer, options: withOption(answer.options, observeOption(1)) };
}

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

test("as many names are contested at once as `maxTakeovers` says; who comes then is to try later", () => {
  const bench = new Bench({ maxTakeovers: 1 });
  for (const [n, endpoint] of ["a", "b"].entries()) bench.enrol(n, endpoint);
  const contest = (endpoint: string): Response | undefined =>
    bench.register(7, [`ep=${endpoint}`, "lt=60", "lwm2m=1.1"]);
  assert.equal(contest("a"), undefined);
  const busy = contest("b");
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
