import { seededRng, unreachable, type Instant } from "@godwit/base";
import {
  Code,
  formatCode,
  formatPath,
  request,
  response,
  uriPath,
  uriQuery,
  type EndpointInput,
  type ExchangeId,
  type Request,
  type RequestParts,
  type Response,
} from "@godwit/coap";
import { Lwm2mClient } from "../client/client.ts";
import type { ClientOptions } from "../client/options.ts";
import type {
  ClientEvent,
  ClientInput,
  ClientOutput,
  Operation,
  Outcome,
} from "../client/events.ts";
import { builtInRegistry } from "../definitions/index.ts";
import type { ObjectEntry } from "../object-list.ts";
import type { ValueNode } from "../value.ts";

/** How the server takes a request: answers now or later, takes it without ever being heard again, or is not there. */
export type Reply =
  | Response
  | { readonly after: number; readonly response: Response }
  | "lost"
  | "acknowledged";

/** A client in virtual time, with a server that follows a script. */
export class ClientStory {
  readonly client: Lwm2mClient;
  now: Instant;
  /** What the client asked the server: "POST /rd?ep=a @0". */
  readonly asked: string[] = [];
  readonly requests: Request[] = [];
  readonly events: ClientEvent[] = [];
  readonly answers: Map<ExchangeId, Response> = new Map();
  readonly notified: {
    readonly at: Instant;
    readonly exchange: ExchangeId;
    readonly response: Response;
    readonly confirmable: boolean;
  }[] = [];
  readonly performed: Operation[] = [];
  readonly ended: ExchangeId[] = [];
  /** Answers what the client asks. */
  server: (asked: Request) => Reply = registrar();
  /** Performs what the server asks; undefined leaves it open. */
  device: (operation: Operation) => Outcome | undefined = () => ({ type: "done" });
  /** Performs left open, by id. */
  readonly open: number[] = [];
  #exchange = 0;
  readonly #queue: { readonly at: Instant; readonly input: ClientInput }[] = [];

  constructor(options: Partial<ClientOptions> = {}, now: Instant = 0) {
    this.now = now;
    this.client = new Lwm2mClient({ ...storyOptions(), ...options });
  }

  /** From the beginning to the answer to the Register. */
  start(): this {
    return this.tell({ type: "connected", session: 1 });
  }

  tell(input: ClientInput): this {
    this.client.handle(input, this.now);
    this.#drain();
    return this;
  }

  /** Lets `ms` pass, with everything that falls due meanwhile. */
  pass(ms: number): this {
    const end = this.now + ms;
    for (;;) {
      const due = Math.min(this.client.wakeAt ?? Infinity, ...this.#queue.map(({ at }) => at));
      if (due > end) break;
      this.now = Math.max(this.now, due);
      const first = this.#queue.findIndex(({ at }) => at <= this.now);
      const [next] = first < 0 ? [] : this.#queue.splice(first, 1);
      if (next === undefined) this.client.wake(this.now);
      else this.client.handle(next.input, this.now);
      this.#drain();
    }
    this.now = end;
    return this;
  }

  /** The server asks the client; the answer as "2.05". */
  ask(code: number, path: string, parts: RequestParts = {}, session = 1): ExchangeId {
    const exchange = ++this.#exchange;
    const asked = request(code, { path, ...parts });
    this.tell({ type: "request", exchange, session, request: asked, validated: true });
    return exchange;
  }

  code(exchange: ExchangeId): string {
    return formatCode(this.answers.get(exchange)?.code ?? 0);
  }

  payload(exchange: ExchangeId): string {
    return new TextDecoder().decode(this.answers.get(exchange)?.payload);
  }

  /** The names of the events since the last call, in order, but for stateChanged. */
  happened(): string[] {
    return this.events
      .splice(0)
      .map(({ type }) => type)
      .filter((type) => type !== "stateChanged");
  }

  #drain(): void {
    for (;;) {
      const output = this.client.poll();
      if (output === undefined) return;
      this.#take(output);
    }
  }

  #take(output: ClientOutput): void {
    if (output.type === "coap") return this.#coap(output.input);
    if (output.type !== "perform") {
      this.events.push(output);
      return;
    }
    this.performed.push(output.operation);
    const outcome = this.device(output.operation);
    if (outcome === undefined) this.open.push(output.id);
    else this.client.handle({ type: "performed", id: output.id, outcome }, this.now);
  }

  #coap(input: EndpointInput): void {
    switch (input.type) {
      case "request": {
        this.asked.push(`${shown(input.request)} @${Math.round(this.now / 1_000)}`);
        this.requests.push(input.request);
        this.#reply(input.id, this.server(input.request));
        break;
      }
      case "ping":
        this.asked.push(`ping @${Math.round(this.now / 1_000)}`);
        this.#queue.push({ at: this.now, input: { type: "pong", id: input.id, session: 1 } });
        break;
      case "respond":
        this.answers.set(input.exchange, input.response);
        break;
      case "notify":
        this.notified.push({
          at: this.now,
          exchange: input.exchange,
          response: input.response,
          confirmable: input.confirmable === true,
        });
        break;
      case "unobserve":
        this.ended.push(input.exchange);
        break;
      case "cancel": {
        const left = this.#queue.findIndex(
          (entry) => "id" in entry.input && entry.input.id === input.id,
        );
        if (left >= 0) this.#queue.splice(left, 1);
        break;
      }
      case "received":
      case "proceed":
      case "remember":
      case "resumeObservation":
      case "challenge":
      case "ignore":
      case "moved":
      case "validated":
      case "released":
      case "ready":
      case "adopt":
      case "closed":
        throw new Error(`the client said ${input.type}`);
      default:
        unreachable(input);
    }
  }

  #reply(id: number, reply: Reply): void {
    if (reply === "acknowledged") {
      this.#queue.push({ at: this.now, input: { type: "alive", session: 1 } });
      return;
    }
    if (reply === "lost") {
      this.#queue.push({
        at: this.now + 93_000,
        input: { type: "failed", id, session: 1, reason: "timeout", again: undefined },
      });
      return;
    }
    const [after, answer] = "after" in reply ? [reply.after, reply.response] : [0, reply];
    this.#queue.push({
      at: this.now + after,
      input: {
        type: "response",
        id,
        session: 1,
        response: answer,
        notification: false,
        final: true,
        token: new Uint8Array(),
      },
    });
  }
}

/** Accepts everything, and does not know /nat. */
export function registrar(): (asked: Request) => Reply {
  return (asked) => {
    const path = uriPath(asked.options);
    if (asked.code === Code.DELETE) return response(Code.Deleted);
    if (path[0] !== "rd") return response(Code.NotFound);
    return path.length === 1
      ? response(Code.Created, { locationPath: ["rd", "1234"] })
      : response(Code.Changed);
  };
}

export function shown({ code, options }: Request): string {
  const query = uriQuery(options);
  return `${METHODS[code] ?? code} ${formatPath(uriPath(options))}${query.length > 0 ? `?${query.join("&")}` : ""}`;
}

export const OBJECTS: readonly ObjectEntry[] = [
  { id: 3, version: "1.1", instances: [0] },
  { id: 5, version: undefined, instances: [0] },
  { id: 3303, version: undefined, instances: [0] },
];

export function storyOptions(): ClientOptions {
  return {
    endpoint: "urn:imei:1234567890",
    rng: seededRng(1),
    registry: builtInRegistry(),
    objects: OBJECTS,
    server: { 1: 300 },
    tuning: { updateJitter: 0, retryJitter: 0, keepAliveJitter: 0 },
  };
}

export function celsius(value: number, path: readonly number[] = [3303, 0, 5700]): ValueNode {
  return { path, value: { type: "float", value } };
}

const METHODS: Readonly<Record<number, string>> = { 1: "GET", 2: "POST", 3: "PUT", 4: "DELETE" };
