// Rounds of load, kill -9, restart and audit against the real server.
//
//   devices register ──> load: Updates, orders by REST, reboots, departures ──> kill -9 at a random moment
//        ▲                                                                            │
//        └── settle: devices speak, waiting orders go out <── audit <── restart on the same data
//
// What is audited: nothing that a device or a user was promised is lost, nothing is done twice, nobody registers anew.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { below, seededRng, type Rng } from "@godwit/base";
import { psk } from "@godwit/client";
import type { DeviceView, Task } from "@godwit/server";
import { AuditedDevice, Deeds } from "./audited-device.test-kit.ts";
import { DtlsTap } from "./dtls-tap.test-kit.ts";
import { FARMS, SecuredFleet } from "./secured-fleet.test-kit.ts";
import { Served } from "./served.test-kit.ts";

export type CrashOptions = {
  readonly devices: number;
  readonly seed: number;
  /** ms of load before the kill, at most. */
  readonly load: number;
  /** ms that waiting orders get after a round; what then still waits is left to later rounds. */
  readonly settle: number;
  /** Updates per second over all devices. */
  readonly updateRate: number;
  /** Users who give one order after the other. */
  readonly users: number;
  /**
   * "dtls": all devices come by DTLS with a Connection ID, through a tap that looks for nonces used twice. After each
   * restart every device speaks, and none may need a handshake. Devices restart and leave between the kills only: who is
   * killed in a handshake waits long for its end.
   * "oscore": devices keep their state, and are killed, too: in every other round.
   */
  readonly security?: "none" | "dtls" | "oscore";
};

export type RoundReport = {
  readonly round: number;
  readonly killed: "server" | "devices";
  /** What was lost or done twice; empty is good. */
  readonly faults: readonly string[];
  /** ms of load before the kill. */
  readonly killedAfter: number;
  /** ms from the restart to "Ready": of the server, or of the devices' processes. */
  readonly readyAfter: number;
  /** What was promised when the server was killed, and of that in this round. */
  readonly registrations: number;
  readonly updates: number;
  readonly orders: number;
  /** Accepted orders that were found waiting after the restart. */
  readonly waiting: number;
};

export class CrashRounds {
  readonly devices: readonly AuditedDevice[];
  readonly #options: CrashOptions;
  readonly #data: string;
  readonly #rng: Rng;
  readonly #deeds: Deeds;
  readonly #secured: SecuredFleet | undefined;
  /** Accepted orders that have not been seen finished after a restart. */
  readonly #open = new Map<string, Order>();
  readonly #openOf = new Map<string, number>();
  #served: Served;
  #round = 0;
  #named = 0;
  #accepted = 0;
  #unsure = 0;
  #loading = false;
  #enrolled = false;

  readonly tap: DtlsTap | undefined;

  private constructor(
    options: CrashOptions,
    data: string,
    served: Served,
    { tap, secured }: { readonly tap?: DtlsTap; readonly secured?: SecuredFleet } = {},
  ) {
    this.#options = options;
    this.tap = tap;
    this.#data = data;
    this.#served = served;
    this.#secured = secured;
    this.#rng = seededRng(options.seed);
    this.#deeds = new Deeds();
    this.devices = Array.from(
      { length: options.devices },
      (_, i) =>
        new AuditedDevice({
          ...traits(i),
          server: tap === undefined ? served.server : `coaps://127.0.0.1:${tap.port}`,
          deeds: this.#deeds,
          ...(tap && { secured: { security: psk(identityOf(i), KEY), strategy: "cid" } }),
          ...(secured && { body: () => secured.body(`crash-${i}`) }),
        }),
    );
  }

  static async open(options: CrashOptions): Promise<CrashRounds> {
    const data = mkdtempSync(join(tmpdir(), "godwit-crash-"));
    if (options.security === "oscore") {
      const all = Array.from({ length: options.devices }, (_, i) => traits(i));
      const secured = new SecuredFleet(all);
      const served = await Served.start({ data, args: [...ARGS, ...secured.args], nosec: false });
      await secured.open(served.ports.coap);
      return new CrashRounds(options, data, served, { secured });
    }
    if (options.security !== "dtls") {
      return new CrashRounds(options, data, await Served.start({ data, args: ARGS }));
    }
    const file = join(data, "credentials.json");
    writeFileSync(file, JSON.stringify(credentialsOf(options.devices)));
    const args = [...ARGS, "--credentials", file];
    const served = await Served.start({ data, dtls: true, args });
    const tap = await DtlsTap.start(served.ports.coaps ?? 0);
    return new CrashRounds(options, data, served, { tap });
  }

  /** What is known of captured OSCORE traffic, where there is any. */
  get secured(): SecuredFleet | undefined {
    return this.#secured;
  }

  /** Orders that ended with "it may have obeyed": their devices lost power, or their memory. */
  get unsure(): number {
    return this.#unsure;
  }

  get executions(): number {
    return this.#deeds.executions.size;
  }

  /** All devices register, and nobody is killed. Without it they do so in the first round, and the server is. */
  async enrol(): Promise<void> {
    await this.#enrol();
    while (this.devices.some(({ pending }) => pending !== undefined)) await sleep(20);
    this.#enrolled = true;
  }

  /** Load, kill -9, restart, audit; then devices and waiting orders get some time. */
  async round(): Promise<RoundReport> {
    this.#round += 1;
    const before = this.#totals();
    const killedAfter = Math.round(this.#options.load * (0.1 + 0.9 * this.#rng.float()));
    this.#loading = true;
    const load = this.#load();
    await sleep(killedAfter);
    const killed = this.#secured !== undefined && this.#round % 2 === 0 ? "devices" : "server";
    const { at, readyAfter } =
      killed === "server" ? await this.#killServer(load) : await this.#killDevices(load);
    const faults = [...(await this.#auditRegistrations()), ...(await this.#auditOrders())];
    const waiting = [...this.#open.values()].filter(({ finished }) => !finished).length;
    await this.#settle(this.#options.settle, false);
    this.#secured?.settled(this.devices);
    return {
      round: this.#round,
      killed,
      faults: [...faults, ...this.#complaints()],
      killedAfter,
      readyAfter,
      registrations: at.registrations,
      updates: at.updates - before.updates,
      orders: at.orders - before.orders,
      waiting,
    };
  }

  async #killServer(load: Promise<void>): Promise<Killed> {
    await this.#served.end("SIGKILL");
    this.#loading = false;
    await load;
    this.#secured?.killed();
    const at = this.#totals();
    const { ports } = this.#served;
    const args = [...ARGS, ...(this.#secured?.args ?? [])];
    const nosec = this.#secured === undefined;
    const dtls = this.tap !== undefined;
    this.#served = await Served.start({ data: this.#data, ports, dtls, args, nosec });
    return { at, readyAfter: Math.round(this.#served.readyAfter) };
  }

  /** Some devices lose power under load, and start with what they kept. */
  async #killDevices(load: Promise<void>): Promise<Killed> {
    const began = performance.now();
    const farm = below(this.#rng, FARMS);
    await this.#secured?.kill(farm);
    const at = this.#totals();
    const dead = this.devices.filter(({ endpoint }) => this.#secured?.isIn(farm, endpoint));
    const ran = dead.filter((device) => device.died());
    await this.#secured?.restart(farm);
    const readyAfter = Math.round(performance.now() - began);
    await Promise.all(ran.map((device) => device.start()));
    this.#loading = false;
    await load;
    return { at, readyAfter };
  }

  /** Every device speaks, and everything that waits must end. Returns what did not. */
  async finish(patience: number): Promise<readonly string[]> {
    await this.#settle(patience, true);
    const faults = [...(await this.#auditRegistrations()), ...(await this.#auditOrders())];
    for (const order of this.#open.values()) {
      if (order.finished) continue;
      const { body } = await this.#served.call("GET", `/api/v1/tasks/${order.id}`);
      const { state, attempts } = body as Task;
      faults.push(
        `${named(order)} is ${state} after ${attempts} attempts although its device spoke`,
      );
    }
    for (const { endpoint, pending } of this.devices) {
      if (pending === undefined) continue;
      const { body } = await this.#served.call("GET", `/api/v1/devices/${endpoint}`);
      const ledger = JSON.stringify((body as DeviceView).ledger?.in);
      faults.push(`${endpoint}: its ${pending} was never answered; the server received ${ledger}`);
    }
    this.#secured?.killed();
    return [...faults, ...this.#complaints()];
  }

  /** Ends the server by SIGTERM, and returns its exit status and how long that took. */
  async close(): Promise<{ readonly code: number | null; readonly took: number }> {
    if (this.#secured === undefined)
      await Promise.all(this.devices.map((device) => device.silence()));
    await this.#secured?.close();
    const began = performance.now();
    const code = await this.#served.end("SIGTERM");
    this.tap?.close();
    rmSync(this.#data, { recursive: true, force: true });
    return { code, took: Math.round(performance.now() - began) };
  }

  #totals(): Totals {
    this.#secured?.collect(this.#deeds);
    let [registrations, updates] = [0, 0];
    for (const device of this.devices) {
      if (typeof device.acknowledged === "object") registrations += 1;
      updates += device.updates;
    }
    return { registrations, updates, orders: this.#accepted };
  }

  // ── load ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #load(): Promise<void> {
    const users = Array.from({ length: this.#options.users }, () => this.#use());
    const parts = this.#enrolled ? [this.#talk(), this.#change()] : [this.#enrol()];
    this.#enrolled = true;
    await Promise.all([...users, ...parts]);
  }

  async #enrol(): Promise<void> {
    for (const device of this.devices) {
      await device.start();
      if (below(this.#rng, 20) === 0) await sleep(5); // lets answers come in between
    }
  }

  /** Devices that are awake send Updates. */
  async #talk(): Promise<void> {
    const perTick = (this.#options.updateRate * TICK) / 1_000;
    for (let due = perTick; this.#loading; due += perTick) {
      for (; due >= 1; due -= 1) {
        const device = this.#anyone();
        if (!device.queueMode || below(this.#rng, 20) === 0) device.update();
      }
      await sleep(TICK);
    }
  }

  /** Some devices restart without memory, some take leave. */
  async #change(): Promise<void> {
    if (this.tap === undefined) await this.#come();
  }

  async #come(): Promise<void> {
    const leaving: Promise<void>[] = [];
    for (let left = Math.ceil(this.devices.length / 100); left > 0 && this.#loading; left--) {
      const [one, other] = [this.#anyone(), this.#anyone()];
      if (one.idle) leaving.push(one.leave());
      if (other.idle && other !== one) await other.reboot();
      await sleep(60);
    }
    void Promise.all(leaving); // answered before or after the restart
  }

  /** A user who gives orders and never waits for the device. */
  async #use(): Promise<void> {
    while (this.#loading) {
      const device = this.#anyone();
      await sleep(5);
      if (device.pending === "register" || device.acknowledged === undefined) continue;
      const known = this.#openOf.get(device.endpoint) ?? 0;
      if (known >= OPEN_PER_DEVICE) continue;
      const order = this.#invent(device);
      this.#openOf.set(device.endpoint, known + 1);
      try {
        const { status, body } = await this.#served.call(...requestOf(order));
        if (status === 200 || status === 202) {
          order.id = (body as Task).id;
          this.#open.set(order.id, order);
          this.#accepted += 1;
          continue;
        }
        if (status !== 404) this.#deeds.faults.push(`${named(order)}: HTTP ${status}`);
        this.#closed(order);
      } catch {
        this.#closed(order);
        return; // killed: nothing was promised
      }
    }
  }

  #closed({ endpoint }: Order): void {
    this.#openOf.set(endpoint, (this.#openOf.get(endpoint) ?? 0) - 1);
  }

  #invent({ endpoint, lives }: AuditedDevice): Order {
    const kind = (["execute", "execute", "write", "read"] as const)[below(this.#rng, 4)]!; // 4 kinds
    const name = `o${++this.#named}`;
    return { name, id: "", endpoint, lives, kind, seen: 0, finished: false };
  }

  #anyone(): AuditedDevice {
    return this.devices[below(this.#rng, this.devices.length)]!; // below its length
  }

  // ── audit ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #auditRegistrations(): Promise<string[]> {
    // What is promised now must be in an answer that is asked for now; what comes meanwhile only adds to it.
    const promised = this.devices.map(({ endpoint, acknowledged, pending, updatedSince }) => ({
      endpoint,
      acknowledged,
      pending,
      updatedSince,
    }));
    const there = new Map<string, DeviceView>();
    for (let cursor = ""; ;) {
      const more = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const { body } = await this.#served.call("GET", `/api/v1/devices?limit=1000${more}`);
      const { items, next } = body as { items: DeviceView[]; next?: string };
      for (const view of items) there.set(view.endpoint, view);
      if (next === undefined) break;
      cursor = next;
    }
    const faults: string[] = [];
    for (const { endpoint, acknowledged, pending, updatedSince } of promised) {
      if (acknowledged === undefined || pending === "deregister") continue;
      const view = there.get(endpoint);
      if (acknowledged === "gone") {
        if (view !== undefined && pending === undefined) faults.push(`${endpoint} is back`);
      } else if (view === undefined) faults.push(`${endpoint} is lost, was ${acknowledged.id}`);
      else if (pending === "register") continue; // replaced or not yet
      else if (acknowledged.id === "") acknowledged.id = view.id;
      else if (view.id !== acknowledged.id)
        faults.push(`${endpoint} is ${view.id}, was promised ${acknowledged.id}`);
      else if (view.updatedAt < updatedSince - CLOCKS_DIFFER)
        faults.push(`${endpoint} lost an Update: ${updatedSince - view.updatedAt} ms too old`);
      else if ((view.expiresAt ?? 0) < updatedSince - CLOCKS_DIFFER + LIFETIME * 1_000)
        faults.push(`${endpoint} ends too early: ${view.expiresAt}`);
    }
    return faults;
  }

  async #auditOrders(): Promise<string[]> {
    const faults: string[] = [];
    const asked = [...this.#open.values()];
    await eachOf(asked, 8, async (order) => {
      const { status, body } = await this.#served.call("GET", `/api/v1/tasks/${order.id}`);
      if (status !== 200) return void faults.push(`${named(order)} is lost: HTTP ${status}`);
      const task = body as Task;
      if (task.path !== PATHS[order.kind] || task.operation !== order.kind) {
        faults.push(`${named(order)} has become ${task.operation} ${task.path}`);
      }
      if (task.endedAt === undefined) {
        if (order.finished) faults.push(`${named(order)} was ended and is ${task.state} again`);
        return;
      }
      order.finished = true;
      faults.push(...this.#wrongWith(order, task));
      // Seen ended in two rounds: it outlived a kill. Later it may be forgotten, for newer ones.
      if (++order.seen < 2) return;
      this.#open.delete(order.id);
      this.#closed(order);
    });
    return faults;
  }

  /** Whether an order that has ended ended truly. */
  #wrongWith(order: Order, task: Task): readonly string[] {
    const { name, kind } = order;
    this.#secured?.collect(this.#deeds);
    const times = this.#deeds.executions.get(name) ?? 0;
    if (task.state !== "done" || task.answer?.success !== true) {
      const reborn = this.devices.some(
        (d) => d.endpoint === order.endpoint && d.lives > order.lives,
      );
      // A device that lost power in the middle does not know, and says so; it must not have obeyed twice.
      const unsure = task.state === "failed" || task.answer?.code === "5.00";
      if (reborn && unsure) {
        this.#unsure += 1;
        return [];
      }
      const why = task.answer?.code ?? task.reason;
      return [`${named(order)} ${task.state}: ${why}`];
    }
    if (kind === "execute" && times !== 1)
      return [`${named(order)} is done, executed ${times} times`];
    if (kind === "write" && !this.#deeds.written.has(name))
      return [`${named(order)} never arrived`];
    if (kind === "read" && task.answer.text !== undefined && task.answer.text !== order.endpoint) {
      return [`${named(order)} brought ${task.answer.text}`];
    }
    return [];
  }

  /** What devices complain of, and what was done twice. */
  #complaints(): readonly string[] {
    this.#secured?.collect(this.#deeds);
    const faults = [...this.#deeds.faults.splice(0), ...(this.#secured?.complaints() ?? [])];
    faults.push(...(this.tap?.faults.splice(0) ?? []));
    if (this.#served.said !== "") faults.push(`the server complains: ${this.#served.said}`);
    for (const [name, times] of this.#deeds.executions) {
      if (times > 1) faults.push(`order ${name} was executed ${times} times`);
      if (times > 1) this.#deeds.executions.set(name, 1); // reported once
    }
    return faults;
  }

  // ── settle ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Devices with waiting orders speak; in every other round half of the sleepers sleep on. Who left comes back. */
  async #settle(patience: number, all: boolean): Promise<void> {
    const until = performance.now() + patience;
    for (const device of this.devices) {
      if (device.acknowledged === "gone" && device.pending === undefined) await device.start();
    }
    if (this.tap !== undefined) await this.#speakAll();
    const byName = new Map(this.devices.map((device) => [device.endpoint, device]));
    const sleepOn = (device: AuditedDevice): boolean =>
      !all && device.queueMode && (this.#round + Number(device.endpoint.slice(6))) % 2 === 0;
    let first = true;
    for (;;) {
      const owed = new Set<AuditedDevice>();
      await eachOf([...this.#open.values()], 8, async (order) => {
        const device = byName.get(order.endpoint);
        if (order.finished || device === undefined || sleepOn(device)) return;
        const { body } = await this.#served.call("GET", `/api/v1/tasks/${order.id}`);
        const { endedAt } = body as Task;
        if (endedAt !== undefined) order.finished = true;
        else owed.add(device);
      });
      const pending = this.devices.some((device) => device.pending !== undefined);
      const awaited = pending && (all || this.#round === 1 || this.tap !== undefined);
      if (owed.size === 0 && !awaited) return;
      // Who speaks through silence to the next kill, and the one after it, would take the session for lost.
      const patient = awaited && this.tap !== undefined ? ANSWERED_WITHIN : 0;
      if (performance.now() > until + patient) return;
      for (const device of owed) if (first || device.gaveUp) device.update();
      first = false;
      await sleep(200);
    }
  }

  /** Every session is used, so that one that was lost shows; then some devices restart and leave. */
  async #speakAll(): Promise<void> {
    for (const [i, device] of this.devices.entries()) {
      device.update();
      if (i % 25 === 24) await sleep(10); // not more at once than sockets hold
    }
    this.#loading = true;
    await this.#come();
    this.#loading = false;
  }
}

function credentialsOf(devices: number): readonly unknown[] {
  return Array.from({ length: devices }, (_, i) => ({
    kind: "psk",
    endpoint: `crash-${i}`,
    identity: identityOf(i),
    key: KEY,
  }));
}

function identityOf(i: number): string {
  return `id-${i}`;
}

type Totals = {
  readonly registrations: number;
  readonly updates: number;
  readonly orders: number;
};

type Killed = { readonly at: Totals; readonly readyAfter: number };

/** What the device with this number is like. */
function traits(i: number) {
  return { endpoint: `crash-${i}`, lifetime: LIFETIME, queueMode: i % 3 === 0, awake: AWAKE };
}

type Order = {
  /** Travels with the order to the device. */
  readonly name: string;
  /** The task it became. */
  id: string;
  readonly endpoint: string;
  /** The device's lives when it was given. */
  readonly lives: number;
  readonly kind: "execute" | "write" | "read";
  seen: number;
  finished: boolean;
};

function requestOf({ kind, endpoint, name }: Order): [string, string, unknown?] {
  const path = `/api/v1/devices/${endpoint}${PATHS[kind]}?wait=0`;
  if (kind === "execute") return ["POST", path, { args: `0='${name}'` }];
  return kind === "write" ? ["PUT", path, { value: name }] : ["GET", path];
}

function named({ kind, name, endpoint, id }: Order): string {
  return `${kind} ${name} for ${endpoint}${id === "" ? "" : ` (task ${id})`}`;
}

async function eachOf<T>(items: readonly T[], at: number, act: (item: T) => Promise<unknown>) {
  const queue = [...items];
  const work = async (): Promise<void> => {
    for (let item = queue.pop(); item !== undefined; item = queue.pop()) await act(item);
  };
  await Promise.all(Array.from({ length: at }, work));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** s */
const LIFETIME = 3_600;
/** s; sleepers sleep soon, so that orders wait for them. */
const AWAKE = 1;
const ARGS = ["--awake", String(AWAKE)];
/** ms: what a kill made to be sent again, three times over. */
const ANSWERED_WITHIN = 15_000;
/** One for all: who is who is told by identity. */
const KEY = "000102030405060708090a0b0c0d0e0f";
const TICK = 20;
/** The server keeps the last 20 finished orders of a device: this many fit among them. */
const OPEN_PER_DEVICE = 6;
/** ms between what two processes of one machine call now. */
const CLOCKS_DIFFER = 20;
const PATHS = { execute: "/3303/0/5605", write: "/3303/0/5750", read: "/3303/0/5750" } as const;
