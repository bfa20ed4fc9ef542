import type { Ledger, SocketAddress } from "@godwit/base";
import { OSCORE_RECORD, oscoreProtection, type OscoreSecurity } from "@godwit/client";
import {
  ClientStack,
  builtInRegistry,
  parseNodePath,
  type ClientDtlsOptions,
  type ClientEvent,
  type ClientOptions,
  type ClientSnapshot,
  type ClientStackInput,
  type ClientStackOptions,
  type ClientStackOutput,
  type DtlsRow,
  type Plain,
} from "@godwit/lwm2m";
import type { Access, Host, LinkOptions, Node, World } from "@godwit/netsim";
import { Values } from "./values.ts";

export type SimulatedDeviceOptions = {
  readonly endpoint: string;
  /** Of its host in the world; its endpoint name unless given. */
  readonly name?: string;
  readonly values: Values;
  /** The NAT box it stands behind. */
  readonly behind?: Access;
  readonly link?: LinkOptions;
  /** Versions of objects, where they are not what the LwM2M version implies. */
  readonly versions?: Readonly<Record<number, string>>;
  /** How it behaves towards the server. */
  readonly client?: Partial<Omit<ClientOptions, "endpoint" | "rng" | "registry" | "objects">>;
  readonly coap?: ClientStackOptions["coap"];
  /** OSCORE, and what differs from its defaults. */
  readonly security?: OscoreSecurity;
  readonly oscore?: Parameters<typeof oscoreProtection>[4];
  /** DTLS, instead. */
  readonly dtls?: Omit<ClientDtlsOptions, "stored" | "sealer">;
  readonly onEvent?: (event: DeviceEvent) => void;
  /** Lines by which recorded DTLS can be read. */
  readonly onKeyLog?: (line: string) => void;
};

export type DeviceEvent =
  | ClientEvent
  | Extract<ClientStackOutput, { type: "secured" | "handshakeFailed" }>;

/** A whole LwM2M device in a simulated world: its host, its stack, its values. */
export class SimulatedDevice {
  readonly endpoint: string;
  readonly host: Host;
  readonly values: Values;
  readonly #world: World;
  readonly #server: SocketAddress;
  readonly #options: SimulatedDeviceOptions;
  readonly #node: Node<ClientStackInput, ClientStackOutput>;
  #stack: ClientStack;
  #life = 0;
  /** Records of its OSCORE context or its DTLS sessions, durable at once. */
  #records = new Map<string, DtlsRow>();
  #asleep = false;

  constructor(world: World, server: SocketAddress, options: SimulatedDeviceOptions) {
    const { endpoint, name = endpoint, values, behind, link } = options;
    this.endpoint = endpoint;
    this.values = values;
    this.#world = world;
    this.#server = server;
    this.#options = options;
    this.host = world.host(name, {
      ...(behind !== undefined && { behind }),
      ...(link !== undefined && { link }),
    });
    this.#stack = this.#boot(undefined);
    this.#node = this.host.attach<ClientStackInput, ClientStackOutput>(PORT, this.#stack, {
      onOutput: (output) => this.#heard(output),
    });
    // In queue mode the radio is off between messages: what comes then is lost.
    this.host.link.down.tap(() => (this.#asleep ? "drop" : "pass"));
  }

  /** Where it listens behind its NAT. */
  get address(): SocketAddress {
    return this.#node.address;
  }

  /** Goes to its server, at another address of it if told: registers, or goes on with the registration it kept. */
  start(server: SocketAddress = this.#server): void {
    this.#node.feed({ type: "connect", path: this.#node.path(server) });
  }

  /** A copy of what its store has of its keys, for `reboot`. */
  get records(): ReadonlyMap<string, DtlsRow> {
    return new Map(this.#records);
  }

  get stack(): ClientStack {
    return this.#stack;
  }

  /** What its session has cost. */
  get ledger(): Ledger {
    return this.#stack.ledger;
  }

  /** Whether its radio is off until it has something to say. */
  get asleep(): boolean {
    return this.#asleep;
  }

  /** A value changes; those who observe it hear of it. */
  set(path: string, value: Plain): void {
    this.values.set(path, value);
    this.#node.feed({ type: "changed", path: parseNodePath(path) });
  }

  /** Sends an Update now. */
  update(): void {
    this.#node.feed({ type: "update" });
  }

  /** Power off and on. With its state kept, it goes on where it was; with its credentials, it registers anew with them. */
  reboot({
    kept,
    records,
  }: {
    readonly kept: boolean | "credentials";
    /** What its store has of its keys in place of the newest. */
    readonly records?: ReadonlyMap<string, DtlsRow>;
  }): void {
    if (records !== undefined) this.#records = new Map(records);
    // As through a file: nothing of the old life is shared with the new one.
    if (kept === false) this.#records.clear();
    this.#stack = this.#boot(kept === true ? structuredClone(this.#stack.snapshot()) : undefined);
    this.#asleep = false;
    this.#node.replace(this.#stack);
    this.start();
  }

  #boot(snapshot: ClientSnapshot | undefined): ClientStack {
    const { endpoint, values, versions, client = {}, coap = {} } = this.#options;
    const { security, oscore, dtls } = this.#options;
    const rng = this.#world.rng(`${this.host.name} ${++this.#life}`);
    const { now } = this.host;
    const record = this.#records.get(keyOf(OSCORE_RECORD))?.value;
    const protection = security && oscoreProtection(security, rng, record, now, oscore);
    const stored = [...this.#records.values()].filter(({ table }) => table !== OSCORE_RECORD.table);
    return new ClientStack({
      ...client,
      endpoint,
      rng,
      registry: REGISTRY,
      objects: values.objects(versions),
      snapshot,
      coap,
      ...(protection === undefined ? {} : { protection }),
      ...(dtls === undefined ? {} : { dtls: { ...dtls, stored, sealer: UNSEALED } }),
      now,
    });
  }

  #heard(output: Exclude<ClientStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "perform") {
      const outcome = this.values.perform(output.operation);
      this.#node.feed({ type: "performed", id: output.id, outcome });
      return;
    }
    if (output.type === "keyLog") return this.#options.onKeyLog?.(output.line);
    if (output.type === "dropped" || output.type === "stale") return;
    if (output.type === "handshakeStalled") return;
    if (output.type === "store") {
      for (const { table, key, value } of output.changes) {
        if (value === undefined) this.#records.delete(keyOf({ table, key }));
        else this.#records.set(keyOf({ table, key }), { table, key, value: value.slice() });
      }
      this.#node.feed({ type: "stored", ticket: output.ticket, ok: true });
      return;
    }
    if (output.type === "asleep") this.#asleep = true;
    else if (output.type === "awake") this.#asleep = false;
    this.#options.onEvent?.(output);
  }
}

function keyOf({ table, key }: { readonly table: string; readonly key: string }): string {
  return `${table} ${key}`;
}

/** Nobody reads a simulated disk. */
const UNSEALED = {
  seal: (plain: Uint8Array) => plain.slice(),
  open: (sealed: Uint8Array) => sealed.slice(),
};
const REGISTRY = builtInRegistry();
const PORT = 56_830;
