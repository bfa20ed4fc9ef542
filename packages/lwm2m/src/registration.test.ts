import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FormatError, UsageError, fromUtf8, utf8 } from "@godwit/base";
import {
  Code,
  CON,
  OptionNumber,
  encodeMessage,
  formatCode,
  request,
  type Request,
} from "@godwit/coap";
import {
  MAX_LINKS,
  MAX_LIST_BYTES,
  formatObjectList,
  objectVersions,
  parseObjectList,
  type ObjectList,
} from "./object-list.ts";
import {
  claimedEndpoint,
  formatDeregister,
  formatRegister,
  formatUpdate,
  parseRegister,
  parseUpdate,
  type RegisterParts,
} from "./registration.ts";

const PUBLISHED: ObjectList = {
  root: [],
  formats: [],
  objects: [
    { id: 1, version: "1.1", instances: [0] },
    { id: 3, version: "1.1", instances: [0] },
    { id: 5, version: undefined, instances: [0] },
    { id: 3303, version: undefined, instances: [0] },
  ],
};

function size(message: Request): number {
  return encodeMessage({ type: CON, mid: 1, token: Uint8Array.of(1), ...message }).length;
}

function registering(
  query: readonly string[],
  payload: Uint8Array | string = "</1/0>,</3/0>",
  contentFormat = 40,
): Request {
  return request(Code.POST, {
    path: "/rd",
    query,
    payload,
    ...(payload.length > 0 && { contentFormat }),
  });
}

test("OMA Transport 6.4.3: the published Register takes 102 bytes and its Update 13", () => {
  const register = formatRegister({
    endpoint: "urn:imei:1234567890",
    lifetime: 120,
    lwm2m: "1.1",
    binding: "U",
    objects: PUBLISHED,
    versionOnInstance: true,
  });
  assert.deepEqual(
    register,
    request(Code.POST, {
      path: "/rd",
      query: ["ep=urn:imei:1234567890", "lt=120", "lwm2m=1.1", "b=U"],
      contentFormat: 40,
      payload: "</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>",
    }),
  );
  assert.equal(size(register), 102);
  const update = formatUpdate(["rd", "1234"], {}, "1.1");
  assert.deepEqual(update, request(Code.POST, { path: "/rd/1234" }));
  assert.equal(size(update), 13);
  assert.equal(size(formatDeregister(["rd", "1234"])), 13);
});

test("OMA Core 6.2.1: a Register is read with its defaults", () => {
  assert.deepEqual(parseRegister(registering(["ep=a"])), {
    type: "register",
    registration: {
      endpoint: "a",
      lifetime: 86_400,
      lwm2m: "1.0",
      binding: "U",
      queue: false,
      sms: undefined,
      profileIds: [],
      objects: {
        root: [],
        formats: [],
        objects: [
          { id: 1, version: undefined, instances: [0] },
          { id: 3, version: undefined, instances: [0] },
        ],
      },
    },
  });
});

test("OMA Core 6.2.1: what a Register says comes out of it again", () => {
  const rows: readonly RegisterParts[] = [
    {
      endpoint: "a",
      lwm2m: "1.0",
      lifetime: 0,
      binding: "US",
      queue: true,
      sms: "41790001122",
      objects: PUBLISHED,
    },
    { endpoint: "a", lwm2m: "1.0", lifetime: 60, binding: "U", queue: true, objects: PUBLISHED },
    {
      endpoint: undefined,
      lwm2m: "1.1",
      lifetime: 4_294_967_295,
      binding: "UT",
      queue: true,
      objects: PUBLISHED,
    },
    {
      endpoint: "ü",
      lwm2m: "1.2",
      lifetime: 300,
      binding: "M",
      queue: false,
      profileIds: ["oma:a", "2:b0"],
      objects: PUBLISHED,
    },
    {
      endpoint: "a",
      lwm2m: "1.2",
      lifetime: 300,
      binding: "U",
      queue: false,
      profileIds: ["oma:a"],
      objects: undefined,
    },
  ];
  for (const parts of rows) {
    const parsed = parseRegister(formatRegister(parts));
    assert.deepEqual(parsed, {
      type: "register",
      registration: { sms: undefined, profileIds: [], ...parts },
    });
  }
});

test("OMA Core 6.2.1: a Register that cannot be granted is answered with its code and the reason", () => {
  const rows: readonly [string, Request, string, RegExp][] = [
    ["no endpoint in 1.0", registering([]), "4.00", /ep is missing/],
    ["no lifetime in 1.1", registering(["ep=a", "lwm2m=1.1"]), "4.00", /lt is missing/],
    [
      "a version nobody knows",
      registering(["ep=a", "lt=60", "lwm2m=1.3", "x=y"]),
      "4.12",
      /1\.3.*1\.0, 1\.1, 1\.2/,
    ],
    ["a version far away", registering(["ep=a", "lt=60", "lwm2m=2.0"]), "4.12", /2\.0/],
    ["no version", registering(["ep=a", "lt=60", "lwm2m=one"]), "4.00", /"one" is no version/],
    ["an empty version", registering(["ep=a", "lt=60", "lwm2m="]), "4.00", /"" is no version/],
    [
      "an unknown parameter",
      registering(["ep=a", "lt=60", "colour=red"]),
      "4.00",
      /unknown parameter "colour"/,
    ],
    ["Q in 1.0", registering(["ep=a", "lt=60", "Q"]), "4.00", /"Q" in LwM2M 1\.0/],
    [
      "pid in 1.1",
      registering(["ep=a", "lt=60", "lwm2m=1.1", "pid=oma:a"]),
      "4.00",
      /"pid" in LwM2M 1\.1/,
    ],
    ["Q with a value", registering(["ep=a", "lt=60", "lwm2m=1.1", "Q=1"]), "4.00", /Q has a value/],
    ["a parameter twice", registering(["ep=a", "ep=b", "lt=60"]), "4.00", /ep is there twice/],
    ["an empty endpoint", registering(["ep=", "lt=60"]), "4.00", /ep is empty/],
    ["a bare endpoint", registering(["ep", "lt=60"]), "4.00", /ep is empty/],
    ["control characters", registering(["ep=a\nb", "lt=60"]), "4.00", /control/],
    ["C1 control characters", registering(["ep=a\u0085b", "lt=60"]), "4.00", /control/],
    ["text turned around", registering(["ep=a\u202eb", "lt=60"]), "4.00", /control/],
    ["negative lifetime", registering(["ep=a", "lt=-1"]), "4.00", /lt "-1"/],
    ["fractional lifetime", registering(["ep=a", "lt=1.5"]), "4.00", /lt "1\.5"/],
    ["lifetime beyond 32 bits", registering(["ep=a", "lt=4294967296"]), "4.00", /above 4294967295/],
    ["binding of nothing", registering(["ep=a", "lt=60", "b=X"]), "4.00", /binding "X"/],
    [
      "UQ in 1.1",
      registering(["ep=a", "lt=60", "lwm2m=1.1", "b=UQ"]),
      "4.00",
      /binding "UQ" is not of LwM2M 1\.1/,
    ],
    ["M in 1.1", registering(["ep=a", "lt=60", "lwm2m=1.1", "b=M"]), "4.00", /binding "M"/],
    ["T in 1.0", registering(["ep=a", "lt=60", "b=T"]), "4.00", /binding "T"/],
    ["a letter twice", registering(["ep=a", "lt=60", "lwm2m=1.2", "b=UU"]), "4.00", /binding "UU"/],
    ["sms with a plus", registering(["ep=a", "lt=60", "sms=+4179"]), "4.00", /sms/],
    [
      "profile id of nothing",
      registering(["ep=a", "lt=60", "lwm2m=1.2", "pid=x"]),
      "4.00",
      /pid "x"/,
    ],
    ["no list in 1.1", registering(["ep=a", "lt=60", "lwm2m=1.1"], ""), "4.00", /no objects/],
    [
      "no list in 1.2",
      registering(["ep=a", "lt=60", "lwm2m=1.2"], ""),
      "4.09",
      /neither objects nor pid/,
    ],
    ["a list in JSON", registering(["ep=a", "lt=60"], "[]", 50), "4.15", /40, not 50/],
    ["a list that is none", registering(["ep=a", "lt=60"], "</1/0"), "4.00", /at \d+/],
    ["an id too large", registering(["ep=a", "lt=60"], "</65535/0>"), "4.00", /"65535"/],
    [
      "a resource in the list",
      registering(["ep=a", "lt=60"], "</3/0/9>"),
      "4.00",
      /no object or instance/,
    ],
    [
      "a version that is none",
      registering(["ep=a", "lt=60"], "</3/0>;ver=new"),
      "4.00",
      /ver "new"/,
    ],
    [
      "two versions",
      registering(["ep=a", "lt=60"], "</3>;ver=1.0,</3/0>;ver=1.1"),
      "4.00",
      /two versions/,
    ],
    [
      "two roots",
      registering(["ep=a", "lt=60"], '</a>;rt="oma.lwm2m",</b>;rt="oma.lwm2m"'),
      "4.00",
      /two links/,
    ],
    [
      "a numeric root",
      registering(["ep=a", "lt=60"], '</7>;rt="oma.lwm2m"'),
      "4.00",
      /numeric segment/,
    ],
    ["ct without a value", registering(["ep=a", "lt=60"], "</>;ct="), "4.00", /at \d+/],
    ["ct of nothing", registering(["ep=a", "lt=60"], "</>;ct=json"), "4.00", /ct "json"/],
  ];
  for (const [why, register, code, diagnostic] of rows) {
    const parsed = parseRegister(register);
    assert.equal(parsed.type, "refused", why);
    assert.equal(formatCode(parsed.type === "refused" ? parsed.code : 0), code, why);
    assert.match(parsed.type === "refused" ? parsed.diagnostic : "", diagnostic, why);
  }
});

test("OMA Core 6.2.1: bytes that are no text, and names of more than 255 bytes, are answered 4.00", () => {
  const raw = (value: Uint8Array): Request => ({
    code: Code.POST,
    options: [{ number: OptionNumber.UriQuery, value }],
    payload: utf8("</3/0>"),
  });
  assert.deepEqual(parseRegister(raw(Uint8Array.of(0x65, 0x70, 0x3d, 0xff))).type, "refused");
  for (const [endpoint, type] of [
    ["a".repeat(255), "register"],
    ["a".repeat(256), "refused"],
    [`a${"ü".repeat(127)}`, "register"],
    ["ü".repeat(128), "refused"],
  ] as const)
    assert.equal(parseRegister(raw(utf8(`ep=${endpoint}`))).type, type, endpoint);
  assert.throws(() => formatRegister({ endpoint: "", lwm2m: "1.1" }), UsageError);
  assert.throws(() => formatRegister({ endpoint: "a\u0000", lwm2m: "1.1" }), UsageError);
});

test("OMA Core 6.2.1: the endpoint that is claimed is told whatever else is in a Register, a refused one too", () => {
  for (const [query, endpoint] of [
    [["ep=urn:dev:1"], "urn:dev:1"],
    [["lt=60", "sep=a", "colour", "ep=ü", "ep=b"], "ü"],
    [["e", "ep", "lt=60"], undefined],
    [[], undefined],
  ] as const)
    assert.equal(claimedEndpoint(registering(query, "")), endpoint, query.join("&"));
});

test("OMA Core 6.2.1: a server may serve fewer versions", () => {
  const refusal = parseRegister(registering(["ep=a", "lt=60", "lwm2m=1.2"]), {
    versions: ["1.0", "1.1"],
  });
  assert.equal(refusal.type === "refused" && refusal.code, Code.PreconditionFailed);
});

test("OMA Core 6.2.1.3: profile ids are one or a quoted list, 16 at most", () => {
  const ids = (n: number): string => Array.from({ length: n }, (_, i) => `oma:${i}`).join(",");
  assert.equal(parseUpdate(registering([`pid="${ids(16)}"`]), "1.2").type, "update");
  assert.equal(parseUpdate(registering([`pid="${ids(17)}"`]), "1.2").type, "refused");
});

test("OMA Core 6.2.2: an Update says what changed and nothing else", () => {
  for (const [query, payload, lwm2m, update] of [
    [[], "", "1.1", {}],
    [["lt=300"], "", "1.1", { lifetime: 300 }],
    [["b=UQ"], "", "1.0", { binding: "U", queue: true }],
    [["b=U"], "", "1.0", { binding: "U", queue: false }],
    [["b=T", "Q"], "", "1.1", { binding: "T", queue: true }],
    [["sms=123"], "", "1.0", { sms: "123" }],
    [["pid=oma:x"], "", "1.2", { profileIds: ["oma:x"] }],
    [
      [],
      "</3/0>",
      "1.1",
      {
        objects: {
          root: [],
          formats: [],
          objects: [{ id: 3, version: undefined, instances: [0] }],
        },
      },
    ],
  ] as const) {
    assert.deepEqual(parseUpdate(registering(query, payload), lwm2m), { type: "update", update });
  }
  for (const [query, lwm2m] of [
    [["lt"], "1.1"],
    [["lt="], "1.1"],
    [["lt=1", "lt=1"], "1.1"],
    [["Q=1"], "1.1"],
    [["b=X", "lwm2m=1.1"], "1.1"],
    [["sms=+4179"], "1.0"],
    [["pid=x"], "1.2"],
  ] as const) {
    assert.equal(parseUpdate(registering(query, ""), lwm2m).type, "refused", query.join("&"));
  }
});

test("OMA Core 6.2.2: what an Update does not know it ignores, even twice, empty or of another version", () => {
  for (const [query, lwm2m] of [
    [["lt=300", "lwm2m=1.0"], "1.0"],
    [["ep=a", "lt=300", "ep=b"], "1.1"],
    [["lt=300", "colour", "colour=", "=", ""], "1.2"],
    [["lt=300", "Q=1"], "1.0"],
    [["lt=300", "pid=x"], "1.1"],
  ] as const) {
    assert.deepEqual(
      parseUpdate(registering(query, ""), lwm2m),
      { type: "update", update: { lifetime: 300 } },
      query.join("&"),
    );
  }
});

test("OMA Core 6.2.1: object lists of every shape are read", () => {
  const rows: readonly [string, Partial<ObjectList>][] = [
    ["</1>", { objects: [{ id: 1, version: undefined, instances: [] }] }],
    ["</1/1>,</1/0>,</1/1>", { objects: [{ id: 1, version: undefined, instances: [0, 1] }] }],
    ["</3>;ver=1.1,</3/0>", { objects: [{ id: 3, version: "1.1", instances: [0] }] }],
    ['</3/0>;ver="1.1"', { objects: [{ id: 3, version: "1.1", instances: [0] }] }],
    [
      "</3/0/>, </4/0> ;title=x",
      {
        objects: [
          { id: 3, version: undefined, instances: [0] },
          { id: 4, version: undefined, instances: [0] },
        ],
      },
    ],
    [
      "</>;ct=110,</0/0>,</21/0>,</23/0>,</24/0>,</3/0>",
      { formats: [110], objects: [{ id: 3, version: undefined, instances: [0] }] },
    ],
    [
      '</lwm2m>;rt="oma.lwm2m";ct="110 112",</lwm2m/3/0>,</other>,</.well-known/core>',
      {
        root: ["lwm2m"],
        formats: [110, 112],
        objects: [{ id: 3, version: undefined, instances: [0] }],
      },
    ],
    ["", { objects: [] }],
  ];
  for (const [text, list] of rows) {
    assert.deepEqual(parseObjectList(text), { root: [], formats: [], objects: [], ...list }, text);
  }
});

test("OMA Core 6.2.1: a list printed is the list read", () => {
  const shortest = "</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>";
  assert.equal(formatObjectList(parseObjectList(shortest), { versionOnInstance: true }), shortest);
  for (const text of [
    "</1>;ver=1.1,</1/0>,</3>;ver=1.1,</3/0>,</5/0>,</3303/0>",
    '</lwm2m>;rt="oma.lwm2m",</lwm2m/1>,</lwm2m/3>;ver=1.2,</lwm2m/3/0>,</lwm2m/3/7>',
    '</>;ct="110 112",</3/0>',
    "</>;ct=110,</3/0>",
  ]) {
    assert.equal(formatObjectList(parseObjectList(text)), text);
  }
});

test("OMA Core table 6.2.2: objects without a version have the implied one", () => {
  assert.deepEqual(
    objectVersions(parseObjectList("</1/0>,</3/0>;ver=1.0,</3303/0>"), "1.1"),
    new Map([
      [1, "1.1"],
      [3, "1.0"],
      [3303, "1.0"],
    ]),
  );
});

test("an object list is limited in links and bytes", () => {
  const links = (n: number): string => Array.from({ length: n }, (_, i) => `</9/${i}>`).join(",");
  assert.equal(parseObjectList(links(MAX_LINKS)).objects[0]?.instances.length, MAX_LINKS);
  assert.throws(() => parseObjectList(links(MAX_LINKS + 1)), FormatError);
  const padded = (n: number): string => `</1/0>;title="${"x".repeat(n - 15)}"`;
  assert.equal(parseObjectList(padded(MAX_LIST_BYTES)).objects.length, 1);
  assert.throws(() => parseObjectList(padded(MAX_LIST_BYTES + 1)), FormatError);
});

test("random queries and payloads end in a registration or a refusal", () => {
  const argument = fc.oneof(
    fc.constantFrom(
      "ep=x",
      "lt=60",
      "lwm2m=1.1",
      "lwm2m=1.2",
      "b=U",
      "Q",
      "sms=1",
      'pid="oma:a,oma:b"',
      "ep",
      "lt=",
      "=",
      "",
    ),
    fc.string({ maxLength: 20 }),
  );
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .string({ unit: fc.constantFrom(...'</>;,="\\013 averctlwm2m'.split("")), maxLength: 40 })
      .map(utf8),
  );
  fc.assert(
    fc.property(fc.array(argument, { maxLength: 6 }), payload, (query, bytes) => {
      const parsed = parseRegister(registering(query, bytes));
      if (parsed.type === "refused") {
        assert.ok(
          parsed.code >= 0x80 &&
            parsed.diagnostic !== "" &&
            fromUtf8(utf8(parsed.diagnostic)) === parsed.diagnostic,
        );
        return;
      }
      assert.deepEqual(parseRegister(formatRegister(parsed.registration)), parsed);
    }),
    { numRuns: 1_000 },
  );
});
