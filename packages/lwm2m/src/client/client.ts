import {
  Outbox,
  TimerTable,
  UsageError,
  earlier,
  unreachable,
  type Instant,
  type Machine,
  type SessionId,
} from "@godwit/base";
import { Code, response, type EndpointInput, type Response } from "@godwit/coap";
import { parseRoot, type NodePath } from "../node-path.ts";
import { endpointFault } from "../registration.ts";
import type { ClientInput, ClientOutput } from "./events.ts";
import { KeepAlive } from "./keep-alive.ts";
import { Management } from "./management.ts";
import type { ClientOptions } from "./options.ts";
import { Registering } from "./registering.ts";
import { ServerObject } from "./server-object.ts";
import type { ClientSnapshot } from "./snapshot.ts";
import type { TimerName } from "./state.ts";
import { clientTuning, type ClientTuning } from "./tuning.ts";
import { Way } from "./way.ts";

//   connected, closed, moved, answers ──> Registering ──> Register, Update, De-register, keep-alive
//   requests of the server ──> Management ──> perform, answers, notifications
//   nothing for the awake window ──> asleep ──something to send──> awake

/** One device towards one server: registration, management, observations, keep-alive and sleep. Sits on a CoAP endpoint. */
export class Lwm2mClient implements Machine<ClientInput, ClientOutput> {
  readonly #options: ClientOptions;
  readonly #tuning: ClientTuning;
  readonly #server: ServerObject;
  readonly #management: Management;
  readonly #keepAlive: KeepAlive;
  readonly #registering: Registering;
  readonly #way: Way;
  readonly #outbox = new Outbox<ClientOutput>();
  readonly #timers = new TimerTable<TimerName>();
  /** The session in which repetitions of what was asked for before it are known. */
  #reminded: SessionId | undefined;
  #asleep = false;

  /** @throws UsageError for options that cannot work */
  constructor(options: ClientOptions) {
    const { endpoint, rng, registry, objects, snapshot, keepAlive = "off" } = options;
    const fault = endpoint === undefined ? undefined : endpointFault(endpoint);
    if (fault !== undefined) throw new UsageError(fault);
    if (endpoint === undefined && options.lwm2m === "1.0")
      throw new UsageError("LwM2M 1.0 needs an endpoint name");
    this.#options = options;
    this.#tuning = { ...clientTuning, ...options.tuning };
    const root = rootOf(options.root);
    this.#server = new ServerObject(options.serverInstance ?? 0, {
      ...options.server,
      ...snapshot?.server,
    });
    this.#keepAlive = new KeepAlive(keepAlive, this.#tuning, rng, snapshot?.binding);
    const { pathKind = () => "followed" } = options;
    this.#way = new Way(pathKind, this.#keepAlive, this.#tuning);
    this.#management = new Management(
      {
        coap: (input, now) => this.#coap(input, now),
        emit: (event) => this.#outbox.push(event),
        triggered: (what, now) => this.#registering.triggered(what, now),
        reopen: (now) => this.#registering.reopen(now),
        renew: (now) => this.#registering.renew(now),
        parametersChanged: (now) => this.#registering.announce(now),
      },
      {
        root,
        registry,
        tuning: this.#tuning,
        server: this.#server,
        objects,
        attributes: snapshot?.attributes ?? [],
        deeds: snapshot?.deeds ?? [],
        way: this.#way,
      },
    );
    this.#registering = new Registering({
      host: {
        coap: (input, now) => this.#coap(input, now),
        emit: (event) => this.#outbox.push(event),
        extendWake: (now) => this.#extendWake(now),
        sleeps: () => this.#sleeps,
        resume: () => this.#outbox.push({ type: "resume" }),
      },
      options,
      tuning: this.#tuning,
      root,
      server: this.#server,
      management: this.#management,
      keepAlive: this.#keepAlive,
      way: this.#way,
      timers: this.#timers,
    });
  }

  /** Where the registration is, while it is known to run. */
  get location(): readonly string[] | undefined {
    return this.#registering.location;
  }

  /** A Register or an Update is under way. */
  get asking(): boolean {
    return this.#registering.asking;
  }

  /** The paths that the server observes. */
  get observed(): readonly NodePath[] {
    return this.#management.reporting.paths;
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#timers.next, this.#management.wakeAt(this.#reachable));
  }

  handle(input: ClientInput, now: Instant): void {
    switch (input.type) {
      case "connected":
        if (input.session !== this.#reminded) this.#management.remind(input.session, now);
        this.#reminded = input.session;
        this.#registering.connected(input.session, now);
        break;
      case "closed":
        if (input.session === this.#registering.session) this.#registering.closed();
        break;
      case "moved":
        if (input.session === this.#registering.session) this.#registering.moved(now);
        break;
      case "update":
        this.#registering.update(now, false);
        break;
      case "deregister":
        this.#registering.deregister("stop", now);
        break;
      case "changed":
        this.#management.changed(input.path, now);
        break;
      case "objects":
        this.#management.objects = input.objects;
        this.#registering.announce(now);
        break;
      case "configure":
        this.#server.configure(input.values);
        this.#outbox.push({ type: "stateChanged" });
        this.#registering.announce(now);
        break;
      case "performed":
        this.#management.performed(input.id, input.outcome, now);
        break;
      case "request":
        this.#requested(input, now);
        break;
      case "response":
        this.#registering.answered(input.id, input.response, now);
        break;
      case "failed":
        this.#registering.failed(input.id, input.reason, now);
        break;
      case "alive":
        if (input.session === this.#registering.session) this.#registering.keeper.taken();
        break;
      case "unobserved":
        this.#management.reporting.unobserved(input.exchange, input.why, now);
        break;
      case "unnotified":
        this.#management.reporting.unnotified(input.exchange, now);
        break;
      case "rekeyed":
        this.#management.reporting.forgetAll(now);
        break;
      case "pong":
        this.#registering.keeper.pong(input.id);
        break;
      default:
        unreachable(input);
    }
    this.#look(now);
  }

  wake(now: Instant): void {
    for (;;) {
      const timer = this.#timers.expired(now);
      if (timer === undefined) break;
      if (timer === "sleep") this.#fallAsleep(now);
      else this.#registering.expired(timer, now);
    }
    this.#look(now);
  }

  poll(): ClientOutput | undefined {
    return this.#outbox.take();
  }

  /** What outlives a restart; take it after each `stateChanged`. */
  snapshot(): ClientSnapshot {
    return {
      ...this.#registering.kept,
      server: this.#server.plain(),
      attributes: this.#management.attributes,
      binding: this.#keepAlive.knowledge,
      deeds: this.#management.deeds,
      registeredBefore: this.#registering.registeredBefore,
    };
  }

  // ── requests of the server ───────────────────────────────────────────────────────────────────────────────────────

  #requested(input: Extract<ClientInput, { type: "request" }>, now: Instant): void {
    const { exchange, session } = input;
    // OMA TS Core 6.2.1: nothing is served before the Register is answered, and nothing ever for anyone but the server.
    if (session !== this.#registering.session)
      return this.#answer(exchange, response(Code.Unauthorized), now);
    if (!this.#registering.isRegistered)
      return this.#answer(exchange, response(Code.ServiceUnavailable), now);
    this.#way.asked(now);
    this.#registering.keeper.disturbed(now);
    this.#management.request(input, now, input.name);
  }

  #answer(exchange: number, answer: Response, now: Instant): void {
    this.#coap({ type: "respond", exchange, response: answer }, now);
  }

  /** Everything that is sent goes through here. */
  #coap(input: EndpointInput, now: Instant): void {
    if (SENDING.has(input.type)) {
      if (this.#asleep) {
        this.#asleep = false;
        this.#outbox.push({ type: "awake" });
      }
      this.#extendWake(now);
      this.#way.used(now);
      if (input.type === "notify" || input.type === "respond")
        this.#registering.keeper.disturbed(now);
    }
    this.#outbox.push({ type: "coap", input });
  }

  // ── sleep ────────────────────────────────────────────────────────────────────────────────────────────────────────

  get #sleeps(): boolean {
    return this.#options.queueMode === true || this.#server.binding.includes("Q");
  }

  #extendWake(now: Instant): void {
    if (this.#sleeps && !this.#asleep) this.#timers.set("sleep", now + this.#tuning.awakeWindow);
  }

  #fallAsleep(now: Instant): void {
    if (!this.#registering.isIdle || this.#management.busy) return this.#extendWake(now);
    this.#asleep = true;
    this.#outbox.push({ type: "asleep", until: this.wakeAt });
  }

  // ── observations ─────────────────────────────────────────────────────────────────────────────────────────────────

  get #reachable(): boolean {
    return this.#registering.isRegistered && this.#registering.session !== undefined;
  }

  #look(now: Instant): void {
    this.#management.wake(now, this.#reachable);
  }
}

function rootOf(text = "/"): readonly string[] {
  try {
    return parseRoot(text);
  } catch (error) {
    throw new UsageError(`root: ${error instanceof Error ? error.message : "no path"}`);
  }
}

const SENDING: ReadonlySet<EndpointInput["type"]> = new Set([
  "request",
  "respond",
  "notify",
  "ping",
]);
