import assert from "node:assert/strict";
import { test } from "node:test";
import { fromUtf8 } from "@godwit/base";
import { findBlock } from "../transfer-options.ts";
import { Code } from "../codes.ts";
import type { Response } from "../message.ts";
import { OptionNumber } from "../option-numbers.ts";
import { findOption, request, response, uriPath } from "../options.ts";
import { HERE, LOST, Pair } from "./pair.test-kit.ts";

const BODY = "0123456789abcdef".repeat(256); // 4 blocks
const changed = response(Code.Changed, { payload: "ok" });

/** A server that knows its device again by the path of its requests, as LwM2M does (`knows`), or not at all. */
class Story {
  readonly pair: Pair;
  readonly executed: string[] = [];
  home = 0;

  constructor(knows: boolean) {
    this.pair = new Pair(
      (asked, pair): Response | undefined => {
        if (this.home === 0) {
          this.home = asked.session;
          pair.server.handle({ type: "pin", session: this.home }, pair.now);
        }
        const own = knows && uriPath(asked.request.options)[0] === "rd";
        if (own && asked.session !== this.home) {
          pair.server.handle(
            { type: "adopt", exchange: asked.exchange, into: this.home },
            pair.now,
          );
          return undefined;
        }
        this.executed.push(fromUtf8(asked.request.payload));
        return changed;
      },
      {
        recognise: (fragment) =>
          knows && uriPath(fragment.request.options)[0] === "rd" ? this.home : "unknown",
      },
    );
    this.pair.ask(request(Code.POST, { path: "/rd/7", payload: "hello" }));
    this.pair.run(1_000);
    this.executed.length = 0;
  }

  /** The n-th datagram from now on is the last on the old path; what was on its way to it is lost. */
  moveAfter(n: number, { lost = false } = {}): void {
    const from = this.pair.wire.length + n;
    this.pair.network = (_, __, count) => {
      if (count === from) this.pair.clientAddress = { host: "203.0.113.1", port: 2_000 + n };
      return count === from && lost ? LOST : HERE;
    };
  }
}

for (let n = 1; n <= 8; n++) {
  for (const lost of [false, true])
    test(`RFC 7959 2.5: an Update whose path changes around datagram ${n}${lost ? ", which is lost," : ""} is carried out once, without beginning again`, () => {
      const story = new Story(true);
      story.moveAfter(n, { lost });
      const id = story.pair.ask(request(Code.POST, { path: "/rd/7", payload: BODY }));
      story.pair.run(60_000);
      assert.deepEqual(
        story.pair.responses(id).map((r) => fromUtf8(r.payload)),
        ["ok"],
      );
      assert.deepEqual(story.executed, [BODY]);
      const begun = story.pair
        .messages("client")
        .filter((m) => findBlock(m.options, OptionNumber.Block1)?.num === 0);
      assert.equal(new Set(begun.map((m) => m.mid)).size, 1, "it begins once");
      // From the second block on it is a fragment by which the server knows the device again.
      const fragments = story.pair.seen.server.filter((o) => o.type === "fragment").length;
      assert.equal(fragments, n < 3 ? 0 : 1);
    });
  test(`RFC 7959 2.9.2: an upload that nobody recognises after datagram ${n} begins again, is carried out at most once, and never silently lost`, () => {
    const story = new Story(false);
    story.moveAfter(n);
    const id = story.pair.ask(request(Code.POST, { path: "/dp", payload: BODY }));
    story.pair.run(60_000);
    const [answer, ...more] = story.pair.responses(id);
    assert.equal(more.length, 0);
    const isDone = answer?.code === Code.Changed;
    // Only in doubt, after the last block was repeated, the client does not try again but says so.
    if (!isDone) assert.equal(answer?.code, Code.RequestEntityIncomplete);
    if (!isDone) assert.ok(n >= 7, "only the last block leaves a doubt");
    assert.ok(story.executed.length <= 1);
    if (isDone) assert.deepEqual(story.executed, [BODY]);
  });
}

test("RFC 9175 3.3: an upload that begins again does so under another Request-Tag", () => {
  const story = new Story(false);
  story.moveAfter(3);
  story.pair.ask(request(Code.POST, { path: "/dp", payload: BODY }));
  story.pair.run(60_000);
  const begins = story.pair
    .messages("client")
    .filter((m) => findBlock(m.options, OptionNumber.Block1)?.num === 0)
    .map((m) => findOption(m.options, OptionNumber.RequestTag)?.value.length);
  assert.deepEqual([begins[0], begins.at(-1)], [undefined, 0]);
});

for (const [name, recognise, after] of [
  ["nobody says anything about gets 4.08 in the end", () => undefined, 240_000],
  ["the application does not know gets 4.08", (): "unknown" => "unknown", 0],
  ["comes to an application that did not ask for such gets 4.08", undefined, 0],
] as const)
  test(`RFC 7959 2.9.2: a block of unknown beginning that ${name}`, () => {
    const pair = new Pair(() => changed, recognise === undefined ? {} : { recognise });
    const block = { number: OptionNumber.Block1, value: Uint8Array.of(0x2e) };
    const payload = BODY.slice(0, 1_024);
    const id = pair.ask(request(Code.PUT, { path: "/dp", payload, options: [block] }), {
      confirmable: false,
    });
    pair.run(after === 0 ? 100 : 9_000);
    assert.equal(pair.responses(id).length, after === 0 ? 1 : 0);
    pair.run(after + 1_000);
    assert.equal(pair.messages("server").at(-1)?.code, Code.RequestEntityIncomplete);
    assert.equal(pair.messages("server").length, 1);
    const told = pair.seen.server.some((o) => o.type === "fragment");
    assert.equal(told, recognise !== undefined);
    assert.equal(pair.executed, 0);
  });
