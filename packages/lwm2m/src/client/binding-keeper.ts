import type { Instant, SessionId, TimerTable } from "@godwit/base";
import { Code, request, type EndpointInput, type RequestId, type Response } from "@godwit/coap";
import type { ClientEvent } from "./events.ts";
import type { BindingKnowledge, KeepAlive } from "./keep-alive.ts";
import type { Probe, TimerName } from "./state.ts";
import type { ClientTuning } from "./tuning.ts";

//   an exchange of ours ends ──> silence ──keepAlive──> Update or ping
//                            └─> probe: GET /nat?s=N ──answered after N s──> the mapping lived that long
//                                                    └─lost──> Update ──answered──> it did not

/** What the keeper needs of the client around it. */
export interface BindingKeeperHost {
  /** undefined: there is no way to the server. */
  session(): SessionId | undefined;
  isRegistered(): boolean;
  /** A sleeping device keeps nothing open. */
  sleeps(): boolean;
  isUpdating(): boolean;
  /** Asks for an answer much later, when another device may stand at our address. */
  probe(message: ReturnType<typeof request>, now: Instant): RequestId;
  nextRequest(): RequestId;
  coap(input: EndpointInput, now: Instant): void;
  update(now: Instant, keepAlive: boolean): void;
  /** Something was received: a sleeping device stays awake for what follows. */
  extendWake(now: Instant): void;
  emit(event: ClientEvent): void;
}

export type BindingKeeperParts = {
  readonly host: BindingKeeperHost;
  readonly keepAlive: KeepAlive;
  readonly tuning: ClientTuning;
  readonly timers: TimerTable<TimerName>;
  /** What keeps the way open. */
  readonly message: "update" | "ping";
};

/** Keeps the way to the server open while the device is registered, and finds out how long it stays open by itself. */
export class BindingKeeper {
  readonly #host: BindingKeeperHost;
  readonly #keepAlive: KeepAlive;
  readonly #tuning: ClientTuning;
  readonly #timers: TimerTable<TimerName>;
  readonly #message: "update" | "ping";
  #probe: Probe | undefined;
  #ping: RequestId | undefined;
  /** What the application was told last. */
  #told: BindingKnowledge | undefined;
  /** A probe was lost; the next Update that is answered proves that the NAT was to blame. */
  #suspect: number | undefined;

  constructor({ host, keepAlive, tuning, timers, message }: BindingKeeperParts) {
    this.#host = host;
    this.#keepAlive = keepAlive;
    this.#tuning = tuning;
    this.#timers = timers;
    this.#message = message;
  }

  isProbe(id: RequestId): boolean {
    return id === this.#probe?.request;
  }

  /** The server has the probe's question. */
  taken(): void {
    if (this.#probe !== undefined) this.#probe.taken = true;
  }

  pong(id: RequestId): void {
    if (id === this.#ping) this.#ping = undefined;
  }

  /** Whether it was our ping that got no answer. */
  pingLost(id: RequestId): boolean {
    if (id !== this.#ping) return false;
    this.#ping = undefined;
    this.doubt();
    return true;
  }

  /** After an exchange of ours: the next silence begins. */
  keepOn(now: Instant): void {
    if (!this.#isNeeded) return;
    const seconds = this.#keepAlive.probe();
    if (seconds === undefined) this.#timers.set("keepAlive", now + this.#keepAlive.beat());
    else this.#startProbe(seconds, now);
  }

  /** The `keepAlive` timer. */
  beat(now: Instant): void {
    const session = this.#host.session();
    if (!this.#host.isRegistered() || session === undefined) return;
    if (this.#keepAlive.probe() !== undefined) return this.keepOn(now);
    const check = this.#keepAlive.check();
    if (check !== undefined) return this.#startProbe(check, now);
    if (this.#message !== "ping") return this.#host.update(now, true);
    this.#ping = this.#host.nextRequest();
    this.#host.coap({ type: "ping", id: this.#ping, session }, now);
    this.#timers.set("keepAlive", now + this.#keepAlive.beat());
  }

  probeAnswered(answer: Response, now: Instant): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#endProbe();
    this.#host.extendWake(now);
    const silent = Math.round((now - probe.since) / 1_000);
    const early = silent < probe.seconds - 1;
    if (early && silent < SHORTEST_PROOF && answer.code === Code.ServiceUnavailable) {
      this.#timers.set("keepAlive", now + this.#keepAlive.beat()); // busy: ask again another time
      return;
    }
    if (!early) this.#keepAlive.survived(probe.seconds);
    else if (silent >= SHORTEST_PROOF) this.#keepAlive.survived(silent);
    if (early) this.#keepAlive.unsupported();
    this.learned();
    this.keepOn(now);
  }

  /** The answer did not come: an Update opens the way again and tells whether it was the NAT. */
  probeLost(now: Instant): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#endProbe();
    this.#host.coap({ type: "cancel", id: probe.request, how: "forget" }, now);
    if (now - probe.since >= probe.seconds * 1_000) this.#suspect = probe.seconds;
    else if (probe.taken) this.#keepAlive.unsupported(); // our own endpoint does not wait that long
    this.#host.update(now, true);
  }

  /** An Update was answered: if it followed a lost probe, the NAT had forgotten. */
  updateAnswered(): void {
    if (this.#suspect === undefined) return;
    this.#keepAlive.died(this.#suspect);
    this.#suspect = undefined;
    this.learned();
  }

  /** An Update got no answer, or was refused: nothing is learned about the binding from the probe before it. */
  updateFailed(): void {
    this.#suspect = undefined;
  }

  /** Other traffic broke the silence: the probe says nothing, and traffic has kept the way open. */
  disturbed(now: Instant): void {
    this.dropProbe(now);
    if (!this.#isNeeded || this.#host.isUpdating()) return;
    this.#timers.set("keepAlive", now + this.#keepAlive.beat());
  }

  dropProbe(now: Instant): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#endProbe();
    this.#host.coap({ type: "cancel", id: probe.request, how: "forget" }, now);
  }

  stop(): void {
    this.#endProbe();
    this.#timers.stop("keepAlive");
    this.#ping = undefined;
    this.#suspect = undefined;
  }

  /** What was learned may be about another NAT, or of another time. */
  doubt(): void {
    if (this.#keepAlive.probe() !== undefined) return;
    this.#keepAlive.doubt();
    if (this.#keepAlive.probe() !== undefined) this.learned();
  }

  learned(): void {
    const { state, low, high } = this.#keepAlive.knowledge;
    const told = this.#told;
    if (told?.state === state && told.low === low && told.high === high) return;
    this.#told = { state, low, high };
    const interval = this.#keepAlive.on ? this.#keepAlive.interval : undefined;
    this.#host.emit({ type: "keepAlive", state, binding: low, interval });
    this.#host.emit({ type: "stateChanged" });
  }

  get #isNeeded(): boolean {
    return this.#keepAlive.on && !this.#host.sleeps() && this.#host.isRegistered();
  }

  /** Asks for an answer after a silence of so many seconds; what arrives shows that the mapping lived that long. */
  #startProbe(seconds: number, now: Instant): void {
    this.#timers.stop("keepAlive");
    const probe = request(Code.GET, { path: PROBE_PATH, query: [`s=${seconds}`] });
    const id = this.#host.probe(probe, now);
    this.#probe = { request: id, seconds, since: now, taken: false };
    this.#timers.set("probe", now + seconds * 1_000 + this.#tuning.probeSlack);
  }

  #endProbe(): void {
    this.#probe = undefined;
    this.#timers.stop("probe");
  }
}

const PROBE_PATH = ["nat"];
/** Seconds: an early answer after this long still proves something. */
const SHORTEST_PROOF = 15;
