// A real device that remembers what it was promised, and counts what it was made to do.

import { Device, type DeviceOptions } from "@godwit/client";
import { Code, formatCode } from "@godwit/coap";

/** A device as it is handled here: one of this process, or one of a farm. */
export type Body = Pick<Device, "on" | "start" | "update" | "stop">;

/** What devices have done by order, over all their lives. */
export class Deeds {
  readonly executions: Map<string, number> = new Map();
  readonly written: Set<unknown> = new Set();
  /** Promises the server broke towards a device. */
  readonly faults: string[] = [];
}

export type AuditedOptions = {
  readonly endpoint: string;
  readonly server: string;
  readonly lifetime: number;
  readonly queueMode: boolean;
  /** s */
  readonly awake: number;
  readonly deeds: Deeds;
  /** How it proves who it is. */
  readonly secured?: Pick<DeviceOptions, "security" | "strategy">;
  /** Where it lives, if not here. */
  readonly body?: () => Body;
};

export class AuditedDevice {
  readonly endpoint: string;
  readonly queueMode: boolean;
  readonly lifetime: number;
  /** What the server acknowledged last: a registration under this id (any, if empty), or its end. */
  acknowledged: { id: string } | "gone" | undefined;
  /** What was asked and not answered yet. */
  pending: "register" | "update" | "deregister" | undefined;
  /** Until when, by our clock, no Update had left that was acknowledged since. */
  updatedSince = 0;
  /** How often it began a new life without its memory. */
  lives = 0;
  /** Its last Update got no answer, however often it was sent. */
  gaveUp = false;
  updates = 0;
  registrations = 0;
  /** Of DTLS, in all lives. */
  handshakes = 0;
  /** How often it took up a registration that it had kept. */
  resumed = 0;
  readonly #options: AuditedOptions;
  #device: Body | undefined;
  #askedAt = 0;
  /** Counts deaths. */
  #deaths = 0;
  /** It died while something was asked: what it has kept only it knows. */
  #unsure = false;

  constructor(options: AuditedOptions) {
    this.#options = options;
    this.endpoint = options.endpoint;
    this.queueMode = options.queueMode;
    this.lifetime = options.lifetime;
  }

  get idle(): boolean {
    return this.pending === undefined && this.#device !== undefined;
  }

  async start(): Promise<void> {
    const device = this.#options.body?.() ?? this.#make();
    this.#device = device;
    this.#listen(device);
    this.lives += 1;
    this.pending = "register";
    this.#askedAt = Date.now();
    await device.start();
  }

  #make(): Device {
    const { endpoint, server, lifetime, queueMode, awake, deeds, secured } = this.#options;
    const tuning = { awakeWindow: awake * 1_000 };
    const device = new Device({ endpoint, server, lifetime, queueMode, tuning, ...secured });
    device.add(3303, {
      5700: () => 21,
      5605: (args: ReadonlyMap<number, string>) => {
        const order = args.get(0) ?? "";
        deeds.executions.set(order, (deeds.executions.get(order) ?? 0) + 1);
      },
      5750: { read: () => endpoint, write: (value) => void deeds.written.add(value) },
    });
    return device;
  }

  /** Its process was killed. Says whether it ran. */
  died(): boolean {
    const ran = this.#device !== undefined;
    this.#device = undefined;
    this.#deaths += 1;
    if (this.pending === "register" || this.pending === "deregister") {
      this.acknowledged = undefined;
      this.#unsure = true;
    }
    this.pending = undefined;
    this.gaveUp = false;
    return ran;
  }

  update(): void {
    if (!this.idle) return;
    this.pending = "update";
    this.gaveUp = false;
    this.#askedAt = Date.now();
    this.#device?.update();
  }

  async leave(): Promise<void> {
    if (!this.idle) return;
    this.pending = "deregister";
    await this.#device?.stop({ patience: 120_000 });
  }

  /** Loses power, and starts again with no memory of its registration. */
  async reboot(): Promise<void> {
    const device = this.#device;
    const deaths = this.#deaths;
    this.#device = undefined;
    await device?.stop({ deregister: false });
    if (deaths === this.#deaths) await this.start();
  }

  async silence(): Promise<void> {
    const device = this.#device;
    this.#device = undefined;
    await device?.stop({ deregister: false });
  }

  #listen(device: Body): void {
    const { faults } = this.#options.deeds;
    const { endpoint } = this;
    const current = (): boolean => this.#device === device;
    device.on("registered", ({ location }) => {
      if (!current()) return;
      if (this.pending !== "register") faults.push(`${endpoint} had to register again`);
      this.#unsure = false;
      this.acknowledged = { id: location[1] ?? "" };
      this.registrations += 1;
      this.#answered();
    });
    device.on("updated", () => {
      if (!current()) return;
      this.updates += 1;
      // One that kept its registration takes it up by an Update.
      if (this.pending === "register") {
        this.resumed += 1;
        if (this.#unsure) this.acknowledged = { id: "" };
      }
      if (this.pending === "update" || this.pending === "register") this.#answered();
    });
    device.on("deregistered", () => {
      if (!current()) return;
      this.acknowledged = "gone";
      this.pending = undefined;
      this.#device = undefined;
    });
    device.on("refused", ({ to, code, diagnostic }) => {
      if (this.#unsure && code === Code.NotFound) return;
      faults.push(`${endpoint}: ${to} refused by ${formatCode(code)} ${diagnostic}`);
    });
    // The server is away a third of the time: now and then it is so at all of a message's transmissions.
    device.on("unreachable", () => {
      if (!current() || this.pending !== "update") return; // a Register is tried again by itself
      this.pending = undefined;
      this.gaveUp = true;
    });
    // One handshake in a life: whatever happens to the server, the session goes on.
    let handshakes = 0;
    device.on("secured", ({ how }) => {
      if (!current()) return;
      this.handshakes += 1;
      if (++handshakes > 1) faults.push(`${endpoint} needed another handshake (${how})`);
    });
    device.on("handshakeFailed", ({ why }) => faults.push(`${endpoint}: handshake failed: ${why}`));
    device.on("fault", ({ fault }) => faults.push(`${endpoint}: ${fault.message}`));
  }

  #answered(): void {
    this.pending = undefined;
    this.updatedSince = this.#askedAt;
  }
}
