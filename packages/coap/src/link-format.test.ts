import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FormatError, UsageError, fromUtf8, hex, utf8 } from "@godwit/base";
import fc from "fast-check";
import { ContentFormat } from "./content-format.ts";
import {
  LinkFormatError,
  encodeLinks,
  filterLinks,
  formatLinks,
  linkAttribute,
  parseLinks,
  type Link,
} from "./link-format.ts";
import { decodeMessage } from "./message-codec.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findUint } from "./options.ts";

/** RFC 6690 5 and documents as LwM2M clients send them; each in canonical form. */
const DOCUMENTS = [
  "",
  "<>",
  '</sensors/temp>;if="sensor",</sensors/light>;if="sensor"',
  "</sensors>;ct=40",
  '</sensors/light>;rt="light-lux core.sen-light";if="sensor"',
  '</sensors>;ct=40;title="Sensor Index",</sensors/temp>;rt="temperature-c";if="sensor",</sensors/light>;rt="light-lux";if="sensor",<http://www.example.com/sensors/t123>;anchor="/sensors/temp";rel="describedby",</t>;anchor="/sensors/temp";rel="alternate"',
  '</firmware/v2.1>;rt="firmware";sz=262144',
  "</1/0>;ver=1.1,</3/0>;ver=1.1,</5/0>,</3303/0>",
  '</>;rt="oma.lwm2m";ct="110 112",</1/0>,</3/0>',
  '</>;lwm2m=1.2,</0/1>;ssid=101;uri="coaps://s.example",</1/0>;ssid=101',
  "</3/0/9>;pmin=10;pmax=60;lt=-5.5;obs",
  "</a>;title*=UTF-8''%e2%82%ac",
  '</q>;title="a \\"quoted\\" \\\\ text, with ; and > and é"',
];

const links = (text: string): Link[] => parseLinks(text);

function refusedAt(text: string): number {
  try {
    parseLinks(text);
  } catch (error) {
    assert.ok(error instanceof LinkFormatError && error instanceof FormatError, String(error));
    return error.position;
  }
  return assert.fail(`read: ${text}`);
}

test("RFC 6690 5: a document is its links, their targets and attributes", () => {
  assert.deepEqual(links('</sensors>;ct=40;title="Sensor Index",<coap://[::1]/t>;obs;rt=a'), [
    {
      target: "/sensors",
      attributes: [
        { name: "ct", value: "40" },
        { name: "title", value: "Sensor Index" },
      ],
    },
    { target: "coap://[::1]/t", attributes: [{ name: "obs" }, { name: "rt", value: "a" }] },
  ]);
  assert.deepEqual(links(DOCUMENTS.at(-1)!)[0]?.attributes, [
    { name: "title", value: 'a "quoted" \\ text, with ; and > and é' },
  ]);
  assert.deepEqual(parseLinks(utf8("</é>")), [{ target: "/é", attributes: [] }]);
});

test("RFC 6690 2: reading and writing a canonical document are inverse", () => {
  for (const text of DOCUMENTS) assert.equal(formatLinks(links(text)), text);
  for (const text of DOCUMENTS) assert.equal(fromUtf8(encodeLinks(parseLinks(utf8(text)))), text);
});

test("RFC 6690 2: every link-format payload of the captures is read, and reads the same when written", () => {
  const json = readFileSync(new URL("../src/vectors/coap-plain.json", import.meta.url), "utf8");
  const file = JSON.parse(json) as { captures: { messages: { hex: string }[] }[] };
  let documents = 0;
  for (const { hex: text } of file.captures.flatMap((capture) => capture.messages)) {
    const { options, payload } = decodeMessage(hex(text));
    if (findUint(options, OptionNumber.ContentFormat) !== ContentFormat.LinkFormat) continue;
    documents++;
    const parsed = parseLinks(payload);
    assert.ok(parsed.some((link) => link.target === "/3/0"));
    assert.deepEqual(parseLinks(encodeLinks(parsed)), parsed);
  }
  assert.ok(documents >= 5, `${documents} documents`);
});

test("LwM2M object lists: blanks and one trailing slash are tolerated", () => {
  const rows: [string, string][] = [
    ["</1/0/>", "</1/0>"],
    ["</1/0//>", "</1/0/>"],
    ["</>", "</>"],
    ["</1/0> , </3/0>", "</1/0>,</3/0>"],
    [" </1/0>\t; ct = 40 ", "</1/0>;ct=40"],
    ['</> ; rt = "oma.lwm2m" ; ct = "110 112" , </1/0>', '</>;rt="oma.lwm2m";ct="110 112",</1/0>'],
    ['</>;rt=oma.lwm2m;ver="1.0"', '</>;rt="oma.lwm2m";ver=1.0'],
    ["  ", ""],
  ];
  for (const [sent, meant] of rows) assert.equal(formatLinks(links(sent)), meant, sent);
  assert.equal(parseLinks("</1/0/>", { keepTrailingSlash: true })[0]?.target, "/1/0/");
});

test("RFC 6690 2: what breaks the grammar is refused, with its position", () => {
  const rows: [string, number][] = [
    ["/1/0", 0],
    ["<", 1],
    ["</1/0", 5],
    ["</1/0,</3/0>", 6],
    ["</1 0>", 3],
    ["</1/0>x", 6],
    ["</1/0></3/0>", 6],
    ["</1/0>,", 7],
    ["</1/0>,,</3/0>", 7],
    [",</1/0>", 0],
    ["</1/0>;", 7],
    ["</1/0>;;ct=1", 7],
    ["</1/0>;=1", 7],
    ["</1/0>;ct=", 10],
    ["</1/0>;ct=,</3/0>", 10],
    ['</1/0>;ct="1', 10],
    ['</1/0>;ct="1\\"', 10],
    ['</1/0>;ct="1"2', 13],
    ["</1/0>;é=1", 7],
    ["</1/0>;a=é", 9],
    ['</1/0>;a="\n"', 9],
    ['</1/0>;a="\\\n"', 9],
    ['</1/0>;a="\x7f"', 9],
    ['</1/0>;a="\\', 9],
    ["</1/0>;title*", 13],
    ['</1/0>;title*="x"', 14],
    ["</1/0>;href=/x", 11],
    ["</1/0>\n,</3/0>", 6],
    ["</1/0>\0", 6],
  ];
  for (const [text, position] of rows) assert.equal(refusedAt(text), position, text);
  assert.throws(() => parseLinks(hex("3c ff 3e")), FormatError);
});

test("RFC 5988 5, RFC 6690 3: attributes that may stand once", () => {
  assert.equal(
    formatLinks(links('</a>;rel="x";rel="y";title="1";title="2"')),
    '</a>;rel="x";title="1"',
  );
  assert.equal(
    formatLinks(links("</a>;type=a/b;type=c/d;media=m;media=n")),
    "</a>;type=a/b;media=m",
  );
  assert.equal(formatLinks(links("</a>;x=1;x=2")), "</a>;x=1;x=2", "an extension may repeat");
  for (const name of ["rt", "if", "sz", "ct"]) refusedAt(`</a>;${name}=1;${name}=2`);
});

test("limits: length, links and attributes", () => {
  const many = (n: number) => Array.from({ length: n }, (_, i) => `</${i}>`).join(",");
  const wide = (n: number) => `</a>${";x".repeat(n)}`;
  assert.equal(parseLinks(many(4_096)).length, 4_096);
  assert.throws(() => parseLinks(many(4_097)), LinkFormatError);
  assert.equal(parseLinks(many(3), { maxLinks: 3 }).length, 3);
  assert.throws(() => parseLinks(many(4), { maxLinks: 3 }), LinkFormatError);
  assert.equal(parseLinks(wide(32))[0]?.attributes.length, 32);
  assert.throws(() => parseLinks(wide(33)), LinkFormatError);
  assert.throws(
    () => parseLinks(`</a>${';rel="x"'.repeat(33)}`),
    LinkFormatError,
    "ignored ones count",
  );
  const long = `</${"x".repeat(65_533)}>`;
  assert.equal(parseLinks(long).length, 1);
  assert.throws(() => parseLinks(`${long} `), LinkFormatError);
  assert.throws(() => parseLinks(utf8(`${long} `)), LinkFormatError);
  assert.throws(
    () => parseLinks(`</a>;a="${"\\x".repeat(32_000)}`),
    LinkFormatError,
    "no end of quotes",
  );
});

test("a document cut or lengthened anywhere is refused or reads the same when written", () => {
  for (const text of DOCUMENTS)
    for (let cut = 0; cut <= text.length; cut++)
      for (const more of ["", ";", ",", '"', "<", ">", "=", "\\", " ", "\0"])
        stable(text.slice(0, cut) + more);
});

test("a document cut inside a link's target or quotes is refused", () => {
  const text = '</sensors>;ct=40;title="Sensor Index",</t>';
  for (let cut = 1; cut < text.length; cut++) {
    const inside = cut < 10 || (cut >= 24 && cut < 37) || cut > 37;
    if (inside) refusedAt(text.slice(0, cut));
  }
});

test("random text is links or a FormatError, and random bytes too", () => {
  const piece = fc.constantFrom(
    "<",
    ">",
    ";",
    ",",
    "=",
    '"',
    "\\",
    " ",
    "/1/0",
    "rt",
    "ct",
    "*",
    "é",
    "href",
    "\n",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => stable(pieces.join(""))),
    {
      numRuns: 2_000,
    },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 30 }), stable));
});

test("RFC 6690 2: what is written is read as it was", () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9]{0,6}$/).filter((n) => n !== "href");
  const value = fc.option(fc.string({ unit: "grapheme" }).filter(printable), { nil: undefined });
  const attributes = fc
    .uniqueArray(fc.tuple(name, value), { selector: ([n]) => n, maxLength: 5 })
    .map((pairs) => pairs.map(([n, v]) => (v === undefined ? { name: n } : { name: n, value: v })));
  const link = fc.record(
    { target: fc.stringMatching(/^\/[a-z0-9/?=%.]{0,9}[a-z]$/), attributes },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(link, { maxLength: 5 }), (list) => {
      assert.deepEqual(parseLinks(formatLinks(list)), list);
    }),
  );
});

test("what the format cannot hold is our caller's mistake", () => {
  const rows: Link[] = [
    { target: "/a>b", attributes: [] },
    { target: "/a b", attributes: [] },
    { target: "/a", attributes: [{ name: "" }] },
    { target: "/a", attributes: [{ name: "a b" }] },
    { target: "/a", attributes: [{ name: "href", value: "x" }] },
    { target: "/a", attributes: [{ name: "a", value: "\n" }] },
    { target: "/a", attributes: [{ name: "title*" }] },
    { target: "/a", attributes: [{ name: "title*", value: "a b" }] },
    {
      target: "/a",
      attributes: [
        { name: "rt", value: "x" },
        { name: "rt", value: "y" },
      ],
    },
    {
      target: "/a",
      attributes: [
        { name: "rel", value: "x" },
        { name: "rel", value: "y" },
      ],
    },
  ];
  for (const link of rows)
    assert.throws(() => formatLinks([link]), UsageError, JSON.stringify(link));
});

test("RFC 6690 4.1: a query filters by target, by attribute, by prefix", () => {
  const all = links(
    '</s>;ct="40 60";title="Sensor Index",</s/temp>;rt="temperature-c";if="sensor",</s/light>;rt="light-lux core.sen-light";if="sensor",</t>;anchor="/s/temp";rel="alternate";obs',
  );
  const rows: [string | string[], string[]][] = [
    ["rt=light-lux", ["/s/light"]],
    ["rt=core.sen-light", ["/s/light"]],
    ["rt=core.*", ["/s/light"]],
    ["rt=light-lux core.sen-light", []],
    ["rt=light", []],
    ["rt=*", ["/s/temp", "/s/light"]],
    ["if=sensor", ["/s/temp", "/s/light"]],
    ["href=/s", ["/s"]],
    ["href=/s*", ["/s", "/s/temp", "/s/light"]],
    ["title=Sensor Index", ["/s"]],
    ["title=Sensor", []],
    ["title=Sens*", ["/s"]],
    ["anchor=/s/temp", ["/t"]],
    ["ct=60", ["/s"]],
    ["obs=*", ["/t"]],
    ["rt=", []],
    ["nothing=*", []],
    ["rt", ["/s", "/s/temp", "/s/light", "/t"]],
    ["", ["/s", "/s/temp", "/s/light", "/t"]],
    [[], ["/s", "/s/temp", "/s/light", "/t"]],
    [["if=sensor", "rt=light*"], ["/s/light"]],
  ];
  for (const [query, targets] of rows)
    assert.deepEqual(
      filterLinks(all, query).map((link) => link.target),
      targets,
      String(query),
    );
});

test("an attribute is found by name", () => {
  const [link] = links("</a>;ver=1.1;obs");
  assert.ok(link);
  assert.equal(linkAttribute(link, "ver"), "1.1");
  assert.equal(linkAttribute(link, "obs"), "");
  assert.equal(linkAttribute(link, "ct"), undefined);
});

/** Refused by FormatError, or read; and what was read reads the same when written. */
function stable(document: string | Uint8Array): void {
  let parsed: Link[];
  try {
    parsed = parseLinks(document, { keepTrailingSlash: true });
  } catch (error) {
    assert.ok(error instanceof FormatError, String(error));
    return;
  }
  assert.deepEqual(parseLinks(formatLinks(parsed), { keepTrailingSlash: true }), parsed);
}

function printable(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is to be kept out
  return !/[\0-\x1f\x7f]/.test(text);
}
