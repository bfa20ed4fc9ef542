import {
  FormatError,
  type DatagramEvent,
  type Rng,
  type SocketAddress,
  type StoreChange,
} from "@godwit/base";
import {
  ServerStack,
  type Credential,
  type CredentialSealer,
  type ServerStackInput,
  type ServerStackOptions,
  type ServerStackOutput,
  type ServerTuning,
} from "@godwit/lwm2m";
import type { Host, Node, World } from "@godwit/netsim";
import { oscoreProtection } from "@godwit/server";
import { Disk, type Tables } from "./disk.ts";
import { DTLS_STRIDE, OSCORE_STRIDE } from "./strategies.ts";
import { Watched, type Watch } from "./watched.ts";

/** What an operator can change from one start to the next. */
export type ServerSettings = {
  readonly nosec: boolean;
  /** The credentials file: added at each start. */
  readonly file: readonly Credential[];
  readonly tuning: Partial<ServerTuning>;
};

export type ServerSaid = Exclude<
  ServerStackOutput,
  { readonly type: "datagram" | "store" | "dropped" | "keyLog" }
>;

export type ServerHooks = {
  readonly said: (output: ServerSaid) => void;
  readonly watch: (life: number) => Watch<ServerStackOutput>;
  /** It cannot start with what its disk has. */
  readonly stillborn: (fault: unknown) => void;
};

/** A server of production below its sockets, its disk, and what its operator does with its process. */
export class StoryServer {
  readonly host: Host;
  readonly disk: Disk;
  settings: ServerSettings = { nosec: true, file: [], tuning: {} };
  readonly #world: World;
  readonly #hooks: ServerHooks;
  readonly #node: Node<ServerStackInput, ServerStackOutput>;
  #stack: ServerStack;
  #life = 0;
  #lastRef = 0;
  readonly #refs = new Map<number, (ok: boolean) => void>();

  constructor(world: World, hooks: ServerHooks) {
    this.#world = world;
    this.#hooks = hooks;
    this.disk = new Disk(world);
    this.host = world.host("server", { link: { delay: 5 } });
    this.#stack = this.#boot();
    this.#node = this.host.attach<ServerStackInput, ServerStackOutput>(
      COAP_PORT,
      this.#watched(this.#stack),
      { onOutput: (output) => this.#heard(output) },
    );
    this.#node.bind(COAPS_PORT);
  }

  get stack(): ServerStack {
    return this.#stack;
  }

  get isOn(): boolean {
    return this.host.isOn;
  }

  get address(): SocketAddress {
    return { host: this.host.address, port: COAP_PORT };
  }

  /** Where it speaks DTLS. */
  get secureAddress(): SocketAddress {
    return { host: this.host.address, port: COAPS_PORT };
  }

  feed(input: ServerStackInput): void {
    this.#node.feed(input);
  }

  /** `done`: whether it is durable. Never called where the server dies before it is. */
  addCredential(credential: Credential, done: (ok: boolean) => void = ignore): void {
    this.#refs.set(++this.#lastRef, done);
    this.feed({ type: "addCredential", ref: this.#lastRef, credential });
  }

  removeCredential(id: string, done: (ok: boolean) => void): void {
    this.#refs.set(++this.#lastRef, done);
    this.feed({ type: "removeCredential", ref: this.#lastRef, id });
  }

  /** As by kill -9; `kept` of the writes under way became durable. */
  kill(kept: number): void {
    this.#life += 1;
    this.disk.crash(kept);
    this.host.off();
  }

  /** As by SIGTERM. */
  stop(): void {
    this.feed({ type: "park" });
    this.disk.flush();
    this.#life += 1;
    this.host.off();
  }

  /** With its settings, from its disk. `added` is told how each credential of the file fared. */
  start(added: (credential: Credential, ok: boolean) => void): void {
    try {
      this.#stack = this.#boot();
    } catch (fault) {
      this.#hooks.stillborn(fault);
      return;
    }
    this.host.on();
    this.#node.replace(this.#watched(this.#stack));
    for (const one of this.settings.file) this.addCredential(one, (ok) => added(one, ok));
  }

  /** Another server with what the disk has now, as the next start would have it. It says nothing to anybody. */
  shadow(): ServerStack {
    return this.#made(this.#world.rng(`shadow ${this.#life} ${this.#world.now}`), this.disk.copy());
  }

  #boot(): ServerStack {
    this.#life += 1;
    return this.#made(this.#world.rng(`server ${this.#life}`), this.disk.tables);
  }

  #made(rng: Rng, tables: Tables): ServerStack {
    const { nosec, tuning } = this.settings;
    const rolledBack = tables.get(META)?.has(ROLLED_BACK) === true;
    const strides = { firstStride: OSCORE_STRIDE, maxStride: OSCORE_STRIDE };
    const options: ServerStackOptions = {
      rng,
      server: { ...tuning, nosec },
      now: Math.floor(this.host.now),
      sealer: SEALER,
      ...(rolledBack && { rolledBack: { settled: SETTLED } }),
      protection: oscoreProtection(rng, strides),
      dtls: { port: COAPS_PORT, tuning: { stride: DTLS_STRIDE } },
      load: (table) => [...(tables.get(table) ?? [])].map(([key, value]) => ({ key, value })),
    };
    return new ServerStack(options);
  }

  #watched(stack: ServerStack): Watched<ServerStackInput | DatagramEvent, ServerStackOutput> {
    return new Watched(stack, this.#hooks.watch(this.#life));
  }

  #heard(output: Exclude<ServerStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "store") return this.#store(output.ticket, output.changes);
    if (output.type === "dropped" || output.type === "keyLog") return;
    if (output.type !== "credential") return this.#hooks.said(output);
    this.#refs.get(output.ref)?.(output.ok);
    this.#refs.delete(output.ref);
  }

  #store(ticket: number, changes: readonly StoreChange[]): void {
    const life = this.#life;
    this.disk.write(changes, (ok) => {
      if (life === this.#life && this.host.isOn) this.feed({ type: "stored", ticket, ok });
    });
  }
}

/** The row that says that the directory was put back; the server deletes it once it has drawn its conclusions. */
export const META = "meta";
export const ROLLED_BACK = "rolledBack";
const SETTLED: StoreChange = { table: META, key: ROLLED_BACK, value: undefined };

function ignore(): void {}

/** In clear, with a check sum over the secret and its place: what was changed is not opened. */
const SEALER: CredentialSealer = {
  seal: (secret, context) => {
    const sealed = new Uint8Array(secret.length + 4);
    sealed.set(secret);
    new DataView(sealed.buffer).setUint32(secret.length, checkSum(secret, context));
    return sealed;
  },
  open: (sealed, context) => {
    const secret = sealed.slice(0, -4);
    const sum =
      sealed.length < 4
        ? -1
        : new DataView(sealed.buffer, sealed.byteOffset).getUint32(secret.length);
    if (sum !== checkSum(secret, context)) throw new FormatError("sealed elsewhere, or changed");
    return secret;
  },
};

/** FNV-1a. */
function checkSum(secret: Uint8Array, context: string): number {
  let sum = 0x811c_9dc5;
  for (const byte of secret) sum = Math.imul(sum ^ byte, 0x0100_0193);
  for (let i = 0; i < context.length; i++)
    sum = Math.imul(sum ^ context.charCodeAt(i), 0x0100_0193);
  return sum >>> 0;
}

const COAP_PORT = 5_683;
export const COAPS_PORT = 5_684;
