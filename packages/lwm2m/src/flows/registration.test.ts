import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError, seededRng } from "@godwit/base";
import fc from "fast-check";
import {
  Code,
  CON,
  encodeMessage,
  request,
  response,
  uriPath,
  uriQuery,
  type Request,
} from "@godwit/coap";
import { Lwm2mClient } from "../client/client.ts";
import type { ClientInput } from "../client/events.ts";
import type { KeepAliveStrategy } from "../client/keep-alive.ts";
import { ClientStory, registrar, storyOptions } from "./client-story.test.ts";

const AT = "POST /rd?ep=urn:imei:1234567890&lt=300&lwm2m=1.1";

test("OMA Core 6.2.1: a device registers, updates before the lifetime ends, and takes leave", () => {
  const story = new ClientStory().start().pass(1_000);
  assert.deepEqual(story.asked, [`${AT} @0`]);
  assert.deepEqual(story.happened(), ["registered"]);
  assert.deepEqual(story.client.location, ["rd", "1234"]);
  story.pass(500_000);
  // 93 s before the end of 300 s, so that every retransmission still falls into the lifetime.
  assert.deepEqual(story.asked.slice(1), ["POST /rd/1234 @207", "POST /rd/1234 @414"]);
  story.tell({ type: "deregister" }).pass(1_000_000);
  assert.deepEqual(story.asked.slice(3), ["DELETE /rd/1234 @501"]);
  assert.deepEqual(story.happened(), ["updated", "updated", "deregistered"]);
});

test("OMA Transport 6.4.3: the published registration takes 102 and 13 bytes", () => {
  const story = new ClientStory({ server: { 1: 120 }, verbose: true, versionOnInstance: true })
    .start()
    .pass(100_000);
  const sizes = story.requests.map(
    (asked: Request) =>
      encodeMessage({ type: CON, mid: 1, token: Uint8Array.of(1), ...asked }).length,
  );
  assert.deepEqual(sizes, [102, 13]);
});

test("OMA Core 6.2.1.2: attempts are 0, 60, 180, 420 and 900 s apart, then it is time for a bootstrap", () => {
  const story = new ClientStory();
  story.server = () => ({
    after: 0,
    response: response(Code.InternalServerError, { payload: "full" }),
  });
  story.start().pass(1_000_000);
  assert.deepEqual(
    story.asked.map((asked) => Number(asked.split("@")[1])),
    [0, 60, 180, 420, 900],
  );
  const refusals = story.events.filter((event) => event.type === "refused");
  assert.equal(refusals.length, 5);
  assert.deepEqual(refusals[0], {
    type: "refused",
    to: "register",
    code: Code.InternalServerError,
    diagnostic: "full",
    retryAt: 60_000,
  });
  assert.deepEqual(
    story.events.filter((event) => event.type === "exhausted"),
    [{ type: "exhausted", bootstrap: true }],
  );
  story.server = registrar();
  story.events.length = 0;
  story.pass(900_000);
  assert.deepEqual(story.happened(), ["registered"]);
});

test("OMA Core 6.2.1.2: /1/x/17 to 20 change the attempts, and nothing more is tried when nothing more may be", () => {
  const story = new ClientStory({
    server: { 1: 300, 17: 2, 18: 10, 19: 1_000, 20: 2, 16: false },
    tuning: { retryJitter: 0, exhaustedRetry: 0 },
  });
  story.server = () => "lost";
  story.start().pass(100_000_000);
  assert.deepEqual(
    story.asked.map((asked) => Number(asked.split("@")[1])),
    [0, 103, 103 + 93 + 1_000, 103 + 93 + 1_000 + 103],
  );
  assert.deepEqual(story.happened(), [
    "unreachable",
    "unreachable",
    "unreachable",
    "exhausted",
    "unreachable",
  ]);
  assert.equal(story.client.wakeAt, undefined);
});

test("devices that failed together do not return together", () => {
  const second = (seed: number): number => {
    const story = new ClientStory({ rng: seededRng(seed), tuning: {} });
    story.server = () => response(Code.ServiceUnavailable);
    story.start().pass(100_000);
    return Number(story.asked[1]?.split("@")[1]);
  };
  const times = Array.from({ length: 20 }, (_, seed) => second(seed));
  assert.ok(new Set(times).size > 5);
  assert.ok(times.every((time) => time >= 60 && time <= 75));
});

test("OMA Core 6.2.1: a server that answers 4.12 is offered the versions below", () => {
  const story = new ClientStory({ lwm2m: "1.2" });
  story.server = (asked) =>
    uriQuery(asked.options).includes("lwm2m=1.0") || uriPath(asked.options).length > 1
      ? registrar()(asked)
      : response(Code.PreconditionFailed);
  story.start().pass(1_000);
  assert.deepEqual(
    story.asked.map((asked) => /lwm2m=(...)/.exec(asked)?.[1]),
    ["1.2", "1.1", "1.0"],
  );
  assert.deepEqual(story.events[0], {
    type: "registered",
    location: ["rd", "1234"],
    lwm2m: "1.0",
    lifetime: 300,
  });
  // What goes without saying differs from version to version.
  assert.deepEqual(
    story.requests.map(({ payload }) => new TextDecoder().decode(payload)),
    [
      "</1/0>,</3>;ver=1.1,</3/0>,</5/0>,</3303/0>",
      "</1/0>,</3/0>,</5/0>,</3303/0>",
      "</1/0>,</3>;ver=1.1,</3/0>,</5/0>,</3303/0>",
    ],
  );
});

test("OMA Core 6.2.1: a server that serves no version at all refuses", () => {
  const story = new ClientStory();
  story.server = () => response(Code.PreconditionFailed, { payload: "no" });
  story.start().pass(1_000);
  assert.equal(story.asked.length, 2);
  assert.deepEqual(story.happened(), ["refused"]);
});

test("OMA Core 6.2.1: a refusal is shown with its code and words", () => {
  const story = new ClientStory();
  story.server = () => response(Code.Forbidden, { payload: "not on the list" });
  story.start().pass(1_000);
  assert.deepEqual(story.events, [
    {
      type: "refused",
      to: "register",
      code: Code.Forbidden,
      diagnostic: "not on the list",
      retryAt: 60_000,
    },
  ]);
});

test("a Created without a location is no registration", () => {
  const story = new ClientStory();
  story.server = () => response(Code.Created);
  story.start().pass(1_000);
  assert.deepEqual(story.happened(), ["refused"]);
});

test("OMA Core 6.2.2: an Update answered 4.04 leads to a Register at once", () => {
  const story = new ClientStory().start().pass(1_000);
  story.server = (asked) =>
    uriPath(asked.options).length > 1 ? response(Code.NotFound) : registrar()(asked);
  story.pass(210_000);
  assert.deepEqual(story.asked.slice(1), ["POST /rd/1234 @207", `${AT} @207`]);
  assert.deepEqual(story.happened(), ["registered", "registered"]);
});

test("OMA Core 6.2.2: an Update that is lost is repeated until the lifetime ends, then comes a Register", () => {
  const story = new ClientStory({ server: { 1: 600 } }).start().pass(1_000);
  story.server = () => "lost";
  story.pass(700_000);
  // 507 + 93 s without an answer reach the end of the lifetime.
  assert.deepEqual(story.asked.slice(1, 3), [
    "POST /rd/1234 @507",
    `${AT.replace("300", "600")} @600`,
  ]);
  assert.equal(story.client.location, undefined);
});

test("OMA Core 6.2.2: an Update says what changed and nothing else", () => {
  const story = new ClientStory().start().pass(1_000);
  story.tell({ type: "configure", values: { 1: 600 } }).pass(1_000);
  story.tell({ type: "objects", objects: [{ id: 3, version: "1.1", instances: [0] }] }).pass(1_000);
  story.tell({ type: "update" }).pass(1_000);
  assert.deepEqual(story.asked.slice(1), [
    "POST /rd/1234?lt=600 @1",
    "POST /rd/1234 @2",
    "POST /rd/1234 @3",
  ]);
  assert.deepEqual(
    story.requests.slice(1).map(({ payload }) => new TextDecoder().decode(payload)),
    ["", "</1/0>,</3/0>", ""],
  );
  // The next one is counted by the new lifetime.
  story.pass(600_000);
  assert.equal(story.asked[4], `POST /rd/1234 @${3 + 600 - 93}`);
});

test("what changes while an Update is under way follows it", () => {
  const story = new ClientStory().start().pass(1_000);
  story.server = () => ({ after: 5_000, response: response(Code.Changed) });
  story
    .tell({ type: "update" })
    .tell({ type: "configure", values: { 1: 600 } })
    .tell({ type: "update" })
    .pass(30_000);
  assert.deepEqual(story.asked.slice(1), ["POST /rd/1234 @1", "POST /rd/1234?lt=600 @6"]);
});

test("OMA Core E.2: the server writes the lifetime, triggers an Update, and disables the device for a while", () => {
  const story = new ClientStory().start().pass(1_000);
  const written = story.ask(Code.PUT, "/1/0/1", { contentFormat: 0, payload: "900" });
  story.pass(1_000);
  const triggered = story.ask(Code.POST, "/1/0/8");
  story.pass(1_000);
  story.ask(Code.PUT, "/1/0/5", { contentFormat: 0, payload: "60" });
  const disabled = story.ask(Code.POST, "/1/0/4");
  story.pass(100_000);
  assert.deepEqual(
    [written, triggered, disabled].map((id) => story.code(id)),
    ["2.04", "2.04", "2.04"],
  );
  assert.deepEqual(story.asked.slice(1), [
    "POST /rd/1234?lt=900 @1",
    "POST /rd/1234 @2",
    "DELETE /rd/1234 @3",
    `${AT.replace("300", "900")} @63`,
  ]);
  assert.deepEqual(story.happened(), [
    "registered",
    "updated",
    "updated",
    "deregistered",
    "registered",
  ]);
});

test("OMA Core E.2: /1/x/14 delays the first Register, and only that", () => {
  const story = new ClientStory({ server: { 1: 300, 14: 20 } }).start().pass(30_000);
  assert.deepEqual(story.asked, [`${AT} @20`]);
  const again = new ClientStory({
    snapshot: { ...story.client.snapshot(), registration: undefined },
  })
    .start()
    .pass(1_000);
  assert.deepEqual(again.asked, [`${AT} @0`]);
});

test("a lifetime of 0 never ends and needs no Update", () => {
  const story = new ClientStory({ server: { 1: 0 } }).start().pass(10_000_000);
  assert.equal(story.asked.length, 1);
});

test("a device that restarts goes on with its registration, as long as it runs", () => {
  const first = new ClientStory().start().pass(1_000);
  first.ask(Code.PUT, "/3303/0/5700", { query: ["pmin=5"] });
  const snapshot = first.client.snapshot();
  const second = new ClientStory({ snapshot }, 100_000).start().pass(1_000);
  assert.deepEqual(second.asked, ["POST /rd/1234 @100"]);
  assert.deepEqual(second.happened(), ["updated"]);
  assert.deepEqual(second.client.snapshot().attributes, [["/3303/0/5700", { pmin: 5 }]]);
  const late = new ClientStory({ snapshot }, 301_000).start().pass(1_000);
  assert.deepEqual(late.asked, [`${AT} @301`]);
});

test("a device that restarts with other objects says so", () => {
  const snapshot = new ClientStory().start().pass(1_000).client.snapshot();
  const second = new ClientStory({ snapshot, objects: [] }, 100_000).start().pass(1_000);
  assert.equal(new TextDecoder().decode(second.requests[0]?.payload), "</1/0>");
});

test("OMA Core 6.4: a device that restarts goes on with what is observed, and registers anew where it cannot", () => {
  for (const [resumesObservations, asked, resumed] of [
    [true, "POST /rd/1234 @100", [-1]],
    [false, `${AT} @100`, []],
  ] as const) {
    const first = new ClientStory({ resumesObservations }).start().pass(1_000);
    first.device = () => ({ type: "values", nodes: [] });
    first.ask(Code.GET, "/3/0", { observe: 0 });
    const snapshot = structuredClone(first.client.snapshot());
    const second = new ClientStory({ snapshot, resumesObservations }, 100_000);
    second.device = first.device;
    second.start().pass(1_000);
    assert.deepEqual([second.asked, second.resumed], [[asked], resumed]);
  }
});

test("a snapshot from before observations were kept says that there are some: the device registers anew", () => {
  const first = new ClientStory().start().pass(1_000);
  const { observations: _none, registration, ...old } = first.client.snapshot();
  assert.ok(registration);
  const snapshot = { ...old, registration: { ...registration, observed: true } };
  const second = new ClientStory({ snapshot }, 100_000).start().pass(1_000);
  assert.deepEqual(second.asked, [`${AT} @100`]);
});

test("a new way to the server brings an Update at once, or the Register that was waiting", () => {
  const story = new ClientStory();
  story.server = () => "lost";
  story.start().pass(100_000);
  assert.deepEqual(story.happened(), ["unreachable"]);
  story.server = registrar();
  story.start().pass(1_000);
  assert.deepEqual(story.happened(), ["registered"]);
  story.tell({ type: "closed", session: 1 }).pass(10_000);
  story.start().pass(1_000);
  assert.deepEqual(story.happened(), ["updated"]);
  story.tell({ type: "moved", session: 1 }).pass(1_000);
  assert.deepEqual(story.happened(), ["updated"]);
});

test("OMA Core 6.5: in queue mode the device listens for a while after its last message and then sleeps", () => {
  const story = new ClientStory({ queueMode: true, keepAlive: 30, server: { 1: 3_600 } })
    .start()
    .pass(92_000);
  assert.equal(story.asked[0], `${AT.replace("300", "3600")}&Q @0`);
  story.device = () => ({ type: "values", nodes: [] });
  story.ask(Code.GET, "/3/0");
  story.pass(92_999);
  assert.deepEqual(story.happened(), ["registered"]);
  story.pass(1);
  assert.deepEqual(story.events, [{ type: "asleep", until: (3_600 - 93) * 1_000 }]);
  story.pass(3_600_000);
  // No keep-alive: one Update an hour later, announced, and asleep again.
  assert.deepEqual(story.happened(), ["asleep", "awake", "updated", "asleep"]);
  assert.equal(story.asked.length, 2);
});

test("OMA Core 1.0 5.3.1.1: queue mode stands in the binding for a 1.0 server, and the server may ask for it", () => {
  const story = new ClientStory({ lwm2m: "1.0", queueMode: true }).start().pass(1_000);
  assert.match(story.asked[0] ?? "", /b=UQ/);
  const asked = new ClientStory({ lwm2m: "1.0" }).start().pass(1_000);
  asked.ask(Code.PUT, "/1/0/7", { contentFormat: 0, payload: "UQ" });
  assert.equal(asked.asked[1], "POST /rd/1234?b=UQ @1");
});

test("an application that is slow keeps the device awake until it is done", () => {
  const story = new ClientStory({
    queueMode: true,
    tuning: { awakeWindow: 10_000, performTimeout: 60_000 },
  })
    .start()
    .pass(1_000);
  story.device = () => undefined;
  story.ask(Code.GET, "/3/0");
  story.pass(30_000);
  assert.deepEqual(story.happened(), ["registered"]);
  story
    .tell({ type: "performed", id: story.open[0] ?? 0, outcome: { type: "values", nodes: [] } })
    .pass(10_000);
  assert.deepEqual(story.happened(), ["asleep"]);
});

test("options that cannot work are refused where they are given", () => {
  for (const [why, wrong, says] of [
    ["keep-alive too often", { keepAlive: 14 }, /at least 15 s/],
    ["no name in 1.0", { lwm2m: "1.0", endpoint: undefined }, /endpoint name/],
    ["an empty name", { endpoint: "" }, /ep is empty/],
    ["a numeric root", { root: "/3" }, /numeric/],
    ["a resource of /1 that is none", { server: { 99: 1 } }, /\/1\/x\/99/],
    ["a lifetime that is none", { server: { 1: -1 } }, /\/1\/x\/1/],
    ["a binding we do not have", { server: { 7: "T" } }, /binding U/],
    [
      "an id out of range",
      { objects: [{ id: 70_000, version: undefined, instances: [] }] },
      /out of range/,
    ],
  ] as const) {
    const { endpoint, ...rest } = { ...storyOptions(), ...wrong };
    const options = endpoint === undefined ? rest : { ...rest, endpoint };
    assert.throws(
      () => new Lwm2mClient(options),
      (error) => error instanceof UsageError && says.test(error.message),
      why,
    );
  }
});

test("whatever comes in whatever order, no exception escapes and what is kept stays small", () => {
  const id = fc.integer({ min: 1, max: 8 });
  const code = fc.constantFrom(0x41, 0x42, 0x44, 0x45, 0x80, 0x84, 0x8c, 0xa0, 0xa3);
  const input: fc.Arbitrary<ClientInput | number> = fc.oneof(
    fc.constantFrom<ClientInput>(
      { type: "connected", session: 1 },
      { type: "connected", session: 2 },
      { type: "closed", session: 1 },
      { type: "moved", session: 1 },
      { type: "update" },
      { type: "deregister" },
      { type: "changed", path: [3303, 0, 5700] },
      { type: "configure", values: { 1: 60 } },
      { type: "alive", session: 1 },
    ),
    fc.tuple(id, code).map(([request, answer]): ClientInput => ({
      type: "response",
      id: request,
      session: 1,
      response: response(answer, { locationPath: "/rd/x", payload: Uint8Array.of(0xff) }),
      notification: false,
      final: true,
      token: new Uint8Array(),
    })),
    id.map((request): ClientInput => ({
      type: "failed",
      id: request,
      session: 1,
      reason: "timeout",
      again: undefined,
    })),
    id.map((request): ClientInput => ({ type: "pong", id: request, session: 1 })),
    id.map((exchange): ClientInput => ({ type: "unobserved", exchange, why: "timeout" })),
    id.map((perform): ClientInput => ({
      type: "performed",
      id: perform,
      outcome: { type: "refused", code: 0x84, diagnostic: "" },
    })),
    fc
      .tuple(id, fc.constantFrom("/3303/0/5700", "/1/0/8", "/1/0/4", "/0"))
      .map(([exchange, path]): ClientInput => ({
        type: "request",
        exchange,
        session: 1,
        request: request(path.startsWith("/1") ? Code.POST : Code.GET, { path, observe: 0 }),
        validated: true,
        token: Uint8Array.of(exchange % 256),
      })),
    fc.nat(400_000),
  );
  fc.assert(
    fc.property(
      fc.array(input, { maxLength: 40 }),
      fc.boolean(),
      fc.constantFrom<KeepAliveStrategy>("off", "auto", 20),
      (inputs, queueMode, keepAlive) => {
        const story = new ClientStory({ queueMode, keepAlive });
        story.device = () => undefined;
        for (const step of inputs) {
          if (typeof step === "number") story.pass(step);
          else story.tell(step);
        }
        const { attributes } = story.client.snapshot();
        assert.equal(attributes.length, 0);
        assert.ok(story.asked.length < 2_000);
      },
    ),
    { numRuns: 300 },
  );
});
