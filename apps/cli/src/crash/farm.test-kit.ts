// Devices in a process of their own, which can be killed: each keeps what a device keeps, in a directory of its own.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DeviceEvents } from "@godwit/client";
import type { Body } from "./audited-device.test-kit.ts";
import type {
  Deed,
  FarmDevice,
  FarmOrder,
  FarmReport,
  ForwardedEvent,
} from "./farm-process.test-kit.ts";

export type FarmOptions = {
  readonly devices: readonly FarmDevice[];
  readonly server: string;
  readonly directory: string;
  readonly name: string;
};

export class Farm {
  readonly #options: FarmOptions;
  readonly #journal: string;
  readonly #bodies = new Map<string, RemoteDevice>();
  #read = 0;
  #child: ChildProcess | undefined;

  constructor(options: FarmOptions) {
    this.#options = options;
    this.#journal = join(options.directory, `${options.name}.journal`);
  }

  has(endpoint: string): boolean {
    return this.#options.devices.some((device) => device.endpoint === endpoint);
  }

  /** Begins a process with no device running. */
  async start(): Promise<void> {
    const { devices, server, directory } = this.#options;
    const child = fork(FARM);
    this.#child = child;
    const ready = new Promise<void>((resolve) => {
      child.on("message", (report: FarmReport) => {
        if (report.type === "ready") resolve();
        else if (this.#child === child) this.#bodies.get(report.endpoint)?.heard(report);
      });
    });
    this.order({ type: "set up", devices, server, directory, journal: this.#journal });
    await ready;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill("SIGKILL");
    await once(child, "exit");
    this.#child = undefined;
    for (const body of this.#bodies.values()) body.died();
    this.#bodies.clear();
  }

  /** A device that is told to start takes the place of the one before. */
  body(endpoint: string): Body {
    return new RemoteDevice(endpoint, this, (body) => this.#bodies.set(endpoint, body));
  }

  order(order: FarmOrder): void {
    this.#child?.send(order, () => {}); // it may have been killed meanwhile
  }

  /** What its devices have done since the last call. */
  deeds(): readonly Deed[] {
    if (!existsSync(this.#journal)) return [];
    const lines = readFileSync(this.#journal, "utf8").split("\n").slice(0, -1);
    const fresh = lines.slice(this.#read).map((line) => JSON.parse(line) as Deed);
    this.#read = lines.length;
    return fresh;
  }
}

/** A `Device` in a farm, as far as it is needed. */
class RemoteDevice implements Body {
  readonly #endpoint: string;
  readonly #farm: Farm;
  readonly #starting: (body: RemoteDevice) => void;
  readonly #listeners = new Map<string, ((event: never) => void)[]>();
  #awaited: (() => void) | undefined;

  constructor(endpoint: string, farm: Farm, starting: (body: RemoteDevice) => void) {
    this.#endpoint = endpoint;
    this.#farm = farm;
    this.#starting = starting;
  }

  on<K extends keyof DeviceEvents>(
    name: K,
    listener: (event: DeviceEvents[K]) => void,
  ): () => void {
    this.#listeners.set(name, [
      ...(this.#listeners.get(name) ?? []),
      listener as (event: never) => void,
    ]);
    return () => {};
  }

  start(): Promise<void> {
    this.#starting(this);
    return this.#done({ type: "start", endpoint: this.#endpoint });
  }

  update(): void {
    this.#farm.order({ type: "update", endpoint: this.#endpoint });
  }

  stop(how: { readonly deregister?: boolean; readonly patience?: number } = {}): Promise<void> {
    const { deregister = true, patience = 3_000 } = how;
    return this.#done({ type: "stop", endpoint: this.#endpoint, deregister, patience });
  }

  heard(report: Exclude<FarmReport, { type: "ready" }>): void {
    if (report.type === "event") this.#emit(report.name, report.event);
    else this.died();
  }

  /** Nothing more is to be waited for. */
  died(): void {
    this.#awaited?.();
    this.#awaited = undefined;
  }

  #done(order: FarmOrder): Promise<void> {
    return new Promise((resolve) => {
      this.#awaited = resolve;
      this.#farm.order(order);
    });
  }

  #emit(name: ForwardedEvent, event: unknown): void {
    for (const listener of this.#listeners.get(name) ?? []) listener(event as never);
  }
}

const FARM = fileURLToPath(new URL("../../../../scripts/crash/farm.mjs", import.meta.url));
