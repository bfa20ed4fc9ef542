import {
  Outbox,
  TimerTable,
  UsageError,
  earlier,
  fromUtf8,
  unreachable,
  type Instant,
  type Machine,
  type Rng,
  type SessionId,
} from "@godwit/base";
import {
  Code,
  locationPath,
  request,
  response,
  type EndpointInput,
  type RequestId,
  type Response,
} from "@godwit/coap";
import { impliedVersion } from "../definition.ts";
import { parseRoot } from "../node-path.ts";
import type { ObjectList } from "../object-list.ts";
import { endpointFault, formatDeregister, formatRegister, formatUpdate } from "../registration.ts";
import { LWM2M_VERSIONS, type Lwm2mVersion } from "../version.ts";
import type { ClientInput, ClientOutput, Unreachable } from "./events.ts";
import { KeepAlive, type BindingKnowledge } from "./keep-alive.ts";
import { Management } from "./management.ts";
import type { ClientOptions } from "./options.ts";
import { Retry } from "./retry.ts";
import { ServerObject } from "./server-object.ts";
import type { ClientSnapshot, Told } from "./snapshot.ts";
import {
  changesOf,
  type Probe,
  type Registered,
  type SentUpdate,
  type State,
  type TimerName,
} from "./state.ts";
import { clientTuning, type ClientTuning } from "./tuning.ts";

//   idle ──connected──> holding (/1/x/14) ──> registering ──2.01──> registered ──deregister, /1/x/4──> deregistering
//                          ^                   │  │ 4.12: one version down        │  ^                     │      │
//                          └─── waiting <──────┘  └──> registering                │  └─ Update 2.04        idle  disabled
//                               (back-off)  <── Update 4.xx, lifetime over ───────┘                              │
//                                                                              registering <── /1/x/5 ───────────┘
//
// While registered, an Update leaves before the lifetime ends, when a parameter changes, when the server asks for it, and as a
// keep-alive; one at a time. One that is lost is repeated by the rules of Retry until the lifetime ends.   OMA TS Core 6.2

/** One device towards one server: registration, management, observations, keep-alive and sleep. Sits on a CoAP endpoint. */
export class Lwm2mClient implements Machine<ClientInput, ClientOutput> {
  readonly #options: ClientOptions;
  readonly #tuning: ClientTuning;
  readonly #rng: Rng;
  readonly #root: readonly string[];
  readonly #server: ServerObject;
  readonly #management: Management;
  readonly #keepAlive: KeepAlive;
  readonly #retry = new Retry();
  readonly #outbox = new Outbox<ClientOutput>();
  readonly #timers = new TimerTable<TimerName>();
  #state: State = { name: "idle" };
  #session: SessionId | undefined;
  /** The session in which repetitions of what was asked for before it are known. */
  #reminded: SessionId | undefined;
  /** A registration from before a restart that has not been confirmed yet. */
  #kept: ClientSnapshot["registration"];
  #registeredBefore: boolean;
  /** Something was asked for that the Update in flight does not bring. */
  #updateAgain = false;
  #probe: Probe | undefined;
  #ping: RequestId | undefined;
  #asleep = false;
  #lastRequest: RequestId = 0;

  /** @throws UsageError for options that cannot work */
  constructor(options: ClientOptions) {
    const { endpoint, rng, registry, objects, snapshot, keepAlive = "off" } = options;
    const fault = endpoint === undefined ? undefined : endpointFault(endpoint);
    if (fault !== undefined) throw new UsageError(fault);
    if (endpoint === undefined && options.lwm2m === "1.0")
      throw new UsageError("LwM2M 1.0 needs an endpoint name");
    this.#options = options;
    this.#tuning = { ...clientTuning, ...options.tuning };
    this.#rng = rng;
    this.#root = rootOf(options.root);
    this.#server = new ServerObject(options.serverInstance ?? 0, {
      ...options.server,
      ...snapshot?.server,
    });
    this.#keepAlive = new KeepAlive(keepAlive, this.#tuning, rng, snapshot?.binding);
    this.#registeredBefore = snapshot?.registeredBefore ?? false;
    this.#kept = snapshot?.registration;
    this.#management = new Management(
      {
        coap: (input, now) => this.#coap(input, now),
        emit: (event) => this.#outbox.push(event),
        triggered: (what, now) => this.#triggered(what, now),
        parametersChanged: (now) => this.#tell(now),
      },
      {
        root: this.#root,
        registry,
        tuning: this.#tuning,
        server: this.#server,
        objects,
        attributes: snapshot?.attributes ?? [],
        deeds: snapshot?.deeds ?? [],
      },
    );
  }

  /** Where the registration is, while it is known to run. */
  get location(): readonly string[] | undefined {
    return this.#state.name === "registered" ? this.#state.location : undefined;
  }

  /** A Register or an Update is under way. */
  get asking(): boolean {
    const { name } = this.#state;
    return name === "registering" || (name === "registered" && this.#state.update !== undefined);
  }

  get wakeAt(): Instant | undefined {
    return earlier(this.#timers.next, this.#reachable ? this.#management.wakeAt : undefined);
  }

  handle(input: ClientInput, now: Instant): void {
    switch (input.type) {
      case "connected":
        this.#connected(input.session, now);
        break;
      case "closed":
        if (input.session === this.#session) this.#closed();
        break;
      case "moved":
        if (input.session === this.#session) this.#moved(now);
        break;
      case "update":
        this.#update(now, false);
        break;
      case "deregister":
        this.#deregister("stop", now);
        break;
      case "changed":
        this.#management.changed(input.path, now);
        break;
      case "objects":
        this.#management.objects = input.objects;
        this.#tell(now);
        break;
      case "configure":
        this.#server.configure(input.values);
        this.#outbox.push({ type: "stateChanged" });
        this.#tell(now);
        break;
      case "performed":
        this.#management.performed(input.id, input.outcome, now);
        break;
      case "request":
        this.#requested(input, now);
        break;
      case "response":
        this.#answered(input.id, input.response, now);
        break;
      case "failed":
        this.#failed(input.id, input.reason, now);
        break;
      case "alive":
        if (this.#probe !== undefined && input.session === this.#session) this.#probe.taken = true;
        break;
      case "unobserved":
        this.#management.unobserved(input.exchange);
        break;
      case "pong":
        if (input.id === this.#ping) this.#ping = undefined;
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
      this.#expired(timer, now);
    }
    this.#look(now);
  }

  poll(): ClientOutput | undefined {
    return this.#outbox.take();
  }

  /** What outlives a restart; take it after each `stateChanged`. */
  snapshot(): ClientSnapshot {
    const registration = this.#state.name === "registered" ? this.#state : undefined;
    return {
      registration:
        registration === undefined
          ? this.#kept
          : {
              location: registration.location,
              lwm2m: registration.lwm2m,
              expiresAt: registration.expiresAt,
              told: registration.told,
              observed: this.#management.observed,
            },
      server: this.#server.plain(),
      attributes: this.#management.attributes,
      binding: this.#keepAlive.knowledge,
      deeds: this.#management.deeds,
      registeredBefore: this.#registeredBefore,
    };
  }

  // ── the way to the server ────────────────────────────────────────────────────────────────────────────────────────

  #connected(session: SessionId, now: Instant): void {
    if (session !== this.#reminded) this.#management.remind(session, now);
    this.#reminded = session;
    this.#session = session;
    switch (this.#state.name) {
      case "idle":
        this.#start(now);
        break;
      case "waiting":
        this.#register(this.#state.lwm2m, now);
        break;
      case "registered":
        this.#forgetUpdate(this.#state, now);
        this.#update(now, false);
        break;
      case "registering":
        this.#coap({ type: "cancel", id: this.#state.request, how: "forget" }, now);
        this.#register(this.#state.lwm2m, now);
        break;
      case "holding":
      case "deregistering":
      case "disabled":
        break;
      default:
        unreachable(this.#state);
    }
  }

  #start(now: Instant): void {
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept !== undefined && !kept.observed && now < (kept.expiresAt ?? Infinity)) {
      const { location, lwm2m, expiresAt, told } = kept;
      this.#management.lwm2m = lwm2m;
      this.#state = { name: "registered", location, lwm2m, expiresAt, told, update: undefined };
      if (expiresAt !== undefined) this.#timers.set("expiry", expiresAt);
      this.#update(now, false);
      return;
    }
    const delay = this.#registeredBefore ? 0 : this.#server.initialDelay;
    if (delay === 0) return this.#register(this.#firstVersion, now);
    this.#state = { name: "holding" };
    this.#timers.set("attempt", now + delay * 1_000);
  }

  #closed(): void {
    this.#session = undefined;
    this.#stopKeepAlive();
    this.#timers.stop("sleep");
    if (this.#state.name === "registered") this.#state.update = undefined;
    else if (this.#state.name === "registering")
      this.#state = { name: "waiting", lwm2m: this.#state.lwm2m };
    else if (this.#state.name === "deregistering") this.#left(this.#state.then, undefined);
  }

  #forgetUpdate(state: Registered, now: Instant): void {
    if (state.update === undefined) return;
    this.#coap({ type: "cancel", id: state.update.request, how: "forget" }, now);
    state.update = undefined;
  }

  #moved(now: Instant): void {
    this.#doubtBinding();
    this.#update(now, false);
  }

  // ── registration ─────────────────────────────────────────────────────────────────────────────────────────────────

  get #firstVersion(): Lwm2mVersion {
    return this.#options.lwm2m ?? "1.1";
  }

  #register(lwm2m: Lwm2mVersion, now: Instant): void {
    if (this.#session === undefined) {
      this.#state = { name: "waiting", lwm2m };
      return;
    }
    this.#timers.stop("attempt");
    this.#timers.stop("update");
    this.#timers.stop("expiry");
    this.#stopKeepAlive();
    this.#management.forgetObservations(now);
    this.#management.lwm2m = lwm2m;
    const told = this.#parameters(lwm2m);
    const { endpoint, verbose, versionOnInstance } = this.#options;
    const register = formatRegister({
      endpoint,
      lwm2m,
      lifetime: told.lifetime,
      ...((verbose === true || told.binding !== "U") && { binding: told.binding }),
      queue: told.queue,
      objects: told.objects,
      versionOnInstance,
    });
    this.#state = {
      name: "registering",
      lwm2m,
      told,
      request: this.#ask(register, now),
      since: now,
    };
  }

  #registered(
    state: Extract<State, { name: "registering" }>,
    answer: Response,
    now: Instant,
  ): void {
    const location = locationPath(answer.options);
    if (answer.code !== Code.Created || location.length === 0)
      return this.#refused(state, answer, now);
    this.#retry.succeeded();
    this.#registeredBefore = true;
    const { lwm2m, told } = state;
    const { lifetime } = told;
    this.#state = {
      name: "registered",
      location,
      lwm2m,
      told,
      expiresAt: undefined,
      update: undefined,
    };
    this.#refreshed(this.#state, state.since, now);
    this.#outbox.push({ type: "registered", location, lwm2m, lifetime });
    this.#outbox.push({ type: "stateChanged" });
    this.#keepOn(now);
    this.#tell(now);
  }

  #refused(state: Extract<State, { name: "registering" }>, answer: Response, now: Instant): void {
    if (answer.code === Code.PreconditionFailed) {
      const lower = LWM2M_VERSIONS[LWM2M_VERSIONS.indexOf(state.lwm2m) - 1];
      if (lower !== undefined && (lower !== "1.0" || this.#options.endpoint !== undefined)) {
        return this.#register(lower, now);
      }
    }
    const retryAt = this.#retryRegister(now, this.#firstVersion);
    const { code } = answer;
    const diagnostic = code === Code.Created ? "no Location-Path" : diagnosticOf(answer);
    this.#outbox.push({ type: "refused", to: "register", code, diagnostic, retryAt });
  }

  #retryRegister(now: Instant, lwm2m: Lwm2mVersion): Instant | undefined {
    this.#state = { name: "waiting", lwm2m };
    this.#stopKeepAlive();
    const retryAt = this.#backOff(now);
    if (retryAt !== undefined) this.#timers.set("attempt", retryAt);
    return retryAt;
  }

  /** When to try again, and says so if all was in vain. */
  #backOff(now: Instant): Instant | undefined {
    const step = this.#retry.failed(this.#server, this.#tuning, this.#rng);
    if (step.type === "exhausted") {
      this.#outbox.push({ type: "exhausted", bootstrap: this.#server.bootstrapOnFailure });
    }
    return step.delay === undefined ? undefined : now + step.delay;
  }

  /** Sends an Update with what has changed, unless one is under way: then it follows. */
  #update(now: Instant, keepAlive: boolean): void {
    const state = this.#state;
    if (state.name !== "registered" || this.#session === undefined) return;
    if (state.update !== undefined) {
      this.#updateAgain ||= !keepAlive;
      return;
    }
    this.#updateAgain = false;
    this.#dropProbe(now);
    const told = this.#parameters(state.lwm2m);
    const changes = changesOf(state.told, told);
    const plain = Object.keys(changes).length === 0;
    const update = formatUpdate(state.location, changes, state.lwm2m, this.#options);
    const id = this.#ask(update, now, keepAlive && plain);
    state.update = { request: id, told, since: now, keepAlive: keepAlive && plain };
    this.#timers.stop("update");
    this.#timers.stop("keepAlive");
  }

  /** Sends an Update if the server does not know everything. */
  #tell(now: Instant): void {
    if (this.#state.name !== "registered") return;
    const changes = changesOf(this.#state.told, this.#parameters(this.#state.lwm2m));
    if (Object.keys(changes).length > 0) this.#update(now, false);
  }

  #updated(state: Registered, sent: SentUpdate, answer: Response, now: Instant): void {
    state.update = undefined;
    if (answer.code === Code.Changed) {
      this.#retry.succeeded();
      state.told = sent.told;
      this.#refreshed(state, sent.since, now);
      this.#suspicionConfirmed();
      this.#outbox.push({ type: "updated", keepAlive: sent.keepAlive });
      this.#outbox.push({ type: "stateChanged" });
      this.#keepOn(now);
      if (this.#updateAgain) this.#update(now, false);
      else this.#tell(now);
      return;
    }
    this.#suspect = undefined;
    // OMA TS Core 6.2.2: who is not known must register. A fault of the server's may pass.
    const registers = answer.code >>> 5 === 4;
    const retryAt = registers ? now : this.#backOff(now);
    if (answer.code !== Code.NotFound) {
      const diagnostic = diagnosticOf(answer);
      this.#outbox.push({ type: "refused", to: "update", code: answer.code, diagnostic, retryAt });
    }
    if (registers) this.#register(this.#firstVersion, now);
    else if (retryAt !== undefined) this.#timers.set("update", retryAt);
  }

  /** `since`: when the request left, for the server's clock may have started as early as that. */
  #refreshed(state: Registered, since: Instant, now: Instant): void {
    const { lifetime } = state.told;
    this.#timers.stop("expiry");
    this.#timers.stop("update");
    state.expiresAt = undefined;
    if (lifetime === 0) return;
    const { updateMargin, updateJitter } = this.#tuning;
    const life = lifetime * 1_000;
    const jitter = this.#rng.float() * Math.min(updateJitter, life / 10);
    state.expiresAt = since + life;
    this.#timers.set("expiry", state.expiresAt);
    this.#timers.set(
      "update",
      Math.max(now, state.expiresAt - Math.min(life / 2, updateMargin) - jitter),
    );
  }

  #parameters(lwm2m: Lwm2mVersion): Told {
    const { binding, lifetime } = this.#server;
    const queue = this.#options.queueMode === true || binding.includes("Q");
    return { lifetime, binding: binding.replace("Q", ""), queue, objects: this.#objectList(lwm2m) };
  }

  #objectList(lwm2m: Lwm2mVersion): ObjectList {
    const said = (id: number, version: string): string | undefined => {
      const implied = impliedVersion(id, lwm2m);
      const needed = version !== implied || (this.#options.verbose === true && version !== "1.0");
      return needed ? version : undefined;
    };
    return {
      root: this.#root,
      formats: [],
      objects: this.#management.objects.map(({ id, version, instances }) => ({
        id,
        version: said(id, id === 1 ? lwm2m : (version ?? impliedVersion(id, lwm2m))),
        instances,
      })),
    };
  }

  #triggered(what: "update" | "disable", now: Instant): void {
    if (what === "update") this.#update(now, false);
    else this.#deregister("disable", now);
  }

  #deregister(then: "stop" | "disable", now: Instant): void {
    this.#timers.stop("attempt");
    if (this.#state.name === "registering") {
      this.#coap({ type: "cancel", id: this.#state.request, how: "forget" }, now);
    }
    if (this.#state.name !== "registered" || this.#session === undefined)
      return this.#left(then, now);
    this.#dropProbe(now);
    const { location, update } = this.#state;
    if (update !== undefined)
      this.#coap({ type: "cancel", id: update.request, how: "forget" }, now);
    this.#timers.stop("update");
    this.#timers.stop("expiry");
    this.#timers.stop("keepAlive");
    this.#state = {
      name: "deregistering",
      request: this.#ask(formatDeregister(location), now),
      then,
    };
  }

  /** The server was told, or cannot be: we are gone either way. */
  #left(then: "stop" | "disable", now: Instant | undefined): void {
    this.#stopKeepAlive();
    for (const timer of ["update", "expiry", "attempt"] as const) this.#timers.stop(timer);
    if (now !== undefined) this.#management.forgetObservations(now);
    this.#timers.stop("sleep");
    let until: Instant | undefined;
    if (then === "disable" && now !== undefined) {
      until = now + this.#server.disableTimeout * 1_000;
      this.#timers.set("attempt", until);
      this.#state = { name: "disabled" };
    } else this.#state = { name: "idle" };
    this.#outbox.push({ type: "deregistered", until });
    this.#outbox.push({ type: "stateChanged" });
  }

  // ── requests and answers ─────────────────────────────────────────────────────────────────────────────────────────

  #requested(input: Extract<ClientInput, { type: "request" }>, now: Instant): void {
    const { exchange, session } = input;
    // OMA TS Core 6.2.1: nothing is served before the Register is answered, and nothing ever for anyone but the server.
    if (session !== this.#session) return this.#answer(exchange, response(Code.Unauthorized), now);
    if (this.#state.name !== "registered")
      return this.#answer(exchange, response(Code.ServiceUnavailable), now);
    this.#disturbed(now);
    this.#management.request(exchange, input.request, now, input.name);
  }

  #answered(id: RequestId, answer: Response, now: Instant): void {
    if (id === this.#probe?.request) return this.#probeAnswered(answer, now);
    const state = this.#state;
    switch (state.name) {
      case "registering":
        if (id === state.request) this.#registered(state, answer, now);
        break;
      case "registered":
        if (id === state.update?.request) this.#updated(state, state.update, answer, now);
        break;
      case "deregistering":
        if (id === state.request) this.#left(state.then, now);
        break;
      case "idle":
      case "holding":
      case "waiting":
      case "disabled":
        break;
      default:
        unreachable(state);
    }
    this.#extendWake(now);
  }

  #failed(id: RequestId, why: Unreachable["why"], now: Instant): void {
    if (id === this.#probe?.request) return this.#probeLost(now);
    if (id === this.#ping) {
      this.#ping = undefined;
      this.#doubtBinding();
      return this.#update(now, false);
    }
    const state = this.#state;
    if (state.name === "registering" && id === state.request) {
      const retryAt = this.#retryRegister(now, state.lwm2m);
      this.#outbox.push({ type: "unreachable", why, retryAt });
    } else if (state.name === "registered" && id === state.update?.request) {
      state.update = undefined;
      this.#suspect = undefined; // the server itself may be away: nothing is learned about the binding
      this.#doubtBinding();
      const retryAt = this.#backOff(now);
      this.#outbox.push({ type: "unreachable", why, retryAt });
      if (retryAt !== undefined) this.#timers.set("update", retryAt);
    } else if (state.name === "deregistering" && id === state.request) this.#left(state.then, now);
  }

  #ask(message: ReturnType<typeof request>, now: Instant, keepAlive = false): RequestId {
    const id = ++this.#lastRequest;
    if (this.#session === undefined) throw new Error("asked without a session"); // every caller has checked
    const session = this.#session;
    // Registering twice, updating twice and leaving twice come to the same.
    const repeatable = true;
    this.#coap({ type: "request", id, session, request: message, repeatable, keepAlive }, now);
    return id;
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
      if (input.type === "notify" || input.type === "respond") this.#disturbed(now);
    }
    this.#outbox.push({ type: "coap", input });
  }

  // ── keep-alive ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** What the application was told last. */
  #toldBinding: BindingKnowledge | undefined;
  /** A probe was lost; the next Update that is answered proves that the NAT was to blame. */
  #suspect: number | undefined;

  get #sleeps(): boolean {
    return this.#options.queueMode === true || this.#server.binding.includes("Q");
  }

  /** After an exchange of ours: the next silence begins. */
  #keepOn(now: Instant): void {
    if (!this.#keepAlive.on || this.#sleeps || this.#state.name !== "registered") return;
    const seconds = this.#keepAlive.probe();
    if (seconds === undefined) this.#timers.set("keepAlive", now + this.#keepAlive.beat());
    else this.#startProbe(seconds, now);
  }

  /** Asks for an answer after a silence of so many seconds; what arrives shows that the mapping lived that long. */
  #startProbe(seconds: number, now: Instant): void {
    this.#timers.stop("keepAlive");
    const probe = request(Code.GET, { path: PROBE_PATH, query: [`s=${seconds}`] });
    this.#probe = { request: this.#ask(probe, now, true), seconds, since: now, taken: false };
    this.#timers.set("probe", now + seconds * 1_000 + this.#tuning.probeSlack);
  }

  #probeAnswered(answer: Response, now: Instant): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#endProbe();
    this.#extendWake(now);
    const silent = Math.round((now - probe.since) / 1_000);
    const early = silent < probe.seconds - 1;
    if (early && silent < SHORTEST_PROOF && answer.code === Code.ServiceUnavailable) {
      this.#timers.set("keepAlive", now + this.#keepAlive.beat()); // busy: ask again another time
      return;
    }
    if (!early) this.#keepAlive.survived(probe.seconds);
    else if (silent >= SHORTEST_PROOF) this.#keepAlive.survived(silent);
    if (early) this.#keepAlive.unsupported();
    this.#learned();
    this.#keepOn(now);
  }

  /** The answer did not come: an Update opens the way again and tells whether it was the NAT. */
  #probeLost(now: Instant): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#endProbe();
    this.#coap({ type: "cancel", id: probe.request, how: "forget" }, now);
    if (now - probe.since >= probe.seconds * 1_000) this.#suspect = probe.seconds;
    else if (probe.taken) this.#keepAlive.unsupported(); // our own endpoint does not wait that long
    this.#update(now, true);
  }

  #suspicionConfirmed(): void {
    if (this.#suspect === undefined) return;
    this.#keepAlive.died(this.#suspect);
    this.#suspect = undefined;
    this.#learned();
  }

  /** Other traffic broke the silence: the probe says nothing, and traffic has kept the way open. */
  #disturbed(now: Instant): void {
    this.#dropProbe(now);
    if (!this.#keepAlive.on || this.#sleeps || this.#state.name !== "registered") return;
    if (this.#state.update === undefined)
      this.#timers.set("keepAlive", now + this.#keepAlive.beat());
  }

  #dropProbe(now: Instant): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#endProbe();
    this.#coap({ type: "cancel", id: probe.request, how: "forget" }, now);
  }

  #endProbe(): void {
    this.#probe = undefined;
    this.#timers.stop("probe");
  }

  #stopKeepAlive(): void {
    this.#endProbe();
    this.#timers.stop("keepAlive");
    this.#ping = undefined;
    this.#suspect = undefined;
  }

  #beat(now: Instant): void {
    if (this.#state.name !== "registered" || this.#session === undefined) return;
    if (this.#keepAlive.probe() !== undefined) return this.#keepOn(now);
    const check = this.#keepAlive.check();
    if (check !== undefined) return this.#startProbe(check, now);
    if (this.#options.keepAliveMessage !== "ping") return this.#update(now, true);
    this.#ping = ++this.#lastRequest;
    this.#coap({ type: "ping", id: this.#ping, session: this.#session }, now);
    this.#timers.set("keepAlive", now + this.#keepAlive.beat());
  }

  #doubtBinding(): void {
    if (this.#keepAlive.probe() !== undefined) return;
    this.#keepAlive.doubt();
    if (this.#keepAlive.probe() !== undefined) this.#learned();
  }

  #learned(): void {
    const { state, low, high } = this.#keepAlive.knowledge;
    const told = this.#toldBinding;
    if (told?.state === state && told.low === low && told.high === high) return;
    this.#toldBinding = { state, low, high };
    const interval = this.#keepAlive.on ? this.#keepAlive.interval : undefined;
    this.#outbox.push({ type: "keepAlive", state, binding: low, interval });
    this.#outbox.push({ type: "stateChanged" });
  }

  // ── sleep ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #extendWake(now: Instant): void {
    if (this.#sleeps && !this.#asleep) this.#timers.set("sleep", now + this.#tuning.awakeWindow);
  }

  #fallAsleep(now: Instant): void {
    const waiting =
      this.#state.name === "registered"
        ? this.#state.update !== undefined
        : this.#state.name !== "waiting";
    if (waiting || this.#management.busy) return this.#extendWake(now);
    this.#asleep = true;
    this.#outbox.push({ type: "asleep", until: this.wakeAt });
  }

  // ── timers ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get #reachable(): boolean {
    return this.#state.name === "registered" && this.#session !== undefined;
  }

  #look(now: Instant): void {
    this.#management.wake(now, this.#reachable);
  }

  #expired(timer: TimerName, now: Instant): void {
    switch (timer) {
      case "attempt":
        return this.#register(
          this.#state.name === "waiting" ? this.#state.lwm2m : this.#firstVersion,
          now,
        );
      case "update":
        return this.#update(now, false);
      case "expiry":
        if (this.#state.name === "registered") this.#register(this.#state.lwm2m, now);
        return;
      case "keepAlive":
        return this.#beat(now);
      case "probe":
        return this.#probeLost(now);
      case "sleep":
        return this.#fallAsleep(now);
      default:
        return unreachable(timer);
    }
  }
}

function rootOf(text = "/"): readonly string[] {
  try {
    return parseRoot(text);
  } catch (error) {
    throw new UsageError(`root: ${error instanceof Error ? error.message : "no path"}`);
  }
}

function diagnosticOf({ payload }: Response): string {
  try {
    return fromUtf8(payload.subarray(0, DIAGNOSTIC_SHOWN));
  } catch {
    return "";
  }
}

const SENDING: ReadonlySet<EndpointInput["type"]> = new Set([
  "request",
  "respond",
  "notify",
  "ping",
]);
const PROBE_PATH = ["nat"];
/** Seconds: an early answer after this long still proves something. */
const SHORTEST_PROOF = 15;
const DIAGNOSTIC_SHOWN = 200;
