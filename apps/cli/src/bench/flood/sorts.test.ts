import assert from "node:assert/strict";
import { Session } from "node:inspector";
import { test } from "node:test";
import { source } from "../inner-port.ts";
import { answerCookie, hello } from "./datagrams.ts";
import type { Sort } from "./sort.ts";
import { SORTS } from "./sorts.ts";
import { StackUnderFlood } from "./stack-under-flood.ts";

/** Everything thrown meanwhile, caught or not, as the debugger sees it: with its stack if it has one. */
function thrownBy(run: () => void): string[] {
  const session = new Session();
  const thrown: string[] = [];
  session.connect();
  session.on("Debugger.paused", ({ params }) => {
    const { description, className } = (params.data ?? {}) as Record<string, string>;
    thrown.push(description ?? className ?? "something");
  });
  session.post("Debugger.enable");
  session.post("Debugger.setPauseOnExceptions", { state: "all" });
  try {
    run();
  } finally {
    session.disconnect();
  }
  return thrown;
}

/** What a handshake or a request comes to by our own word for it, after all of it was read: an exception, without a stack. */
const JUDGED: ReadonlySet<string> = new Set(["hello with cookie, bad extensions"]);
const TIMES = 20;

const under = new StackUnderFlood(4);
const known = under.known();

function say(sort: Sort, n: number): void {
  const { port, from, datagram, reply } = sort;
  const place = SORTS.indexOf(sort) * 1_000;
  const address =
    from === "known" ? under.paths[n % under.paths.length]! : source(20_000_000 + place + n); // within
  if (from === "halfOpen") begin(address);
  const sent = datagram(known, n);
  under.arrive(port, address, sent);
  const answer = under.answered && reply?.(sent, under.answered);
  if (answer !== undefined) under.arrive(port, address, answer);
}

function begin(address: { readonly host: string; readonly port: number }): void {
  const first = hello({ n: 1 });
  under.arrive("coaps", address, first);
  const second = under.answered && answerCookie(first, under.answered);
  assert.ok(second !== undefined, "a cookie");
  under.arrive("coaps", address, second);
}

test("the debugger sees what is thrown, and its stack", () => {
  const thrown = thrownBy(() => {
    try {
      throw new RangeError("by the test");
    } catch {
      // only to be seen
    }
  });
  assert.equal(thrown.length, 1);
  assert.match(thrown[0] ?? "", /^RangeError: by the test\n +at /);
});

for (const sort of SORTS) {
  const what = JUDGED.has(sort.name) ? "no stack is noted" : "nothing is thrown";
  test(`D5: for a flood of: ${sort.name}: ${what}`, () => {
    const thrown = thrownBy(() => {
      for (let n = 0; n < TIMES; n++) say(sort, n);
    });
    if (JUDGED.has(sort.name)) for (const one of thrown) assert.doesNotMatch(one, /\n +at /);
    else assert.deepEqual(thrown, []);
  });
}

test("after all of them the devices are registered, and served", () => {
  assert.equal(under.stack.server.registrationCount, 4);
  for (let n = 0; n < 4; n++) under.pingOverCid(n);
  under.getOverOscore();
  under.agreeByB2(0);
});
