import type { SocketAddress, StoreChange } from "@godwit/base";
import {
  ServerStack,
  type Credential,
  type CredentialSealer,
  type ServerDtlsOptions,
  type ServerStackInput,
  type ServerStackOutput,
  type ServerEvent,
  type ServerTuning,
} from "@godwit/lwm2m";
import type { CoapTuning } from "@godwit/coap";
import type { Host, LinkOptions, Node, World } from "@godwit/netsim";
import { oscoreProtection } from "@godwit/server";

export type SimulatedServerOptions = {
  /** Its IP addresses, the first for who asks for none. Without: a free one. */
  readonly addresses?: readonly [string, ...string[]];
  readonly link?: LinkOptions;
  readonly coap?: Partial<CoapTuning>;
  readonly dtls?: Partial<ServerDtlsOptions>;
  readonly onEvent?: (event: ServerEvent) => void;
  /** Gets whatever the stack says, events included. */
  readonly onOutput?: (output: SimulatedServerOutput) => void;
  /** Where it writes; without, what it stores is durable at once. */
  readonly disk?: Disk;
};

export type SimulatedServerOutput = Exclude<
  ServerStackOutput,
  { readonly type: "datagram" | "store" }
>;

/** Takes a write: makes it durable by `keep`, and says by `done` whether it is, at once or later. */
export type Disk = (write: {
  readonly changes: readonly StoreChange[];
  readonly keep: () => void;
  readonly done: (ok: boolean) => void;
}) => void;

/** What a server has written, by table and key. */
export type SimulatedStore = ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;

/** A server in a simulated world. */
export class SimulatedServer {
  readonly host: Host;
  readonly #world: World;
  readonly #tuning: Partial<ServerTuning>;
  readonly #options: SimulatedServerOptions;
  readonly #node: Node<ServerStackInput, ServerStackOutput>;
  #store = new Map<string, Map<string, Uint8Array>>();
  #stack: ServerStack;
  #life = 0;
  /** Its first write comes before there is a network to take the answer from. */
  #isAttached = false;
  #lastRef = 0;

  constructor(world: World, tuning: Partial<ServerTuning>, options: SimulatedServerOptions = {}) {
    this.#world = world;
    this.#tuning = tuning;
    this.#options = options;
    const { addresses, link = { delay: 0 } } = options;
    this.host = world.host("server", { link, ...(addresses && { address: addresses }) });
    this.#stack = this.#boot();
    this.#node = this.host.attach<ServerStackInput, ServerStackOutput>(COAP_PORT, this.#stack, {
      onOutput: (output) => this.#heard(output),
    });
    this.#isAttached = true;
    for (const address of this.host.addresses) {
      if (address !== this.host.address) this.#node.bind(COAP_PORT, address);
      this.#node.bind(COAPS_PORT, address);
    }
  }

  get stack(): ServerStack {
    return this.#stack;
  }

  feed(input: ServerStackInput): void {
    this.#node.feed(input);
  }

  addCredential(credential: Credential): void {
    this.feed({ type: "addCredential", ref: ++this.#lastRef, credential });
  }

  removeCredential(id: string): void {
    this.feed({ type: "removeCredential", ref: ++this.#lastRef, id });
  }

  /** What is durable. */
  get store(): SimulatedStore {
    return this.#store;
  }

  /** A copy of it, for `restart`. */
  backup(): SimulatedStore {
    return copyOf(this.#store);
  }

  /** Ends as by kill -9, and comes back with what was durable, or with less: a backup, which it knows to be old. */
  restart({
    rolledBack = false,
    backup,
  }: {
    readonly rolledBack?: boolean;
    readonly backup?: SimulatedStore;
  } = {}): void {
    if (backup !== undefined) this.#store = copyOf(backup);
    this.#stack = this.#boot(rolledBack);
    this.#node.replace(this.#stack);
  }

  #boot(rolledBack = false): ServerStack {
    const rng = this.#world.rng(`server ${++this.#life}`);
    return new ServerStack({
      rng,
      server: this.#tuning,
      coap: this.#options.coap ?? {},
      now: this.host.now,
      sealer: IN_CLEAR,
      ...(rolledBack && { rolledBack: { settled: SETTLED } }),
      protection: oscoreProtection(rng),
      dtls: { port: COAPS_PORT, ...this.#options.dtls },
      load: (table) => [...(this.#store.get(table) ?? [])].map(([key, value]) => ({ key, value })),
    });
  }

  #heard(output: Exclude<ServerStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "store") {
      this.#write(output.ticket, output.changes);
      return;
    }
    this.#options.onOutput?.(output);
    if (!ASIDE.has(output.type)) this.#options.onEvent?.(output as ServerEvent); // all others are
  }

  #write(ticket: number, changes: readonly StoreChange[]): void {
    const life = this.#life;
    const disk = this.#options.disk ?? AT_ONCE;
    disk({
      changes,
      keep: () => changes.forEach((change) => this.#keep(change)),
      done: (ok) => {
        const answer = (): void => {
          if (life === this.#life && this.host.isOn) this.feed({ type: "stored", ticket, ok });
        };
        if (this.#isAttached) answer();
        else this.#world.after(0, answer);
      },
    });
  }

  #keep({ table, key, value }: StoreChange): void {
    const records = this.#store.get(table) ?? new Map<string, Uint8Array>();
    this.#store.set(table, records);
    if (value === undefined) records.delete(key);
    else records.set(key, value.slice());
  }

  get address(): SocketAddress {
    return this.#node.address;
  }

  /** Where it speaks DTLS. */
  get secureAddress(): SocketAddress {
    return { host: this.address.host, port: COAPS_PORT };
  }
}

function copyOf(store: SimulatedStore): Map<string, Map<string, Uint8Array>> {
  return new Map([...store].map(([table, records]) => [table, new Map(records)]));
}

const AT_ONCE: Disk = ({ keep, done }) => {
  keep();
  done(true);
};
const SETTLED: StoreChange = { table: "meta", key: "rolledBack", value: undefined };
/** Nobody reads this store. */
const IN_CLEAR: CredentialSealer = { seal: (secret) => secret, open: (sealed) => sealed };
/** Outputs that are no event of the server. */
const ASIDE: ReadonlySet<string> = new Set(["dropped", "credential", "handshakeFailed", "keyLog"]);
const COAP_PORT = 5_683;
const COAPS_PORT = 5_684;
