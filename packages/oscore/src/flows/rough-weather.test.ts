import assert from "node:assert/strict";
import { test } from "node:test";
import { below, seededRng } from "@godwit/base";
import { Code, request, response, type Request, type Response } from "@godwit/coap";
import type { ClientExchange } from "../association.ts";
import { End, ends, receive, talk, withoutNonceReuse } from "../layer-kit.test.ts";

type Datagram =
  | {
      readonly kind: "request";
      readonly from: End;
      readonly outer: Request;
      readonly flight: Flight;
    }
  | {
      readonly kind: "response";
      readonly to: End;
      readonly outer: Response;
      readonly flight: Flight;
    };

/** What was sent once and waits for its answer: a token and a message id, so to speak. */
type Flight = { readonly from: End; readonly exchange: ClientExchange; over: boolean };

const SEEDS = 60;

test("RFC 8613: with loss, duplication, reordering, other addresses and crashes each request is obeyed at most once", () => {
  let answers = 0;
  for (let seed = 0; seed < SEEDS; seed++)
    withoutNonceReuse(() => {
      const rng = seededRng(seed);
      const { client, server } = ends(rng.float() < 0.5 ? "negotiated" : "both");
      const other = new Map([
        [client, server],
        [server, client],
      ]);
      const wire: Datagram[] = [];
      const flights: Flight[] = [];
      const obeyed = new Map<number, number>();
      let number = 0;

      const send = (from: End): void => {
        const asked = request(Code.POST, { path: "/3/0/4", payload: String(++number) });
        const sent = from.layer.protectRequest(from.session, asked, from.now);
        from.drain();
        if (sent.kind !== "send") return;
        const flight = { from, exchange: sent.exchange, over: false };
        flights.push(flight);
        wire.push({ kind: "request", from, outer: sent.request, flight });
      };

      const deliver = (datagram: Datagram): void => {
        const { flight } = datagram;
        if (datagram.kind === "request") {
          const to = other.get(datagram.from)!; // there are two
          const carrier = 700 + below(rng, 3);
          const result = receive(to, datagram.outer, carrier);
          if (result.kind === "reply") {
            wire.push({ kind: "response", to: datagram.from, outer: result.response, flight });
          } else if (result.kind === "request") {
            const asked = Number(new TextDecoder().decode(result.request.payload));
            obeyed.set(asked, (obeyed.get(asked) ?? 0) + 1);
            const made = to.layer.protectResponse(result.exchange, response(Code.Changed), to.now);
            to.drain();
            if (made.kind === "send")
              wire.push({ kind: "response", to: datagram.from, outer: made.response, flight });
          }
        } else if (!flight.over) {
          const { to } = datagram;
          const outcome = to.layer.unprotectResponse(flight.exchange, datagram.outer, to.now);
          to.drain();
          if (outcome.kind === "ignored") return;
          flight.over = true;
          if (outcome.kind === "response") {
            answers += outcome.response.code === Code.Changed ? 1 : 0;
          } else if (outcome.kind === "again") {
            const next = { ...flight, over: false };
            flights.push(next);
            wire.push({ kind: "request", from: to, outer: outcome.request, flight: next });
          }
        }
      };

      const giveUp = (): void => {
        for (const flight of flights.splice(0)) {
          if (!flight.over) flight.from.layer.abandon(flight.exchange);
          flight.over = true;
        }
      };

      for (let step = 0; step < 80; step++) {
        const chance = rng.float();
        if (chance < 0.25) send(rng.float() < 0.8 ? client : server);
        else if (chance < 0.27) {
          const end = rng.float() < 0.5 ? client : server;
          end.crash();
          giveUp(); // who crashed remembers none, and the other end's time out
        } else if (chance < 0.33) {
          giveUp();
        } else if (wire.length > 0) {
          const at = below(rng, wire.length);
          const datagram = wire[at]!; // at < length
          const fate = rng.float();
          if (fate > 0.15) wire.splice(at, 1); // else it will come again
          if (fate < 0.85) deliver(datagram);
        }
        client.advance(below(rng, 2_000));
        server.advance(below(rng, 2_000));
      }
      for (const [asked, times] of obeyed) assert.equal(times, 1, `seed ${seed}: ${asked}`);
      giveUp();
      const last = [talk(client, server), talk(client, server)].at(-1)!; // there are two
      assert.equal(last.outcome.kind, "response", `seed ${seed}`);
    });
  assert.ok(answers > 2 * SEEDS, `${answers} answers came through`);
});
