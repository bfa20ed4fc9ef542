import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { concat, hex, unreachable } from "@godwit/base";
import {
  Code,
  ContentFormat,
  OptionNumber,
  findUint,
  locationPath,
  type RequestParts,
} from "@godwit/coap";
import type { Operation, Outcome } from "../client/events.ts";
import { clientTuning } from "../client/tuning.ts";
import type { ObjectEntry } from "../object-list.ts";
import { isWithin } from "../node-path.ts";
import { encodeTlv } from "../tlv.ts";
import { ClientStory, celsius } from "./client-story.test.ts";

const LINK = ContentFormat.LinkFormat;
const TLV = ContentFormat.Lwm2mTlv;

const OBJECTS: readonly ObjectEntry[] = [
  { id: 3, version: "1.1", instances: [0] },
  { id: 5, version: undefined, instances: [0] },
  { id: 3303, version: "1.1", instances: [0] },
];

/** A thermometer that answers what it is asked. */
function thermometer(
  options: ConstructorParameters<typeof ClientStory>[0] = {},
): ClientStory & { celsius: number } {
  const story = Object.assign(new ClientStory({ objects: OBJECTS, ...options }), { celsius: 20 });
  story.device = (operation: Operation): Outcome => {
    switch (operation.type) {
      case "read":
        if (operation.path[2] === 5605)
          return { type: "refused", code: Code.NotFound, diagnostic: "" };
        return {
          type: "values",
          nodes: [celsius(story.celsius)].filter(({ path }) => isWithin(path, operation.path)),
        };
      case "discover":
        return {
          type: "resources",
          paths: [
            [3303, 0, 5700],
            [3, 0, 0],
            [3, 0, 11, 0],
            [3, 0, 11, 1],
          ],
        };
      case "create":
        return { type: "created", instance: operation.instance ?? 7 };
      case "write":
      case "execute":
      case "delete":
        return { type: "done" };
      default:
        return unreachable(operation);
    }
  };
  story.start().pass(1_000);
  return story;
}

test("OMA Transport 6.4.4: operations are performed and answered", () => {
  const story = thermometer();
  const rows: readonly [number, string, RequestParts, string, Operation | undefined][] = [
    [Code.GET, "/3303/0/5700", {}, "2.05", { type: "read", path: [3303, 0, 5700] }],
    [Code.GET, "/3303/0/5700", { accept: 0 }, "2.05", { type: "read", path: [3303, 0, 5700] }],
    [Code.GET, "/3303/0", {}, "2.05", { type: "read", path: [3303, 0] }],
    [Code.GET, "/3303", { accept: TLV }, "2.05", { type: "read", path: [3303] }],
    [
      Code.PUT,
      "/3303/0/5750",
      { contentFormat: 0, payload: "oven" },
      "2.04",
      {
        type: "write",
        mode: "replace",
        path: [3303, 0, 5750],
        nodes: [{ path: [3303, 0, 5750], value: { type: "string", value: "oven" } }],
      },
    ],
    [
      Code.POST,
      "/3303/0",
      { contentFormat: TLV, payload: hex("e4 1676 6f76656e") },
      "2.04",
      {
        type: "write",
        mode: "update",
        path: [3303, 0],
        nodes: [{ path: [3303, 0, 5750], value: { type: "string", value: "oven" } }],
      },
    ],
    [
      Code.POST,
      "/3303/0/5605",
      {},
      "2.04",
      { type: "execute", path: [3303, 0, 5605], args: new Map() },
    ],
    [
      Code.POST,
      "/3/0/4",
      { contentFormat: 0, payload: "0='now',3" },
      "2.04",
      {
        type: "execute",
        path: [3, 0, 4],
        args: new Map([
          [0, "now"],
          [3, ""],
        ]),
      },
    ],
    [
      Code.POST,
      "/3303",
      { contentFormat: TLV, payload: hex("e4 1676 6f76656e") },
      "2.01",
      {
        type: "create",
        object: 3303,
        instance: undefined,
        nodes: [{ path: [3303, 65_535, 5750], value: { type: "string", value: "oven" } }],
      },
    ],
    [
      Code.POST,
      "/3303",
      { contentFormat: TLV, payload: hex("00 05") },
      "2.01",
      { type: "create", object: 3303, instance: 5, nodes: [] },
    ],
    [Code.DELETE, "/3303/5", {}, "2.02", { type: "delete", path: [3303, 5] }],
    [Code.GET, "/1/0/1", {}, "2.05", undefined],
  ];
  for (const [code, path, parts, answer, operation] of rows) {
    story.performed.length = 0;
    assert.equal(story.code(story.ask(code, path, parts)), answer, path);
    assert.deepEqual(story.performed, operation === undefined ? [] : [operation], path);
  }
  assert.equal(story.payload(story.ask(Code.GET, "/3303/0/5700")), "20");
  assert.equal(story.payload(story.ask(Code.GET, "/1/0/1")), "300");
});

test("OMA Transport 6.4.4: what cannot be done is answered with its code, and nothing is performed", () => {
  const story = thermometer();
  const rows: readonly [string, number, string, RequestParts, string][] = [
    ["security", Code.GET, "/0", {}, "4.01"],
    ["security, deeper", Code.PUT, "/0/0/0", { contentFormat: 0, payload: "x" }, "4.01"],
    ["OSCORE", Code.GET, "/21/0", {}, "4.01"],
    ["COSE", Code.GET, "/23", {}, "4.01"],
    ["an object that is not there", Code.GET, "/3304", {}, "4.04"],
    ["an instance that is not there", Code.GET, "/3303/9/5700", {}, "4.04"],
    ["no path at all", Code.GET, "/temperature", {}, "4.04"],
    ["an id too large", Code.GET, "/65535", {}, "4.04"],
    ["a path too long", Code.GET, "/3/0/11/0/0", {}, "4.04"],
    ["the root", Code.GET, "/", {}, "4.05"],
    ["an instance of a single resource", Code.GET, "/3303/0/5700/0", {}, "4.05"],
    ["reading an executable", Code.GET, "/3/0/4", {}, "4.05"],
    ["reading what can only be written", Code.GET, "/5/0/0", {}, "4.05"],
    [
      "writing what can only be read",
      Code.PUT,
      "/3303/0/5700",
      { contentFormat: 0, payload: "1" },
      "4.05",
    ],
    ["writing an executable", Code.PUT, "/3/0/4", { contentFormat: 0, payload: "1" }, "4.05"],
    ["executing what can only be read", Code.POST, "/3303/0/5700", {}, "4.05"],
    ["writing an object", Code.PUT, "/3303", { contentFormat: TLV, payload: hex("00 00") }, "4.05"],
    ["deleting an object", Code.DELETE, "/3303", {}, "4.05"],
    ["deleting a resource", Code.DELETE, "/3303/0/5700", {}, "4.05"],
    ["deleting the device", Code.DELETE, "/3/0", {}, "4.05"],
    ["deleting the server", Code.DELETE, "/1/0", {}, "4.05"],
    ["creating a server", Code.POST, "/1", { contentFormat: TLV, payload: hex("00 05") }, "4.05"],
    ["a composite", Code.FETCH, "/3", {}, "4.05"],
    [
      "a format that nobody reads",
      Code.PUT,
      "/3303/0/5750",
      { contentFormat: 50, payload: "{}" },
      "4.15",
    ],
    ["no format", Code.PUT, "/3303/0/5750", { payload: "x" }, "4.00"],
    ["an answer in JSON", Code.GET, "/3303/0/5700", { accept: 50 }, "4.06"],
    ["an instance as text", Code.GET, "/3303/0", { accept: 0 }, "4.06"],
    ["a number as bytes", Code.GET, "/3303/0/5700", { accept: 42 }, "4.06"],
    ["text that is no number", Code.PUT, "/1/0/1", { contentFormat: 0, payload: "long" }, "4.00"],
    ["a value out of range", Code.PUT, "/1/0/26", { contentFormat: 0, payload: "2" }, "4.04"],
    ["a binding we do not have", Code.PUT, "/1/0/7", { contentFormat: 0, payload: "T" }, "4.00"],
    ["a negative lifetime", Code.PUT, "/1/0/1", { contentFormat: 0, payload: "-1" }, "4.00"],
    ["a link to nothing", Code.PUT, "/1/0/10", { contentFormat: 0, payload: "11:0" }, "4.00"],
    ["a resource without a value yet", Code.GET, "/1/0/2", {}, "4.04"],
    ["broken TLV", Code.POST, "/3303/0", { contentFormat: TLV, payload: hex("e4 16") }, "4.00"],
    [
      "TLV for another path",
      Code.PUT,
      "/3303/0",
      { contentFormat: TLV, payload: hex("01 01 00") },
      "4.00",
    ],
    [
      "a resource that no definition has",
      Code.POST,
      "/3303/0",
      { contentFormat: TLV, payload: hex("c1 01 00") },
      "4.04",
    ],
    [
      "an instance that exists",
      Code.POST,
      "/3303",
      { contentFormat: TLV, payload: hex("00 00") },
      "4.00",
    ],
    [
      "two instances at once",
      Code.POST,
      "/3303",
      { contentFormat: TLV, payload: hex("00 05 00 06") },
      "4.00",
    ],
    ["neither attributes nor a payload", Code.PUT, "/3303/0", {}, "4.00"],
    ["an unknown attribute", Code.PUT, "/3303/0", { query: ["colour=1"] }, "4.00"],
    ["an attribute of 1.2", Code.PUT, "/3303/0", { query: ["con=1"] }, "4.00"],
    ["a threshold on an instance", Code.PUT, "/3303/0", { query: ["gt=1"] }, "4.00"],
    ["thresholds that cross", Code.PUT, "/3303/0/5700", { query: ["gt=1", "lt=2"] }, "4.00"],
    [
      "attributes in an Observe of 1.1",
      Code.GET,
      "/3303/0/5700",
      { observe: 0, query: ["pmin=1"] },
      "4.00",
    ],
    ["arguments that are none", Code.POST, "/3/0/4", { contentFormat: 0, payload: "now" }, "4.00"],
    [
      "an argument with a blank",
      Code.POST,
      "/3/0/4",
      { contentFormat: 0, payload: "0='a b'" },
      "4.00",
    ],
    ["an argument twice", Code.POST, "/3/0/4", { contentFormat: 0, payload: "0,0" }, "4.00"],
    ["arguments and a comma", Code.POST, "/3/0/4", { contentFormat: 0, payload: "0," }, "4.00"],
    [
      "arguments in TLV",
      Code.POST,
      "/3/0/4",
      { contentFormat: TLV, payload: hex("c1 00 00") },
      "4.15",
    ],
    ["too deep", Code.GET, "/3", { accept: LINK, query: ["depth=4"] }, "4.00"],
  ];
  for (const [why, code, path, parts, answer] of rows) {
    story.performed.length = 0;
    assert.equal(story.code(story.ask(code, path, parts)), answer, why);
    if (answer !== "4.06") assert.deepEqual(story.performed, [], why);
  }
});

test("OMA Core 6.2.1: nothing is served before the Register is answered, and nothing for strangers", () => {
  const story = new ClientStory();
  story.server = () => "lost";
  story.start();
  assert.equal(story.code(story.ask(Code.GET, "/3/0")), "5.03");
  const open = thermometer();
  assert.equal(open.code(open.ask(Code.GET, "/3/0", {}, 2)), "4.01");
  assert.deepEqual(open.performed, []);
});

test("OMA Core 6.3.2: Discover lists what exists, with attributes, versions and dimensions", () => {
  const story = thermometer();
  story.ask(Code.PUT, "/3303/0", { query: ["pmin=10", "pmax=60"] });
  story.ask(Code.PUT, "/3303/0/5700", { query: ["gt=-5.5"] });
  for (const [path, query, links] of [
    ["/3303", [], "</3303>;ver=1.1,</3303/0>;pmin=10;pmax=60,</3303/0/5700>;gt=-5.5"],
    ["/3303", ["depth=1"], "</3303>;ver=1.1,</3303/0>;pmin=10;pmax=60"],
    ["/3303", ["depth=0"], "</3303>;ver=1.1"],
    ["/3303/0/5700", [], "</3303/0/5700>;pmin=10;pmax=60;gt=-5.5"],
    ["/3/0", [], "</3/0>,</3/0/0>,</3/0/11>;dim=2"],
    ["/3/0", ["depth=2"], "</3/0>,</3/0/0>,</3/0/11>;dim=2,</3/0/11/0>,</3/0/11/1>"],
    ["/1/0", [], "</1/0>,</1/0/0>,</1/0/1>,</1/0/4>,</1/0/6>,</1/0/7>,</1/0/8>"],
  ] as const) {
    const asked = story.ask(Code.GET, path, { accept: LINK, query });
    assert.equal(story.payload(asked), links, path);
  }
});

test("OMA Core 6.3.2, 7.3: what is attached above a path is shown by its Discover and counts for its notifications", () => {
  const story = thermometer();
  story.ask(Code.PUT, "/3303", { query: ["pmin=10"] });
  story.ask(Code.PUT, "/3303/0", { query: ["pmax=60"] });
  story.ask(Code.PUT, "/3303/0/5700", { query: ["gt=50"] });
  for (const [path, links] of [
    ["/3303/0/5700", "</3303/0/5700>;pmin=10;pmax=60;gt=50"],
    ["/3303/0", "</3303/0>;pmin=10;pmax=60,</3303/0/5700>;gt=50"],
    ["/3303", "</3303>;pmin=10;ver=1.1,</3303/0>;pmax=60,</3303/0/5700>;gt=50"],
  ] as const) {
    const shown = story.payload(story.ask(Code.GET, path, { accept: LINK })).split(/[;,]/);
    assert.deepEqual(shown.toSorted(), links.split(/[;,]/).toSorted(), path);
  }
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  const start = story.now;
  story.celsius = 51;
  story.tell({ type: "changed", path: [3303, 0, 5700] });
  story.pass(80_000);
  const at = story.notified.map((one) => Math.round((one.at - start) / 1_000));
  assert.deepEqual(at, [10, 70], "pmin of the object, pmax of the instance");
});

test("OMA Core 6.2.1: under an alternate path everything is there and nothing elsewhere", () => {
  const story = thermometer({ root: "/lwm2m" });
  const payload = new TextDecoder().decode(story.requests[0]?.payload);
  assert.equal(payload.slice(0, 43), '</lwm2m>;rt="oma.lwm2m",</lwm2m/1/0>,</lwm2');
  assert.equal(story.code(story.ask(Code.GET, "/lwm2m/3303/0/5700")), "2.05");
  assert.equal(story.code(story.ask(Code.GET, "/3303/0/5700")), "4.04");
  const created = story.ask(Code.POST, "/lwm2m/3303", { contentFormat: TLV });
  assert.deepEqual(locationPath(story.answers.get(created)?.options ?? []), ["lwm2m", "3303", "7"]);
});

test("OMA Core 6.3.5-6: what is created and deleted is announced", () => {
  const story = thermometer();
  const created = story.ask(Code.POST, "/3303", { contentFormat: TLV });
  assert.deepEqual(locationPath(story.answers.get(created)?.options ?? []), ["3303", "7"]);
  story.pass(1_000);
  story.ask(Code.DELETE, "/3303/0");
  story.pass(1_000);
  assert.deepEqual(
    story.requests.slice(1).map(({ payload }) => new TextDecoder().decode(payload)),
    [
      "</1/0>,</3/0>,</5/0>,</3303>;ver=1.1,</3303/0>,</3303/7>",
      "</1/0>,</3/0>,</5/0>,</3303>;ver=1.1,</3303/7>",
    ],
  );
});

test("OMA Core 6.4: an observed value is notified when it changes, and only then", () => {
  const story = thermometer();
  const exchange = story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  assert.equal(findUint(story.answers.get(exchange)?.options ?? [], OptionNumber.Observe), 0);
  story.tell({ type: "changed", path: [3303, 0, 5700] });
  assert.equal(story.notified.length, 0);
  story.celsius = 21;
  story.tell({ type: "changed", path: [3303, 0] });
  story.tell({ type: "changed", path: [3, 0, 9] });
  assert.equal(story.notified.length, 1);
  assert.deepEqual(new TextDecoder().decode(story.notified[0]?.response.payload), "21");
  story.tell({ type: "unobserved", exchange, why: "reset" });
  story.celsius = 22;
  story.tell({ type: "changed", path: [3303, 0, 5700] });
  assert.equal(story.notified.length, 1);
});

/** What is notified, as [s, °C], while the temperature goes through `course`. */
function course(
  query: readonly string[],
  steps: readonly (readonly [number, number])[],
  until: number,
): (readonly [number, number])[] {
  const story = thermometer();
  if (query.length > 0)
    assert.equal(story.code(story.ask(Code.PUT, "/3303/0/5700", { query })), "2.04");
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  const start = story.now;
  for (const [at, value] of steps) {
    story.pass(start + at * 1_000 - story.now);
    story.celsius = value;
    story.tell({ type: "changed", path: [3303, 0, 5700] });
  }
  story.pass(start + until * 1_000 - story.now);
  return story.notified.map(
    ({ at, response }) =>
      [(at - start) / 1_000, Number(new TextDecoder().decode(response.payload))] as const,
  );
}

test("OMA Core 7.3: attributes decide when a change is notified", () => {
  for (const [why, query, steps, until, notified] of [
    ["at once", [], [[5, 21]], 100, [[5, 21]]],
    [
      "pmin holds back, and the newest value is sent",
      ["pmin=10"],
      [
        [2, 21],
        [4, 22],
        [30, 23],
      ],
      100,
      [
        [10, 22],
        [30, 23],
      ],
    ],
    [
      "pmin and a value that came back",
      ["pmin=10"],
      [
        [2, 21],
        [4, 20],
      ],
      100,
      [],
    ],
    [
      "pmax repeats",
      ["pmax=30"],
      [[10, 21]],
      75,
      [
        [10, 21],
        [40, 21],
        [70, 21],
      ],
    ],
    ["pmax below pmin is none", ["pmin=10", "pmax=5"], [], 100, []],
    [
      "gt, upwards and back",
      ["gt=25"],
      [
        [1, 24],
        [2, 26],
        [3, 27],
        [4, 25],
      ],
      50,
      [
        [2, 26],
        [4, 25],
      ],
    ],
    [
      "lt, downwards and back",
      ["lt=10"],
      [
        [1, 11],
        [2, 9],
        [3, 8],
        [4, 10],
      ],
      50,
      [
        [2, 9],
        [4, 10],
      ],
    ],
    [
      "st counts from the last notification",
      ["st=2"],
      [
        [1, 21],
        [2, 21.9],
        [3, 22],
        [4, 23],
        [5, 20],
      ],
      50,
      [
        [3, 22],
        [5, 20],
      ],
    ],
    [
      "a crossing within pmin is sent when pmin ends",
      ["gt=25", "pmin=10"],
      [
        [2, 26],
        [3, 24],
      ],
      50,
      [[10, 24]],
    ],
    [
      "gt and st together",
      ["gt=25", "st=3"],
      [
        [1, 22],
        [2, 23],
        [3, 24],
        [4, 26],
      ],
      50,
      [
        [2, 23],
        [4, 26],
      ],
    ],
    [
      "epmin spaces the looks",
      ["epmin=10"],
      [
        [2, 21],
        [3, 22],
      ],
      50,
      [[10, 22]],
    ],
  ] as const) {
    assert.deepEqual(course(query, steps, until), notified, why);
  }
});

test("OMA Core 7.3: epmax looks without being told", () => {
  const story = thermometer();
  story.ask(Code.PUT, "/3303/0/5700", { query: ["epmax=20"] });
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  story.celsius = 30;
  story.pass(19_000);
  assert.equal(story.notified.length, 0);
  story.pass(2_000);
  assert.equal(story.notified.length, 1);
});

test("OMA Core 7.3: /1/x/2 and 3 count where nothing is attached, and a change of attributes counts at once", () => {
  const story = thermometer({ server: { 1: 86_400, 3: 30 } });
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  story.pass(61_000);
  assert.equal(story.notified.length, 2);
  story.ask(Code.PUT, "/3303", { query: ["pmax=300"] });
  story.pass(200_000);
  assert.equal(story.notified.length, 2);
  story.ask(Code.PUT, "/3303", { query: ["pmax"] });
  story.pass(1_000);
  assert.equal(story.notified.length, 3);
});

test("OMA Core 1.2 6.4.1: attributes in the Observe replace those attached, con makes notifications confirmable", () => {
  const story = thermometer({ lwm2m: "1.2" });
  story.ask(Code.PUT, "/3303/0/5700", { query: ["pmin=1000"] });
  story.ask(Code.GET, "/3303/0/5700", { observe: 0, query: ["con=1", "pmax=20"] });
  story.pass(21_000);
  assert.deepEqual(
    story.notified.map(({ confirmable }) => confirmable),
    [true],
  );
});

test("OMA Core E.2: /1/x/26 makes notifications confirmable", () => {
  const story = thermometer({ lwm2m: "1.2", server: { 1: 300, 26: 1 } });
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  story.celsius = 21;
  story.tell({ type: "changed", path: [3303] });
  assert.deepEqual(
    story.notified.map(({ confirmable }) => confirmable),
    [true],
  );
});

test("OMA Core 6.3.1: a resource that is not there is 4.04, whatever format is asked for; an empty instance is content", () => {
  const story = thermometer();
  for (const [path, parts, code] of [
    ["/3303/0/5601", {}, "4.04"],
    ["/3303/0/5601", { accept: 0 }, "4.04"],
    ["/3303/0/5601", { accept: TLV, observe: 0 }, "4.04"],
    ["/3/0/11/1", { accept: 0 }, "4.04"],
    ["/3/0", { accept: TLV }, "2.05"],
  ] as const) {
    assert.equal(story.code(story.ask(Code.GET, path, parts)), code, path);
  }
});

test("RFC 7641 3.2: a resource that goes away ends its observation with 4.04", () => {
  const story = thermometer();
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  story.device = () => ({ type: "values", nodes: [] });
  story.tell({ type: "changed", path: [3303, 0, 5700] });
  story.tell({ type: "changed", path: [3303, 0, 5700] });
  assert.deepEqual(
    story.notified.map(({ response }) => response.code),
    [Code.NotFound],
  );
  assert.equal(story.client.snapshot().registration?.observed, false);
});

test("an instance that is deleted ends its observations with 4.04", () => {
  const story = thermometer();
  story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  story.ask(Code.DELETE, "/3303/0");
  assert.deepEqual(
    story.notified.map(({ response }) => response.code),
    [Code.NotFound],
  );
});

test("OMA Core 6.2.1: a new registration ends the observations of the old one", () => {
  const story = thermometer();
  const exchange = story.ask(Code.GET, "/3303/0/5700", { observe: 0 });
  story.tell({ type: "deregister" }).pass(1_000);
  assert.deepEqual(story.ended, [exchange]);
  story.celsius = 21;
  story
    .start()
    .pass(1_000)
    .tell({ type: "changed", path: [3303] });
  assert.equal(story.notified.length, 0);
});

test("RFC 7641 4.1: one observation too many is a plain Read", () => {
  const { maxObservations } = clientTuning;
  const story = thermometer();
  story.device = (operation) => ({
    type: "values",
    nodes:
      "path" in operation ? [{ path: operation.path, value: { type: "float", value: 1 } }] : [],
  });
  const observed = (id: number): boolean => {
    const exchange = story.ask(Code.GET, `/3303/0/${id}`, { observe: 0 });
    return findUint(story.answers.get(exchange)?.options ?? [], OptionNumber.Observe) !== undefined;
  };
  const asked = Array.from({ length: maxObservations + 1 }, (_, i) => observed(5_700 + i));
  assert.deepEqual(asked, [...Array<boolean>(maxObservations).fill(true), false]);
  assert.equal(observed(5_700), true, "one of them asked for anew takes its own place");
});

test("one operation too many for a slow application is answered 5.03, and a forgotten one 5.04", () => {
  const { maxPerforms, performTimeout } = clientTuning;
  const story = thermometer();
  story.device = () => undefined;
  const asked = Array.from({ length: maxPerforms + 1 }, () => story.ask(Code.GET, "/3303/0/5700"));
  assert.deepEqual(
    asked.map((id) => story.code(id)),
    [...Array<string>(maxPerforms).fill("0.00"), "5.03"],
  );
  story.pass(performTimeout);
  assert.equal(story.code(asked[0] ?? 0), "5.04");
  story.tell({ type: "performed", id: story.open[0] ?? 0, outcome: { type: "values", nodes: [] } });
  assert.equal(story.code(asked[0] ?? 0), "5.04");
});

test("paths with attributes are limited", () => {
  const { maxAttributePaths } = clientTuning;
  const instances = Array.from({ length: maxAttributePaths + 1 }, (_, i) => i);
  const story = thermometer({ objects: [{ id: 3303, version: undefined, instances }] });
  const codes = instances.map((i) =>
    story.code(story.ask(Code.PUT, `/3303/${i}`, { query: ["pmin=1"] })),
  );
  assert.deepEqual(codes, [...Array<string>(maxAttributePaths).fill("2.04"), "5.00"]);
});

test("OMA Core E.2: /1 is read, written in part and replaced", () => {
  const story = thermometer();
  story.ask(Code.PUT, "/1/0/5", { contentFormat: 0, payload: "60" });
  const whole = encodeTlv(
    [1, 0],
    [
      { path: [1, 0, 1], value: { type: "integer", value: 600 } },
      { path: [1, 0, 6], value: { type: "boolean", value: false } },
    ],
  );
  assert.equal(
    story.code(story.ask(Code.POST, "/1/0", { contentFormat: TLV, payload: whole })),
    "2.04",
  );
  assert.equal(story.payload(story.ask(Code.GET, "/1/0/5")), "60");
  assert.equal(
    story.code(story.ask(Code.PUT, "/1/0", { contentFormat: TLV, payload: whole })),
    "2.04",
  );
  assert.equal(story.code(story.ask(Code.GET, "/1/0/5")), "4.04");
  assert.equal(story.payload(story.ask(Code.GET, "/1/0/1")), "600");
});

test("random requests are answered, each once, and never let an exception escape", () => {
  const segment = fc.constantFrom(
    "3303",
    "3",
    "1",
    "0",
    "5700",
    "5750",
    "4",
    "11",
    "",
    "x",
    "65535",
    "-1",
  );
  const query = fc.constantFrom("pmin=1", "gt=5", "st=a", "depth=1", "pmax", "0='x'", "=");
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 3, 4, 5, 7),
      fc.array(segment, { maxLength: 5 }),
      fc.array(query, { maxLength: 2 }),
      fc.constantFrom(undefined, 0, 40, 42, 1542, 11_542, 50),
      fc.uint8Array({ maxLength: 20 }),
      fc.boolean(),
      (code, path, arguments_, format, payload, observe) => {
        const story = thermometer();
        const exchange = story.ask(code, `/${path.join("/")}`, {
          query: arguments_,
          payload: concat(payload),
          ...(format !== undefined && { contentFormat: format, accept: format }),
          ...(observe && { observe: 0 }),
        });
        assert.notEqual(story.code(exchange), "0.00");
      },
    ),
    { numRuns: 300 },
  );
});
