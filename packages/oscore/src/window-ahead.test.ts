import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng, type SessionId } from "@godwit/base";
import { Code, request, type Request } from "@godwit/coap";
import {
  CARRIER,
  INPUT,
  ends,
  receive,
  talk,
  withoutNonceReuse,
  type End,
} from "./layer-kit.test.ts";

// What the store knows of Partial IVs ahead of their acceptance: by it a peer that knows no Echo is heard again after a crash.

const UPDATE = request(Code.POST, { path: "/rd/1234" });
const SERVER = { maxWindowStride: 1_024 };
const MINUTE = 60_000;

function sent(end: End): Request {
  let made = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  if (made.kind === "wait") made = end.layer.protectRequest(end.session, UPDATE, end.now);
  end.drain();
  assert.ok(made.kind === "send", JSON.stringify(made));
  return made.request;
}

/** One more word of a peer that does nothing with an Echo; whether it was obeyed. */
function word(client: End, server: End, carrier: SessionId): boolean {
  const got = receive(server, sent(client), carrier);
  if (got.kind === "request") {
    server.layer.protectResponse(
      got.exchange,
      { code: Code.Changed, options: [], payload: new Uint8Array(0) },
      server.now,
    );
    server.drain();
  }
  return got.kind === "request";
}

for (const derivation of ["fixed", "both", "negotiated"] as const) {
  for (const carrier of [CARRIER, 4_711]) {
    for (const apart of [1_000, 5_000, 20_000, 3_600_000]) {
      test(`RFC 8613 B.1.2: a peer without Echo, ${derivation} keys, ${apart / 1_000} s between its words, is heard again after kill -9 of the server, ${carrier === CARRIER ? "where it was" : "from elsewhere"}`, () => {
        for (let before = 1; before < 40; before += 3) {
          withoutNonceReuse(() => {
            const { client, server } = ends(derivation, { server: SERVER });
            talk(client, server);
            for (let i = 0; i < before; i++) {
              for (const end of [client, server]) end.advance(apart);
              assert.ok(word(client, server, CARRIER));
            }
            for (const end of [client, server]) end.advance(apart);
            server.crash();
            let refused = 0; // of all that it says
            const began = server.now;
            while (!word(client, server, carrier)) {
              refused += 1;
              for (const end of [client, server]) end.advance(Math.min(apart, 10_000));
              assert.ok(refused <= 3, "refused again and again");
            }
            if (apart >= 5_000) assert.equal(refused, 0, "nothing of it is in doubt");
            assert.ok(server.now - began < MINUTE);
            assert.ok(word(client, server, carrier), "and from then on");
          });
        }
      });
    }
  }
}

test("RFC 8613 B.1.2: who spoke often and then stopped is known to be new, too; who is cut off in the middle knows the Echo", () => {
  for (const quiet of [0, 7_000]) {
    const { client, server } = ends("fixed", { server: SERVER });
    for (let i = 0; i < 20; i++) {
      server.advance(10);
      assert.ok(word(client, server, CARRIER));
    }
    server.advance(quiet / 2);
    server.advance(quiet / 2);
    server.crash();
    const { outcome, sizes } = talk(client, server);
    assert.equal(outcome.kind, "response");
    assert.equal(sizes.length, quiet === 0 ? 4 : 2, `${quiet}`);
  }
});

test("RFC 8613 B.1.2: whatever a crash cuts off, and however slow or broken the store is, nothing is obeyed twice", () => {
  for (let seed = 1; seed <= 400; seed++) {
    withoutNonceReuse(() => {
      const rng = seededRng(seed);
      const { client, server } = ends("fixed", { server: SERVER });
      const said: Request[] = [];
      const obeyed = new Set<Request>();
      const refs = new Map<number, Request>();
      let ref = 1_000_000;
      const settle = (outer: Request, kind: string): void => {
        if (kind !== "request") return;
        assert.ok(!obeyed.has(outer), `seed ${seed}: obeyed twice`);
        obeyed.add(outer);
      };
      const deliver = (outer: Request): void => {
        const carrier = rng.float() < 0.7 ? CARRIER : 666;
        refs.set(++ref, outer);
        settle(outer, server.layer.unprotectRequest(carrier, outer, ref, server.now).kind);
        server.drain();
      };
      for (let step = 0; step < 120; step++) {
        const what = rng.float();
        if (what < 0.4) {
          const outer = sent(client);
          said.push(outer);
          if (rng.float() < 0.8) deliver(outer); // else it is held back
        } else if (what < 0.65 && said.length > 0) {
          deliver(said[Math.floor(rng.float() * said.length)]!); // one of them
        } else if (what < 0.75) server.crash();
        else if (what < 0.85) server.settle(rng.float() < 0.8);
        else if (what < 0.9) server.storeMode = rng.float() < 0.5 ? "later" : "now";
        else if (what < 0.95) client.crash();
        else for (const end of [client, server]) end.advance(rng.float() * 20_000);
        for (const event of server.take("released")) {
          const outer = refs.get(event.ref);
          assert.ok(outer !== undefined);
          settle(outer, event.result.kind);
        }
      }
    });
  }
});

test("RFC 8613 B.1.2: who speaks seldom costs a write for each word, who speaks often one for hundreds", () => {
  for (const [apart, words, most] of [
    [60_000, 50, 51],
    [1_000, 200, 110],
    [1, 20_000, 250],
  ] as const) {
    const { client, server } = ends("fixed", { server: SERVER });
    const before = server.writes;
    for (let i = 0; i < words; i++) {
      for (const end of [client, server]) end.advance(apart);
      assert.ok(word(client, server, CARRIER), `${apart}: ${i}`);
    }
    assert.ok(server.writes - before <= most, `${apart} ms: ${server.writes - before} writes`);
  }
});

test("RFC 8613 B.1.2: without the option nothing is written, and a record that has more is passed over", () => {
  const { client, server } = ends("fixed", { server: SERVER });
  for (let i = 0; i < 10; i++) word(client, server, CARRIER);
  const without = ends("fixed", {});
  without.server.store.set("2", server.store.get("2") ?? new Uint8Array(0));
  without.server.crash();
  for (let i = 0; i < 100; i++) {
    assert.ok(!word(client, without.server, CARRIER), "without the Echo nothing is obeyed");
  }
  const { writes } = without.server;
  talk(client, without.server);
  for (let i = 0; i < 100; i++) word(client, without.server, CARRIER);
  assert.ok(without.server.writes - writes <= 1);
});

test("RFC 8613 B.1.2: a server with many peers writes little for their windows, and once it has time none is ahead of its peer", () => {
  const input = (n: number) => ({
    ...INPUT,
    senderId: Uint8Array.of(n >> 8, n),
    recipientId: Uint8Array.of(0x70),
  });
  const tuning = { ...SERVER, windowWritesPerSecond: 20 };
  const pairs = Array.from({ length: 60 }, (_, n) =>
    ends("fixed", { server: tuning, input: input(n) }),
  );
  const [first] = pairs;
  assert.ok(first !== undefined);
  // One layer serves all of them.
  const layer = first.server.layer;
  pairs.forEach(({ server }, n) => {
    if (n === 0) return;
    layer.handle({ type: "add", session: 100 + n, credential: server.credential }, 0);
  });
  first.server.drain();
  const speak = (now: number): number => {
    const before = first.server.writes;
    for (const { client } of pairs) {
      client.now = now;
      receive(first.server, sent(client));
    }
    return first.server.writes - before;
  };
  first.server.advance(10_000);
  assert.equal(speak(10_000), 60, "the first word of each");
  for (let i = 1; i <= 8; i++) {
    first.server.now = 10_000 + i * 100;
    speak(first.server.now);
  }
  const writes = first.server.writes;
  for (let i = 9; i <= 40; i++) {
    first.server.now = 10_000 + i * 100;
    speak(first.server.now);
  }
  assert.ok(
    first.server.writes - writes < 200,
    `${first.server.writes - writes} writes for 1 920 words`,
  );
  for (let i = 0; i < 20; i++) first.server.advance(3_000);
  assert.equal(layer.wakeAt, undefined, "all are settled");
});
