import assert from "node:assert/strict";
import { test } from "node:test";
import { below, fromUtf8, seededRng } from "@godwit/base";
import { Code } from "../codes.ts";
import { request, response, uriQuery } from "../options.ts";
import { HERE, Pair } from "./pair.test-kit.ts";

/**
 * A device behind a NAT that loses, doubles, delays and forgets, and a server that knows the device by its query and
 * lets every new session become the old one. Returns how many of its 12 requests were carried out and answered.
 */
function story(seed: number, body: string): number {
  const rng = seededRng(seed);
  let known = 0;
  const carriedOut = new Map<string, number>();
  const pair = new Pair(
    (asked, p) => {
      if (known === 0) {
        known = asked.session;
        p.server.handle({ type: "pin", session: known }, p.now);
      }
      if (asked.session !== known) {
        p.server.handle({ type: "adopt", exchange: asked.exchange, into: known }, p.now);
        return undefined;
      }
      const [name = ""] = uriQuery(asked.request.options);
      carriedOut.set(name, (carriedOut.get(name) ?? 0) + 1);
      assert.equal(fromUtf8(asked.request.payload), body);
      const answer = response(Code.Changed, { payload: `${name}${body}` });
      if (below(rng, 3) > 0) return answer;
      late.push({ exchange: asked.exchange, answer });
      return undefined;
    },
    { seed, tuning: { nstart: 2 } },
  );
  const late: { exchange: number; answer: ReturnType<typeof response> }[] = [];
  pair.network = () => ({
    copies: below(rng, 10) < 2 ? 0 : below(rng, 10) < 2 ? 2 : 1,
    delay: below(rng, 4) > 0 ? 10 + below(rng, 50) : below(rng, 3_000),
  });
  const asks = new Map<string, number>();
  for (let n = 0; n < 12; n++) {
    const name = `n=${seed}.${n}`;
    const ask = request(Code.POST, { path: "/d", query: [name], payload: body });
    asks.set(name, pair.ask(ask));
    pair.run(below(rng, 6_000));
    if (below(rng, 4) === 0)
      pair.clientAddress = { host: "203.0.113.1", port: 1_024 + below(rng, 60_000) };
    for (const { exchange, answer } of late.splice(0))
      pair.handle("server", { type: "respond", exchange, response: answer });
  }
  for (let n = 0; n < 50; n++) {
    pair.run(4_000);
    for (const { exchange, answer } of late.splice(0))
      pair.handle("server", { type: "respond", exchange, response: answer });
  }
  pair.run(200_000);
  let answered = 0;
  for (const [name, id] of asks) {
    const answers = pair.responses(id);
    const failed = pair.seen.client.filter((o) => o.type === "failed" && o.id === id);
    assert.equal(answers.length + failed.length, 1, `${name} ends once`);
    assert.ok((carriedOut.get(name) ?? 0) <= 1, `${name} is carried out at most once`);
    const [answer] = answers;
    if (answer?.code === Code.Changed) {
      assert.equal(fromUtf8(answer.payload), `${name}${body}`);
      assert.equal(carriedOut.get(name), 1);
      answered += 1;
    }
  }
  pair.network = () => HERE;
  const last = pair.ask(request(Code.POST, { path: "/d", query: ["last"], payload: body }));
  pair.run(5_000);
  for (const { exchange, answer } of late.splice(0))
    pair.handle("server", { type: "respond", exchange, response: answer });
  pair.run(5_000);
  assert.equal(pair.responses(last)[0]?.code, Code.Changed, "afterwards all is well");
  return answered;
}

for (const [what, body, seeds] of [
  ["short", "b", 150],
  ["block-wise", "0123456789".repeat(250), 60],
] as const) {
  test(`loss, duplicates, reordering and NAT rebinding: ${what} requests end once, are carried out at most once, and get their own answer`, () => {
    let answered = 0;
    for (let seed = 0; seed < seeds; seed++) {
      try {
        answered += story(seed, body);
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      }
    }
    assert.ok(answered > seeds * 12 * 0.8, `${answered} of ${seeds * 12}`);
  });
}
