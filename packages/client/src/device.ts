import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { UsageError, checkOptions, selfTest, type SocketAddress } from "@godwit/base";
import {
  Driver,
  Listeners,
  StoreError,
  Waiting,
  guardedStore,
  isThenable,
  systemClock,
  systemRng,
  within,
  type Clock,
  type Store,
} from "@godwit/io";
import {
  ClientStack,
  builtInRegistry,
  givenPath,
  type ClientDtlsOptions,
  type ClientStackInput,
  type ClientStackOutput,
  type Plain,
} from "@godwit/lwm2m";
import { Code } from "@godwit/coap";
import { certificateDtls } from "./certificates.ts";
import { defaultDevice } from "./default-device.ts";
import { DEVICE_EVENTS, type DeviceEvents, type SessionView } from "./events.ts";
import { StartError, type FaultSource } from "./faults.ts";
import type { DeviceStore } from "./device-store.ts";
import { keptSessions } from "./kept-sessions.ts";
import { MovingPort } from "./moving-port.ts";
import { ObjectTree, type Resources } from "./object-tree.ts";
import {
  DEVICE_RULES,
  START_RULES,
  STOP_RULES,
  type DeviceOptions,
  type StartOptions,
  type StopOptions,
} from "./options.ts";
import { OSCORE_RECORD, oscoreProtection } from "./oscore.ts";
import type { DtlsSecurity, Security } from "./security.ts";
import { parseServerUri, type ServerUri } from "./server-uri.ts";
import { PATIENCE, deviceLimits, type DeviceLimits } from "./tuning.ts";

/**
 * A device under management.
 *
 * ```ts
 * const device = new Device({ endpoint: "weather-7", server: "coap://lwm2m.example.com", lifetime: 300 });
 * device.add(3303, { 5700: () => thermometer.celsius(), 5701: "Cel" });
 * await device.start();
 * ```
 */
export class Device {
  readonly #options: DeviceOptions;
  readonly #limits: DeviceLimits;
  readonly #server: ServerUri;
  readonly #registry = builtInRegistry();
  readonly #tree: ObjectTree;
  readonly #listeners = new Listeners<DeviceEvents>(DEVICE_EVENTS, (fault, name) =>
    this.#listenerFailed(fault, name),
  );
  /** What the last call of `start` or `stop` was for. */
  #wanted: "started" | "stopped" = "stopped";
  /** Set while `start` has begun and not ended. */
  #starting: Starting | undefined;
  #stopping: Promise<void> | undefined;
  #running: Running | undefined;
  /** Whether the newest state was written. */
  #saving: Promise<boolean> = Promise.resolve(true);
  #dirty = false;

  /** @throws UsageError that names an option that cannot be */
  constructor(options: DeviceOptions) {
    checkOptions("new Device()", options, DEVICE_RULES);
    this.#options = options;
    this.#limits = { ...deviceLimits, ...options.limits };
    this.#server = serverOf(options);
    this.#tree = new ObjectTree(this.#registry, this.#limits, {
      changed: (at) => {
        const path = `/${at.join("/")}`;
        this.changed(path);
        this.#listeners.emit("written", { path });
      },
      failed: (fault, at, source) => this.#fault(fault, source, `/${at.join("/")}`),
    });
  }

  /** Adds an object instance, 0 unless given; before or after the start. @throws UsageError that names what cannot be */
  add(object: number, resources: Resources, instance = 0): void {
    this.#tree.add(object, instance, resources);
    this.#running?.driver?.feed({ type: "objects", objects: this.#tree.entries() });
  }

  remove(object: number, instance: number): void {
    this.#tree.remove(object, instance);
    this.#running?.driver?.feed({ type: "objects", objects: this.#tree.entries() });
  }

  /** Gives a held resource a new value; whoever observes it hears of it. @throws UsageError where it is not held, or does not fit */
  set(path: string, value: Plain): void {
    this.#tree.set(path, value);
    this.changed(path);
  }

  /** Says that what a function measures has changed. @throws UsageError for what is no path */
  changed(path: string): void {
    const at = givenPath(path);
    this.#running?.driver?.feed({ type: "changed", path: at });
  }

  /** Returns what takes the listener away again. What it throws, or rejects with, goes to `fault`. @throws UsageError for an unknown name */
  on<K extends keyof DeviceEvents>(
    name: K,
    listener: (event: DeviceEvents[K]) => unknown,
  ): () => void {
    return this.#listeners.on(name, listener);
  }

  /**
   * Registers, and stays registered until `stop`. Resolves once it is on its way: see `registered` and `refused`. After a `stop`
   * that still runs it waits for that. Rejects where the device is started already (`ALREADY_STARTED`) or was stopped meanwhile
   * (`STOPPED`).
   */
  async start(options: StartOptions = {}): Promise<void> {
    checkOptions("start()", options, START_RULES);
    const { signal } = options;
    if (this.#wanted === "started") {
      throw new UsageError("the device is started", "ALREADY_STARTED");
    }
    signal?.throwIfAborted();
    selfTest();
    this.#wanted = "started";
    const waiting = new Waiting();
    const starting: Starting = { cancelled: false, waiting, done: Promise.resolve() };
    this.#starting = starting;
    const done = waiting.wait<void>(signal, (resolve, reject) => {
      void this.#open(starting, this.#stopping).then(resolve, reject);
      return () => {
        starting.cancelled = true; // by now it has ended, or is to
        if (this.#starting !== starting) return;
        this.#starting = undefined;
        if (this.#running === undefined) this.#wanted = "stopped";
      };
    });
    starting.done = done.catch(() => undefined);
    await done;
  }

  /** `before`: a stop that still runs. */
  async #open(starting: Starting, before: Promise<void> | undefined): Promise<void> {
    await before;
    if (starting.cancelled) return;
    if (!this.#tree.has(DEVICE)) this.#tree.add(DEVICE, 0, defaultDevice());
    const { security } = this.#options;
    const notes = this.#fromStore((store) => store.repair?.(mayRenewRecords(security))) ?? [];
    for (const text of notes) this.#listeners.emit("note", { text });
    const remote = { host: await resolve(this.#server.host), port: this.#server.port };
    if (starting.cancelled) return;
    const port = await MovingPort.open(isIP(remote.host) === 6 ? "::" : "0.0.0.0");
    try {
      if (starting.cancelled) await port.close();
      else this.#run(port, remote);
    } catch (fault) {
      this.#running = undefined;
      await port.close(); // or it would keep the process from ending
      throw fault;
    }
  }

  #run(port: MovingPort, remote: SocketAddress): void {
    const { security } = this.#options;
    const opened = security && this.#fromStore((store) => store.records());
    const records = opened && guardedStore(opened, this.#limits.storeTimeout);
    const clock = systemClock();
    const stack = this.#stack(clock, records);
    this.#running = { stack, port, remote, driver: undefined, settled: false };
    const driver = new Driver<ClientStackInput, ClientStackOutput>({
      machine: stack,
      port,
      clock,
      ...(records === undefined ? {} : { store: records }),
      onOutput: (output) => this.#heard(output),
      onFault: ({ during, error }) => this.#fault(error, during === "store" ? "store" : "machine"),
    });
    this.#running = { stack, port, remote, driver, settled: false };
    driver.feed({ type: "connect", path: { local: port.local, remote } });
  }

  #stack(clock: Clock, records: Store | undefined): ClientStack {
    const { endpoint, queueMode, keepAlive, lwm2m, lifetime = 86_400 } = this.#options;
    const { security, tuning } = this.#options;
    const snapshot = this.#fromStore((store) => store.load());
    const rng = systemRng();
    const protection =
      security?.kind === "oscore"
        ? oscoreProtection(security, rng, recordOf(records), clock.now())
        : undefined;
    const carried = dtlsOf(security);
    const dtls = carried && this.#dtls(carried, records);
    return new ClientStack({
      endpoint,
      rng,
      registry: this.#registry,
      objects: this.#tree.entries(),
      server: { 1: lifetime },
      ...(queueMode === undefined ? {} : { queueMode }),
      ...(keepAlive === undefined ? {} : { keepAlive }),
      ...(lwm2m === undefined ? {} : { lwm2m }),
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(tuning === undefined ? {} : { tuning }),
      // An empty token is enough for one request at a time (RFC 9175 5.3): answers are bound to their requests.
      ...(protection === undefined ? {} : { protection, coap: { emptyToken: true } }),
      ...(dtls === undefined ? {} : { dtls }),
      now: clock.now(),
    });
  }

  /** What the store has; a store of the program's own may throw, or take what is here for asynchronous. */
  #fromStore<T extends object>(take: (store: DeviceStore) => T | undefined): T | undefined {
    const { store } = this.#options;
    if (store === undefined) return undefined;
    let taken: T | undefined;
    try {
      taken = take(store);
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      const words = cause instanceof Error ? cause.message : String(cause);
      throw new StoreError("io", `the device's store cannot be read: ${words}`, cause);
    }
    if (!isThenable(taken)) return taken;
    throw new UsageError("load and records of a device's store return at once, not a promise");
  }

  #dtls(security: DtlsSecurity, records: Store | undefined): ClientDtlsOptions {
    const { strategy = "cid", store, keyLog } = this.#options;
    const stored = records === undefined ? [] : keptSessions(records, security);
    return {
      ...(security.kind === "psk"
        ? { credentials: security }
        : certificateDtls(security, this.#server.host)),
      ...(keyLog === true ? { keyLog } : {}),
      // We need no connection id ourselves: servers stay where they are.
      ...(strategy === "cid" ? { connectionId: new Uint8Array(0) } : {}),
      ...(store?.sealer === undefined ? {} : { sealer: store.sealer }),
      stored,
      freshSocket: true,
    };
  }

  /** The way through the NAT is stale: from another port the next one is surely a new one. */
  async #renew(): Promise<void> {
    const running = this.#running;
    if (running?.driver === undefined) return;
    const { port, remote, driver } = running;
    try {
      await port.renew();
    } catch (fault) {
      this.#fault(fault, "network"); // the old socket goes on
    }
    if (this.#running !== running || this.#wanted === "stopped") return;
    try {
      driver.feed({ type: "connect", path: { local: port.local, remote } });
    } catch (fault) {
      this.#fault(fault, "machine");
    }
  }

  /** Sends an Update now. */
  update(): void {
    this.#running?.driver?.feed({ type: "update" });
  }

  /** What the session has cost so far. */
  get session(): SessionView | undefined {
    const ledger = this.#running?.stack.ledger.snapshot();
    if (ledger === undefined) return undefined;
    const bytes = {
      in: ledger.in.total,
      out: ledger.out.total,
      total: ledger.in.total + ledger.out.total,
    };
    const kind = KINDS[this.#options.security?.kind ?? "none"];
    return { kind, bytes, handshakes: ledger.handshakes, ledger };
  }

  /**
   * Takes leave of the server (`deregister`, the default; given up after `patience` ms), or just falls silent and keeps its
   * registration for the next start. A start that has begun is waited for first, within `patience`, so that leave is taken of
   * what it registers.
   */
  stop(options: StopOptions = {}): Promise<void> {
    try {
      checkOptions("stop()", options, STOP_RULES);
    } catch (fault) {
      return Promise.reject(fault as Error);
    }
    if (this.#wanted === "stopped") return this.#stopping ?? Promise.resolve();
    this.#wanted = "stopped";
    const stopping = this.#shut(options, this.#stopping).finally(() => {
      if (this.#stopping === stopping) this.#stopping = undefined;
    });
    this.#stopping = stopping;
    return stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** `before`: another stop that still runs; between the two was a start. */
  async #shut(
    { deregister = true, patience = PATIENCE }: StopOptions,
    before: Promise<void> | undefined,
  ): Promise<void> {
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), patience);
    try {
      const starting = this.#starting;
      if (starting !== undefined) {
        if (deregister) await within(patience, "start", () => starting.done).catch(() => undefined);
        starting.waiting.endAll(
          new StartError("STOPPED", "the device was stopped before it was started"),
        );
      }
      await before;
      if (this.#running === undefined) return;
      if (deregister) await this.#takeLeave(this.#running, over.signal).catch(() => undefined); // in time or not
      this.#save();
      await within(patience, "save", () => this.#saving).catch((fault: unknown) =>
        this.#fault(fault, "store"),
      );
      await this.#close();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves once the server was told, or cannot be; rejects when the signal says so. */
  async #takeLeave({ stack, driver }: Running, signal: AbortSignal): Promise<void> {
    const isRegistering = (): boolean => {
      const { client } = stack;
      return this.#running?.settled !== true || (client.asking && client.location === undefined);
    };
    const waiting = new Waiting();
    await waiting.wait<void>(signal, (resolve) => {
      // What a Register under way leads to is waited for, or the server would keep it.
      const tried = (): void => {
        if (!isRegistering()) resolve();
      };
      const stops = SETTLING.map((name) => this.#listeners.on(name, tried));
      tried();
      return () => stops.forEach((stop) => stop());
    });
    await waiting.wait<void>(signal, (resolve) => {
      const stop = this.#listeners.on("deregistered", () => resolve());
      driver?.feed({ type: "deregister" });
      return stop;
    });
  }

  async #close(): Promise<void> {
    const driver = this.#running?.driver;
    try {
      driver?.feed({ type: "park" });
    } catch (fault) {
      this.#fault(fault, "machine");
    }
    this.#running = undefined;
    await driver?.close();
  }

  #heard(output: Heard): void {
    if (output.type === "perform") {
      void this.#perform(output);
      return;
    }
    if (output.type === "stale") {
      void this.#renew();
      return;
    }
    if (output.type === "dropped") return; // the ledger has it
    if (output.type === "stateChanged") this.#save();
    if (this.#running !== undefined && SETTLED.has(output.type)) this.#running.settled = true;
    this.#listeners.emit(output.type, output as never); // each under its own name
    if (!COSTS.has(output.type)) return;
    const { session } = this;
    if (session !== undefined) this.#listeners.emit("session", session);
  }

  /** Never rejects. */
  async #perform({ id, operation, once }: Extract<Heard, { type: "perform" }>): Promise<void> {
    let outcome: Awaited<ReturnType<ObjectTree["perform"]>>;
    try {
      // Begun is written down before it is begun: who loses power meanwhile does not obey twice.
      const safe = !once || this.#options.store === undefined || (await this.#saving);
      outcome = safe
        ? await this.#tree.perform(operation)
        : { type: "refused", code: Code.ServiceUnavailable, diagnostic: "storage failed" };
    } catch (fault) {
      this.#fault(fault, "machine");
      outcome = { type: "refused", code: Code.InternalServerError, diagnostic: "" };
    }
    try {
      this.#running?.driver?.feed({ type: "performed", id, outcome });
    } catch (fault) {
      this.#fault(fault, "machine");
    }
    const path = operation.type === "create" ? [operation.object] : operation.path;
    this.#listeners.emit("performed", {
      operation: operation.type,
      path: `/${path.join("/")}`,
      success: outcome.type !== "refused",
    });
  }

  /** One write at a time, the newest state last. */
  #save(): void {
    const { store } = this.#options;
    if (store === undefined || this.#dirty) return;
    this.#dirty = true;
    this.#saving = this.#saving.then(async () => {
      this.#dirty = false;
      try {
        const snapshot = this.#running?.stack.snapshot();
        if (snapshot === undefined) return true;
        await within(this.#limits.storeTimeout, "save of the store", () => store.save(snapshot));
        return true;
      } catch (fault) {
        this.#fault(fault, "store");
        return false;
      }
    });
  }

  #fault(cause: unknown, source: FaultSource, path?: string): void {
    const fault = cause instanceof Error ? cause : new Error(String(cause));
    this.#listeners.emit("fault", { fault, source, path });
  }

  #listenerFailed(cause: unknown, name: keyof DeviceEvents): void {
    if (name !== "fault") return this.#fault(cause, `listener of ${name}`);
    const words = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    process.emitWarning(`a listener of the device's fault event failed: ${words}`);
  }
}

/** A start under way. */
type Starting = {
  cancelled: boolean;
  /** Ends it. */
  readonly waiting: Waiting;
  /** Resolves however it ends. */
  done: Promise<void>;
};

type Running = {
  readonly stack: ClientStack;
  readonly port: MovingPort;
  readonly remote: SocketAddress;
  readonly driver: Driver<ClientStackInput, ClientStackOutput> | undefined;
  /** The first attempt to register has come to something. */
  settled: boolean;
};

type Heard = Exclude<ClientStackOutput, { type: "datagram" | "store" }>;

/** Where the server is. @throws UsageError for options that do not go together */
function serverOf(options: DeviceOptions): ServerUri {
  const { security, store } = options;
  if (store === undefined && security?.kind === "oscore") {
    const { derivation } = security.credential;
    // A number used twice under one key gives the key away.
    if (derivation !== "negotiated")
      throw new UsageError(`OSCORE with a ${derivation} context needs a store`);
  }
  const server = parseServerUri(options.server);
  const dtls = dtlsOf(security);
  if (server.scheme === "coaps" && dtls === undefined)
    throw new UsageError(
      security === undefined
        ? "coaps:// needs a key: give the device its security, psk(…), rpk(…) or x509(…)"
        : "coaps:// needs a key of its own: give it to oscore(…, psk(…)), or write coap://",
    );
  if (server.scheme === "coap" && dtls !== undefined)
    throw new UsageError(`coap:// protects nothing by ${NAMES[dtls.kind]}: write coaps://`);
  return server;
}

function dtlsOf(security: Security | undefined): DtlsSecurity | undefined {
  return security?.kind === "oscore" ? security.inside : security;
}

/** Whether all keys are made anew where the records of their sequence numbers are gone. */
function mayRenewRecords(security: Security | undefined): boolean {
  return security?.kind !== "oscore" || security.credential.derivation === "negotiated";
}

function recordOf(records: Store | undefined): Uint8Array | undefined {
  for (const { key, value } of records?.load(OSCORE_RECORD.table) ?? [])
    if (key === OSCORE_RECORD.key) return value;
  return undefined;
}

async function resolve(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    throw new StartError(
      "SERVER_NOT_FOUND",
      `cannot find the server ${host}: is the name right, and is there a network?`,
      cause,
    );
  }
}

const KINDS = {
  none: "udp",
  psk: "dtls",
  rpk: "dtls",
  x509: "dtls",
  oscore: "oscore",
} as const;
const NAMES = {
  psk: "a pre-shared key",
  rpk: "a raw public key",
  x509: "a certificate",
} as const;
const COSTS: ReadonlySet<Heard["type"]> = new Set([
  "secured",
  "registered",
  "updated",
  "deregistered",
]);
/** What an attempt to register comes to. */
const SETTLING = ["registered", "updated", "refused", "unreachable", "handshakeFailed"] as const;
const SETTLED: ReadonlySet<Heard["type"]> = new Set(SETTLING);
const DEVICE = 3;
