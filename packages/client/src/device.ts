import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { UsageError, type LedgerSnapshot, type SocketAddress } from "@godwit/base";
import { Driver, systemClock, systemRng, type Store } from "@godwit/io";
import {
  ClientStack,
  builtInRegistry,
  parseNodePath,
  type ClientDtlsOptions,
  type ClientEvent,
  type ClientStackInput,
  type ClientStackOutput,
  type ClientTuning,
  type KeepAliveStrategy,
  type Lwm2mVersion,
  type Operation,
  type Plain,
} from "@godwit/lwm2m";
import { Code } from "@godwit/coap";
import type { DeviceStore } from "./device-store.ts";
import { MovingPort } from "./moving-port.ts";
import { OSCORE_RECORD, oscoreProtection } from "./oscore.ts";
import { certificateDtls } from "./certificates.ts";
import { keptSessions } from "./kept-sessions.ts";
import type { DtlsSecurity, Security } from "./security.ts";
import { ObjectTree, type Resources } from "./object-tree.ts";
import { parseServerUri, type ServerUri } from "./server-uri.ts";

export type DeviceOptions = {
  /** The endpoint name. */
  readonly endpoint: string;
  /** "coap://host[:port]"; "coaps://host[:port]" with a key or certificate. */
  readonly server: string;
  /** How it proves who it is, see `psk`, `rpk`, `x509` and `oscore`; without it the server must take devices that do not. */
  readonly security?: Security;
  /**
   * How a session of DTLS outlives the NAT's memory. "cid" (the default): by Connection ID (RFC 9146), at no cost; servers
   * without it do as with "resume": after some silence the session is resumed by an abbreviated handshake.
   */
  readonly strategy?: "cid" | "resume";
  /** s; 86 400 unless given. */
  readonly lifetime?: number;
  /** Sleeps between its messages: the server waits for them. */
  readonly queueMode?: boolean;
  /** "off" (the default), seconds (at least 15), or "auto": learns how long the NAT remembers. */
  readonly keepAlive?: KeepAliveStrategy;
  /** Tried first; "1.1" unless given. */
  readonly lwm2m?: Lwm2mVersion;
  /** What outlives a restart; see `fileStore`. */
  readonly store?: DeviceStore;
  /** For debugging only: `keyLog` events tell the keys of each session of DTLS, by which anybody can read all. */
  readonly keyLog?: boolean;
  readonly tuning?: Partial<ClientTuning>;
};

export type DeviceEvents = {
  readonly [E in ClientEvent as E["type"]]: E;
} & {
  /** The server wrote this resource. */
  readonly written: { readonly path: string };
  /** An operation of the server was answered. */
  readonly performed: {
    readonly operation: Operation["type"];
    readonly path: string;
    /** Whether it was done; else it was refused. */
    readonly success: boolean;
  };
  /** A sensor or the device's own code failed; the server was told 5.00. */
  readonly fault: { readonly fault: Error };
  /** Something that whoever runs the device may want to know, in a sentence: of files that were damaged, for one. */
  readonly note: { readonly text: string };
  /** What the session has cost so far; after each handshake, registration, Update and de-registration. */
  readonly session: SessionView;
  /** A handshake of DTLS came to nothing; the next try is at `retryAt`, or when there is something to send. */
  readonly handshakeFailed: { readonly why: string; readonly retryAt: number | undefined };
  /** A line for SSLKEYLOGFILE: with it anybody can read what was recorded. Only where `keyLog` is on. */
  readonly keyLog: { readonly line: string };
  /** A session of DTLS is open: after a handshake, or with the one that was kept. */
  readonly secured: { readonly how: "full" | "resumed" | "kept" };
};

export type SessionView = {
  readonly kind: "udp" | "oscore" | "dtls";
  readonly bytes: { readonly in: number; readonly out: number; readonly total: number };
  readonly handshakes: { readonly full: number; readonly resumed: number };
  readonly ledger: LedgerSnapshot;
};

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
  readonly #server: ServerUri;
  readonly #registry = builtInRegistry();
  readonly #tree: ObjectTree;
  readonly #listeners = new Map<keyof DeviceEvents, Set<(event: never) => void>>();
  #running: Running | undefined;
  /** Whether the newest state was written. */
  #saving: Promise<boolean> = Promise.resolve(true);
  #dirty = false;

  /** @throws UsageError for options that cannot work */
  constructor(options: DeviceOptions) {
    this.#options = options;
    const { security, store } = options;
    if (store === undefined && security?.kind === "oscore") {
      const { derivation } = security.credential;
      // A number used twice under one key gives the key away.
      if (derivation !== "negotiated")
        throw new UsageError(`OSCORE with a ${derivation} context needs a store`);
    }
    this.#server = parseServerUri(options.server);
    const dtls = dtlsOf(security);
    if (this.#server.scheme === "coaps" && dtls === undefined)
      throw new UsageError(
        security === undefined
          ? "coaps:// needs a key: give the device its security, psk(…), rpk(…) or x509(…)"
          : "coaps:// needs a key of its own: give it to oscore(…, psk(…)), or write coap://",
      );
    if (this.#server.scheme === "coap" && dtls !== undefined)
      throw new UsageError(`coap:// protects nothing by ${NAMES[dtls.kind]}: write coaps://`);
    this.#tree = new ObjectTree(this.#registry, (path) => {
      this.changed(`/${path.join("/")}`);
      this.#emit("written", { path: `/${path.join("/")}` });
    });
  }

  /** Adds an object instance, 0 unless given; before or after the start. */
  add(object: number, resources: Resources, instance = 0): void {
    this.#tree.add(object, instance, resources);
    this.#running?.driver?.feed({ type: "objects", objects: this.#tree.entries() });
  }

  remove(object: number, instance: number): void {
    this.#tree.remove(object, instance);
    this.#running?.driver?.feed({ type: "objects", objects: this.#tree.entries() });
  }

  /** Gives a held resource a new value; whoever observes it hears of it. */
  set(path: string, value: Plain): void {
    this.#tree.set(path, value);
    this.changed(path);
  }

  /** Says that what a function measures has changed. */
  changed(path: string): void {
    this.#running?.driver?.feed({ type: "changed", path: parseNodePath(path) });
  }

  on<K extends keyof DeviceEvents>(
    name: K,
    listener: (event: DeviceEvents[K]) => void,
  ): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    set.add(listener as (event: never) => void);
    this.#listeners.set(name, set);
    return () => void set.delete(listener as (event: never) => void);
  }

  /** Registers, and stays registered until `stop`. Resolves once it has been tried: see `registered` and `refused`. */
  async start(): Promise<void> {
    if (this.#running !== undefined) throw new Error("the device is started");
    if (!this.#tree.has(DEVICE)) this.#tree.add(DEVICE, 0, defaultDevice());
    const {
      endpoint,
      queueMode,
      keepAlive,
      lwm2m,
      lifetime = 86_400,
      store,
      security,
      tuning,
    } = this.#options;
    const notes = store?.repair?.(mayRenewRecords(security)) ?? [];
    for (const text of notes) this.#emit("note", { text });
    const remote = { host: await resolve(this.#server.host), port: this.#server.port };
    const any = isIP(remote.host) === 6 ? "::" : "0.0.0.0";
    const port = await MovingPort.open(any);
    const snapshot = store?.load();
    const records = security && store?.records();
    const rng = systemRng();
    const clock = systemClock();
    const protection =
      security?.kind === "oscore"
        ? oscoreProtection(security, rng, recordOf(records), clock.now())
        : undefined;
    const carried = dtlsOf(security);
    const dtls = carried && this.#dtls(carried, records);
    const stack = new ClientStack({
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
    this.#running = { stack, port, remote, driver: undefined };
    const driver = new Driver<ClientStackInput, ClientStackOutput>({
      machine: stack,
      port,
      clock,
      ...(records === undefined ? {} : { store: records }),
      onOutput: (output) => this.#heard(output),
      onFault: ({ error }) => this.#fault(error),
    });
    this.#running = { stack, port, remote, driver };
    driver.feed({ type: "connect", path: { local: port.local, remote } });
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
      this.#fault(fault); // the old socket goes on
    }
    if (this.#running !== running) return;
    driver.feed({ type: "connect", path: { local: port.local, remote } });
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
   * registration for the next start.
   */
  async stop(
    how: { readonly deregister?: boolean; readonly patience?: number } = {},
  ): Promise<void> {
    const running = this.#running;
    if (running?.driver === undefined) return;
    if (how.deregister !== false) {
      const left = new Promise<void>((done) => {
        this.on("deregistered", () => done());
        setTimeout(done, how.patience ?? 3_000).unref();
      });
      running.driver.feed({ type: "deregister" });
      await left;
    }
    this.#save();
    await this.#saving;
    running.driver.feed({ type: "park" });
    this.#running = undefined;
    await running.driver.close();
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
    this.#emit(output.type, output as never); // each under its own name
    if (!COSTS.has(output.type)) return;
    const { session } = this;
    if (session !== undefined) this.#emit("session", session);
  }

  async #perform({ id, operation, once }: Extract<Heard, { type: "perform" }>): Promise<void> {
    let outcome: Awaited<ReturnType<ObjectTree["perform"]>>;
    try {
      // Begun is written down before it is begun: who loses power meanwhile does not obey twice.
      const safe = !once || this.#options.store === undefined || (await this.#saving);
      outcome = safe
        ? await this.#tree.perform(operation)
        : { type: "refused", code: Code.ServiceUnavailable, diagnostic: "storage failed" };
    } catch (fault) {
      this.#fault(fault);
      outcome = { type: "refused", code: Code.InternalServerError, diagnostic: "" };
    }
    this.#running?.driver?.feed({ type: "performed", id, outcome });
    const path = operation.type === "create" ? [operation.object] : operation.path;
    this.#emit("performed", {
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
      const snapshot = this.#running?.stack.snapshot();
      if (snapshot === undefined) return true;
      try {
        await store.save(snapshot);
        return true;
      } catch (fault) {
        this.#fault(fault);
        return false;
      }
    });
  }

  #fault(fault: unknown): void {
    this.#emit("fault", { fault: fault instanceof Error ? fault : new Error(String(fault)) });
  }

  #emit<K extends keyof DeviceEvents>(name: K, event: DeviceEvents[K]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      (listener as (event: DeviceEvents[K]) => void)(event);
    }
  }
}

type Running = {
  readonly stack: ClientStack;
  readonly port: MovingPort;
  readonly remote: SocketAddress;
  readonly driver: Driver<ClientStackInput, ClientStackOutput> | undefined;
};

type Heard = Exclude<ClientStackOutput, { type: "datagram" | "store" }>;

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
    throw new Error(`cannot find the server ${host}: is the name right, and is there a network?`, {
      cause,
    });
  }
}

/** A device that says nothing of itself says this (OMA TS Core appendix E.4: mandatory resources). */
function defaultDevice(): Resources {
  return {
    0: "Godwit",
    1: "Device SDK",
    4: () => undefined,
    11: { values: { 0: 0 } },
    13: () => Math.floor(Date.now() / 1_000),
    14: utcOffset(new Date()),
    16: "U",
  };
}

/** "+02:00" (ISO 8601), of where this runs. */
function utcOffset(now: Date): string {
  const minutes = -now.getTimezoneOffset();
  const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
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
const DEVICE = 3;
