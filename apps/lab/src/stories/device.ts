import type { StoreChange } from "@godwit/base";
import {
  ClientStack,
  builtInRegistry,
  parseNodePath,
  type ClientSnapshot,
  type ClientStackInput,
  type ClientStackOutput,
  type DtlsRow,
  type Plain,
} from "@godwit/lwm2m";
import type { Access, Host, Node, World } from "@godwit/netsim";
import { Values } from "../simulation/values.ts";
import { Disk, type Tables } from "./disk.ts";
import type { StoryServer } from "./server.ts";
import { isDtls, securityOf, type KeyVersion, type Strategy } from "./strategies.ts";
import { Watched, type Watch } from "./watched.ts";

/** All that a device keeps over a restart. */
export type DeviceState = {
  readonly tables: Tables;
  readonly snapshot: ClientSnapshot | undefined;
};

export type DeviceSaid = Exclude<
  ClientStackOutput,
  { readonly type: "datagram" | "store" | "dropped" | "keyLog" | "perform" | "stale" }
>;

export type DeviceHooks = {
  readonly said: (output: DeviceSaid) => void;
  readonly watch: () => Watch<ClientStackOutput>;
  readonly stillborn: (fault: unknown) => void;
};

/** A device of production below its sockets: its stack, its disk, its values. Its endpoint name is its strategy. */
export class StoryDevice {
  readonly strategy: Strategy;
  readonly host: Host;
  readonly values: Values = new Values(FIRST_VALUES);
  /** The credential it has. */
  keyVersion: KeyVersion = 1;
  /** s; told to the stack by `configure`, and to each that begins without a state. */
  lifetime = 3_600;
  /** Words of Executes that it obeyed, in order. */
  readonly obeyed: string[] = [];
  readonly #world: World;
  readonly #server: StoryServer;
  readonly #hooks: DeviceHooks;
  readonly #disk: Disk;
  readonly #node: Node<ClientStackInput, ClientStackOutput>;
  #snapshot: ClientSnapshot | undefined;
  #saving = false;
  #stack: ClientStack;
  #local: ReturnType<Node<ClientStackInput, ClientStackOutput>["bind"]>;
  #life = 0;
  #asleep = false;

  constructor(world: World, server: StoryServer, strategy: Strategy, around: Around) {
    this.strategy = strategy;
    this.#world = world;
    this.#server = server;
    this.#hooks = around.hooks;
    this.#disk = new Disk(world);
    this.host = world.host(strategy, { behind: around.behind, link: { delay: 20 } });
    this.#stack = this.#boot();
    this.#node = this.host.attach<ClientStackInput, ClientStackOutput>(
      undefined,
      new Watched(this.#stack, around.hooks.watch()),
      { onOutput: (output) => this.#heard(output) },
    );
    this.#local = this.#node.address;
    // In queue mode the radio is off between messages: what comes then is lost.
    this.host.link.down.tap(() => (this.#asleep ? "drop" : "pass"));
  }

  get stack(): ClientStack {
    return this.#stack;
  }

  get isOn(): boolean {
    return this.host.isOn;
  }

  /** Paths that its stack knows to be observed. */
  get observed(): ReadonlySet<string> {
    return new Set(this.#stack.client.observed.map(pathText));
  }

  /** A copy of what is durable. */
  get state(): DeviceState {
    return { tables: this.#disk.copy(), snapshot: structuredClone(this.#snapshot) };
  }

  connect(): void {
    const remote = isDtls(this.strategy) ? this.#server.secureAddress : this.#server.address;
    this.#node.feed({ type: "connect", path: { local: this.#local, remote } });
  }

  feed(input: ClientStackInput): void {
    if (this.isOn) this.#node.feed(input);
  }

  set(path: string, value: Plain): void {
    this.values.set(path, value);
    this.feed({ type: "changed", path: parseNodePath(path) });
  }

  /** The battery is out; `kept` of the writes under way became durable. */
  kill(kept: number): void {
    this.#life += 1;
    this.#saving = false;
    this.#disk.crash(kept);
    this.host.off();
  }

  /** A clean end. */
  stop(): void {
    this.#snapshot = structuredClone(this.#stack.snapshot());
    this.feed({ type: "park" });
    this.#disk.flush();
    this.#life += 1;
    this.#saving = false;
    this.host.off();
  }

  /** Begins again with what is durable, or with another state, at a new port as a process gets one. */
  start(state?: DeviceState): void {
    if (state !== undefined) {
      this.#disk.putBack(state.tables);
      this.#snapshot = structuredClone(state.snapshot);
    }
    this.#asleep = false;
    try {
      this.#stack = this.#boot();
    } catch (fault) {
      this.#hooks.stillborn(fault);
      return;
    }
    this.host.on();
    this.#node.replace(new Watched(this.#stack, this.#hooks.watch()));
    this.#rebind();
    this.connect();
  }

  /** Another socket in place of the one before. */
  #rebind(): void {
    const before = this.#local;
    this.#local = this.#node.bind(undefined);
    this.#node.unbind(before);
  }

  #boot(): ClientStack {
    const rng = this.#world.rng(`${this.strategy} ${++this.#life}`);
    const rows: DtlsRow[] = [...this.#disk.tables].flatMap(([table, all]) =>
      [...all].map(([key, value]) => ({ table, key, value })),
    );
    const now = Math.floor(this.host.now);
    const security = securityOf(this.strategy, { version: this.keyVersion, rows, rng, now });
    const { emptyToken, ...rest } = security;
    return new ClientStack({
      ...rest,
      endpoint: this.strategy,
      rng,
      registry: REGISTRY,
      objects: this.values.objects(),
      server: { 1: this.lifetime },
      snapshot: structuredClone(this.#snapshot),
      coap: { emptyToken, confirmableNotifyInterval: CONFIRMABLE_EVERY },
      now,
    });
  }

  #heard(output: Exclude<ClientStackOutput, { readonly type: "datagram" }>): void {
    if (output.type === "store") return this.#store(output.ticket, output.changes);
    if (output.type === "perform") return this.#perform(output);
    if (output.type === "stale") return this.#renew();
    if (output.type === "dropped" || output.type === "keyLog") return;
    if (output.type === "asleep") this.#asleep = true;
    if (output.type === "awake") this.#asleep = false;
    if (output.type === "stateChanged") this.#save();
    this.#hooks.said(output);
  }

  #store(ticket: number, changes: readonly StoreChange[]): void {
    const life = this.#life;
    this.#disk.write(changes, (ok) => {
      if (life === this.#life && this.isOn) this.feed({ type: "stored", ticket, ok });
    });
  }

  /** One write at a time, the newest state last. */
  #save(): void {
    if (this.#saving) return;
    this.#saving = true;
    this.#later(() => {
      this.#saving = false;
      this.#snapshot = structuredClone(this.#stack.snapshot());
    });
  }

  /** What must not be done twice is noted before it is begun. */
  #perform({ id, operation, once }: Extract<ClientStackOutput, { type: "perform" }>): void {
    const act = (): void => {
      if (operation.type === "execute") this.obeyed.push(operation.args.get(0) ?? "");
      this.feed({ type: "performed", id, outcome: this.values.perform(operation) });
    };
    if (once) this.#later(act, 2 * SAVE_DELAY);
    else act();
  }

  /** The NAT may hold on to a dead mapping: another socket gets another one. */
  #renew(): void {
    this.#later(() => {
      this.#rebind();
      this.connect();
    }, 1);
  }

  #later(run: () => void, delay: number = SAVE_DELAY): void {
    const life = this.#life;
    this.#world.after(delay, () => {
      if (life === this.#life && this.isOn) run();
    });
  }
}

/** Paths that a snapshot has as observed. */
export function observedIn(snapshot: ClientSnapshot | undefined): ReadonlySet<string> {
  const items = snapshot?.observations?.items ?? [];
  return new Set(items.map(({ path }) => pathText(path)));
}

function pathText(path: readonly number[]): string {
  return `/${path.join("/")}`;
}

type Around = { readonly behind: Access; readonly hooks: DeviceHooks };

/** What is observed in the stories. */
export const PATHS = ["/3303/0/5700", "/3/0/10", "/3303/0/5701"] as const;
const FIRST_VALUES: Readonly<Record<string, Plain>> = {
  "/3/0/9": 87,
  "/3/0/10": 1,
  "/3/0/14": "+00:00",
  "/3303/0/5700": 21.5,
  "/3303/0/5701": "u0",
};
const REGISTRY = builtInRegistry();
/** ms */
const SAVE_DELAY = 5;
/** Sooner than the day of the default, so that a story of some hours has confirmable notifications. */
const CONFIRMABLE_EVERY = 600_000;
