import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "@godwit/base";
import { Code, response, uriPath, uriQuery, type Request } from "@godwit/coap";
import { KeepAlive } from "../client/keep-alive.ts";
import { clientTuning } from "../client/tuning.ts";
import { ClientStory, registrar, type Reply } from "./client-story.test.ts";

/** A server that answers probes as late as asked, behind a NAT that forgets after `binding` s of silence. */
function behindNat(binding: number, longest = 600): (asked: Request) => Reply {
  return (asked) => {
    if (uriPath(asked.options)[0] !== "nat") return registrar()(asked);
    const seconds = Number(uriQuery(asked.options)[0]?.slice(2));
    if (seconds > longest) return response(Code.BadRequest);
    if (seconds >= binding) return "acknowledged";
    return { after: seconds * 1_000, response: response(Code.Content) };
  };
}

function seconds(asked: readonly string[]): number[] {
  return asked.map((line) => Number(line.split("@")[1]));
}

test("without keep-alive nothing is sent but Updates", () => {
  const story = new ClientStory({ server: { 1: 86_400 } }).start().pass(80_000_000);
  assert.equal(story.asked.length, 1);
});

test("a fixed keep-alive is an Update without parameters, booked as keep-alive, at every interval", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: 120 }).start().pass(3_600_000);
  assert.deepEqual(
    seconds(story.asked),
    Array.from({ length: 31 }, (_, i) => i * 120),
  );
  assert.ok(story.asked.slice(1).every((line) => line.startsWith("POST /rd/1234 ")));
  assert.deepEqual(
    story.events.findLast(({ type }) => type === "updated"),
    { type: "updated", keepAlive: true },
  );
});

test("a fixed keep-alive comes earlier by chance, never later, never below 15 s", () => {
  const story = new ClientStory({
    server: { 1: 86_400 },
    keepAlive: 16,
    tuning: {},
    rng: seededRng(3),
  })
    .start()
    .pass(600_000);
  const times = story.asked.length;
  assert.ok(times > 600 / 16 && times <= 1 + 600 / 15, `${times}`);
});

test("any message of ours keeps the way open and puts the keep-alive off", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: 60 }).start().pass(50_000);
  story.device = () => ({ type: "values", nodes: [] });
  story.ask(Code.GET, "/3/0");
  story.pass(59_000);
  assert.equal(story.asked.length, 1);
  story.pass(2_000);
  assert.deepEqual(seconds(story.asked), [0, 110]);
});

test("a ping can be the keep-alive, and an Update follows one that is lost", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: 30, keepAliveMessage: "ping" })
    .start()
    .pass(100_000);
  assert.deepEqual(story.asked.slice(1), ["ping @30", "ping @60", "ping @90"]);
  story.pass(20_000);
  const lost = story.client;
  story.tell({ type: "failed", id: 5, session: 1, reason: "timeout", again: undefined });
  assert.ok(lost.location !== undefined);
});

test("the search finds how long each NAT holds a mapping, and uses four fifths of it", () => {
  for (const binding of [20, 31, 60, 120, 180, 299]) {
    const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
    story.server = behindNat(binding);
    story.start().pass(7_200_000);
    const learned = story.events.findLast((event) => event.type === "keepAlive");
    assert.equal(learned?.state, "settled", `${binding}`);
    const found = learned?.binding ?? 0;
    assert.ok(
      found < binding && found >= binding - Math.max(5, binding / 10) - 1,
      `${binding}: ${found}`,
    );
    const times = seconds(story.asked);
    const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    // Never more often than every 15 s, but for the Update that opens the way after a silence that was too long.
    assert.ok(
      gaps.every((gap) => gap >= 15 || gap === 0),
      `${binding}: ${gaps.join(" ")}`,
    );
    // Now and then a check takes the place of a sign of life, and its answer is the next one.
    const usual = gaps.slice(-9).toSorted((a, b) => a - b)[4] ?? 0;
    assert.ok(Math.abs(usual - Math.max(15, found * 0.8)) <= 1, `${binding}: ${usual}`);
    // At four fifths the mapping lives.
    assert.ok(usual < binding);
  }
});

test("the search ends at its longest question where the NAT holds longer", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  story.server = behindNat(100_000);
  story.start().pass(7_200_000);
  assert.deepEqual(
    story.events.findLast((event) => event.type === "keepAlive"),
    {
      type: "keepAlive",
      state: "settled",
      binding: 300,
      interval: 240,
    },
  );
});

test("a NAT that forgets within 15 s cannot be held open: nothing is spent on it but the Updates of the lifetime", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  story.server = behindNat(12);
  story.start().pass(600_000);
  assert.deepEqual(
    story.events.findLast((event) => event.type === "keepAlive"),
    {
      type: "keepAlive",
      state: "inVain",
      binding: undefined,
      interval: undefined,
    },
  );
  const asked = story.asked.length;
  story.device = () => ({ type: "values", nodes: [] });
  story.ask(Code.GET, "/3/0");
  story.pass(3_600_000);
  assert.equal(story.asked.length, asked);
});

test("the first sign of life and every tenth after it is a probe of the longest silence there is, and one that is lost starts the search anew", () => {
  const story = new ClientStory({
    server: { 1: 86_400 },
    keepAlive: "auto",
    tuning: { keepAliveJitter: 0.1 },
  });
  story.server = behindNat(1_000);
  story.start().pass(1_800_000);
  const probes = (): string[] => story.asked.filter((line) => line.startsWith("GET"));
  const found = probes().length;
  const told = story.happened().filter((type) => type === "keepAlive").length;
  story.pass(10 * 264_000);
  assert.equal(probes().length, found + 1);
  assert.match(probes().at(-1) ?? "", /s=264 /); // four fifths of 300 s, and a tenth
  assert.equal(story.happened().filter((type) => type === "keepAlive").length, 0);
  assert.ok(told > 0);
  story.server = behindNat(100);
  story.pass(7_200_000);
  const learned = story.events.findLast((event) => event.type === "keepAlive");
  assert.equal(learned?.state, "settled");
  assert.ok((learned.binding ?? 0) >= 89 && (learned.binding ?? 0) < 100, `${learned.binding}`);
});

test("a server that cannot answer late leaves the keep-alive at 25 s", () => {
  for (const code of [Code.NotFound, Code.MethodNotAllowed, Code.BadRequest]) {
    const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
    story.server = (asked) =>
      uriPath(asked.options)[0] === "nat" ? response(code) : registrar()(asked);
    story.start().pass(110_000);
    assert.deepEqual(seconds(story.asked), [0, 0, 25, 50, 75, 100]);
    assert.equal(story.asked.filter((line) => line.startsWith("GET")).length, 1);
  }
});

test("a server whose answers end at a limit is used up to the limit", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  story.server = behindNat(100_000, 100);
  story.start().pass(3_600_000);
  const learned = story.events.findLast((event) => event.type === "keepAlive");
  assert.deepEqual([learned?.state, learned?.binding], ["settled", 60]);
});

test("a server too busy for probes is asked again later", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  story.server = (asked) =>
    uriPath(asked.options)[0] === "nat" ? response(Code.ServiceUnavailable) : registrar()(asked);
  story.start().pass(60_000);
  story.server = behindNat(60);
  story.pass(3_600_000);
  assert.equal(story.events.findLast((event) => event.type === "keepAlive")?.state, "settled");
});

test("a message within the silence breaks the probe off, and it is tried again", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  story.server = behindNat(100);
  story.device = () => ({ type: "values", nodes: [] });
  story.start().pass(10_000);
  story.ask(Code.GET, "/3/0");
  story.pass(25_000);
  assert.deepEqual(story.asked.slice(1), ["GET /nat?s=30 @0", "GET /nat?s=30 @35"]);
  assert.deepEqual(
    story.events.filter(({ type }) => type === "keepAlive"),
    [],
  );
});

test("a server that is away teaches nothing about the NAT", () => {
  const story = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  story.server = behindNat(1_000);
  story.start().pass(40_000);
  story.server = () => "lost";
  story.pass(400_000);
  story.server = behindNat(1_000);
  story.pass(7_200_000);
  const learned = story.events.findLast((event) => event.type === "keepAlive");
  assert.deepEqual([learned?.state, learned?.binding], ["settled", 300]);
});

test("what was learned outlives a restart, and is looked at again when an Update is lost or the address changes", () => {
  const first = new ClientStory({ server: { 1: 86_400 }, keepAlive: "auto" });
  first.server = behindNat(60);
  first.start().pass(3_600_000);
  const story = new ClientStory(
    { snapshot: first.client.snapshot(), keepAlive: "auto" },
    3_600_000,
  );
  story.server = behindNat(200);
  story.start().pass(400_000);
  assert.ok(story.asked.every((line) => line.startsWith("POST")));
  story.tell({ type: "moved", session: 1 }).pass(7_200_000);
  const learned = story.events.findLast((event) => event.type === "keepAlive");
  assert.equal(learned?.state, "settled");
  assert.ok((learned?.binding ?? 0) >= 180 && (learned?.binding ?? 0) < 200);
});

test("an interval below 15 s is the caller's mistake", () => {
  for (const seconds of [0, 1, 14.9, NaN, -30]) {
    assert.throws(
      () => new KeepAlive(seconds, clientTuning, seededRng(1), undefined),
      /at least 15 s/,
    );
  }
  assert.equal(new KeepAlive(15, clientTuning, seededRng(1), undefined).beat(), 15_000);
});
