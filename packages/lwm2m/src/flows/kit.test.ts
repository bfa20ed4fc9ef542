// What the flow tests tell their stories with: a server with a store, devices, and orders. All in virtual time.

import { checkedRow, hex, openRow, type SocketAddress, type StoreChange } from "@godwit/base";
import { formatCode } from "@godwit/coap";
import {
  milliseconds,
  type Access,
  type Duration,
  type Host,
  type LinkOptions,
  type Node,
  type World,
} from "@godwit/netsim";
import {
  ClientStack,
  type ClientStackInput,
  type ClientStackOptions,
  type ClientStackOutput,
} from "../client-stack.ts";
import type { Operation, Outcome } from "../client/events.ts";
import type { ClientOptions } from "../client/options.ts";
import type { ClientSnapshot } from "../client/snapshot.ts";
import { builtInRegistry } from "../definitions/index.ts";
import { formatNodePath, isWithin, parseNodePath } from "../node-path.ts";
import type { OperationKind } from "../server/events.ts";
import { decodeObservation } from "../server/observation-record.ts";
import type { OperationView } from "../server/operation.ts";
import type { RegistrationView } from "../server/registration.ts";
import {
  executeRequest,
  observeRequest,
  readRequest,
  writeAttributesRequest,
  writeRequest,
  nodesOf,
} from "../server/requests.ts";
import type { CredentialSealer } from "../server/credential-book.ts";
import type { Credential } from "../server/credential.ts";
import type { ServerTuning } from "../server/tuning.ts";
import type { ClientDtlsOptions } from "../client-transport.ts";
import {
  ServerStack,
  type ServerStackInput,
  type ServerStackOptions,
  type ServerStackOutput,
} from "../server-stack.ts";
import type { Value, ValueNode } from "../value.ts";

export type PairOptions = DeviceOptions & {
  readonly server?: Partial<ServerTuning>;
  readonly serverCoap?: ServerStackOptions["coap"];
  readonly serverDtls?: Partial<ServerStackOptions["dtls"]>;
};

/** A server, and a device that has registered with it. */
export function pair(
  world: World,
  options: PairOptions = {},
): { readonly server: TestServer; readonly device: TestDevice } {
  const server = new TestServer(world, options.server, options.serverCoap, options.serverDtls);
  const device = new TestDevice(world, server, options);
  device.start();
  world.run("10 s");
  return { server, device };
}

// ── the server ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** A server on the Internet with a store that takes 5 ms. */
export class TestServer {
  readonly host: Host;
  readonly events: ServerSaid[] = [];
  /** Orders that were accepted: their users were told so. */
  readonly accepted: Set<number> = new Set();
  /** Orders that ended, with the state their users were told. */
  readonly ended: Map<number, OperationView["state"]["name"]> = new Map();
  /** What is durable: a table's records by key. */
  readonly tables: Map<string, Map<string, Uint8Array>> = new Map();
  /** Writes that were asked for so far. */
  writes = 0;
  /** Dies at this write, before it is durable or after it is and before anybody is told. */
  crashAt: { readonly write: number; readonly when: "before" | "after" } | undefined;
  crashes = 0;
  /** The store refuses every write. */
  full = false;
  readonly #world: World;
  #tuning: Partial<ServerTuning>;
  readonly #coap: ServerStackOptions["coap"];
  readonly #dtls: Partial<ServerStackOptions["dtls"]>;
  readonly #node: Node<ServerStackInput, ServerStackOutput>;
  #stack: ServerStack;
  /** Grows with each life; what an earlier one left behind is void. */
  #life = 0;
  #rolledBack = false;

  constructor(
    world: World,
    tuning: Partial<ServerTuning> = {},
    coap: ServerStackOptions["coap"] = {},
    dtls: Partial<ServerStackOptions["dtls"]> = {},
  ) {
    this.#dtls = dtls ?? {};
    this.#world = world;
    this.#tuning = tuning;
    this.#coap = coap;
    this.host = world.host("server");
    this.#stack = this.#boot();
    this.#node = this.host.attach<ServerStackInput, ServerStackOutput>(5_683, this.#stack, {
      onOutput: (output) => this.#heard(output),
    });
    this.#node.bind(COAPS_PORT);
  }

  get address(): SocketAddress {
    return this.#node.address;
  }

  /** Where it speaks DTLS. */
  get secureAddress(): SocketAddress {
    return { host: this.address.host, port: COAPS_PORT };
  }

  addCredential(credential: Credential): void {
    this.#node.feed({ type: "addCredential", ref: 0, credential });
  }

  removeCredential(id: string): void {
    this.#node.feed({ type: "removeCredential", ref: 0, id });
  }

  get stack(): ServerStack {
    return this.#stack;
  }

  registration(device: TestDevice): RegistrationView | undefined {
    return this.#stack.server.registration(device.endpoint, this.#world.now);
  }

  /** Where the server would send to now: "203.0.113.1:1234". */
  addressOf(device: TestDevice): string | undefined {
    const registration = this.registration(device);
    const path = registration && this.#stack.pathOf(registration.session);
    return path && `${path.remote.host}:${path.remote.port}`;
  }

  read(device: TestDevice, path: string, expires?: Duration): Order {
    return this.#order(device, "read", path, readRequest(parseNodePath(path)), expires);
  }

  /** `word` tells the orders of a test apart. */
  execute(device: TestDevice, word: string, expires?: Duration): Order {
    const path = "/3303/0/5605";
    const request = executeRequest(parseNodePath(path), `0='${word}'`);
    return this.#order(device, "execute", path, request, expires);
  }

  write(device: TestDevice, path: string, value: string, expires?: Duration): Order {
    const at = parseNodePath(path);
    const definitions = builtInRegistry().of(new Map());
    return this.#order(
      device,
      "write",
      path,
      writeRequest(at, nodesOf(at, value, definitions)),
      expires,
    );
  }

  observe(device: TestDevice, path: string, owner?: string, expires: Duration = "1 day"): Order {
    const request = observeRequest(parseNodePath(path));
    return this.#order(device, "observe", path, request, expires, owner);
  }

  cancel({ id }: Order): void {
    this.#node.feed({ type: "cancelOperation", id });
  }

  cancelObserve(device: TestDevice, path: string, owner?: string): Order {
    const request = observeRequest(parseNodePath(path));
    return this.#order(device, "cancelObserve", path, request, "1 day", owner);
  }

  /** Such as "pmax=60". */
  writeAttributes(device: TestDevice, path: string, ...attributes: string[]): Order {
    const request = writeAttributesRequest(parseNodePath(path), attributes);
    return this.#order(device, "writeAttributes", path, request);
  }

  /** What the server says of its observations: "/3303/0/5700 active". */
  observed(device: TestDevice): readonly string[] {
    return this.#stack.server
      .observationsOf(device.endpoint, this.#world.now)
      .map(({ path, state }) => `${path} ${state}`);
  }

  /** The tokens under which the device is observed, as far as they are durable. */
  coapTokens(): readonly (readonly number[])[] {
    return [...(this.tables.get("observation") ?? [])].flatMap(([key, row]) => {
      const { state } = decodeObservation(openRow(key, row));
      return state.name === "active" ? [[...state.token]] : [];
    });
  }

  /** What notifications brought: "/3303/0/5700 23.5". */
  notifications(): readonly string[] {
    return this.events.flatMap((event) =>
      event.type === "notification"
        ? [`${event.path} ${new TextDecoder().decode(event.response.payload)}`]
        : [],
    );
  }

  remove(device: TestDevice): void {
    this.#node.feed({ type: "remove", endpoint: device.endpoint });
  }

  /** Power off in mid-sentence: what was not durable is gone. Comes back after `outage`. */
  crash(outage: Duration = "2 s"): void {
    this.crashes += 1;
    this.#life += 1;
    this.host.off();
    this.#world.after(outage, () => {
      this.#stack = this.#boot();
      this.host.on();
      this.#node.replace(this.#stack);
    });
  }

  /** What a start with these tables would make. */
  bootWith(tables: TestServer["tables"], tuning: Partial<ServerTuning> = {}): ServerStack {
    return this.#boot(tables, tuning);
  }

  /** Power off, and on again with other tables or another tuning: what was not durable is gone. */
  restartWith(
    tables: TestServer["tables"] = this.tables,
    tuning: Partial<ServerTuning> = {},
  ): void {
    this.#life += 1;
    if (tables !== this.tables) {
      this.tables.clear();
      for (const [table, rows] of tables) this.tables.set(table, new Map(rows));
    }
    this.#tuning = { ...this.#tuning, ...tuning };
    this.#stack = this.#boot();
    this.#node.replace(this.#stack);
  }

  /** A copy of what is durable. */
  copy(): TestServer["tables"] {
    return new Map([...this.tables].map(([table, rows]) => [table, new Map(rows)]));
  }

  /** As `restartWith`, and the next start knows that the tables are an old copy. */
  putBack(tables: TestServer["tables"]): void {
    this.#rolledBack = true;
    this.restartWith(tables);
    this.#rolledBack = false;
  }

  #boot(tables = this.tables, tuning: Partial<ServerTuning> = {}): ServerStack {
    return new ServerStack({
      ...(this.#rolledBack && { rolledBack: { settled: SETTLED } }),
      rng: this.#world.rng(`server ${this.#life}`),
      server: { nosec: true, ...this.#tuning, ...tuning },
      coap: this.#coap ?? {},
      load: (table) => [...(tables.get(table) ?? [])].map(([key, value]) => ({ key, value })),
      now: this.#world.now,
      sealer: SEALER,
      dtls: { port: COAPS_PORT, ...this.#dtls },
    });
  }

  #order(
    device: TestDevice,
    kind: OperationKind,
    path: string,
    request: ReturnType<typeof readRequest>,
    expires: Duration = "1 day",
    owner?: string,
  ): Order {
    const { now } = this.#world;
    const id = this.#stack.server.operationId();
    const expiresAt = now + milliseconds(expires);
    const { endpoint } = device;
    const by = owner === undefined ? {} : { owner };
    this.#node.feed({ type: "operate", id, endpoint, kind, path, request, expiresAt, ...by });
    return new Order(this, id);
  }

  #heard(output: Exclude<ServerStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "store") return this.#store(output.ticket, output.changes);
    if (output.type === "dropped") return;
    if (output.type === "operation") {
      const { id, state } = output.operation;
      this.accepted.add(id);
      if (state.name !== "waiting" && state.name !== "sent") this.ended.set(id, state.name);
    }
    this.events.push(output);
  }

  #store(ticket: number, changes: readonly StoreChange[]): void {
    if (!this.host.isOn) return; // died in the middle of this moment
    this.writes += 1;
    const life = this.#life;
    if (this.writes === this.crashAt?.write) {
      if (this.crashAt.when === "after") this.#apply(changes);
      this.crash();
      return;
    }
    this.#world.after(STORE_DELAY, () => {
      if (life !== this.#life) return;
      const ok = !this.full;
      if (ok) this.#apply(changes);
      this.#node.feed({ type: "stored", ticket, ok });
    });
  }

  #apply(changes: readonly StoreChange[]): void {
    for (const { table, key, value } of changes) {
      const records = this.tables.get(table) ?? new Map<string, Uint8Array>();
      this.tables.set(table, records);
      if (value === undefined) records.delete(key);
      else records.set(key, value.slice());
    }
  }
}

/** An order of a user, and what has become of it; also after restarts of the server. */
export class Order {
  readonly id: number;
  readonly #server: TestServer;

  constructor(server: TestServer, id: number) {
    this.#server = server;
    this.id = id;
  }

  get view(): OperationView | undefined {
    return this.#server.stack.server.operation(this.id);
  }

  get state(): OperationView["state"]["name"] | undefined {
    return this.view?.state.name;
  }

  /** "2.05 87", once it is done. */
  get answer(): string | undefined {
    const state = this.view?.state;
    if (state?.name !== "done") return undefined;
    const text = new TextDecoder().decode(state.response.payload);
    return `${formatCode(state.response.code)} ${text}`.trim();
  }
}

// ── devices ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A device's way to the server over DTLS, with the key that the server knows unless `key` is another. */
export type TestSecurity = Partial<Omit<ClientDtlsOptions, "credentials" | "connectionId">> & {
  readonly identity: string;
  readonly key?: Uint8Array;
  readonly strategy: "cid" | "resume";
  /** Instead of the pre-shared key; the test adds the credential. */
  readonly credentials?: ClientDtlsOptions["credentials"];
};

export type DeviceOptions = Pick<ClientOptions, "keepAlive" | "queueMode" | "tuning"> & {
  readonly endpoint?: string;
  /** Its name in the world, where several devices claim one endpoint. */
  readonly host?: string;
  readonly behind?: Access;
  readonly link?: LinkOptions;
  /** s */
  readonly lifetime?: number;
  readonly coap?: ClientStackOptions["coap"];
  readonly security?: TestSecurity;
};

export type RebootOptions = {
  readonly kept: boolean;
  readonly outage?: Duration;
  /** What has become of what it kept. */
  readonly change?: (snapshot: ClientSnapshot) => ClientSnapshot;
};

/** A thermometer with a battery at 87 %. In queue mode its radio is off between messages. */
export class TestDevice {
  readonly endpoint: string;
  readonly host: Host;
  readonly events: DeviceSaid[] = [];
  /** Words of Executes that were obeyed, in order. */
  readonly obeyed: string[] = [];
  /** Loses power as it obeys its next Execute: before it has noted its answer, or after it, which is lost. */
  cut: "begun" | "answered" | undefined;
  /** Paths that were read. */
  readonly reads: string[] = [];
  readonly values: Map<string, Value> = new Map([
    ["/3/0/9", { type: "integer", value: 87 }],
    ["/3/0/14", { type: "string", value: "+00:00" }],
    ["/3303/0/5700", { type: "float", value: 21.5 }],
  ] as const);
  asleep = false;
  /** What the server was told of it, if it was. */
  readonly credential: Credential | undefined;
  /** What the device keeps of its sessions. */
  readonly rows: Map<string, { table: string; key: string; value: Uint8Array }> = new Map();
  readonly #world: World;
  readonly #server: TestServer;
  readonly #options: DeviceOptions;
  readonly #node: Node<ClientStackInput, ClientStackOutput>;
  #stack: ClientStack;
  #life = 0;

  constructor(world: World, server: TestServer, options: DeviceOptions = {}) {
    const { endpoint = "device", host = endpoint, behind, link } = options;
    this.endpoint = endpoint;
    this.#world = world;
    this.#server = server;
    this.#options = options;
    this.host = world.host(host, {
      ...(behind !== undefined && { behind }),
      ...(link !== undefined && { link }),
    });
    const { security } = options;
    if (security !== undefined && security.key === undefined && !security.credentials) {
      const { identity } = security;
      this.credential = { kind: "psk", endpoint: this.endpoint, identity, key: KEY };
      server.addCredential(this.credential);
    }
    this.#stack = this.#boot(false);
    this.#node = this.host.attach<ClientStackInput, ClientStackOutput>(56_830, this.#stack, {
      onOutput: (output) => this.#heard(output),
    });
    this.host.link.down.tap(() => (this.asleep ? "drop" : "pass"));
  }

  get stack(): ClientStack {
    return this.#stack;
  }

  start(): void {
    const { address, secureAddress } = this.#server;
    const remote = this.#options.security === undefined ? address : secureAddress;
    this.#node.feed({ type: "connect", path: this.#node.path(remote) });
  }

  /** To the same server from another of its sockets. */
  startFrom(port: number): void {
    const path = this.#node.path(this.#server.address);
    this.#node.bind(port);
    this.#node.feed({ type: "connect", path: { ...path, local: { ...path.local, port } } });
  }

  update(): void {
    this.#node.feed({ type: "update" });
  }

  /** The instances that it has from now on. */
  announce(objects: ClientStackOptions["objects"]): void {
    this.#node.feed({ type: "objects", objects });
  }

  /** Resources of /1, such as 6. */
  configure(values: Readonly<Record<number, boolean | number>>): void {
    this.#node.feed({ type: "configure", values });
  }

  /** What it believes is observed: "/3303/0/5700". */
  get observed(): readonly string[] {
    return this.#stack.client.observed.map(formatNodePath).toSorted();
  }

  set(path: string, value: Value): void {
    this.values.set(path, value);
    this.changed(path);
  }

  /** Something there is another, or is no more. */
  changed(path: string): void {
    this.#node.feed({ type: "changed", path: parseNodePath(path) });
  }

  deregister(): void {
    this.#node.feed({ type: "deregister" });
  }

  /** Off and on again after `outage`, with what it knew or without. */
  reboot({ kept, outage = 0, change }: RebootOptions): void {
    const next = this.#boot(kept, change);
    this.host.off();
    this.#world.after(outage, () => {
      this.#stack = next;
      this.asleep = false;
      this.host.on();
      this.#node.replace(next);
      this.start();
    });
  }

  /** How often an event of this type happened. */
  count(type: DeviceSaid["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  #boot(kept: boolean, change = (s: ClientSnapshot): ClientSnapshot => s): ClientStack {
    const {
      endpoint,
      lifetime = 300,
      host: _host,
      behind: _behind,
      link: _link,
      coap,
      security,
      ...client
    } = this.#options;
    if (!kept) this.rows.clear();
    return new ClientStack({
      ...client,
      endpoint: endpoint ?? "device",
      rng: this.#world.rng(`${this.endpoint} ${this.#life++}`),
      registry: REGISTRY,
      objects: OBJECTS,
      server: { 1: lifetime },
      snapshot: kept ? change(structuredClone(this.#stack.snapshot())) : undefined,
      ...(coap !== undefined && { coap }),
      now: this.#world.now,
      ...(security !== undefined && { dtls: this.#secured(security) }),
    });
  }

  #secured({ identity, key = KEY, strategy, ...rest }: TestSecurity): ClientDtlsOptions {
    return {
      credentials: { kind: "psk", identity, key },
      ...rest,
      ...(strategy === "cid" && { connectionId: new Uint8Array(0) }),
      sealer: DEVICE_SEALER,
      stored: [...this.rows.values()],
    };
  }

  #store(ticket: number, changes: readonly StoreChange[]): void {
    const life = this.#life;
    this.#world.after(STORE_DELAY, () => {
      if (life !== this.#life) return;
      for (const { table, key, value } of changes) {
        if (value === undefined) this.rows.delete(`${table} ${key}`);
        else this.rows.set(`${table} ${key}`, { table, key, value: value.slice() });
      }
      this.#node.feed({ type: "stored", ticket, ok: true });
    });
  }

  #heard(output: Exclude<ClientStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "dropped" || output.type === "stateChanged") return;
    if (output.type === "store") return this.#store(output.ticket, output.changes);
    if (output.type === "perform") {
      const outcome = this.#perform(output.operation);
      const { cut } = this;
      if (cut === undefined || !output.once) {
        this.#node.feed({ type: "performed", id: output.id, outcome });
        return;
      }
      this.cut = undefined;
      if (cut === "answered") {
        this.host.link.up.dropNext(1);
        this.#node.feed({ type: "performed", id: output.id, outcome });
      }
      this.reboot({ kept: true, outage: "30 s" });
      return;
    }
    if (output.type === "asleep") this.asleep = true;
    if (output.type === "awake") this.asleep = false;
    this.events.push(output);
  }

  #perform(operation: Operation): Outcome {
    switch (operation.type) {
      case "read":
        this.reads.push(formatNodePath(operation.path));
        return { type: "values", nodes: this.#within(operation.path) };
      case "discover":
        return { type: "resources", paths: this.#within(operation.path).map(({ path }) => path) };
      case "write":
        for (const { path, value } of operation.nodes)
          if (value !== undefined) this.values.set(formatNodePath(path), value);
        return { type: "done" };
      case "execute":
        this.obeyed.push(operation.args.get(0) ?? "");
        return { type: "done" };
      case "create":
      case "delete":
        throw new Error(`nobody asks for ${operation.type} here`);
    }
  }

  #within(ancestor: readonly number[]): readonly ValueNode[] {
    return [...this.values]
      .map(([path, value]) => ({ path: parseNodePath(path), value }))
      .filter(({ path }) => isWithin(path, ancestor));
  }
}

type ServerSaid = Exclude<ServerStackOutput, { readonly type: "datagram" | "store" | "dropped" }>;
type DeviceSaid = Exclude<
  ClientStackOutput,
  { readonly type: "datagram" | "perform" | "dropped" | "stateChanged" | "store" }
>;

/** As a cipher with a tag: what was not sealed, was changed or is another's is not opened. */
/** As the server of production has it: a row says that the directory was put back, until the server has drawn its conclusions. */
const SETTLED: StoreChange = { table: "meta", key: "rolledBack", value: undefined };
export const SEALER: CredentialSealer = {
  seal: (secret: Uint8Array, context: string) =>
    checkedRow(
      context,
      secret.map((byte) => byte ^ MASK),
    ),
  open: (sealed: Uint8Array, context: string) =>
    openRow(context, sealed).map((byte) => byte ^ MASK),
};
const DEVICE_SEALER = {
  seal: (plain: Uint8Array) => SEALER.seal(plain, "device"),
  open: (sealed: Uint8Array) => SEALER.open(sealed, "device"),
};
const MASK = 0x5a;
const COAPS_PORT = 5_684;
/** The key of every device here. */
export const KEY: Uint8Array = hex("000102030405060708090a0b0c0d0e0f");
const REGISTRY = builtInRegistry();
const OBJECTS = [
  { id: 3, version: undefined, instances: [0] },
  { id: 3303, version: undefined, instances: [0] },
];
/** ms */
const STORE_DELAY = 5;
