// A world in virtual time with the real machines of production: a server, devices of several strategies behind one NAT,
// and the hands of their operators and users. It writes down what breaks a rule; steps act, invariants look.

import type { DatagramEvent } from "@godwit/base";
import type { ClientStackOutput, ServerStackOutput } from "@godwit/lwm2m";
import { World, type Nat } from "@godwit/netsim";
import { AddressesHad } from "./addresses-had.ts";
import { PATHS, StoryDevice, type DeviceSaid, type DeviceState } from "./device.ts";
import type { Tables } from "./disk.ts";
import type { Model } from "./model.ts";
import type { NonceAudit, Sealed } from "./nonce-audit.ts";
import { StoryOperations } from "./operations.ts";
import { StoryServer, type ServerSaid } from "./server.ts";
import { credentialOf, isDtls, type Strategy } from "./strategies.ts";
import { PutBackRule } from "./put-back-rule.ts";
import { mayBeReplayed, speaks } from "./wire.ts";
import type { Watch } from "./watched.ts";

/** A rule that was broken. */
export class Violation extends Error {
  readonly invariant: string;

  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`);
    this.invariant = invariant;
  }
}

export type StoryOptions = {
  readonly seed: number;
  /** ms since 1970 */
  readonly start: number;
  /** Breaches that are passed over: "rule: what". */
  readonly tolerated?: RegExp | undefined;
};

const FIRST_PORT = 50_000;

export class Story {
  readonly model: Model;
  readonly world: World;
  readonly nat: Nat;
  readonly server: StoryServer;
  readonly devices: ReadonlyMap<Strategy, StoryDevice>;
  readonly operations: StoryOperations;
  /** What happened, a line a step. */
  readonly lines: string[] = [];
  /** What was done so far. */
  readonly steps: { readonly command: string; readonly strategy: Strategy | undefined }[] = [];
  /** The states that each device has had, oldest first. */
  readonly history: Map<Strategy, DeviceState[]> = new Map();
  /** The states that devices which are off begin with; undefined: what their disks have. */
  readonly off: Map<Strategy, { readonly state: DeviceState | undefined }> = new Map();
  /** The operator's copy of the server's data directory. */
  copy: Tables | undefined;
  /** Devices get the addresses of others. */
  readonly sharesPorts: boolean;
  /** The newest reading the server passed on, by device and path. */
  readonly readings: Map<string, string> = new Map();
  /** When the server began to run, on the world's clock and on its own. */
  upSince: number;
  startedAt: number;
  /** When the disk was last full, on the server's clock. */
  fullUntil: number = -Infinity;
  /** Rows that were damaged: nobody owns them, and that is right. */
  readonly damagedRows: Set<string> = new Set();
  readonly #faults: Violation[] = [];
  readonly #tolerated: RegExp | undefined;
  readonly #audit: NonceAudit;
  readonly #addresses: AddressesHad;
  readonly #rules = new Map<string, PutBackRule>();
  /** Whose machine runs. */
  #actor: string = NOBODY;
  #reading = 100;
  #silence: (() => void) | undefined;

  /** Make it and run all its steps `during` the audit. */
  constructor(model: Model, { seed, start, tolerated }: StoryOptions, audit: NonceAudit) {
    this.#tolerated = tolerated;
    this.model = model;
    this.world = new World({ seed, start });
    this.upSince = start;
    this.startedAt = start;
    this.#audit = audit;
    audit.onSealed = (seal) => this.#sealed(seal);
    this.sharesPorts = seed % 2 === 1;
    // In every other story ports are few: what one device leaves another one gets.
    const portRange = [FIRST_PORT, FIRST_PORT + model.devices.length] as const;
    this.nat = this.world.nat("linux-random", this.sharesPorts ? { portRange } : {});
    this.#addresses = new AddressesHad(this.nat);
    this.server = new StoryServer(this.world, {
      said: (output) => this.#serverSaid(output),
      watch: () => this.#watchServer(),
      stillborn: (fault) => this.broken("up", `the server does not start: ${textOf(fault)}`),
    });
    this.operations = new StoryOperations(this.server, model);
    for (const { strategy, serverKey } of model.devices)
      if (typeof serverKey === "number")
        this.server.addCredential(credentialOf(strategy, serverKey));
    this.devices = new Map(
      model.devices.map(({ strategy }) => [strategy, this.#makeDevice(strategy)]),
    );
    this.world.run(1_000);
    for (const device of this.devices.values()) device.connect();
    this.world.run(10_000);
    this.#read();
  }

  device(strategy: Strategy): StoryDevice {
    const found = this.devices.get(strategy);
    if (found === undefined) throw new Error(`${strategy} is not in this story`);
    return found;
  }

  /** Seals of every machine pass through here. */
  #sealed(seal: Sealed): void {
    if (this.#actor === NOBODY) return; // a shadow, which sends nothing
    const fault = this.rule(this.#actor)?.sealed(seal);
    if (fault !== undefined)
      this.broken(
        `nonces of ${this.#actor === SERVER ? SERVER : "devices"}`,
        `${this.#actor} ${fault}`,
      );
  }

  rule(actor: string): PutBackRule {
    const rule = this.#rules.get(actor) ?? new PutBackRule();
    this.#rules.set(actor, rule);
    return rule;
  }

  /** The server's process is killed; `kept` of the writes under way reach its disk. */
  killServer(kept: number): void {
    this.server.kill(kept);
    for (const { strategy } of this.model.devices) this.rule(strategy).serverForgets();
    this.#serverOff();
  }

  /** The server's process is asked to end. What DTLS received since its last write is not written down. */
  stopServer(): void {
    this.server.stop();
    for (const { strategy } of this.model.devices)
      if (isDtls(strategy)) this.rule(strategy).serverForgets();
    this.#serverOff();
  }

  #serverOff(): void {
    this.operations.serverEnded();
    this.model.serverOn = false;
    this.model.review(this.world.now);
  }

  broken(invariant: string, detail: string): void {
    if (this.#tolerated?.test(`${invariant}: ${detail}`) === true) return;
    this.#faults.push(new Violation(invariant, detail));
  }

  /** The first rule that was broken. */
  get violation(): Violation | undefined {
    return this.#faults[0];
  }

  get sealedMessages(): number {
    return this.#audit.sealed;
  }

  /** Lets time pass; what can be observed has a new value now and then. */
  pass(ms: number): void {
    this.world.run(ms);
  }

  /** Every device gets a new value at every path that can be observed. */
  change(): number {
    const n = ++this.#reading;
    for (const device of this.devices.values()) {
      if (!device.isOn) continue;
      device.set(PATHS[0], n);
      device.set(PATHS[1], n);
      device.set(PATHS[2], `u${n}`);
    }
    return n;
  }

  /** Notes the states that devices have now, for those that will be put back to one. */
  remember(): void {
    for (const [strategy, device] of this.devices) {
      const states = this.history.get(strategy) ?? [];
      this.history.set(strategy, states);
      states.push(device.state);
      if (states.length > KEPT_STATES) states.shift();
    }
  }

  /** The NAT lets nothing in; returns what ends it. */
  beginSilence(): () => void {
    const tap = this.nat.link.down.tap(() => "drop");
    const end = (): void => {
      if (this.#silence !== end) return;
      this.#silence = undefined;
      tap.remove();
      this.model.natSilent = false;
      this.model.review(this.world.now);
    };
    this.#silence = end;
    this.model.natSilent = true;
    this.model.review(this.world.now);
    return end;
  }

  endSilence(): void {
    this.#silence?.();
  }

  /** The server's process begins. */
  startServer(): void {
    this.#actor = SERVER;
    this.server.start((credential, ok) => {
      if (!ok) return;
      const device = this.model.device(credential.endpoint as Strategy); // the file has no others
      device.serverKey = this.versionOf(credential);
      this.model.review(this.world.now);
    });
    this.#actor = NOBODY;
    this.upSince = this.world.now;
    this.startedAt = this.server.host.now;
    this.model.serverOn = this.server.isOn;
    if (this.server.isOn) this.operations.look();
    this.model.review(this.world.now);
  }

  /** Which version of its secret a credential has. */
  versionOf(credential: ReturnType<typeof credentialOf>): number {
    for (let version = 1; version <= this.model.lastKey; version++) {
      const same = credentialOf(credential.endpoint as Strategy, version);
      if (JSON.stringify(same) === JSON.stringify(credential)) return version;
    }
    throw new Error(`no version of ${credential.endpoint} is like this`);
  }

  #makeDevice(strategy: Strategy): StoryDevice {
    const device = new StoryDevice(this.world, this.server, strategy, {
      behind: this.nat,
      hooks: {
        said: (output) => this.#deviceSaid(strategy, output),
        watch: () => this.#watchDevice(strategy),
        stillborn: (fault) => this.broken("up", `${strategy} does not start: ${textOf(fault)}`),
      },
    });
    device.host.link.down.watch(({ bytes, from }) => {
      const since = this.model.device(strategy).shutSince;
      if (since === undefined || this.world.now < since + IN_FLIGHT) return;
      const what = speaks(bytes, from.port);
      if (what !== undefined && !this.#addresses.wereOthers(device.host.address, from.port))
        this.broken("revoked", `${strategy} is shut out, and hears ${what}`);
    });
    return device;
  }

  #serverSaid(output: ServerSaid): void {
    if (output.type === "operation")
      this.operations.told(output.operation.id, output.operation.state);
    if (output.type === "notification") {
      const { endpoint, path, response } = output;
      this.readings.set(`${endpoint} ${path}`, new TextDecoder().decode(response.payload));
    }
    if (output.type !== "registered" && output.type !== "updated") return;
    const { endpoint } = output.registration;
    const device = this.model.devices.find(({ strategy }) => strategy === endpoint);
    if (device === undefined) return this.broken("revoked", `${endpoint} is nobody, and registers`);
    if (device.shutSince !== undefined && this.world.now > device.shutSince + IN_FLIGHT)
      this.broken("revoked", `${endpoint} is shut out, and the server says ${output.type}`);
  }

  #deviceSaid(strategy: Strategy, output: DeviceSaid): void {
    if (output.type === "registered" || output.type === "updated") this.rule(strategy).exchanged();
    if (output.type === "registered") this.model.device(strategy).unknown.clear();
    if (output.type === "observation" && output.active)
      this.model.device(strategy).unknown.delete(`/${output.path.join("/")}`);
  }

  #watchServer(): Watch<ServerStackOutput> {
    let doubtful: string | undefined;
    return {
      begins: (datagram) => (doubtful = datagram && this.#usedTwice(datagram)),
      enters: () => void (this.#actor = SERVER),
      leaves: () => void (this.#actor = NOBODY),
      said: (output) => {
        if (doubtful !== undefined && ACCEPTING.has(output.type))
          this.broken(
            "replays",
            `${doubtful} used a nonce twice, and the server says ${output.type}`,
          );
      },
      threw: (during, fault) =>
        this.broken("up", `the server threw in ${during}: ${textOf(fault)}`),
    };
  }

  #hears(actor: string): boolean {
    const device = this.model.devices.find(({ strategy }) => strategy === actor);
    return device !== undefined && !device.cut && !this.model.natSilent;
  }

  /** Whose datagram it is, if it was sealed under a nonce that had served before. */
  #usedTwice({ bytes }: DatagramEvent): string | undefined {
    let found: string | undefined;
    for (const [actor, rule] of this.#rules)
      if (rule.received(bytes, this.#hears(actor))) found = actor;
    return found;
  }

  #watchDevice(strategy: Strategy): Watch<ClientStackOutput> {
    const rule = this.rule(strategy);
    return {
      begins: () => rule.begins(),
      enters: () => void (this.#actor = strategy),
      leaves: () => void (this.#actor = NOBODY),
      said: (output) => {
        if (output.type === "datagram" && mayBeReplayed(output.bytes, output.path.remote.port))
          rule.sent(output.bytes);
      },
      threw: (during, fault) =>
        this.broken("up", `${strategy} threw in ${during}: ${textOf(fault)}`),
    };
  }

  /** A reading of each sensor, every so often. */
  #read(): void {
    this.change();
    this.world.after(READ_EVERY, () => this.#read());
  }
}

function textOf(fault: unknown): string {
  if (!(fault instanceof Error)) return String(fault);
  const where = fault.stack?.split("\n").find((line) => line.includes("/dist/")) ?? "";
  return `${fault.message} (${where.trim().replace(/^at /, "")})`;
}

const NOBODY = "";
const SERVER = "server";
/** Outputs that say that the server believed what it received. */
const ACCEPTING: ReadonlySet<string> = new Set(["registered", "updated", "notification"]);
const KEPT_STATES = 8;
/** ms; what left before the change may arrive after it. */
const IN_FLIGHT = 1_000;
/** ms */
const READ_EVERY = 300_000;
