import {
  fromUtf8,
  unreachable,
  type Instant,
  type Rng,
  type SessionId,
  type TimerTable,
} from "@godwit/base";
import {
  Code,
  locationPath,
  type EndpointInput,
  type Request,
  type RequestId,
  type Response,
} from "@godwit/coap";
import { formatDeregister, formatRegister, formatUpdate } from "../registration.ts";
import { LWM2M_VERSIONS, type Lwm2mVersion } from "../version.ts";
import { announcedParameters } from "./announced-parameters.ts";
import { BindingKeeper } from "./binding-keeper.ts";
import type { ClientEvent, Unreachable } from "./events.ts";
import type { KeepAlive } from "./keep-alive.ts";
import type { Management } from "./management.ts";
import type { ClientOptions } from "./options.ts";
import type { KeptObservations } from "./reporting.ts";
import { Retry } from "./retry.ts";
import type { ServerObject } from "./server-object.ts";
import type { ClientSnapshot, Told } from "./snapshot.ts";
import {
  changesOf,
  type Registered,
  type SentUpdate,
  type State,
  type TimerName,
} from "./state.ts";
import type { ClientTuning } from "./tuning.ts";
import type { Way } from "./way.ts";

//   idle ──connected──> holding (/1/x/14) ──> registering ──2.01──> registered ──deregister, /1/x/4──> deregistering
//                          ^                   │  │ 4.12: one version down        │  ^                     │      │
//                          └─── waiting <──────┘  └──> registering                │  └─ Update 2.04        idle  disabled
//                               (back-off)  <── Update 4.xx, lifetime over ───────┘                              │
//                                                                              registering <── /1/x/5 ───────────┘
//   registered ── what is observed must be observed anew (RST, lost) ──> registering, once in a while
//
// While registered, an Update leaves before the lifetime ends, when a parameter changes, when the server asks for it, and as a
// keep-alive; one at a time. One that is lost is repeated by the rules of Retry until the lifetime ends.   OMA TS Core 6.2

/** What the registration needs of the client around it. */
export interface RegisteringHost {
  coap(input: EndpointInput, now: Instant): void;
  emit(event: ClientEvent): void;
  /** A sleeping device stays awake for what follows. */
  extendWake(now: Instant): void;
  sleeps(): boolean;
  /** The session is bound to an address that may not be ours any more. */
  resume(): void;
}

export type RegisteringParts = {
  readonly host: RegisteringHost;
  readonly options: ClientOptions;
  readonly tuning: ClientTuning;
  readonly root: readonly string[];
  readonly server: ServerObject;
  readonly management: Management;
  readonly keepAlive: KeepAlive;
  readonly way: Way;
  readonly timers: TimerTable<TimerName>;
};

/** The registration with one server, its Updates and its end (OMA TS Core 6.2). */
export class Registering {
  readonly #host: RegisteringHost;
  readonly #options: ClientOptions;
  readonly #tuning: ClientTuning;
  readonly #rng: Rng;
  readonly #root: readonly string[];
  readonly #server: ServerObject;
  readonly #management: Management;
  /** Of the way to the server. */
  readonly keeper: BindingKeeper;
  readonly #retry = new Retry();
  readonly #timers: TimerTable<TimerName>;
  readonly #way: Way;
  #state: State = { name: "idle" };
  #session: SessionId | undefined;
  /** A registration from before a restart that has not been confirmed yet. */
  #kept: ClientSnapshot["registration"];
  /** And what was observed in it. */
  #keptObservations: KeptObservations | undefined;
  /** When what is observed last made us register. */
  #renewedAt: Instant = Number.NEGATIVE_INFINITY;
  #registeredBefore: boolean;
  /** Something was asked for that the Update in flight does not bring. */
  #updateAgain = false;
  #lastRequest: RequestId = 0;

  constructor(parts: RegisteringParts) {
    const { host, options, tuning, root, server, management, keepAlive, way, timers } = parts;
    this.#host = host;
    this.#options = options;
    this.#tuning = tuning;
    this.#rng = options.rng;
    this.#root = root;
    this.#server = server;
    this.#management = management;
    this.#timers = timers;
    this.#way = way;
    this.#registeredBefore = options.snapshot?.registeredBefore ?? false;
    this.#kept = options.snapshot?.registration;
    this.#keptObservations = options.snapshot?.observations;
    this.keeper = new BindingKeeper({
      host: {
        session: () => this.#session,
        isRegistered: () => this.#state.name === "registered",
        sleeps: () => host.sleeps(),
        isUpdating: () => this.#state.name === "registered" && this.#state.update !== undefined,
        probe: (message, now) => this.#ask(message, now, true, way.kind === "address"),
        nextRequest: () => ++this.#lastRequest,
        coap: (input, now) => host.coap(input, now),
        update: (now, isKeepAlive) => this.update(now, isKeepAlive),
        extendWake: (now) => host.extendWake(now),
        emit: (event) => host.emit(event),
      },
      keepAlive,
      tuning,
      timers,
      message: options.keepAliveMessage ?? "update",
    });
  }

  get session(): SessionId | undefined {
    return this.#session;
  }

  get isRegistered(): boolean {
    return this.#state.name === "registered";
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

  /** Nothing is waited for: a sleeping device may fall asleep. */
  get isIdle(): boolean {
    const { name } = this.#state;
    return name === "registered" ? this.#state.update === undefined : name === "waiting";
  }

  get registeredBefore(): boolean {
    return this.#registeredBefore;
  }

  /** For a snapshot. Observations that cannot be taken up after a restart make the device register then. */
  get kept(): Pick<ClientSnapshot, "registration" | "observations"> {
    const { reporting } = this.#management;
    if (this.#state.name !== "registered") {
      const observations = this.#keptObservations;
      return { registration: this.#kept, ...(observations && { observations }) };
    }
    const { location, lwm2m, expiresAt, told } = this.#state;
    const resumable = this.#options.resumesObservations !== false;
    const observed = !resumable && reporting.size > 0;
    return {
      registration: { location, lwm2m, expiresAt, told, observed },
      ...(resumable && { observations: reporting.kept }),
    };
  }

  // ── the way to the server ────────────────────────────────────────────────────────────────────────────────────────

  /** There is a way to the server: registers, or updates the registration that runs. */
  connected(session: SessionId, now: Instant): void {
    this.#session = session;
    switch (this.#state.name) {
      case "idle":
        this.#start(session, now);
        break;
      case "waiting":
        this.#register(this.#state.lwm2m, now);
        break;
      case "registered":
        this.#forgetUpdate(this.#state, now);
        this.update(now, false);
        break;
      case "registering":
        this.#host.coap({ type: "cancel", id: this.#state.request, how: "forget" }, now);
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

  #start(session: SessionId, now: Instant): void {
    const kept = this.#kept;
    const observations = this.#keptObservations;
    this.#kept = undefined;
    this.#keptObservations = undefined;
    if (kept !== undefined && !kept.observed && now < (kept.expiresAt ?? Infinity)) {
      const { location, lwm2m, expiresAt, told } = kept;
      this.#management.lwm2m = lwm2m;
      this.#state = { name: "registered", location, lwm2m, expiresAt, told, update: undefined };
      if (expiresAt !== undefined) this.#timers.set("expiry", expiresAt);
      if (observations !== undefined) this.#management.reporting.resume(observations, session, now);
      this.update(now, false);
      return;
    }
    const delay = this.#registeredBefore ? 0 : this.#server.initialDelay;
    if (delay === 0) return this.#register(this.#firstVersion, now);
    this.#state = { name: "holding" };
    this.#timers.set("attempt", now + delay * 1_000);
  }

  /** The way to the server is gone. */
  closed(): void {
    this.#session = undefined;
    this.#way.shut();
    this.keeper.stop();
    this.#timers.stop("sleep");
    if (this.#state.name === "registered") this.#state.update = undefined;
    else if (this.#state.name === "registering")
      this.#state = { name: "waiting", lwm2m: this.#state.lwm2m };
    else if (this.#state.name === "deregistering") this.#left(this.#state.then, undefined);
  }

  #forgetUpdate(state: Registered, now: Instant): void {
    if (state.update === undefined) return;
    this.#host.coap({ type: "cancel", id: state.update.request, how: "forget" }, now);
    state.update = undefined;
  }

  /** Our address is another one. */
  moved(now: Instant): void {
    this.keeper.doubt();
    this.update(now, false);
  }

  /** There is something to report, and the server may not know us where we are: an Update tells it. */
  reopen(now: Instant): void {
    this.#way.shut();
    const state = this.#state;
    if (state.name !== "registered" || this.#session === undefined) return;
    if (state.update !== undefined) return; // its answer says as much
    if (this.#way.kind === "session") this.#host.resume();
    this.update(now, false);
  }

  /** The server must observe anew what it observed: only a registration makes it. */
  renew(now: Instant): void {
    if (this.#state.name !== "registered") return; // one is on its way, or none is wanted
    const at = this.#renewedAt + this.#tuning.renewInterval;
    if (now < at) return this.#timers.set("renew", at);
    this.#renewedAt = now;
    this.#register(this.#state.lwm2m, now);
  }

  // ── registration ─────────────────────────────────────────────────────────────────────────────────────────────────

  get #firstVersion(): Lwm2mVersion {
    return this.#options.lwm2m ?? "1.1";
  }

  #register(lwm2m: Lwm2mVersion, now: Instant): void {
    this.#timers.stop("renew");
    if (this.#session === undefined) {
      this.#state = { name: "waiting", lwm2m };
      return;
    }
    this.#timers.stop("attempt");
    this.#timers.stop("update");
    this.#timers.stop("expiry");
    this.keeper.stop();
    this.#management.reporting.forgetAll(now);
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
    this.#way.known(now);
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
    this.#host.emit({ type: "registered", location, lwm2m, lifetime });
    this.#host.emit({ type: "stateChanged" });
    this.keeper.keepOn(now);
    this.announce(now);
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
    this.#host.emit({ type: "refused", to: "register", code, diagnostic, retryAt });
  }

  #retryRegister(now: Instant, lwm2m: Lwm2mVersion): Instant | undefined {
    this.#state = { name: "waiting", lwm2m };
    this.keeper.stop();
    const retryAt = this.#backOff(now);
    if (retryAt !== undefined) this.#timers.set("attempt", retryAt);
    return retryAt;
  }

  /** When to try again, and says so if all was in vain. */
  #backOff(now: Instant): Instant | undefined {
    const step = this.#retry.failed(this.#server, this.#tuning, this.#rng);
    if (step.type === "exhausted") {
      this.#host.emit({ type: "exhausted", bootstrap: this.#server.bootstrapOnFailure });
    }
    return step.delay === undefined ? undefined : now + step.delay;
  }

  /** Sends an Update with what has changed, unless one is under way: then it follows. */
  update(now: Instant, keepAlive: boolean): void {
    const state = this.#state;
    if (state.name !== "registered" || this.#session === undefined) return;
    if (state.update !== undefined) {
      this.#updateAgain ||= !keepAlive;
      return;
    }
    this.#updateAgain = false;
    this.keeper.dropProbe(now);
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
  announce(now: Instant): void {
    if (this.#state.name !== "registered") return;
    const changes = changesOf(this.#state.told, this.#parameters(this.#state.lwm2m));
    if (Object.keys(changes).length > 0) this.update(now, false);
  }

  #updated(state: Registered, sent: SentUpdate, answer: Response, now: Instant): void {
    state.update = undefined;
    if (answer.code === Code.Changed) {
      this.#retry.succeeded();
      this.#way.known(now);
      state.told = sent.told;
      this.#refreshed(state, sent.since, now);
      this.keeper.updateAnswered();
      this.#host.emit({ type: "updated", keepAlive: sent.keepAlive });
      this.#host.emit({ type: "stateChanged" });
      this.keeper.keepOn(now);
      if (this.#updateAgain) this.update(now, false);
      else this.announce(now);
      return;
    }
    this.keeper.updateFailed();
    // OMA TS Core 6.2.2: who is not known must register. A fault of the server's may pass.
    const registers = answer.code >>> 5 === 4;
    const retryAt = registers ? now : this.#backOff(now);
    if (answer.code !== Code.NotFound) {
      const diagnostic = diagnosticOf(answer);
      this.#host.emit({ type: "refused", to: "update", code: answer.code, diagnostic, retryAt });
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
    const { objects } = this.#management;
    return announcedParameters({
      server: this.#server,
      objects,
      root: this.#root,
      lwm2m,
      options: this.#options,
    });
  }

  /** The server executed /1/x/8 or /1/x/4. */
  triggered(what: "update" | "disable", now: Instant): void {
    if (what === "update") this.update(now, false);
    else this.deregister("disable", now);
  }

  deregister(then: "stop" | "disable", now: Instant): void {
    this.#timers.stop("attempt");
    if (this.#state.name === "registering") {
      this.#host.coap({ type: "cancel", id: this.#state.request, how: "forget" }, now);
    }
    if (this.#state.name !== "registered" || this.#session === undefined)
      return this.#left(then, now);
    this.keeper.dropProbe(now);
    const { location, update } = this.#state;
    if (update !== undefined)
      this.#host.coap({ type: "cancel", id: update.request, how: "forget" }, now);
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
    this.keeper.stop();
    for (const timer of ["update", "expiry", "attempt", "renew"] as const) this.#timers.stop(timer);
    if (now !== undefined) this.#management.reporting.forgetAll(now);
    this.#timers.stop("sleep");
    let until: Instant | undefined;
    if (then === "disable" && now !== undefined) {
      until = now + this.#server.disableTimeout * 1_000;
      this.#timers.set("attempt", until);
      this.#state = { name: "disabled" };
    } else this.#state = { name: "idle" };
    this.#host.emit({ type: "deregistered", until });
    this.#host.emit({ type: "stateChanged" });
  }

  // ── requests and answers ─────────────────────────────────────────────────────────────────────────────────────────

  answered(id: RequestId, answer: Response, now: Instant): void {
    if (this.keeper.isProbe(id)) return this.keeper.probeAnswered(answer, now);
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
    this.#host.extendWake(now);
  }

  failed(id: RequestId, why: Unreachable["why"], now: Instant): void {
    if (this.keeper.isProbe(id)) return this.keeper.probeLost(now);
    if (this.keeper.pingLost(id)) return this.update(now, false);
    const state = this.#state;
    if (state.name === "registering" && id === state.request) {
      const retryAt = this.#retryRegister(now, state.lwm2m);
      this.#host.emit({ type: "unreachable", why, retryAt });
    } else if (state.name === "registered" && id === state.update?.request) {
      state.update = undefined;
      this.#way.shut();
      this.keeper.updateFailed(); // the server itself may be away: nothing is learned about the binding
      this.keeper.doubt();
      const retryAt = this.#backOff(now);
      this.#host.emit({ type: "unreachable", why, retryAt });
      if (retryAt !== undefined) this.#timers.set("update", retryAt);
    } else if (state.name === "deregistering" && id === state.request) this.#left(state.then, now);
  }

  #ask(message: Request, now: Instant, keepAlive = false, named = false): RequestId {
    const id = ++this.#lastRequest;
    if (this.#session === undefined) throw new Error("asked without a session"); // every caller has checked
    const session = this.#session;
    // Registering twice, updating twice and leaving twice come to the same.
    const repeatable = true;
    const how = { repeatable, keepAlive, named };
    this.#host.coap({ type: "request", id, session, request: message, ...how }, now);
    return id;
  }

  /** One of the timers that are not the client's own. */
  expired(timer: Exclude<TimerName, "sleep">, now: Instant): void {
    switch (timer) {
      case "attempt":
        return this.#register(
          this.#state.name === "waiting" ? this.#state.lwm2m : this.#firstVersion,
          now,
        );
      case "update":
        return this.update(now, false);
      case "expiry":
        if (this.#state.name === "registered") this.#register(this.#state.lwm2m, now);
        return;
      case "renew":
        return this.renew(now);
      case "keepAlive":
        return this.keeper.beat(now);
      case "probe":
        return this.keeper.probeLost(now);
      default:
        return unreachable(timer);
    }
  }
}

function diagnosticOf({ payload }: Response): string {
  try {
    return fromUtf8(payload.subarray(0, DIAGNOSTIC_SHOWN));
  } catch {
    return "";
  }
}

const DIAGNOSTIC_SHOWN = 200;
