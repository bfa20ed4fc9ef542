import type { LedgerSnapshot, Path, StoreChange } from "@godwit/base";
import { UsageError, formatAddress } from "@godwit/base";
import type { CoapTuning, Request } from "@godwit/coap";
import type { Certificate } from "@godwit/dtls";
import {
  Driver,
  describeUdpNote,
  joinPorts,
  memoryStore,
  openUdp,
  refusalWords,
  systemClock,
  systemRng,
  type Clock,
  type DatagramPort,
  type Store,
  type StoreHealth,
  type UdpPort,
} from "@godwit/io";
import {
  ServerStack,
  builtInRegistry,
  objectVersions,
  parseNodePath,
  viewCredential,
  type Credential,
  type CredentialSealer,
  type CredentialView,
  type Definitions,
  type OperationKind,
  type QuarantineView,
  type RegistrationView,
  type ServerDtlsOptions,
  type ServerStackInput,
  type ServerStackOutput,
  type ServerTuning,
} from "@godwit/lwm2m";
import { RemoteDevice } from "./device.ts";
import { checkMasterKey } from "./master-key-check.ts";
import { oscoreProtection } from "./oscore.ts";
import { ownCertificates } from "./server-key.ts";
import { Listeners, type Events } from "./events.ts";
import { answerOf, taskOf, type DeviceView, type Task } from "./task.ts";

export type ServerOptions = {
  /** Where plain CoAP listens, "host:port"; a wildcard host binds every address of this machine by itself. */
  readonly coap?: string;
  /** Where CoAP over DTLS listens, "host:port". Devices come in by the credentials that were added. */
  readonly coaps?: string;
  /**
   * Settings of DTLS: what the server shows to devices that come by public key or certificate, and whom it trusts. Shows the
   * bare public key, or a self-signed certificate, of a key of its own unless `certificates` are given: made at the first
   * start, kept sealed in the store.
   */
  readonly dtls?: Omit<ServerDtlsOptions, "port">;
  /** Accept devices that prove nothing. Off unless switched on. */
  readonly nosec?: boolean;
  /** Where promises are kept; without one they last as long as the process. */
  readonly store?: Store;
  /** Goes with the store: deadlines in it are this clock's. */
  readonly clock?: Clock;
  /** Encrypts credentials in the store; without it none can be added. A `MasterKey` is one. */
  readonly sealer?: CredentialSealer;
  /** The store was found to be older than it was; see `Data` of the data directory. */
  readonly rolledBack?: { readonly settled: StoreChange };
  readonly tuning?: Partial<ServerTuning>;
  readonly coapTuning?: Partial<CoapTuning>;
};

/** What a server shows of itself: nothing in it is secret. */
export type ShownCertificate = {
  readonly kind: "rpk" | "x509";
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  /** DER, the server's own first; empty for a bare public key. */
  readonly chain: readonly Uint8Array[];
};

/** How long an order may wait for its device, in ms; 24 hours unless given. */
export type OrderOptions = { readonly expires?: number };

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
  readonly #listeners = new Listeners();
  readonly #definitions = builtInRegistry();
  readonly #store: Store;
  #running: Running | undefined;
  /** Who waits for a credential to be durable. */
  readonly #refs = new Map<number, (ok: boolean, why?: string) => void>();
  #lastRef = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#store = options.store ?? memoryStore();
  }

  /** Binds the sockets and takes back what an earlier run promised. Rejects with what to do about it. */
  async start(): Promise<void> {
    const ports: UdpPort[] = [];
    try {
      const { coap, coaps } = this.#options;
      if (coap === undefined && coaps === undefined)
        throw new UsageError("a server needs coap or coaps, where it listens");
      await checkMasterKey(this.#store, this.#options.sealer);
      const [plain, secure] = [await this.#bind(coap, ports), await this.#bind(coaps, ports)];
      this.#run(plain, secure, joinPorts(...ports), await this.#certificates());
    } catch (fault) {
      this.#running = undefined;
      for (const port of ports) await port.close(); // or they would keep the process from ending
      throw fault;
    }
  }

  async #bind(address: string | undefined, ports: UdpPort[]): Promise<UdpPort | undefined> {
    if (address === undefined) return undefined;
    const port = await openUdp({
      ...parseAddress(address),
      onNote: (note) => this.#listeners.emit("note", { text: describeUdpNote(note) }),
    });
    ports.push(port);
    return port;
  }

  /** What is shown to devices. A key of our own that cannot be read must not keep those with other credentials out. */
  async #certificates(): Promise<readonly Certificate[]> {
    const { coaps, sealer, dtls } = this.#options;
    if (dtls?.certificates !== undefined) return dtls.certificates;
    if (coaps === undefined || sealer === undefined) return [];
    try {
      return await ownCertificates(this.#store, sealer, systemRng());
    } catch (fault) {
      this.#fault(fault instanceof Error ? fault : new Error(String(fault)));
      return [];
    }
  }

  #run(
    plain: UdpPort | undefined,
    secure: UdpPort | undefined,
    port: DatagramPort,
    certificates: readonly Certificate[],
  ): void {
    const { nosec = false, tuning = {}, coapTuning = {}, sealer, dtls, rolledBack } = this.#options;
    const clock = this.#options.clock ?? systemClock();
    const rng = systemRng();
    const stack = new ServerStack({
      rng,
      protection: oscoreProtection(rng),
      now: clock.now(),
      server: { ...tuning, nosec },
      coap: coapTuning,
      load: (table) => this.#store.load(table),
      ...(sealer === undefined ? {} : { sealer }),
      ...(rolledBack === undefined ? {} : { rolledBack }),
      ...(secure === undefined
        ? {}
        : {
            dtls: {
              wall: (at) => clock.toWall(at),
              ...dtls,
              certificates,
              port: secure.port,
            },
          }),
    });
    const { meter } = this.#store;
    if (meter !== undefined) meter.onChange = (health) => this.#listeners.emit("store", { health });
    // Outputs of the first moment find the server running.
    const now = (): number => clock.now();
    this.#running = { stack, plain, secure, certificates, driver: undefined, now };
    const driver = new Driver<ServerStackInput, ServerStackOutput>({
      machine: stack,
      port,
      store: this.#store,
      clock,
      onOutput: (output, now) => this.#heard(output, now),
      onFault: ({ during, error }) => {
        if (during === "store" && meter !== undefined) return; // told by `store` events, once
        this.#fault(new Error(`during ${during}`, { cause: error }));
      },
    });
    this.#running = { ...this.#running, driver };
    for (const { table, key, reason } of stack.setAside)
      this.#listeners.emit("quarantined", { table, key, reason });
  }

  /** Takes no more datagrams, writes what is owed, closes the store and lets go of the sockets. */
  async close(): Promise<void> {
    this.#running?.driver?.feed({ type: "park" });
    await this.#running?.driver?.close();
    this.#running = undefined;
  }

  /** Where the server speaks plain CoAP, such as "127.0.0.1:5683". */
  get addresses(): readonly string[] {
    return this.#now.plain?.local.map(formatAddress) ?? [];
  }

  /** Where it speaks CoAP over DTLS. */
  get secureAddresses(): readonly string[] {
    return this.#now.secure?.local.map(formatAddress) ?? [];
  }

  /** What the server shows to devices that come by public key or certificate; empty where it speaks no DTLS. */
  get certificates(): readonly ShownCertificate[] {
    const { secure, certificates } = this.#now;
    if (secure === undefined) return [];
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
    const { plain, secure } = this.#now;
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

  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
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
    const { stack, now } = this.#now;
    for (const one of stack.server.registrations(now())) yield this.#view(one);
  }

  deviceView(endpoint: string): DeviceView | undefined {
    const { stack, now } = this.#now;
    const found = stack.server.registration(endpoint, now());
    return found && this.#view(found);
  }

  device(endpoint: string): RemoteDevice {
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
    return new Promise((resolve, reject) => {
      // Answers come in the order of the calls.
      this.#store.write([], (error) => {
        if (error === undefined) resolve();
        else reject(new NotKept(refusalWords(error)));
      });
    });
  }

  ledgerOf(endpoint: string): LedgerSnapshot | undefined {
    return this.deviceView(endpoint)?.ledger;
  }

  /** What the device's resources are, in the object versions it registered. */
  definitionsOf(endpoint: string): Definitions {
    const { stack, now } = this.#now;
    const registration = stack.server.registration(endpoint, now());
    if (registration === undefined) return this.#definitions.of(new Map());
    return this.#definitions.of(objectVersions(registration.objects, registration.version));
  }

  // ── credentials ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** What may be shown of the credentials of one endpoint, or of all. */
  credentials(endpoint?: string): readonly CredentialView[] {
    return this.#now.stack.credentials(endpoint);
  }

  /** Adds or replaces one; resolves once it is durable. Rejects with UsageError that says what cannot be. */
  async addCredential(credential: Credential): Promise<CredentialView> {
    await this.#ordered((ref) => ({ type: "addCredential", ref, credential }));
    return viewCredential(credential);
  }

  /** Revokes one by its id; whoever uses it is cut off. */
  async removeCredential(id: string): Promise<void> {
    await this.#ordered((ref) => ({ type: "removeCredential", ref, id }));
  }

  #ordered(input: (ref: number) => ServerStackInput): Promise<void> {
    const ref = ++this.#lastRef;
    return new Promise((resolve, reject) => {
      this.#refs.set(ref, (ok, why = "the store refused it") => {
        if (ok) resolve();
        else reject(new NotKept(why));
      });
      try {
        this.#feed(input(ref));
      } catch (fault) {
        this.#refs.delete(ref);
        reject(fault instanceof Error ? fault : new Error(String(fault)));
      }
    });
  }

  // ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Gives an order; resolves once it is durable (or was refused at once: see the task's state). */
  order(
    endpoint: string,
    kind: OperationKind,
    path: string,
    request: Request,
    options: OrderOptions = {},
  ): Promise<Task> {
    parseNodePath(path); // our caller's mistake is named here, not by the device
    const { stack, now } = this.#now;
    const id = stack.server.operationId();
    const expiresAt = now() + (options.expires ?? DAY);
    const accepted = this.#once(String(id), () => true);
    this.#feed({ type: "operate", id, endpoint, kind, path, request, expiresAt });
    return accepted;
  }

  task(id: string): Task | undefined {
    const operation = this.#now.stack.server.operation(Number(id));
    return operation && taskOf(operation, this.definitionsOf(operation.endpoint));
  }

  tasksOf(endpoint: string): readonly Task[] {
    const definitions = this.definitionsOf(endpoint);
    return this.#now.stack.server.operationsOf(endpoint).map((one) => taskOf(one, definitions));
  }

  cancel(id: string): void {
    this.#feed({ type: "cancelOperation", id: Number(id) });
  }

  /** The task once it has ended; after `wait` ms as it stands then. */
  async ended(id: string, wait?: number): Promise<Task> {
    const task = this.task(id);
    if (task === undefined) throw new Error(`no task ${id}`);
    if (task.endedAt !== undefined) return task;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      if (wait !== undefined) timer = setTimeout(() => resolve(undefined), wait);
    });
    const ended = await Promise.race([this.#once(id, (t) => t.endedAt !== undefined), late]);
    clearTimeout(timer);
    return ended ?? this.task(id) ?? task;
  }

  /** The next event of this task that fits; rejects when the server closes. */
  #once(id: string, fits: (task: Task) => boolean): Promise<Task> {
    return new Promise((resolve) => {
      const stop = this.#listeners.on("task", ({ task }) => {
        if (task.id !== id || !fits(task)) return;
        stop();
        resolve(task);
      });
    });
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
        this.#listeners.emit("task", { task: taskOf(output.operation, definitions) });
        return;
      }
      case "notification": {
        const { endpoint, path, response } = output;
        const answer = answerOf(parseNodePath(path), response, this.definitionsOf(endpoint));
        this.#listeners.emit("notification", { endpoint, path, answer, at: now });
        return;
      }
      case "credential":
        this.#refs.get(output.ref)?.(output.ok, output.why);
        this.#refs.delete(output.ref);
        return;
      case "handshakeFailed": {
        const address = formatAddress(output.path.remote);
        this.#listeners.emit("handshakeFailed", { address, why: output.why, kept: output.kept });
        return;
      }
      case "observation":
      case "refused":
      case "dropped":
      case "keyLog":
        this.#listeners.emit(output.type, output as never); // each under its own name
        return;
    }
  }

  #feed(input: ServerStackInput): void {
    if (this.#now.driver === undefined) throw new Error("the server is starting");
    this.#now.driver.feed(input);
  }

  #fault(fault: Error): void {
    this.#listeners.emit("fault", { fault });
  }

  #view(registration: RegistrationView): DeviceView {
    const { stack } = this.#now;
    const { session, ...rest } = registration;
    const path: Path | undefined = stack.pathOf(session);
    return {
      ...rest,
      address: path && formatAddress(path.remote),
      ledger: stack.accountOf(session).snapshot(),
      observations: stack.server.observationsOf(registration.endpoint),
    };
  }

  get #now(): Running {
    if (this.#running === undefined) throw new Error("the server is not started");
    return this.#running;
  }
}

/** What was asked for could not be made durable; nothing has changed. An HTTP API answers it with `statusCode`. */
class NotKept extends Error {
  override readonly name = "NotKept";
  readonly statusCode = 503;
  readonly expose = true;

  constructor(why: string) {
    super(`it could not be kept: ${why}`);
  }
}

/** Most listeners count; the device as people see it is made for those who look. */
class Updated {
  readonly moved: boolean;
  readonly changed: readonly string[];
  readonly #output: Extract<Heard, { type: "updated" }>;
  readonly #view: (registration: RegistrationView) => DeviceView;
  #device: DeviceView | undefined;

  constructor(
    output: Extract<Heard, { type: "updated" }>,
    view: (registration: RegistrationView) => DeviceView,
  ) {
    this.moved = output.moved;
    this.changed = output.changed;
    this.#output = output;
    this.#view = view;
  }

  get device(): DeviceView {
    return (this.#device ??= this.#view(this.#output.registration));
  }
}

type Running = {
  readonly stack: ServerStack;
  readonly plain: UdpPort | undefined;
  readonly secure: UdpPort | undefined;
  readonly certificates: readonly Certificate[];
  readonly driver: Driver<ServerStackInput, ServerStackOutput> | undefined;
  readonly now: () => number;
};

type Heard = Exclude<ServerStackOutput, { type: "datagram" | "store" }>;

/** "127.0.0.1:5683", "[::1]:5683". */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-f:.%\w]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new Error(
      `"${text}" is no address: write HOST:PORT, such as 127.0.0.1:5683 or [::]:5683`,
    );
  }
  return { host: match[1] ?? match[2]!, port }; // one of the two matched
}

const DAY = 24 * 3_600_000;
