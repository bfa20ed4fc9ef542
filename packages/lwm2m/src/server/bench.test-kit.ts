import assert from "node:assert/strict";
import { seededRng, type StoreChange } from "@godwit/base";
import {
  Code,
  formatCode,
  locationPath,
  observeOption,
  request,
  response,
  uriPath,
  withOption,
  type EndpointInput,
  type Request,
  type Response,
} from "@godwit/coap";
import type { ServerEvent, ServerInput, ServerOutput } from "./events.ts";
import { observeRequest } from "./requests.ts";
import { Lwm2mServer } from "./server.ts";
import type { ServerTuning } from "./tuning.ts";

/** A server with a store that answers at once, unless told otherwise. */
export class Bench {
  now = 1_000_000;
  readonly server: Lwm2mServer;
  readonly records: Map<string, Map<string, Uint8Array>> = new Map<
    string,
    Map<string, Uint8Array>
  >();
  readonly coap: EndpointInput[] = [];
  readonly events: ServerEvent[] = [];
  readonly other: ServerOutput[] = [];
  /** `hold`: changes stay undecided; `fail`: the store refuses. */
  store: "ok" | "hold" | "fail" = "ok";
  readonly held: { ticket: number; changes: readonly StoreChange[] }[] = [];
  /** Writes that the store was asked for. */
  writes = 0;
  sameHost = false;
  #exchange = 0;
  #mid = 0;

  constructor(tuning: Partial<ServerTuning> = {}, from?: Bench) {
    this.server = new Lwm2mServer(
      {
        rng: seededRng(7),
        allocate: () => ({ mid: ++this.#mid, token: Uint8Array.of(this.#mid) }),
        sameHost: () => this.sameHost,
        endpointOf: (identity) => {
          if (identity.kind === "psk") return identity.identity;
          return identity.kind === "oscore" ? `secure-${identity.senderId}` : undefined;
        },
        credentialRevision: () => 0, // who proves what does not change here
        isSecured: (endpoint) => endpoint.startsWith("secure"),
      },
      { nosec: true, ...tuning },
    );
    if (from === undefined) return;
    this.now = from.now;
    for (const [table, records] of from.records) this.records.set(table, new Map(records));
    this.server.restore(
      {
        trusted: true,
        each: (table, take) => {
          for (const [key, value] of this.records.get(table) ?? []) take({ key, value });
        },
        sessionOf: ({ session }) => session,
        nowhere: () => assert.fail("every session is there"),
        refusal: () => undefined,
      },
      this.now,
    );
    this.#drain();
  }

  feed(input: ServerInput): void {
    this.server.handle(input, this.now);
    this.#drain();
  }

  after(ms: number): void {
    const end = this.now + ms;
    for (let at = this.server.wakeAt; at !== undefined && at <= end; at = this.server.wakeAt) {
      this.now = Math.max(this.now, at);
      this.server.wake(this.now);
      this.#drain();
    }
    this.now = end;
  }

  /** "/3303/0/5700 active" */
  observed(endpoint: string): readonly string[] {
    return this.server
      .observationsOf(endpoint, this.now)
      .map(({ path, state }) => `${path} ${state}`);
  }

  /** Feeds a request and returns the answer, if one was given at once. */
  ask(session: number, req: Request): Response | undefined {
    const exchange = ++this.#exchange;
    const token = Uint8Array.of(exchange % 256);
    this.feed({ type: "request", exchange, session, request: req, validated: false, token });
    return this.answerTo(exchange);
  }

  /** As `ask`, for a block of a request that began on another path. */
  askFragment(session: number, req: Request): Response | undefined {
    const exchange = ++this.#exchange;
    this.feed({ type: "fragment", exchange, session, request: req });
    return this.answerTo(exchange);
  }

  get lastExchange(): number {
    return this.#exchange;
  }

  answerTo(exchange: number): Response | undefined {
    const found = this.coap.findLast((c) => c.type === "respond" && c.exchange === exchange);
    return found?.type === "respond" ? found.response : undefined;
  }

  register(
    session: number,
    query: string[],
    payload = "</1/0>,</3/0>,</3303/0>",
  ): Response | undefined {
    return this.ask(
      session,
      request(Code.POST, { path: "/rd", query, contentFormat: 40, payload }),
    );
  }

  enrol(session: number, endpoint: string, more: string[] = []): string[] {
    const answer = this.register(session, [`ep=${endpoint}`, "lt=300", "lwm2m=1.1", ...more]);
    assert.equal(formatCode(answer?.code ?? 0), "2.01");
    return locationPath(answer!.options); // asserted above
  }

  update(session: number, location: string[], parts: Parameters<typeof request>[1] = {}): string {
    return formatCode(
      this.ask(session, request(Code.POST, { path: location, ...parts }))?.code ?? 0,
    );
  }

  order(
    endpoint: string,
    kind: "read" | "execute" | "write" | "observe" | "cancelObserve",
    req: Request,
  ): number {
    const id = this.server.operationId();
    const path = `/${uriPath(req.options).join("/")}`;
    this.feed({
      type: "operate",
      id,
      endpoint,
      kind,
      path,
      request: req,
      expiresAt: this.now + 3_600_000,
    });
    return id;
  }

  sent(): Extract<EndpointInput, { type: "request" }>[] {
    return this.coap.filter((c) => c.type === "request");
  }

  state(id: number): string | undefined {
    return this.server.operation(id)?.state.name;
  }

  reply(
    id: number,
    session: number,
    res: Response,
    more: { notification?: boolean; final?: boolean } = {},
  ): void {
    this.feed({
      type: "response",
      id,
      session,
      response: res,
      notification: more.notification ?? false,
      final: more.final ?? true,
      token: Uint8Array.of(9),
    });
  }

  /** Orders an observation, and the device accepts it. */
  observe(endpoint: string, session: number, resource: number): number {
    const id = this.order(endpoint, "observe", observeRequest([3303, 0, resource]));
    this.reply(id, session, reading("1"), { final: false });
    return id;
  }

  lose(id: number, session: number): void {
    this.feed({ type: "failed", id, session, reason: "timeout", again: undefined });
  }

  decide(ok: boolean): void {
    this.store = ok ? "ok" : "fail";
    for (const { ticket, changes } of this.held.splice(0)) this.#commit(ticket, changes);
    this.#drain();
  }

  #drain(): void {
    for (let out = this.server.poll(); out !== undefined; out = this.server.poll()) {
      if (out.type === "coap") this.coap.push(out.input);
      else if (out.type === "store") {
        this.writes += 1;
        if (this.store === "hold") this.held.push(out);
        else this.#commit(out.ticket, out.changes);
      } else if (out.type === "pin" || out.type === "unpin") this.other.push(out);
      else if (out.type === "unkeep") this.other.push(out);
      else if (out.type === "rebind" || out.type === "displace") this.other.push(out);
      else this.events.push(out);
    }
  }

  #commit(ticket: number, changes: readonly StoreChange[]): void {
    const ok = this.store === "ok";
    for (const { table, key, value } of ok ? changes : []) {
      const records = this.records.get(table) ?? new Map<string, Uint8Array>();
      if (value === undefined) records.delete(key);
      else records.set(key, value);
      this.records.set(table, records);
    }
    this.server.handle({ type: "stored", ticket, ok }, this.now);
  }
}

/** An answer with Observe, or a notification. */
export function reading(payload: string): Response {
  const answer = response(Code.Content, { payload, contentFormat: 0 });
  return { ...answer, options: withOption(answer.options, observeOption(1)) };
}
