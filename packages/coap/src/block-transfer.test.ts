import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { seededRng, type Rng } from "@godwit/base";
import { BlockTransfer, type BlockStep, type BlockTransferOptions } from "./block-client.ts";
import { BlockServer } from "./block-server.ts";
import { Code } from "./codes.ts";
import type { Request, Response } from "./message.ts";
import { OptionNumber } from "./option-numbers.ts";
import { findOption, request, response } from "./options.ts";
import { coapTuning, type CoapTuning } from "./tuning.ts";

type Outcome = Exclude<BlockStep, { kind: "next" }> | { kind: "lost" };

/** Both roles, and between them what a network may do to messages that no message layer protects. */
function converse(parts: {
  readonly ask: Request;
  readonly app: (request: Request) => Response;
  readonly client?: CoapTuning;
  readonly server?: CoapTuning;
  readonly options?: BlockTransferOptions;
  readonly limit?: number;
  readonly rng?: Rng;
  /** Of each request: repeated after its answer, repeated later on, sent anew in half the size. */
  readonly twice?: number;
  readonly late?: number;
  readonly shrink?: number;
}): { outcome: Outcome; wholes: Request[]; left: number } {
  const rng = parts.rng ?? seededRng(1);
  const server = new BlockServer(parts.server ?? coapTuning(), rng);
  const transfer = new BlockTransfer(parts.ask, parts.client ?? coapTuning(), parts.options ?? {});
  const wholes: Request[] = [];
  const serve = (asked: Request): Response => {
    const result = server.request(1, asked, 0);
    if (result.kind === "reply") return result.response;
    wholes.push(result.request);
    return server.respond(1, asked, parts.app(result.request), 0, parts.limit);
  };
  const earlier: Request[] = [];
  let next = transfer.first();
  for (let i = 0; i < 2_000; i++) {
    if (rng.float() < (parts.shrink ?? 0)) next = transfer.smaller() ?? next;
    if (earlier.length > 0 && rng.float() < (parts.late ?? 0))
      serve(earlier[Math.floor(rng.float() * earlier.length)]!); // the index is below the length
    let answer = serve(next);
    if (rng.float() < (parts.twice ?? 0)) answer = serve(next);
    earlier.push(next);
    const step = transfer.handle(answer);
    if (step.kind !== "next") return { outcome: step, wholes, left: server.bodies };
    next = step.request;
  }
  return { outcome: { kind: "lost" }, wholes, left: server.bodies };
}

const body = (length: number, salt = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + salt) & 0xff);

const szx = fc.integer({ min: 0, max: 6 });
const length = fc.oneof(
  fc.integer({ min: 0, max: 5_000 }),
  fc.constantFrom(15, 16, 17, 1_023, 1_024, 1_025, 2_048, 4_096),
);
const rate = fc.constantFrom(0, 0.1, 0.4);

test("RFC 7959 2: any body goes up and any answer comes down whole, for any block sizes and size reductions", () => {
  fc.assert(
    fc.property(
      length,
      length,
      szx,
      szx,
      fc.option(szx, { nil: undefined }),
      fc.constantFrom(Code.PUT, Code.POST, Code.FETCH, Code.GET),
      rate,
      fc.option(fc.integer({ min: 0, max: 1_100 }), { nil: undefined }),
      fc.integer(),
      (up, down, mine, theirs, early, method, shrink, limit, seed) => {
        const sent = method === Code.GET ? body(0) : body(up);
        const answer = body(down, 5);
        const ask = request(method, {
          path: "/a",
          payload: sent,
          options:
            early === undefined
              ? []
              : [{ number: OptionNumber.Block2, value: Uint8Array.of(early) }],
        });
        const { outcome, wholes, left } = converse({
          ask,
          app: () => response(Code.Content, { contentFormat: 42, payload: answer }),
          client: coapTuning({ preferredSzx: mine }),
          server: coapTuning({ preferredSzx: theirs }),
          ...(limit === undefined ? {} : { limit }),
          shrink,
          rng: seededRng(seed),
        });
        assert.equal(outcome.kind, "done");
        assert.deepEqual(outcome.kind === "done" && outcome.response.payload, answer);
        assert.equal(left, 0);
        for (const whole of wholes) {
          assert.deepEqual(whole.payload, sent);
          assert.deepEqual(
            whole.options.map((o) => o.number),
            [OptionNumber.UriPath],
          );
        }
        assert.equal(wholes.length, 1);
      },
    ),
    { numRuns: 300 },
  );
});

test("RFC 7959 2: repeated and late blocks give the right body or a clean failure", () => {
  let right = 0;
  fc.assert(
    fc.property(
      length,
      length,
      szx,
      szx,
      fc.constantFrom(Code.PUT, Code.POST, Code.FETCH, Code.GET),
      rate,
      rate,
      rate,
      fc.integer(),
      (up, down, mine, theirs, method, shrink, twice, late, seed) => {
        const sent = method === Code.GET ? body(0) : body(up);
        const answer = body(down, 5);
        const { outcome, wholes } = converse({
          ask: request(method, { path: "/a", payload: sent }),
          app: () => response(Code.Content, { payload: answer }),
          client: coapTuning({ preferredSzx: mine }),
          server: coapTuning({ preferredSzx: theirs }),
          shrink,
          twice,
          late,
          rng: seededRng(seed),
        });
        for (const whole of wholes) assert.deepEqual(whole.payload, sent);
        if (outcome.kind !== "done") assert.equal(outcome.kind, "failed");
        else if (outcome.response.code === Code.Content) {
          right++;
          assert.deepEqual(outcome.response.payload, answer);
        } else assert.equal(outcome.response.code, Code.RequestEntityIncomplete);
      },
    ),
    { numRuns: 300 },
  );
  assert.ok(right > 150, `only ${right} of 300 succeeded`);
});

test("RFC 7959 2.2: no block option, however odd, lets an exception escape or holds state past its limit", () => {
  const value = fc.uint8Array({ maxLength: 5 });
  const message = fc.record({
    code: fc.constantFrom(Code.GET, Code.POST, Code.PUT, Code.FETCH, 0x1f),
    options: fc.array(
      fc.record({
        number: fc.constantFrom<number>(
          OptionNumber.Block1,
          OptionNumber.Block2,
          OptionNumber.Size1,
          OptionNumber.Size2,
          OptionNumber.RequestTag,
          OptionNumber.Observe,
          OptionNumber.ETag,
        ),
        value,
      }),
      { maxLength: 4 },
    ),
    payload: fc.oneof(
      fc.constant(body(16)),
      fc.constant(body(64)),
      fc.uint8Array({ maxLength: 64 }),
    ),
  });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 30 }), (messages) => {
      const tuning = coapTuning({ maxPartialBodies: 5, maxPartialBytes: 600, maxRequestBody: 400 });
      const server = new BlockServer(tuning, seededRng(3));
      messages.forEach((one, i) => {
        const sorted = { ...one, options: one.options.toSorted((a, b) => a.number - b.number) };
        const result = server.request(i % 3, sorted, i);
        if (result.kind === "whole")
          server.respond(i % 3, sorted, response(Code.Content, { payload: body(300) }), i);
        assert.ok(server.bodies <= 5 && server.bytes <= 600);
        const transfer = new BlockTransfer(request(Code.PUT, { payload: body(100) }), tuning, {
          szx: 1,
        });
        transfer.first();
        for (let n = 0; n < 3; n++)
          if (transfer.handle({ ...sorted, code: [0x5f, 0x45, 0x8d][n % 3]! }).kind !== "next")
            break;
      });
      for (const session of [0, 1, 2]) server.closed(session);
      assert.deepEqual([server.bodies, server.bytes, server.wakeAt], [0, 0, undefined]);
    }),
    { numRuns: 300 },
  );
});

test("RFC 7959 2.4: a resource that changes in mid-transfer is fetched anew, and given up after maxBlockRestarts", () => {
  for (const [changes, outcome] of [
    [1, "done"],
    [2, "done"],
    [3, "failed"],
  ] as const) {
    let asked = 0;
    // No room to keep an answer, so the application is asked for every block.
    const result = converse({
      ask: request(Code.GET, { path: "/clock" }),
      app: () => {
        asked++;
        return response(Code.Content, { payload: body(100, Math.min(changes, asked >> 1)) });
      },
      server: coapTuning({ preferredSzx: 1, maxPartialBytes: 0 }),
    });
    assert.equal(result.outcome.kind, outcome, `${changes} changes`);
    if (result.outcome.kind === "done")
      assert.deepEqual(result.outcome.response.payload, body(100, changes));
    if (result.outcome.kind === "failed") assert.equal(result.outcome.reason, "bodyChanged");
  }
});

test("RFC 7959 2.3: the application's own options come through, those of the transfer do not", () => {
  const { outcome } = converse({
    ask: request(Code.POST, { path: "/x", payload: body(200) }),
    app: () => response(Code.Created, { locationPath: "/x/1", payload: body(200) }),
    client: coapTuning({ preferredSzx: 2 }),
  });
  assert.ok(outcome.kind === "done");
  assert.ok(findOption(outcome.response.options, OptionNumber.LocationPath));
  assert.deepEqual(
    outcome.response.options.map((o) => o.number).filter((n) => n !== OptionNumber.LocationPath),
    [],
  );
});
