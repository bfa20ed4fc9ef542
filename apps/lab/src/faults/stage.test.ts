// Where the stories of the fault matrix are played: a server, devices behind a NAT, one of three ways to be secure. A
// story ends when its faults are over; then all must be well again, and what holds in every row is looked at:
//
//   A  no exception                                        whatever escapes fails the test
//   B  what was acknowledged is there                      registrations, orders
//   C  no nonce serves twice under a key                   at the cipher
//   D  three bytes per byte to an address not proven       at the server's link; what is stored stays bounded
//   E  every order ends once, is obeyed once at most       told to its user; notifications come once
//   F  what is thrown away is counted, with a reason

import assert from "node:assert/strict";
import { test } from "node:test";
import { hex, toHex } from "@godwit/base";
import { oscore } from "@godwit/client";
import { OptionNumber, decodeMessage, findOption, isRequest } from "@godwit/coap";
import {
  DTLS_TABLES,
  executeRequest,
  isFinal,
  observeRequest,
  parseNodePath,
  readRequest,
  type Credential,
  type OperationKind,
  type RegistrationView,
  type ServerStackInput,
} from "@godwit/lwm2m";
import {
  World,
  milliseconds,
  type Access,
  type Duration,
  type LinkOptions,
  type Nat,
} from "@godwit/netsim";
import {
  SimulatedDevice,
  type DeviceEvent,
  type SimulatedDeviceOptions,
} from "../simulation/device.ts";
import {
  SimulatedServer,
  type Disk,
  type SimulatedServerOptions,
  type SimulatedServerOutput,
} from "../simulation/server.ts";
import { Values } from "../simulation/values.ts";
import { NonceAudit } from "../stories/nonce-audit.ts";

/** How a device and its server keep their session. */
export type Column = "dtls12-resume" | "dtls12-cid" | "oscore";
export const COLUMNS: readonly Column[] = ["dtls12-resume", "dtls12-cid", "oscore"];
export const DTLS: readonly Column[] = ["dtls12-resume", "dtls12-cid"];

export type StageOptions = {
  readonly seed?: number;
  readonly preset?: Parameters<World["nat"]>[0];
  readonly nat?: Parameters<World["nat"]>[1];
  readonly link?: LinkOptions;
  /** s */
  readonly lifetime?: number;
  readonly devices?: number;
  /** They come one after the other, so far apart. */
  readonly apart?: number;
  /** Length of the text at /3303/0/5701. */
  readonly text?: number;
  readonly client?: SimulatedDeviceOptions["client"];
  readonly coap?: SimulatedDeviceOptions["coap"];
  readonly oscore?: SimulatedDeviceOptions["oscore"];
  readonly deviceDtls?: Partial<NonNullable<SimulatedDeviceOptions["dtls"]>>;
  readonly serverDtls?: SimulatedServerOptions["dtls"];
  readonly serverCoap?: SimulatedServerOptions["coap"];
  readonly serverTuning?: ConstructorParameters<typeof SimulatedServer>[1];
  readonly addresses?: SimulatedServerOptions["addresses"];
  readonly disk?: Disk;
  /** Devices are made but not started: the story does it. */
  readonly idle?: boolean;
  /** A device is put back to an earlier state and cannot know: no audit of nonces. */
  readonly unaudited?: boolean;
  /** How the story ends: all devices are served again unless it says that they are gone. */
  readonly ends?: "served" | "gone";
};

/** Registers a test of each column that plays the story and then looks whether all is well. */
export function story(
  sentence: string,
  columns: readonly Column[],
  options: StageOptions,
  play: (stage: Stage) => void,
): void {
  for (const column of columns)
    test(`${sentence} [${column}]`, () => void performed(column, options, play));
}

/** One performance, for stories that are told many times. */
export function performed(
  column: Column,
  options: StageOptions,
  play: (stage: Stage) => void,
): Stage {
  const audit = new NonceAudit();
  let stage: Stage | undefined;
  audit.during(() => {
    stage = new Stage(column, options, audit);
    play(stage);
    stage.end();
  });
  if (options.unaudited !== true) assert.deepEqual(audit.faults, [], "C: a nonce served twice");
  assert.ok(audit.sealed > 0, "the audit sees encryption");
  assert.ok(stage);
  return stage;
}

export class Stage {
  readonly column: Column;
  readonly world: World;
  readonly nat: Nat;
  readonly server: SimulatedServer;
  readonly devices: StagedDevice[] = [];
  readonly heard: SimulatedServerOutput[] = [];
  readonly #options: StageOptions;
  readonly #audit: NonceAudit;
  readonly #wire: Wire;
  readonly #orders: Order[] = [];
  readonly #strangers: string[] = [];
  #credentials = 0;

  constructor(column: Column, options: StageOptions, audit: NonceAudit) {
    this.#audit = audit;
    const { seed = 7, preset = "linux-random", devices = 1, apart = 0 } = options;
    this.column = column;
    this.#options = options;
    this.world = new World({ seed });
    this.nat = this.world.nat(preset, options.nat);
    const { addresses, disk, serverCoap } = options;
    this.server = new SimulatedServer(this.world, options.serverTuning ?? {}, {
      ...(options.serverDtls && { dtls: options.serverDtls }),
      onOutput: (output) => void this.heard.push(output),
      ...(serverCoap && { coap: serverCoap }),
      ...(addresses && { addresses }),
      ...(disk && { disk }),
    });
    this.#wire = new Wire(this.server);
    for (let n = 0; n < devices; n++) this.add(`device-${n}`, n);
    if (options.idle === true) return;
    this.devices.forEach((device, n) => this.world.after(n * apart, () => device.start()));
    this.world.run(devices * apart + 5_000);
  }

  /** The first device. */
  get device(): StagedDevice {
    const [device] = this.devices;
    assert.ok(device);
    return device;
  }

  get secured(): boolean {
    return this.column !== "oscore";
  }

  /** A further device with the credential `n`. */
  add(endpoint: string, n: number, options: Partial<StagedDeviceOptions> = {}): StagedDevice {
    const credential = this.credential(options.owner ?? endpoint, n);
    this.#credentials += 1;
    if (options.known !== false) this.server.addCredential(credential);
    const all = { behind: this.nat, ...this.#options, ...options };
    const device = new StagedDevice(this, endpoint, n, all);
    if (options.aside !== true) this.devices.push(device);
    if (this.column === "dtls12-cid") this.#audit.watchRecords(device.device.host, 4);
    return device;
  }

  credential(endpoint: string, n: number): Credential {
    if (this.column !== "oscore")
      return { kind: "psk", endpoint, identity: identityOf(n), key: keyOf(n) };
    return {
      kind: "oscore",
      endpoint,
      senderId: hex("53"),
      recipientId: idOf(n),
      masterSecret: keyOf(n),
      masterSalt: undefined,
      idContext: undefined,
      aead: undefined,
      hkdf: undefined,
      derivation: "negotiated",
    };
  }

  /** Names the credential `n` to those who revoke it. */
  credentialId(n: number): string {
    return this.column === "oscore" ? `oscore:${toHex(idOf(n))}` : `psk:${identityOf(n)}`;
  }

  /** Where devices of this column go. */
  get address(): SimulatedServer["address"] {
    return this.secured ? this.server.secureAddress : this.server.address;
  }

  run(span: Duration): void {
    this.world.run(span);
  }

  /** An order to a device to obey once: `word` tells them apart. */
  execute(word: string, device: StagedDevice = this.device): Order {
    const path = "/3303/0/5605";
    return this.#order(device, "execute", path, executeRequest(parseNodePath(path), `0='${word}'`));
  }

  read(path: string = "/3/0/9", device: StagedDevice = this.device, expires?: Duration): Order {
    return this.#order(device, "read", path, readRequest(parseNodePath(path)), expires);
  }

  observe(path: string = "/3303/0/5700", device: StagedDevice = this.device): Order {
    return this.#order(device, "observe", path, observeRequest(parseNodePath(path)));
  }

  /** Values that notifications brought, in order; not the state of now that the answer to an Observe of the server's own brings. */
  notified(): readonly string[] {
    return this.heard.flatMap((output, i) => {
      if (output.type !== "notification") return [];
      const before = this.heard[i - 1];
      if (before?.type === "observation" && before.state === "active") return [];
      return [new TextDecoder().decode(output.response.payload)];
    });
  }

  registration(device: StagedDevice = this.device): RegistrationView | undefined {
    return this.server.stack.server.registration(device.endpoint, this.world.now);
  }

  /** Where the server would send to now. */
  whereIs(device: StagedDevice = this.device): string | undefined {
    const session = this.registration(device)?.session;
    const remote = session === undefined ? undefined : this.server.stack.pathOf(session)?.remote;
    return remote && `${remote.host} ${remote.port}`;
  }

  /** Handshakes of DTLS that the device completed, over all its associations. */
  handshakes(device: StagedDevice = this.device): {
    readonly full: number;
    readonly resumed: number;
  } {
    return device.device.stack.ledger.snapshot().handshakes;
  }

  /** Datagrams that crossed the device's link while `play` ran. */
  during(play: () => void, device: StagedDevice = this.device): number {
    const before = device.datagrams;
    play();
    return device.datagrams - before;
  }

  /** How often the device named a context for new keys from now on: twice in each run of Appendix B.2 (RFC 8613). */
  negotiations(device: StagedDevice = this.device): () => number {
    let named = 0;
    device.device.host.link.up.watch(({ bytes }) => {
      if (this.column === "oscore" && namesContext(bytes)) named += 1;
    });
    return () => named;
  }

  /** How often the server threw something away for this reason, wherever it is counted. */
  drops(reason: RegExp): number {
    const { stack } = this.server;
    const of = this.devices.flatMap((device) => this.registration(device)?.session ?? []);
    const counted = [
      stack.strays,
      ...of.map((session) => stack.ledgerOf(session).snapshot().drops),
    ];
    return counted
      .flatMap((drops) => Object.entries(drops))
      .reduce((sum, [why, times]) => (reason.test(why) ? sum + times : sum), 0);
  }

  /** How often it heard from its stack: registered, refused ... */
  count(type: SimulatedServerOutput["type"]): number {
    return this.heard.filter((output) => output.type === type).length;
  }

  /** The server dies as by kill -9, and comes back after `outage` with what was durable. */
  crash(outage: Duration = "2 s"): void {
    const { server, world } = this;
    server.host.off();
    world.after(outage, () => {
      server.restart();
      server.host.on();
    });
  }

  /** An address nobody knows, from which anything may be sent to the server. */
  stranger(name: string = `stranger-${this.#strangers.length}`): Stranger {
    const host = this.world.host(name);
    this.#strangers.push(host.address);
    return {
      address: host.address,
      send: (bytes, port = 7_000) =>
        host.inject({ from: { host: host.address, port }, to: this.address, bytes }),
      sent: () => host.sent.bytes,
      received: () => host.received.bytes,
    };
  }

  /** What the device sends to the server from now on, as it leaves its host. */
  tapped(device: StagedDevice = this.device): Uint8Array[] {
    const seen: Uint8Array[] = [];
    device.device.host.link.up.watch(({ bytes }) => void seen.push(bytes.slice()));
    return seen;
  }

  /** The faults are over. All must be served, and what holds in every row is looked at. */
  end(): void {
    const { world, server } = this;
    if (this.#options.ends !== "gone") {
      for (const { device } of this.devices) device.update();
      const back = (): boolean => this.devices.every((one) => this.registration(one) !== undefined);
      assert.ok(world.runUntil(back, "3 h"), "B: a device is not registered in the end");
      const reads = this.devices.map((device) => this.read("/3/0/9", device));
      const served = (): boolean =>
        reads.every(({ answer }) => answer !== undefined) &&
        this.#orders.every((order) => !order.accepted || order.ended);
      for (let waited = 0; waited < 24 && !served(); waited++) world.run("5 minutes");
      for (const read of reads) assert.equal(read.answer, "2.05 87", "a device is not served");
      for (const order of this.#orders)
        if (order.accepted) assert.ok(order.ended, `E: ${order.text}`);
    }
    for (const { obeyed } of this.devices)
      assert.equal(new Set(obeyed).size, obeyed.length, `E: obeyed twice: ${obeyed.join(" ")}`);
    for (const order of this.#orders)
      assert.ok(order.ends.length <= 1, `E: ${order.text} ended ${order.ends.join(", ")}`);
    const values = this.notified();
    assert.equal(new Set(values).size, values.length, "E: a notification came twice");
    assert.deepEqual(this.#wire.faults, [], "D: more than three bytes per byte");
    for (const host of this.#strangers) {
      const { received, sent } = this.#wire.of(host);
      assert.ok(sent <= 3 * received, `D: ${sent} bytes to a stranger for ${received}`);
    }
    assert.ok(server.stack.server.registrationCount <= this.devices.length, "D: registrations");
    for (const [table, most] of STORED) {
      const rows = server.store.get(table)?.size ?? 0;
      assert.ok(rows <= most * this.#credentials, `D: ${rows} rows of ${table}`);
    }
    for (const output of this.heard)
      if (output.type === "dropped") assert.match(output.reason, /^[\w: -]+$/, "F");
    for (const reason of Object.keys(server.stack.strays)) assert.match(reason, /^[\w: -]+$/, "F");
  }

  #order(
    device: StagedDevice,
    kind: OperationKind,
    path: string,
    request: Extract<ServerStackInput, { type: "operate" }>["request"],
    expires: Duration = "1 day",
  ): Order {
    const { now } = this.world;
    const id = this.server.stack.server.operationId();
    const expiresAt = now + milliseconds(expires);
    const { endpoint } = device;
    const order = new Order(this, id, `${kind} ${path} of ${endpoint}`);
    this.#orders.push(order);
    this.server.feed({ type: "operate", id, endpoint, kind, path, request, expiresAt });
    return order;
  }
}

export type Stranger = {
  readonly address: string;
  send(bytes: Uint8Array, port?: number): void;
  sent(): number;
  received(): number;
};

/** An order, and what its user was told. */
export class Order {
  readonly id: number;
  readonly text: string;
  readonly #stage: Stage;

  constructor(stage: Stage, id: number, text: string) {
    this.#stage = stage;
    this.id = id;
    this.text = text;
  }

  get accepted(): boolean {
    return this.#told.length > 0;
  }

  /** The final states it was told to have come to: one, once it is over. */
  get ends(): readonly string[] {
    return this.#told.filter(isFinal).map(({ name }) => name);
  }

  /** "2.05 87", once it is done. */
  get answer(): string | undefined {
    const state = this.#stage.server.stack.server.operation(this.id)?.state;
    if (state?.name !== "done") return undefined;
    const { code, payload } = state.response;
    const text = new TextDecoder().decode(payload);
    return `${code >> 5}.${String(code & 31).padStart(2, "0")} ${text}`.trim();
  }

  get state(): string | undefined {
    return this.#stage.server.stack.server.operation(this.id)?.state.name;
  }

  /** Its user was told so, or would be told when asking: a server may die between writing and saying it. */
  get ended(): boolean {
    if (this.ends.length > 0) return true;
    const operation = this.#stage.server.stack.server.operation(this.id);
    return operation !== undefined && isFinal(operation.state);
  }

  get #told() {
    return this.#stage.heard.flatMap((output) =>
      output.type === "operation" && output.operation.id === this.id
        ? [output.operation.state]
        : [],
    );
  }
}

export type StagedDeviceOptions = StageOptions & {
  readonly behind: Access;
  /** The endpoint of its credential, if it calls itself by another name. */
  readonly owner?: string;
  /** Whether the server is given its credential; true unless false. */
  readonly known?: boolean;
  /** It is not one of those that are served in the end. */
  readonly aside?: boolean;
};

/** A thermometer with a battery at 87 %, and what it obeyed and said. */
export class StagedDevice {
  readonly endpoint: string;
  readonly device: SimulatedDevice;
  /** Words of Executes that were obeyed, in order. */
  readonly obeyed: string[] = [];
  readonly said: DeviceEvent[] = [];

  constructor(stage: Stage, endpoint: string, n: number, options: StagedDeviceOptions) {
    this.endpoint = endpoint;
    const { deviceDtls } = options;
    const text = "C".repeat(options.text ?? 3);
    this.device = new SimulatedDevice(stage.world, stage.address, {
      endpoint,
      name: options.owner ?? endpoint,
      values: new Values({
        "/3/0/9": 87,
        "/3/0/13": 1_000,
        "/3303/0/5700": 21.5,
        "/3303/0/5701": text,
      }),
      behind: options.behind,
      link: { delay: 20, ...options.link },
      client: { server: { 1: options.lifetime ?? 300 }, ...options.client },
      onEvent: (event) => void this.said.push(event),
      ...(stage.column === "oscore"
        ? {
            security: oscore({
              senderId: toHex(idOf(n)),
              recipientId: "53",
              masterSecret: toHex(keyOf(n)),
            }),
            coap: { emptyToken: true, ...options.coap },
            ...(options.oscore && { oscore: options.oscore }),
          }
        : {
            dtls: {
              credentials: { kind: "psk", identity: identityOf(n), key: keyOf(n) },
              ...(stage.column === "dtls12-cid" && { connectionId: new Uint8Array(0) }),
              ...deviceDtls,
            },
            ...(options.coap && { coap: options.coap }),
          }),
    });
    const perform = this.device.values.perform.bind(this.device.values);
    this.device.values.perform = (operation) => {
      if (operation.type === "execute") this.obeyed.push(operation.args.get(0) ?? "");
      return perform(operation);
    };
  }

  get datagrams(): number {
    return this.device.host.sent.datagrams + this.device.host.received.datagrams;
  }

  start(): void {
    this.device.start();
  }

  update(): void {
    this.device.update();
  }

  count(type: DeviceEvent["type"]): number {
    return this.said.filter((event) => event.type === type).length;
  }
}

/** Bytes at the server's link by the address they came from and went to. */
class Wire {
  readonly faults: string[] = [];
  readonly #ends = new Map<string, Account>();

  constructor(server: SimulatedServer) {
    server.host.link.watch(({ direction, from, to, bytes, icmp }) => {
      if (icmp !== undefined) return;
      const peer = direction === "down" ? from : to;
      const account = this.#account(`${peer.host} ${peer.port}`);
      if (direction === "down") {
        account.received += bytes.length;
        // Who speaks after it was spoken to may have heard us there.
        if (account.sent > 0) account.proven = true;
        return;
      }
      account.sent += bytes.length;
      if (account.proven || account.sent <= 3 * account.received) return;
      this.faults.push(`${account.sent} bytes to ${peer.host} for ${account.received}`);
    });
  }

  /** All that went to a host and came from it. */
  of(host: string): { readonly received: number; readonly sent: number } {
    const accounts = [...this.#ends].filter(([end]) => end.startsWith(`${host} `));
    const sum = (of: "received" | "sent"): number =>
      accounts.reduce((total, [, account]) => total + account[of], 0);
    return { received: sum("received"), sent: sum("sent") };
  }

  #account(end: string): Account {
    const account = this.#ends.get(end) ?? { received: 0, sent: 0, proven: false };
    this.#ends.set(end, account);
    return account;
  }
}

type Account = { received: number; sent: number; proven: boolean };

/** RFC 8613 6.1: a request with a kid context. */
export function namesContext(datagram: Uint8Array): boolean {
  const { code, options } = decodeMessage(new Uint8Array(datagram), 8);
  const flags = findOption(options, OptionNumber.Oscore)?.value[0] ?? 0;
  return isRequest(code) && (flags & 0x10) !== 0;
}

function identityOf(n: number): string {
  return `dev${String(n).padStart(3, "0")}`;
}

function keyOf(n: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, at) => (at * 7 + n * 31 + (n >> 8)) & 0xff);
}

function idOf(n: number): Uint8Array {
  return Uint8Array.of(0x40 + (n >> 8), n & 0xff);
}

/** Rows per credential at most. */
const STORED: readonly (readonly [string, number])[] = [
  [DTLS_TABLES.association, 2],
  [DTLS_TABLES.session, 30],
  ["session", 4],
  ["protected", 1],
  ["registration", 1],
];
