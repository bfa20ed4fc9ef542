import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { World } from "@godwit/netsim";
import { pair, type PairOptions, type TestDevice, type TestServer } from "./kit.test.ts";

// What the server says of its observations is true on both ends, whatever happens to the network and to either of them.

const PATHS = ["/3303/0/5700", "/3303/0", "/3/0/9"] as const;

type Step =
  | { readonly do: "set"; readonly value: number }
  | { readonly do: "observe" | "cancel"; readonly path: (typeof PATHS)[number] }
  | {
      readonly do:
        | "crash"
        | "reset"
        | "update"
        | "remove"
        | "clear"
        | "renumber"
        | "cut"
        | "vanish";
    }
  | { readonly do: "reboot"; readonly kept: boolean }
  | { readonly do: "pass"; readonly minutes: number };

const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("set" as const), value: fc.integer({ min: 1, max: 99 }) }),
    fc.record({
      do: fc.constantFrom("observe" as const, "cancel" as const),
      path: fc.constantFrom(...PATHS),
    }),
    fc.record({
      do: fc.constantFrom(
        ...(["crash", "reset", "update", "remove", "clear", "renumber", "cut", "vanish"] as const),
      ),
    }),
    fc.record({ do: fc.constant("reboot" as const), kept: fc.boolean() }),
    fc.record({ do: fc.constant("pass" as const), minutes: fc.integer({ min: 1, max: 40 }) }),
  ),
  { minLength: 1, maxLength: 25, size: "max" },
);

const OBJECTS = [
  { id: 3, version: undefined, instances: [0] },
  { id: 3303, version: undefined, instances: [0] },
];

class Life {
  readonly world: World;
  readonly server: TestServer;
  readonly device: TestDevice;
  readonly #nat: ReturnType<World["nat"]>;
  readonly #cancelled = new Set<string>();

  constructor(seed: number, options: PairOptions) {
    this.world = new World({ seed });
    this.#nat = this.world.nat("rfc4787", { ports: "random" });
    const { server, device } = pair(this.world, {
      lifetime: 3_600,
      behind: this.#nat,
      ...options,
    });
    this.server = server;
    this.device = device;
    for (const path of ["/3303", "/3"]) server.writeAttributes(device, path, "pmax=300");
    this.world.run("10 s");
  }

  take(step: Step): void {
    const { world, server, device } = this;
    switch (step.do) {
      case "set":
        return device.set("/3303/0/5700", { type: "float", value: step.value });
      case "observe":
        server.observe(device, step.path);
        return;
      case "cancel":
        server.cancelObserve(device, step.path);
        this.#cancelled.add(step.path);
        return;
      case "crash":
        return this.#during(() => server.crash("20 s"), "30 s");
      case "reset":
        return this.#during(() => device.reboot({ kept: false, outage: "20 s" }), "30 s");
      case "reboot":
        return this.#during(() => device.reboot({ kept: step.kept, outage: "20 s" }), "30 s");
      case "update":
        return device.update();
      case "remove":
        return server.remove(device);
      case "clear":
      case "renumber":
        return this.#nat[step.do]();
      case "cut":
        server.host.link.set({ cut: true });
        world.run("4 minutes");
        return server.host.link.set({ cut: false });
      case "vanish":
        device.values.delete("/3303/0/5700");
        device.announce(OBJECTS.slice(0, 1));
        device.changed("/3303/0/5700");
        world.run("30 s");
        device.values.set("/3303/0/5700", { type: "float", value: 21 });
        return device.announce(OBJECTS);
      case "pass":
        return world.run(`${step.minutes} minutes`);
    }
  }

  /** Both must be running before the next step. */
  #during(happens: () => void, span: "30 s"): void {
    happens();
    this.world.run(span);
  }

  /** At every moment: what the device reports is wanted, or was until it can be told. */
  compare(): void {
    const wanted = this.server.observed(this.device).map((text) => text.replace(/ .*/, ""));
    const unwanted = this.device.observed.filter((path) => !wanted.includes(path));
    assert.deepEqual(
      unwanted.filter((path) => !this.#cancelled.has(path)),
      [],
    );
  }

  /** After a while without a fault both agree: what is silent has not been heard of, and is there all the same. */
  settle(): void {
    this.world.run("100 minutes");
    const said = this.server.observed(this.device);
    const live = said
      .filter((text) => / (active|silent)$/.test(text))
      .map((text) => text.replace(/ .*/, ""))
      .sort((a, b) => (a < b ? -1 : 1));
    assert.deepEqual(live, this.device.observed, said.join(", "));
    assert.equal(live.length, said.length, said.join(", "));
  }
}

for (const [name, options] of [
  ["udp", {}],
  ["udp, keep-alive", { keepAlive: 25 }],
  ["udp, queue mode", { queueMode: true }],
  ["dtls resume", { security: { identity: "dev01", strategy: "resume" } }],
  ["dtls cid", { security: { identity: "dev01", strategy: "cid" } }],
] as const) {
  test(`${name}: after whatever happens, what the server says of its observations is true on both ends`, () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), steps, (seed, taken) => {
        const life = new Life(seed, options);
        for (const step of taken) {
          life.take(step);
          life.world.run("5 s");
          life.compare();
        }
        life.settle();
      }),
      { numRuns: 12 },
    );
  });
}
