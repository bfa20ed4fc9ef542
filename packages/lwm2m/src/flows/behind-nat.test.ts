import assert from "node:assert/strict";
import { test } from "node:test";
import type { Request } from "@godwit/coap";
import {
  World,
  type Duration,
  type LinkSettings,
  type Nat,
  type NatSettings,
  type Node,
} from "@godwit/netsim";
import {
  ClientStack,
  type ClientStackInput,
  type ClientStackOptions,
  type ClientStackOutput,
} from "../client-stack.ts";
import type { ClientSnapshot } from "../client/snapshot.ts";
import { valuesIn, observeRequest, readRequest, writeRequest } from "../server/requests.ts";
import type { OperationKind, ServerEvent } from "../server/events.ts";
import { ServerStack, type ServerStackInput, type ServerStackOutput } from "../server-stack.ts";
import { builtInRegistry } from "../definitions/index.ts";
import { parseNodePath } from "../node-path.ts";
import { celsius, storyOptions } from "./client-story.test.ts";

const definitions = builtInRegistry().of(new Map());

/** A device behind a NAT and a server on the Internet, whole, in virtual time. */
class Wire {
  readonly world: World;
  readonly nat: Nat;
  readonly server: Node<ServerStackInput, ServerStackOutput>;
  readonly heard: Exclude<ServerStackOutput, { type: "datagram" | "store" }>[] = [];
  readonly events: Exclude<ClientStackOutput, { type: "datagram" | "perform" }>[] = [];
  readonly device: Node<ClientStackInput, ClientStackOutput>;
  readonly options: ClientStackOptions;
  stack: ClientStack;
  celsius = 20;
  snapshot: ClientSnapshot | undefined;
  #orders = 0;

  constructor(
    nat: Partial<NatSettings>,
    options: Partial<ClientStackOptions> = {},
    { seed = 1, link = {} }: { seed?: number; link?: Partial<LinkSettings> } = {},
  ) {
    this.world = new World({ seed });
    this.nat = this.world.nat(nat);
    const server = new ServerStack({
      rng: this.world.rng("server"),
      now: this.world.now,
      server: { nosec: true },
    });
    this.server = this.world.host("server").attach(5_683, server, {
      onOutput: (output) => this.#fromServer(output),
    });
    this.options = { ...storyOptions(), rng: this.world.rng("device"), ...options };
    this.stack = new ClientStack(this.options);
    const host = this.world.host("device", { behind: this.nat, link });
    this.device = host.attach(40_000, this.stack, {
      onOutput: (output) => this.#fromDevice(output),
    });
  }

  connect(): this {
    this.device.feed({ type: "connect", path: this.device.path(this.server.address) });
    return this;
  }

  /** Power off and on again, with what was kept. */
  reboot(): this {
    this.stack = new ClientStack({ ...this.options, snapshot: this.snapshot });
    this.device.replace(this.stack);
    return this.connect();
  }

  order(kind: OperationKind, path: string, request: Request): number {
    const id = ++this.#orders;
    const endpoint = this.options.endpoint ?? "";
    const expiresAt = this.world.now + 3_600_000;
    this.server.feed({ type: "operate", id, endpoint, kind, path, request, expiresAt });
    return id;
  }

  /** The value that the server reads within so long. */
  read(path: string, within: Duration = "30 s"): unknown {
    const id = this.order("read", path, readRequest(parseNodePath(path)));
    this.world.run(within);
    for (const event of this.heard) {
      if (event.type !== "operation" || event.operation.id !== id) continue;
      const { state } = event.operation;
      if (state.name === "done")
        return valuesIn(parseNodePath(path), state.response, definitions)?.[0]?.value?.value;
    }
    return undefined;
  }

  count(type: ServerEvent["type"]): number {
    return this.heard.filter((event) => event.type === type).length;
  }

  #fromServer(output: Exclude<ServerStackOutput, { type: "datagram" }>): void {
    if (output.type === "store") {
      const { ticket } = output;
      this.world.after(0, () => this.server.feed({ type: "stored", ticket, ok: true }));
    } else if (output.type !== "dropped" && output.type !== "credential") this.heard.push(output);
  }

  #fromDevice(output: Exclude<ClientStackOutput, { type: "datagram" }>): void {
    if (output.type === "dropped" || output.type === "store") return;
    if (output.type !== "perform") {
      if (output.type === "stateChanged") this.snapshot = this.stack.snapshot();
      else this.events.push(output);
      return;
    }
    const { id, operation } = output;
    const nodes = [celsius(this.celsius)];
    const outcome =
      operation.type === "read"
        ? ({ type: "values", nodes } as const)
        : ({ type: "done" } as const);
    this.device.feed({ type: "performed", id, outcome });
  }
}

/** EIM, address-dependent filtering, and a mapping that ends after so many seconds of silence. */
function forgets(seconds: number): Partial<NatSettings> {
  return { oneWay: seconds * 1_000, twoWay: seconds * 1_000, ports: "random" };
}

test("a device behind a NAT registers, is read, written and observed, and takes leave", () => {
  const wire = new Wire(forgets(120)).connect();
  wire.world.run("5 s");
  assert.equal(wire.count("registered"), 1);
  assert.equal(wire.read("/3303/0/5700", "5 s"), 20);
  const write = writeRequest(
    [1, 0, 1],
    [{ path: [1, 0, 1], value: { type: "integer", value: 600 } }],
  );
  wire.order("write", "/1/0/1", write);
  wire.world.run("5 s");
  assert.equal(wire.count("updated"), 1);
  wire.order("observe", "/3303/0/5700", observeRequest([3303, 0, 5700]));
  wire.world.run("5 s");
  wire.celsius = 21;
  wire.device.feed({ type: "changed", path: [3303, 0, 5700] });
  wire.world.run("5 s");
  assert.ok(wire.count("notification") >= 1);
  wire.device.feed({ type: "deregister" });
  wire.world.run("5 s");
  assert.equal(wire.count("deregistered"), 1);
});

test("auto keep-alive finds the NAT's binding time on the wire, and from then on the device is always reachable", () => {
  for (const binding of [30, 65, 180]) {
    const wire = new Wire(forgets(binding), { keepAlive: "auto", server: { 1: 86_400 } }).connect();
    const settled = () =>
      wire.events.findLast((event) => event.type === "keepAlive" && event.state === "settled");
    assert.ok(
      wire.world.runUntil(() => settled() !== undefined, "3 h"),
      `${binding}`,
    );
    const learned = settled();
    const found = learned?.type === "keepAlive" ? (learned.binding ?? 0) : 0;
    assert.ok(found <= binding && found >= binding * 0.8 - 2, `${binding}: ${found}`);
    for (let i = 0; i < 5; i++) {
      wire.world.run("17 min");
      assert.equal(wire.read("/3303/0/5700"), 20, `${binding}`);
    }
    assert.equal(wire.count("registered"), 1);
  }
});

test("without keep-alive the device is reached at its next Update, wherever the NAT puts it", () => {
  const wire = new Wire(forgets(30)).connect();
  wire.world.run("100 s");
  const id = wire.order("read", "/3303/0/5700", readRequest([3303, 0, 5700]));
  wire.world.run("220 s");
  assert.ok(
    wire.heard.some(
      (event) =>
        event.type === "operation" &&
        event.operation.id === id &&
        event.operation.state.name === "done",
    ),
  );
  assert.equal(wire.count("registered"), 1);
});

test("a device that reboots goes on with its registration", () => {
  const wire = new Wire(forgets(120)).connect();
  wire.world.run("60 s");
  wire.reboot().world.run("10 s");
  assert.equal(wire.count("registered"), 1);
  assert.equal(wire.count("updated"), 1);
  assert.equal(wire.read("/3303/0/5700"), 20);
});

test("over a bad link, with a NAT that forgets and restarts, the device is registered and read in the end", () => {
  for (let seed = 1; seed <= 12; seed++) {
    const link = { loss: 0.2, duplicate: 0.1, delay: 50, jitter: 200 };
    const wire = new Wire(
      forgets(40),
      { keepAlive: seed % 2 === 0 ? "auto" : 25 },
      { seed, link },
    ).connect();
    wire.world.run("10 min");
    wire.nat.reboot(5_000);
    wire.world.run("15 min");
    let value: unknown;
    for (let i = 0; i < 4 && value === undefined; i++) value = wire.read("/3303/0/5700", "5 min");
    assert.equal(value, 20, `seed ${seed}`);
  }
});
