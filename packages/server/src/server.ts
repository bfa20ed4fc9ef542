import type { Instant, LedgerSnapshot, Path } from "@godwit/base";
import { UsageError, check, checkName, checkOptions, formatAddress, selfTest } from "@godwit/base";
import type { Request } from "@godwit/coap";
import {
  Driver,
  Listeners,
  Waiting,
  guardedStore,
  joinPorts,
  memoryStore,
  refusalWords,
  type Store,
  type StoreHealth,
} from "@godwit/io";
import {
  givenPath,
  builtInRegistry,
  objectVersions,
  parseNodePath,
  viewCredential,
  type Credential,
  type CredentialView,
  type Definitions,
  type OperationKind,
  type QuarantineView,
  type RegistrationView,
  type ServerStackInput,
  type ServerStackOutput,
} from "@godwit/lwm2m";
import { ClockWatch } from "./clock-watch.ts";
import { RemoteDevice } from "./device.ts";
import { EVENTS, Updated, type Events } from "./events.ts";
import { ServerError } from "./faults.ts";
import { checkMasterKey } from "./master-key-check.ts";
import type { ObservationLoop } from "./observation-loop.ts";
import type { Where } from "./observers.ts";
import { Observing, type Given } from "./observing.ts";
import {
  CREDENTIAL_RULES,
  ENDPOINT,
  ORDER_RULES,
  SERVER_RULES,
  WAIT_RULES,
  type ObserveOptions,
  type OrderOptions,
  type ServerOptions,
  type WaitOptions,
} from "./options.ts";
import {
  Refusals,
  type RefusalCount,
  type RefusalView,
  type Refused,
  type RefusedFor,
} from "./refusals.ts";
import { failedHandshake, oscoreReason, refusedByOscore, refusedRegistration } from "./refused.ts";
import { bind, certificatesOf, checkAddresses, release, stackOf, type Running } from "./running.ts";
import { answerOf, taskOf, type DeviceView, type Task } from "./task.ts";

/** What a server shows of itself: nothing in it is secret. */
export type ShownCertificate = {
  readonly kind: "rpk" | "x509";
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** DER, the server's own first; empty for a bare public key. */
  readonly chain: readonly Uint8Array[];
};

/**
 * An LwM2M server. Start it, listen to its events, and give orders to devices:
 *
 * ```ts
 * const server = new Server({ coap: "127.0.0.1:5683", nosec: true });
 * await server.start();
 * server.on("registered", ({ device }) => console.log(device.endpoint));
 * await server.device("thermometer").read("/3303/0/5700");
 * ```
 */
export class Server {
  readonly #options: ServerOptions;
  readonly #listeners = new Listeners<Events>(EVENTS, (cause, name) =>
    this.#listenerFailed(cause, name),
  );
  readonly #refusals = new Refusals();
  readonly #definitions = builtInRegistry();
  readonly #store: Store;
  #state: "idle" | "starting" | "running" | "closed" = "idle";
  #starting: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  /** Set as long as the machine runs, which is a little longer than `running`. */
  #running: Running | undefined;
  /** What waits for the store, and what waits for devices. */
  readonly #storing = new Waiting();
  readonly #asking = new Waiting();
  readonly #refs = new Map<number, (ok: boolean, why?: string) => void>();
  #lastRef = 0;
  readonly #tasks = new Map<string, Set<(task: Task) => void>>();
  readonly #observing = new Observing({
    give: (where, kind, request, options) => this.#give(where, kind, request, options),
    cancel: (id) => {
      if (this.#state === "running") this.cancel(id);
    },
  });

  /** @throws UsageError that names an option that cannot be */
  constructor(options: ServerOptions) {
    checkOptions("new Server()", options, SERVER_RULES);
    checkAddresses(options);
    this.#options = options;
    this.#store = guardedStore(options.store ?? memoryStore());
  }

  /**
   * Binds the sockets and takes back what an earlier run promised. Rejects with what to do about it; then it can be called
   * again. A server that runs is left as it is (`ALREADY_STARTED`); one that was closed stays closed (`SERVER_CLOSED`).
   */
  async start(options: WaitOptions = {}): Promise<void> {
    checkOptions("start()", options, WAIT_RULES);
    if (this.#state === "closed") throw closed();
    if (this.#state !== "idle") throw new UsageError("the server is started", "ALREADY_STARTED");
    options.signal?.throwIfAborted();
    selfTest();
    this.#state = "starting";
    this.#starting = this.#open(options.signal);
    await this.#starting;
  }

  async #open(signal: AbortSignal | undefined): Promise<void> {
    try {
      await checkMasterKey(this.#store, this.#options.sealer);
      const sockets = await bind(this.#options, (text) => this.#listeners.emit("note", { text }));
      try {
        const certificates = await certificatesOf(this.#options, this.#store, (fault) =>
          this.#fault(fault, "machine"),
        );
        if (this.#isClosed) throw closed();
        signal?.throwIfAborted();
        const machine = stackOf(this.#options, this.#store, { sockets, certificates });
        const watch = new ClockWatch(machine.clock, (text) =>
          this.#listeners.emit("note", { text }),
        );
        this.#run({ ...machine, sockets, certificates, watch });
      } catch (fault) {
        await release(sockets); // or they would keep the process from ending
        throw fault;
      }
    } catch (fault) {
      this.#running?.watch.stop();
      this.#running = undefined;
      if (!this.#isClosed) this.#state = "idle";
      throw fault;
    }
  }

  #run(opened: Omit<Running, "driver">): void {
    const { stack, clock, sockets } = opened;
    const { meter } = this.#store;
    if (meter !== undefined) meter.onChange = (health) => this.#listeners.emit("store", { health });
    // Outputs of the first moment find the server running.
    this.#running = { ...opened, driver: undefined };
    this.#state = "running";
    const driver = new Driver<ServerStackInput, ServerStackOutput>({
      machine: stack,
      port: joinPorts(...[sockets.plain, sockets.secure].filter((port) => port !== undefined)),
      store: this.#store,
      clock,
      onOutput: (output, now) => this.#heard(output, now),
      onFault: ({ during, error }) => {
        if (during !== "store") {
          this.#fault(new ServerError("MACHINE_FAULT", `during ${during}`, error), "machine");
        } else if (meter === undefined) this.#fault(error, "store"); // else `store` tells it, once
      },
    });
    this.#running = { ...opened, driver };
    for (const { table, key, reason } of stack.setAside)
      this.#listeners.emit("quarantined", { table, key, reason });
  }

  /**
   * Takes no more datagrams, writes what is owed, closes the store and lets go of the sockets. What waits for a device rejects
   * with `SERVER_CLOSED`, and loops end; what was ordered stays in the store for the next start.
   */
  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  async #shut(): Promise<void> {
    this.#state = "closed";
    await this.#starting?.catch(() => undefined);
    this.#observing.close();
    this.#asking.endAll(closed());
    this.#running?.watch.stop();
    this.#running?.driver?.feed({ type: "park" });
    if (this.#running?.driver !== undefined) await this.#running.driver.close();
    else await this.#store.close().catch((fault: unknown) => this.#fault(fault, "store"));
    this.#storing.endAll(closed());
    this.#running = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Where the server speaks plain CoAP, such as "127.0.0.1:5683". */
  get addresses(): readonly string[] {
    return this.#now.sockets.plain?.local.map(formatAddress) ?? [];
  }

  /** Where it speaks CoAP over DTLS. */
  get secureAddresses(): readonly string[] {
    return this.#now.sockets.secure?.local.map(formatAddress) ?? [];
  }

  /** What the server shows to devices that come by public key or certificate; empty where it speaks no DTLS. */
  get certificates(): readonly ShownCertificate[] {
    const { sockets, certificates } = this.#now;
    if (sockets.secure === undefined) return [];
    return certificates.map((shown) => ({
      kind: shown.kind,
      publicKey: shown.key.spki,
      chain: shown.kind === "x509" ? shown.chain : [],
    }));
  }

  /** Whether what is promised can be kept. While it cannot, devices get 5.03 and nothing is acknowledged. */
  get storeHealth(): StoreHealth {
    return this.#store.meter?.health ?? { state: "working" };
  }

  /** Writes that the store has refused. */
  get storeRefusals(): number {
    return this.#store.meter?.refusals ?? 0;
  }

  /** Datagrams the kernel threw away because nobody read them in time; `undefined` where it does not tell. */
  get kernelDrops(): number | undefined {
    const { plain, secure } = this.#now.sockets;
    const drops = [plain, secure].flatMap((port) => port?.kernelDrops ?? []);
    return drops.length === 0 ? undefined : drops.reduce((sum, n) => sum + n, 0);
  }

  /** Records of the store that a start could not restore: they were set aside, and everything else goes on. */
  get quarantine(): QuarantineView {
    return this.#now.stack.quarantine;
  }

  /** How much was thrown away that belongs to no device, by reason: unknown connection ids, what is no message at all. */
  get strays(): Readonly<Record<string, number>> {
    return this.#now.stack.strays;
  }

  /** Who was not let in, the latest first, those that are alike together; see also the event `refusal`. */
  refusals(
    limit = 100,
    wanted: { readonly reason?: string | undefined; readonly endpoint?: string | undefined } = {},
  ): readonly RefusalView[] {
    return this.#refusals.list(limit, wanted);
  }

  /** How many were not let in since this server was made, by stage and reason. */
  get refusalCounts(): readonly RefusalCount[] {
    return this.#refusals.counts;
  }

  /** Returns what takes the listener away again. What it throws, or rejects with, goes to `fault`. @throws UsageError for an unknown name */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => unknown): () => void {
    return this.#listeners.on(name, listener);
  }

  // ── the fleet ────────────────────────────────────────────────────────────────────────────────────────────────────

  get deviceCount(): number {
    return this.#now.stack.server.registrationCount;
  }

  /** The names of all devices, in no order: cheap where their views are not. */
  endpoints(): IterableIterator<string> {
    return this.#now.stack.server.endpoints();
  }

  *devices(): IterableIterator<DeviceView> {
    const { stack, clock } = this.#now;
    for (const one of stack.server.registrations(clock.now())) yield this.#view(one);
  }

  deviceView(endpoint: string): DeviceView | undefined {
    const { stack, clock } = this.#now;
    const found = stack.server.registration(endpoint, clock.now());
    return found && this.#view(found);
  }

  /** @throws UsageError for what is no endpoint name */
  device(endpoint: string): RemoteDevice {
    check("device()", "endpoint", endpoint, ENDPOINT);
    return new RemoteDevice(this, endpoint);
  }

  /** Ends a registration; the device learns of it at its next Update. */
  remove(endpoint: string): void {
    this.#feed({ type: "remove", endpoint });
  }

  /**
   * Resolves once all that was asked for so far, by `remove` and `cancel` for two, is durable: a killed server does not take it
   * up again. Rejects with what is in the way; then it has taken effect, and is written when the store takes it.
   */
  kept(): Promise<void> {
    return this.#storing.wait<void>(undefined, (resolve, reject) => {
      // Answers come in the order of the calls.
      this.#store.write([], (error) => {
        if (error === undefined) resolve();
        else reject(notKept(refusalWords(error)));
      });
      return () => undefined;
    });
  }

  ledgerOf(endpoint: string): LedgerSnapshot | undefined {
    return this.deviceView(endpoint)?.ledger;
  }

  /** What the device's resources are, in the object versions it registered. */
  definitionsOf(endpoint: string): Definitions {
    const { stack, clock } = this.#machine;
    const registration = stack.server.registration(endpoint, clock.now());
    if (registration === undefined) return this.#definitions.of(new Map());
    return this.#definitions.of(objectVersions(registration.objects, registration.version));
  }

  // ── credentials ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** What may be shown of the credentials of one endpoint, or of all. */
  credentials(endpoint?: string): readonly CredentialView[] {
    return this.#now.stack.credentials(endpoint);
  }

  /** Adds or replaces one; resolves once it is durable. Rejects with UsageError that says what cannot be. */
  async addCredential(credential: Credential, options: WaitOptions = {}): Promise<CredentialView> {
    checkOptions("addCredential()", options, WAIT_RULES);
    const what = "addCredential()";
    const { kind } = (credential ?? {}) as { readonly kind?: Credential["kind"] };
    checkName(what, "kind of credential", kind, Object.keys(CREDENTIAL_RULES));
    checkOptions(what, credential, CREDENTIAL_RULES[kind!]); // it was looked at just now
    await this.#ordered(options.signal, (ref) => ({ type: "addCredential", ref, credential }));
    return viewCredential(credential);
  }

  /** Revokes one by its id; whoever uses it is cut off. */
  async removeCredential(id: string, options: WaitOptions = {}): Promise<void> {
    checkOptions("removeCredential()", options, WAIT_RULES);
    await this.#ordered(options.signal, (ref) => ({ type: "removeCredential", ref, id }));
  }

  #ordered(
    signal: AbortSignal | undefined,
    input: (ref: number) => ServerStackInput,
  ): Promise<void> {
    const ref = ++this.#lastRef;
    return this.#storing.wait<void>(signal, (resolve, reject) => {
      this.#refs.set(ref, (ok, why = "the store refused it") => {
        if (ok) resolve();
        else reject(notKept(why));
      });
      this.#feed(input(ref));
      return () => this.#refs.delete(ref);
    });
  }

  // ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Gives an order; resolves once it is durable (or was refused at once: see the task's `state` and `notAccepted`). Aborting
   * cancels it. Of `observe` and `cancelObserve`, `owner` says who wants it: an observation ends with its last owner, loops of
   * this program among them.
   */
  async order(
    endpoint: string,
    kind: OperationKind,
    path: string,
    request: Request,
    options: OrderOptions = {},
  ): Promise<Task> {
    return await this.#give({ endpoint, path }, kind, request, options).accepted;
  }

  /** Gives an order and resolves with its task once that has ended, well or not. Aborting cancels it. */
  async perform(
    endpoint: string,
    kind: OperationKind,
    path: string,
    request: Request,
    options: OrderOptions = {},
  ): Promise<Task> {
    return await this.#give({ endpoint, path }, kind, request, options).ended;
  }

  #give(
    { endpoint, path }: Where,
    kind: OperationKind,
    request: Request,
    options: OrderOptions,
  ): Given {
    check(`${kind} ${path}`, "endpoint", endpoint, ENDPOINT);
    checkOptions(`${kind} ${path}`, options, ORDER_RULES);
    givenPath(path); // our caller's mistake is named here, not by the device
    const { signal, expires = DAY, owner } = options;
    signal?.throwIfAborted();
    const { stack, clock } = this.#now;
    const id = stack.server.operationId();
    const name = String(id);
    const cancelled = async (waits: Promise<Task>): Promise<Task> => {
      try {
        return await waits;
      } catch (fault) {
        if (signal?.aborted && this.#state === "running") this.cancel(name);
        throw fault;
      }
    };
    const accepted = cancelled(this.#wait(this.#storing, signal, name, () => true));
    const ended = cancelled(this.#wait(this.#asking, signal, name, hasEnded));
    for (const one of [accepted, ended]) one.catch(() => undefined); // most callers want one of them
    const expiresAt = clock.now() + expires;
    try {
      const whose = owner === undefined ? {} : { owner };
      this.#feed({ type: "operate", id, endpoint, kind, path, request, expiresAt, ...whose });
    } catch (fault) {
      this.#tasks.delete(name);
      throw fault;
    }
    return { id: name, accepted, ended };
  }

  task(id: string): Task | undefined {
    const operation = this.#now.stack.server.operation(Number(id));
    return operation && taskOf(operation, this.definitionsOf(operation.endpoint), this.#wall);
  }

  tasksOf(endpoint: string): readonly Task[] {
    const definitions = this.definitionsOf(endpoint);
    return this.#now.stack.server
      .operationsOf(endpoint)
      .map((one) => taskOf(one, definitions, this.#wall));
  }

  cancel(id: string): void {
    this.#feed({ type: "cancelOperation", id: Number(id) });
  }

  /** The task once it has ended; after `wait` ms as it stands then. Aborting ends the wait alone. */
  async ended(id: string, wait?: number, options: WaitOptions = {}): Promise<Task> {
    checkOptions("ended()", options, WAIT_RULES);
    const task = this.task(id);
    if (task === undefined) throw new ServerError("UNKNOWN_TASK", `there is no task ${id}`);
    if (task.endedAt !== undefined) return task;
    const late = new AbortController();
    const timer = wait === undefined ? undefined : setTimeout(() => late.abort(), wait);
    const signals = [late.signal, ...(options.signal === undefined ? [] : [options.signal])];
    try {
      return await this.#wait(this.#asking, AbortSignal.any(signals), id, hasEnded);
    } catch (fault) {
      if (!late.signal.aborted || options.signal?.aborted || this.#isClosed) throw fault;
      return this.task(id) ?? task;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next state of this task that fits. */
  #wait(
    waiting: Waiting,
    signal: AbortSignal | undefined,
    id: string,
    fits: (task: Task) => boolean,
  ): Promise<Task> {
    return waiting.wait(signal, (resolve) => {
      const waiters = this.#tasks.get(id) ?? new Set();
      this.#tasks.set(id, waiters);
      const heard = (task: Task): void => {
        if (fits(task)) resolve(task);
      };
      waiters.add(heard);
      return () => {
        waiters.delete(heard);
        if (waiters.size === 0) this.#tasks.delete(id);
      };
    });
  }

  // ── observations ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Readings of a path as they come; see `RemoteDevice.observe`.
   *
   * @throws UsageError for a path or an option that cannot be
   */
  observe(endpoint: string, path: string, options: ObserveOptions = {}): ObservationLoop {
    return this.#observing.observe({ endpoint, path }, options);
  }

  // ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #heard(output: Heard, now: number): void {
    switch (output.type) {
      case "registered":
        this.#listeners.emit("registered", {
          device: this.#view(output.registration),
          replaced: output.replaced,
        });
        return;
      case "updated":
        this.#listeners.emit("updated", new Updated(output, (seen) => this.#view(seen)));
        return;
      case "deregistered":
        this.#listeners.emit("deregistered", {
          endpoint: output.registration.endpoint,
          why: output.why,
        });
        return;
      case "operation": {
        const definitions = this.definitionsOf(output.operation.endpoint);
        return this.#emitTask(taskOf(output.operation, definitions, this.#wall));
      }
      case "notification": {
        const { endpoint, path, response } = output;
        const answer = answerOf(parseNodePath(path), response, this.definitionsOf(endpoint));
        this.#observing.notified(output, answer, now);
        const at = this.#wall(now);
        return this.#listeners.emit("notification", { endpoint, path, answer, at });
      }
      case "credential":
        return this.#refs.get(output.ref)?.(output.ok, output.why);
      case "handshakeFailed": {
        const { why, path, reason } = output;
        const { remote } = path;
        this.#listeners.emit("handshakeFailed", {
          why,
          get address() {
            return formatAddress(remote);
          },
        });
        return this.#refusal("handshake", reason, path, () => failedHandshake(output));
      }
      case "refused": {
        this.#listeners.emit("refused", output);
        const { stack } = this.#machine;
        const path = stack.lastPathOf(output.session);
        return this.#refusal("registration", output.reason, path, () =>
          refusedRegistration(output, path, stack),
        );
      }
      case "dropped": {
        this.#listeners.emit("dropped", output);
        const { from, reason } = output;
        if (from === undefined) return;
        return this.#refusal("oscore", oscoreReason(reason), from.path, () =>
          refusedByOscore(reason, from, this.#machine.stack),
        );
      }
      case "observation":
        this.#observing.changed(output);
        return this.#listeners.emit("observation", output);
      case "observationSilent": {
        const heardAt = this.#wall(output.heardAt);
        return this.#listeners.emit("observationSilent", { ...output, heardAt });
      }
      case "keyLog":
        this.#listeners.emit(output.type, output as never); // each under its own name
        return;
    }
  }

  /** Instants count on when the wall clock is set; people are shown what it says now. */
  readonly #wall = (at: Instant): number => this.#machine.watch.toWall(at);

  /** `tell` is asked while not too many are refused. */
  #refusal(
    stage: RefusalView["stage"],
    reason: RefusedFor,
    path: Path | undefined,
    tell: () => Refused,
  ): void {
    const host = path?.remote.host ?? "";
    const entry = this.#refusals.note({ stage, reason, host, at: Date.now() }, tell);
    if (entry !== undefined) this.#listeners.emit("refusal", entry);
  }

  #emitTask(task: Task): void {
    for (const heard of [...(this.#tasks.get(task.id) ?? [])]) heard(task);
    this.#listeners.emit("task", { task });
  }

  #feed(input: ServerStackInput): void {
    const { driver } = this.#now;
    if (driver === undefined) throw new UsageError("the server is starting", "NOT_STARTED");
    driver.feed(input);
  }

  #listenerFailed(cause: unknown, name: keyof Events): void {
    if (name !== "fault") return this.#fault(cause, `listener of ${name}`);
    const words = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    process.emitWarning(`a listener of the server's fault event failed: ${words}`);
  }

  #fault(cause: unknown, source: string): void {
    const fault = cause instanceof Error ? cause : new Error(String(cause));
    this.#listeners.emit("fault", { fault, source });
  }

  #view(registration: RegistrationView): DeviceView {
    const { stack, clock } = this.#machine;
    const { session, ...rest } = registration;
    const path: Path | undefined = stack.lastPathOf(session);
    return {
      ...rest,
      registeredAt: this.#wall(rest.registeredAt),
      updatedAt: this.#wall(rest.updatedAt),
      seenAt: this.#wall(rest.seenAt),
      expiresAt: rest.expiresAt === undefined ? undefined : this.#wall(rest.expiresAt),
      address: path && formatAddress(path.remote),
      ledger: stack.accountOf(session).snapshot(),
      observations: stack.server.observationsOf(registration.endpoint, clock.now()),
    };
  }

  get #isClosed(): boolean {
    return this.#state === "closed";
  }

  get #now(): Running {
    if (this.#state === "closed") throw closed();
    return this.#machine;
  }

  /** Also while it closes: what happens then is still told. */
  get #machine(): Running {
    if (this.#running === undefined) {
      throw new UsageError("the server is not started", "NOT_STARTED");
    }
    return this.#running;
  }
}

type Heard = Exclude<ServerStackOutput, { type: "datagram" | "store" }>;

function hasEnded(task: Task): boolean {
  return task.endedAt !== undefined;
}

/** What was asked for could not be made durable; nothing has changed. */
function notKept(why: string): ServerError {
  return new ServerError("STORE_REFUSED", `it could not be kept: ${why}`);
}

function closed(): ServerError {
  return new ServerError(
    "SERVER_CLOSED",
    "the server was closed; what was ordered stays in its store. A server is not opened again: make a new one",
  );
}

const DAY = 24 * 3_600_000;
