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
  readonly link?: LinkOptions;
  readonly coap?: Partial<CoapTuning>;
  readonly dtls?: Partial<ServerDtlsOptions>;
  readonly onEvent?: (event: ServerEvent) => void;
};

/** A server in a simulated world. What it stores is durable at once. */
export class SimulatedServer {
  readonly host: Host;
  readonly #world: World;
  readonly #tuning: Partial<ServerTuning>;
  readonly #options: SimulatedServerOptions;
  readonly #node: Node<ServerStackInput, ServerStackOutput>;
  readonly #store = new Map<string, Map<string, Uint8Array>>();
  #stack: ServerStack;
  #life = 0;
  #lastRef = 0;

  constructor(world: World, tuning: Partial<ServerTuning>, options: SimulatedServerOptions = {}) {
    this.#world = world;
    this.#tuning = tuning;
    this.#options = options;
    this.#stack = this.#boot();
    this.host = world.host("server", { link: options.link ?? { delay: 0 } });
    this.#node = this.host.attach<ServerStackInput, ServerStackOutput>(COAP_PORT, this.#stack, {
      onOutput: (output) => this.#heard(output),
    });
    this.#node.bind(COAPS_PORT);
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

  /** Ends as by kill -9, and comes back with what was durable, or with less: a backup. */
  restart({ rolledBack = false }: { readonly rolledBack?: boolean } = {}): void {
    this.#stack = this.#boot(rolledBack);
    this.#node.replace(this.#stack);
  }

  #boot(rolledBack = false): ServerStack {
    const rng = this.#world.rng(`server ${++this.#life}`);
    return new ServerStack({
      rng,
      server: this.#tuning,
      coap: this.#options.coap ?? {},
      now: this.#world.now,
      sealer: IN_CLEAR,
      ...(rolledBack && { rolledBack: { settled: SETTLED } }),
      protection: oscoreProtection(rng),
      dtls: { port: COAPS_PORT, ...this.#options.dtls },
      load: (table) => [...(this.#store.get(table) ?? [])].map(([key, value]) => ({ key, value })),
    });
  }

  #heard(output: Exclude<ServerStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "store") {
      for (const change of output.changes) this.#keep(change);
      this.feed({ type: "stored", ticket: output.ticket, ok: true });
      return;
    }
    if (!ASIDE.has(output.type)) this.#options.onEvent?.(output as ServerEvent); // all others are
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

const SETTLED: StoreChange = { table: "meta", key: "rolledBack", value: undefined };
/** Nobody reads this store. */
const IN_CLEAR: CredentialSealer = { seal: (secret) => secret, open: (sealed) => sealed };
/** Outputs that are no event of the server. */
const ASIDE: ReadonlySet<string> = new Set(["dropped", "credential", "handshakeFailed", "keyLog"]);
const COAP_PORT = 5_683;
const COAPS_PORT = 5_684;
