// What the store refuses has not happened: every change in memory that goes before a write is taken back with it, or the
// write is made up for. A bench whose store refuses, after which memory must be what the next start reads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng, type Identity, type StoreChange } from "@godwit/base";
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
import type { ServerEvent, ServerInput } from "./events.ts";
import { executeRequest, observeRequest, readRequest } from "./requests.ts";
import { Lwm2mServer } from "./server.ts";
import type { ServerTuning } from "./tuning.ts";

class Bench {
  now = Date.UTC(2026, 10, 30);
  readonly server: Lwm2mServer;
  readonly coap: EndpointInput[] = [];
  readonly events: ServerEvent[] = [];
  readonly pinned = new Map<number, number>();
  /** `hold`: undecided until `decide`. */
  store: "ok" | "hold" | "refuse" = "ok";
  revoked = new Set<string>();
  readonly #records: Map<string, Map<string, Uint8Array>>;
  readonly #held: { ticket: number; changes: readonly StoreChange[] }[] = [];
  #exchange = 0;
  #mid = 0;

  constructor(from?: Bench, tuning: Partial<ServerTuning> = {}) {
    this.#records = from === undefined ? new Map() : structuredClone(from.#records);
    this.now = from?.now ?? this.now;
    this.server = new Lwm2mServer(
      {
        rng: seededRng(7),
        allocate: () => ({ mid: ++this.#mid, token: Uint8Array.of(this.#mid) }),
        sameHost: () => true,
        endpointOf: (identity) => this.#endpointOf(identity),
      },
      { nosec: true, ...tuning },
    );
    this.server.restore(
      {
        trusted: true,
        each: (table, take) => {
          for (const [key, value] of this.#records.get(table) ?? []) take({ key, value });
        },
        sessionOf: ({ session }) => session,
        nowhere: () => assert.fail("every session is there"),
        refusal: () => undefined,
      },
      this.now,
    );
    this.#drain();
  }

  #endpointOf(identity: Identity): string | undefined {
    if (identity.kind !== "psk" || this.revoked.has(identity.identity)) return undefined;
    return identity.identity;
  }

  feed(input: ServerInput): void {
    this.server.handle(input, this.now);
    this.#drain();
  }

  after(ms: number): void {
    this.now += ms;
    this.server.wake(this.now);
    this.#drain();
  }

  ask(session: number, req: Request): number {
    const exchange = ++this.#exchange;
    const token = Uint8Array.of(exchange % 256);
    this.feed({ type: "request", exchange, session, request: req, validated: true, token });
    return exchange;
  }

  answer(exchange: number): Response | undefined {
    const found = this.coap.findLast((c) => c.type === "respond" && c.exchange === exchange);
    return found?.type === "respond" ? found.response : undefined;
  }

  code(exchange: number): string {
    return formatCode(this.answer(exchange)?.code ?? 0);
  }

  register(session: number, endpoint: string, lifetime = 300): number {
    const query = [`ep=${endpoint}`, `lt=${lifetime}`, "lwm2m=1.1"];
    const payload = "</1/0>,</3/0>,</3303/0>";
    return this.ask(
      session,
      request(Code.POST, { path: "/rd", query, contentFormat: 40, payload }),
    );
  }

  enrol(session: number, endpoint: string, lifetime?: number): string[] {
    const answer = this.answer(this.register(session, endpoint, lifetime));
    assert.equal(formatCode(answer?.code ?? 0), "2.01");
    return locationPath(answer!.options); // asserted above
  }

  order(endpoint: string, kind: "read" | "execute" | "observe", req: Request): number {
    const id = this.server.operationId();
    const path = `/${uriPath(req.options).join("/")}`;
    const expiresAt = this.now + 3_600_000;
    this.feed({ type: "operate", id, endpoint, kind, path, request: req, expiresAt });
    return id;
  }

  reply(id: number, session: number, res: Response, final = true): void {
    const token = Uint8Array.of(9);
    this.feed({ type: "response", id, session, response: res, notification: false, final, token });
  }

  sent(id: number): number {
    return this.coap.filter((one) => one.type === "request" && one.id === id).length;
  }

  /** The device of a session does not answer: what is for it waits. */
  lose(session: number): void {
    const id = this.order("dev", "read", readRequest([3, 0, 0]));
    this.feed({ type: "failed", id, session, reason: "timeout", again: undefined });
    this.feed({ type: "cancelOperation", id });
  }

  /** Of all that is held, or of the `first` so many. */
  decide(ok: boolean, first = this.#held.length): void {
    for (const one of this.#held.splice(0, first)) this.#commit(one, ok);
    this.#drain();
  }

  /** What a start now would read is what is in memory. */
  check(): void {
    const next = new Bench(this);
    assert.deepEqual(view(next), view(this));
    for (const { session } of this.server.registrations(this.now))
      assert.equal(this.pinned.get(session), 1, `session ${session} is not kept`);
    assert.equal(this.pinned.size, this.server.registrationCount);
  }

  #commit({ ticket, changes }: { ticket: number; changes: readonly StoreChange[] }, ok: boolean) {
    for (const { table, key, value } of ok ? changes : []) {
      const records = this.#records.get(table) ?? new Map<string, Uint8Array>();
      if (value === undefined) records.delete(key);
      else records.set(key, value);
      this.#records.set(table, records);
    }
    const why = ok ? {} : { why: "the disk is full" };
    this.server.handle({ type: "stored", ticket, ok, ...why }, this.now);
  }

  #drain(): void {
    for (let out = this.server.poll(); out !== undefined; out = this.server.poll()) {
      if (out.type === "coap") this.coap.push(out.input);
      else if (out.type === "store") {
        if (this.store === "hold") this.#held.push(out);
        else this.#commit(out, this.store === "ok");
      } else if (out.type === "pin") this.pinned.set(out.session, 1);
      else if (out.type === "unpin") this.pinned.delete(out.session);
      else if (out.type !== "rebind" && out.type !== "displace" && out.type !== "unkeep")
        this.events.push(out);
    }
  }
}

function notification(payload: string): Response {
  const answer = response(Code.Content, { payload });
  return { ...answer, options: withOption(answer.options, observeOption(1)) };
}

/** What is promised: not when a device was heard, which is no promise. */
function view({ server, now }: Bench): unknown {
  const registrations = [...server.registrations(now)].map((one) => [
    one.endpoint,
    one.id,
    one.lifetime,
    one.binding,
    one.objects,
    server.observationsOf(one.endpoint, now).map(({ path }) => path),
    server
      .operationsOf(one.endpoint)
      .map(({ id, kind, state }) => [id, kind, state.name === "sent" ? "waiting" : state.name])
      .filter(([, kind, state]) => kind !== "observe" || state !== "waiting"), // asked again after a start anyway
  ]);
  return new Map(registrations.map((one) => [one[0], one]));
}

test("F18: a device that registers again while the store refuses is told 5.03 and why, and stays registered", () => {
  for (const session of [1, 2]) {
    const bench = new Bench();
    const location = bench.enrol(1, "dev");
    const observed = bench.order("dev", "observe", observeRequest([3303, 0, 5700]));
    bench.reply(observed, 1, notification("1"), false);
    bench.store = "refuse";
    const refused = bench.register(session, "dev", 60);
    assert.equal(bench.code(refused), "5.03");
    assert.equal(Buffer.from(bench.answer(refused)!.payload).toString(), "the disk is full");
    assert.equal(bench.events.filter(({ type }) => type === "deregistered").length, 0);
    const shown = bench.server.observationsOf("dev", bench.now);
    assert.deepEqual(
      shown.map(({ path, state }) => `${path} ${state}`),
      ["/3303/0/5700 active"],
    );
    bench.check();
    bench.store = "ok";
    assert.equal(bench.code(bench.ask(1, request(Code.POST, { path: location }))), "2.04");
    const again = locationPath(bench.answer(bench.register(session, "dev", 60))!.options);
    assert.notDeepEqual(again, location);
    assert.equal(bench.code(bench.ask(1, request(Code.POST, { path: location }))), "4.04");
    bench.check();
  }
});

test("F18: an Update that the store refuses changes nothing that was promised", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  bench.store = "refuse";
  bench.after(100_000);
  const payload = "</1/0>,</3/0>";
  const query = ["lt=60"];
  const update = request(Code.POST, { path: location, query, contentFormat: 40, payload });
  assert.equal(bench.code(bench.ask(1, update)), "5.03");
  assert.equal(bench.server.registration("dev", bench.now)?.lifetime, 300);
  bench.check();
  bench.after(290_000); // it was heard: its lifetime began anew
  assert.ok(bench.server.registration("dev", bench.now) !== undefined);
});

test("F18: a De-register that the store refuses leaves the device registered, and a second one ends it", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  const leave = request(Code.DELETE, { path: location });
  bench.store = "refuse";
  assert.equal(bench.code(bench.ask(1, leave)), "5.03");
  bench.check();
  assert.equal(bench.server.registrationCount, 1);
  bench.store = "hold";
  const first = bench.ask(1, leave);
  const during = bench.ask(1, request(Code.POST, { path: location }));
  assert.equal(bench.code(during), "4.04"); // or its row would be written again
  bench.decide(true);
  assert.equal(bench.code(first), "2.02");
  bench.check();
});

test("F18: what ended while the store refuses is not back after a restart, once it takes writes again", () => {
  const bench = new Bench();
  bench.enrol(1, "removed");
  bench.enrol(2, "expired", 60);
  bench.enrol(3, "stays", 86_400);
  const done = bench.order("stays", "read", readRequest([3, 0, 0]));
  bench.store = "refuse";
  bench.feed({ type: "remove", endpoint: "removed" });
  bench.after(600_000);
  bench.reply(done, 3, response(Code.Content, { payload: "x" }));
  assert.equal(bench.server.registrationCount, 1);
  assert.equal(bench.server.operation(done)?.state.name, "done");
  bench.after(6_000); // tried again, refused again
  bench.store = "ok";
  bench.after(6_000);
  bench.check();
});

test("F18: an observation whose record was refused is written as soon as the store takes it", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const id = bench.order("dev", "observe", observeRequest([3303, 0, 5700]));
  bench.store = "refuse";
  bench.reply(id, 1, notification("1"), false);
  bench.store = "ok";
  bench.after(6_000);
  bench.check();
  const shown = bench.server.observationsOf("dev", bench.now);
  assert.deepEqual(
    shown.map(({ path, state }) => `${path} ${state}`),
    ["/3303/0/5700 active"],
  );
});

test("F18: an operation that could not be kept is never sent, and keeps no other from being sent", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  bench.store = "hold";
  const id = bench.order("dev", "execute", executeRequest([3, 0, 4], ""));
  const again = bench.register(1, "dev"); // takes over what waits for the device
  bench.decide(false);
  assert.equal(bench.code(again), "5.03");
  const told = bench.events.findLast(({ type }) => type === "operation");
  const state = told?.type === "operation" ? told.operation.state : undefined;
  assert.deepEqual(
    state?.name === "failed" && state.reason,
    "it could not be kept: the disk is full",
  );
  assert.equal(bench.sent(id), 0);
  bench.store = "ok";
  const next = bench.order("dev", "read", readRequest([3, 0, 0]));
  assert.equal(bench.sent(next), 1);
  bench.check();
});

test("F18: an order under a new message id that was refused is stored before it is sent again", () => {
  const bench = new Bench();
  bench.enrol(1, "dev");
  const id = bench.order("dev", "execute", executeRequest([3, 0, 4], ""));
  assert.equal(bench.sent(id), 1);
  bench.store = "refuse";
  bench.feed({ type: "renamed", id, session: 1, again: { mid: 77, token: Uint8Array.of(7) } });
  bench.feed({ type: "alive", session: 1 });
  assert.equal(bench.sent(id), 1);
  bench.store = "ok";
  bench.feed({ type: "alive", session: 1 });
  assert.equal(bench.sent(id), 2);
  const last = bench.coap.findLast((one) => one.type === "request" && one.id === id);
  assert.equal(last?.type === "request" && last.again?.mid, 77);
});

test("Registers of one endpoint and of one session at once end with one registration, whatever the store decides", () => {
  for (const second of [2, 1]) {
    for (const decisions of [[true], [false]] as const) {
      const bench = new Bench();
      bench.enrol(1, "dev");
      bench.store = "hold";
      const first = bench.register(second, "dev");
      const last = bench.register(2, "dev");
      bench.decide(decisions[0]);
      const codes = [bench.code(first), bench.code(last)];
      assert.deepEqual(codes, decisions[0] ? ["2.01", "2.01"] : ["5.03", "5.03"]);
      assert.equal(bench.server.registrationCount, 1);
      bench.check();
    }
  }
});

test("F18: a registration that two Registers end is not updated before both are decided", () => {
  const bench = new Bench();
  const location = bench.enrol(1, "dev");
  const update = request(Code.POST, { path: location });
  bench.store = "hold";
  const first = bench.register(2, "dev");
  const last = bench.register(3, "dev");
  bench.decide(false, 1);
  assert.equal(bench.code(first), "5.03");
  assert.equal(bench.code(bench.ask(1, update)), "4.04"); // or its row would be written again
  bench.decide(true);
  assert.equal(bench.code(last), "2.01");
  bench.check();
});

test("limits hold while registrations are being written", () => {
  const bench = new Bench(undefined, { maxUnproven: 2, maxRegistrations: 4 });
  bench.store = "hold";
  const asked = [1, 2, 3, 4, 5].map((session) => bench.register(session, `dev${session}`));
  bench.decide(true);
  const codes = asked.map((exchange) => bench.code(exchange));
  assert.deepEqual(codes, ["2.01", "2.01", "2.01", "2.01", "5.03"]);
  bench.store = "ok";
  bench.register(6, "dev6");
  bench.check();
});

test("F18: an unproven device whose second Register was refused counts as unproven, and makes room at the limit", () => {
  const bench = new Bench(undefined, { maxUnproven: 1 });
  bench.enrol(1, "dev1");
  bench.store = "refuse";
  assert.equal(bench.code(bench.register(1, "dev1")), "5.03");
  bench.store = "ok";
  bench.enrol(2, "dev2");
  assert.deepEqual([...bench.server.endpoints()], ["dev2"]);
  bench.check();
});

test("a credential that is revoked while its device registers lets nobody in", () => {
  const bench = new Bench();
  bench.feed({ type: "opened", session: 9, identity: { kind: "psk", identity: "dev" } });
  bench.store = "hold";
  const asked = bench.register(9, "dev");
  bench.revoked.add("dev");
  bench.decide(true);
  bench.decide(true);
  assert.equal(bench.code(asked), "4.03");
  assert.equal(bench.server.registrationCount, 0);
  bench.check();
});

test("F19: after a start with a clock two days ahead nothing ends within the grace, and what is over by it is not sent", () => {
  const bench = new Bench();
  bench.enrol(1, "dev", 300);
  bench.store = "ok";
  bench.lose(1);
  const over = bench.order("dev", "execute", executeRequest([3, 0, 4], ""));
  bench.now += 2 * 86_400_000;
  const ahead = new Bench(bench);
  ahead.after(299_000);
  ahead.feed({ type: "alive", session: 1 });
  assert.equal(ahead.server.operation(over)?.state.name, "waiting");
  assert.equal(ahead.sent(over), 0);
  assert.equal(ahead.server.registrationCount, 1);
  const next = ahead.order("dev", "read", readRequest([3, 0, 0]));
  assert.equal(ahead.sent(next), 1);
  bench.now -= 2 * 86_400_000;
  const right = new Bench(bench);
  right.feed({ type: "alive", session: 1 });
  assert.equal(right.sent(over), 1);
  ahead.after(10_000);
  assert.equal(ahead.server.operation(over)?.state.name, "expired");
});
