import assert from "node:assert/strict";
import { test } from "node:test";
import {
  UsageError,
  utf8,
  type DatagramEvent,
  type Instant,
  type Machine,
  type Path,
  type StoredInput,
  type StoreOutput,
} from "@godwit/base";
import type { Clock } from "./clock.ts";
import { Driver, type DatagramPort, type DriverFault, type Timers } from "./driver.ts";
import { memoryStore } from "./memory-store.ts";
import { IO_TUNING } from "./tuning.ts";

type In = DatagramEvent | StoredInput | { readonly type: "say"; readonly text: string };
type Out = DatagramEvent | StoreOutput | { readonly type: "said"; readonly text: string };

/** Does what it is told by name, and notes everything. */
class Puppet implements Machine<In, Out> {
  wakeAt: Instant | undefined;
  readonly seen: string[] = [];
  readonly out: Out[] = [];
  onHandle: ((input: In) => void) | undefined;
  onWake: ((now: Instant) => void) | undefined;

  handle(input: In): void {
    this.seen.push(input.type === "stored" ? `stored ${input.ticket} ${input.ok}` : input.type);
    this.onHandle?.(input);
  }

  wake(now: Instant): void {
    this.seen.push(`wake ${now}`);
    this.wakeAt = undefined;
    this.onWake?.(now);
  }

  poll(): Out | undefined {
    return this.out.shift();
  }
}

class Port implements DatagramPort {
  receive: (event: DatagramEvent) => void = () => {};
  readonly sent: DatagramEvent[] = [];
  closed = false;

  listen(receive: (event: DatagramEvent) => void): void {
    this.receive = receive;
  }

  send(event: DatagramEvent): void {
    this.sent.push(event);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** An event loop by hand: time moves when told, and timers refuse what the real ones cannot do. */
class Loop implements Timers, Clock {
  time = 1_000_000;
  readonly skew = 0;
  legs: number[] = [];
  timer: { at: Instant; run: () => void } | undefined;
  immediates: (() => void)[] = [];

  now(): Instant {
    return this.time;
  }

  wall(): number {
    return this.time;
  }

  toWall(instant: Instant): number {
    return instant;
  }

  set(run: () => void, delay: number): unknown {
    assert.ok(Number.isInteger(delay) && delay >= 1 && delay < 2 ** 31, `delay ${delay}`);
    this.legs.push(delay);
    this.timer = { at: this.time + delay, run };
    return this.timer;
  }

  clear(timer: unknown): void {
    if (timer === this.timer) this.timer = undefined;
  }

  afterInput(run: () => void): void {
    this.immediates.push(run);
  }

  /** Advances to the next timer and fires it; the sockets are read by `reading`, once per turn. */
  fire(reading: () => void = () => {}): void {
    const { timer } = this;
    assert.ok(timer !== undefined, "no timer");
    this.timer = undefined;
    this.time = Math.max(this.time, timer.at);
    timer.run();
    while (this.immediates.length > 0) {
      reading();
      for (const run of this.immediates.splice(0)) run();
    }
  }
}

const PATH: Path = {
  local: { host: "127.0.0.1", port: 5683 },
  remote: { host: "127.0.0.2", port: 40_000 },
};
const datagram: DatagramEvent = { type: "datagram", path: PATH, bytes: utf8("hi") };

function rig(prepare: (puppet: Puppet) => void = () => {}): {
  puppet: Puppet;
  port: Port;
  loop: Loop;
  store: ReturnType<typeof memoryStore>;
  driver: Driver<In, Out>;
  faults: DriverFault[];
  said: string[];
} {
  const [puppet, port, loop] = [new Puppet(), new Port(), new Loop()];
  const store = memoryStore({ commit: "told" });
  const faults: DriverFault[] = [];
  const said: string[] = [];
  prepare(puppet);
  const driver = new Driver<In, Out>({
    machine: puppet,
    port,
    store,
    clock: loop,
    timers: loop,
    onOutput: ({ text }) => said.push(text),
    onFault: (fault) => faults.push(fault),
  });
  return { puppet, port, loop, store, driver, faults, said };
}

test("datagrams, store and the rest go where they belong", () => {
  const { puppet, port, store, driver, said } = rig();
  puppet.onHandle = (input) => {
    if (input.type === "datagram") puppet.out.push({ type: "store", ticket: 7, changes: [] });
    if (input.type === "stored") puppet.out.push(datagram, { type: "said", text: "done" });
  };
  port.receive(datagram);
  assert.deepEqual(port.sent, []);
  store.commit();
  assert.deepEqual(puppet.seen, ["datagram", "stored 7 true"]);
  assert.deepEqual([port.sent, said], [[datagram], ["done"]]);
  assert.deepEqual(driver.counters, {
    datagramsIn: 1,
    datagramsOut: 1,
    wakes: 0,
    faults: 0,
    storeFailures: 0,
  });
});

test("what the machine wants from the start is done at the start", () => {
  const { said, loop } = rig((puppet) => {
    puppet.out.push({ type: "said", text: "hello" });
    puppet.wakeAt = 1_000_500;
  });
  assert.deepEqual([said, loop.legs], [["hello"], [500]]);
});

test("F18: a write that failed comes back as not stored, and is reported", () => {
  const { puppet, driver, faults } = rig();
  const store = memoryStore({ commit: "told", fault: () => "full" });
  const other = new Driver<In, Out>({ machine: puppet, store, onFault: (f) => faults.push(f) });
  puppet.out.push({ type: "store", ticket: 1, changes: [] });
  other.feed({ type: "say", text: "" });
  store.commit();
  assert.deepEqual(puppet.seen, ["say", "stored 1 false"]);
  assert.equal(other.counters.storeFailures, 1);
  assert.deepEqual(
    faults.map(({ during }) => during),
    ["store"],
  );
  assert.equal(driver.counters.storeFailures, 0);
});

test("an input that arrives in the middle of another waits its turn", () => {
  const puppet = new Puppet();
  const order: string[] = [];
  const driver: Driver<In, Out> = new Driver<In, Out>({
    machine: puppet,
    onOutput: ({ text }) => {
      order.push(text);
      if (text === "first") driver.feed({ type: "say", text: "nested" });
    },
  });
  puppet.onHandle = (input) => {
    if (input.type !== "say") return;
    order.push(`handle ${input.text}`);
    if (input.text === "outer") {
      puppet.out.push({ type: "said", text: "first" }, { type: "said", text: "second" });
    }
  };
  driver.feed({ type: "say", text: "outer" });
  assert.deepEqual(order, ["handle outer", "first", "second", "handle nested"]);
});

test("a machine's UsageError escapes to who fed it, and the machine is drained all the same", () => {
  const { puppet, driver, said, faults } = rig();
  puppet.onHandle = () => {
    puppet.out.push({ type: "said", text: "before" });
    throw new UsageError("no such thing");
  };
  assert.throws(() => driver.feed({ type: "say", text: "" }), UsageError);
  assert.deepEqual([said, faults], [["before"], []]);
});

test("one datagram that strikes a bug costs that datagram and nothing else", () => {
  const { puppet, port, driver, faults } = rig();
  const boom = new TypeError("boom");
  puppet.onHandle = (input) => {
    if (input.type === "datagram" && input.bytes.length === 0) throw boom;
    puppet.out.push(datagram);
  };
  port.receive(datagram);
  const bad = { ...datagram, bytes: new Uint8Array(0) };
  port.receive(bad);
  port.receive(datagram);
  assert.equal(port.sent.length, 2);
  assert.deepEqual(faults, [{ during: "handle", input: bad, error: boom }]);
  assert.equal(driver.counters.faults, 1);
});

test("a fault while an output is carried out does not lose the outputs after it", () => {
  const puppet = new Puppet();
  const port = new Port();
  const faults: DriverFault[] = [];
  const driver = new Driver<In, Out>({
    machine: puppet,
    port,
    onOutput: () => {
      throw new Error("application bug");
    },
    onFault: (fault) => faults.push(fault),
  });
  puppet.onHandle = () => puppet.out.push({ type: "said", text: "x" }, datagram);
  driver.feed({ type: "say", text: "" });
  assert.equal(port.sent.length, 1);
  assert.deepEqual(
    faults.map(({ during }) => during),
    ["output"],
  );
});

test("a bug in wake is tried again after a pause, not in a busy loop", () => {
  const { puppet, loop, faults, driver } = rig();
  puppet.onWake = () => {
    puppet.wakeAt = loop.time;
    throw new Error("bug");
  };
  puppet.wakeAt = loop.time + 10;
  driver.feed({ type: "say", text: "" });
  loop.fire();
  loop.fire();
  assert.equal(faults.length, 2);
  assert.deepEqual(loop.legs, [10, IO_TUNING.faultPause, IO_TUNING.faultPause]);
});

test("a deadline beyond 2^31 ms is reached in legs and not before", () => {
  const { puppet, loop, driver } = rig();
  const start = loop.time;
  const day = 86_400_000;
  puppet.wakeAt = start + 60 * day;
  driver.feed({ type: "say", text: "" });
  for (let n = 0; n < 3; n++) loop.fire();
  assert.deepEqual(puppet.seen, ["say", `wake ${start + 60 * day}`]);
  assert.equal(loop.timer, undefined);
  assert.equal(loop.legs.length, 3);
});

test("a deadline that moves closer is met; one that moves away costs no timer", () => {
  const { puppet, loop, driver } = rig();
  const start = loop.time;
  const wish = (at: Instant | undefined): void => {
    puppet.wakeAt = at;
    driver.feed({ type: "say", text: "" });
  };
  wish(start + 1_000);
  wish(start + 400);
  for (let n = 0; n < 100; n++) wish(start + 900 + n);
  assert.deepEqual(loop.legs, [1_000, 400]);
  loop.fire();
  assert.ok(!puppet.seen.includes(`wake ${start + 400}`));
  loop.fire();
  assert.equal(puppet.seen.at(-1), `wake ${start + 999}`);
  wish(start + 2_000);
  wish(undefined);
  loop.fire();
  assert.equal(loop.timer, undefined);
});

test("F20: after a stall the datagrams that wait are handled before the timers", () => {
  const { puppet, port, loop, driver } = rig();
  puppet.wakeAt = loop.time + 100;
  driver.feed({ type: "say", text: "" });
  loop.time += 5_000;
  let waiting = 100;
  loop.fire(() => {
    for (let n = 0; n < 32 && waiting > 0; n++, waiting--) port.receive(datagram);
  });
  assert.equal(puppet.seen.lastIndexOf("datagram"), 100);
  assert.deepEqual(puppet.seen.slice(101), [`wake ${loop.time}`]);
});

test("F20: an answer that waited in the socket takes its timer away", () => {
  const { puppet, port, loop, driver } = rig();
  puppet.onHandle = (input) => {
    puppet.wakeAt = input.type === "datagram" ? undefined : loop.time + 100;
  };
  driver.feed({ type: "say", text: "" });
  loop.time += 5_000;
  loop.fire(() => {
    if (!puppet.seen.includes("datagram")) port.receive(datagram);
  });
  assert.deepEqual(puppet.seen, ["say", "datagram"]);
});

test("a flood that never ends does not keep the timers from running", () => {
  const { puppet, port, loop, driver } = rig();
  puppet.wakeAt = loop.time + 100;
  driver.feed({ type: "say", text: "" });
  loop.fire(() => {
    for (let n = 0; n < 32; n++) port.receive(datagram);
  });
  assert.equal(driver.counters.datagramsIn, 32 * IO_TUNING.drainRounds);
  assert.equal(driver.counters.wakes, 1);
});

test("close sends what waits for the store, takes nothing new, and closes the sockets last", async () => {
  const { puppet, port, store, driver, loop } = rig();
  puppet.onHandle = (input) => {
    puppet.out.push(input.type === "stored" ? datagram : { type: "store", ticket: 1, changes: [] });
  };
  port.receive(datagram);
  puppet.wakeAt = loop.time + 5;
  driver.feed({ type: "say", text: "" });
  const closing = driver.close();
  port.receive(datagram);
  assert.ok(!port.closed);
  store.commit();
  await closing;
  assert.deepEqual(puppet.seen, ["datagram", "say", "stored 1 true", "stored 1 true"]);
  assert.equal(port.sent.length, 2);
  assert.ok(port.closed);
  assert.equal(loop.timer, undefined);
  driver.feed({ type: "say", text: "late" });
  assert.equal(puppet.seen.length, 4);
});

test("on real timers: a wake comes at its time", async () => {
  const puppet = new Puppet();
  const driver = new Driver<In, Out>({ machine: puppet });
  const due = driver.clock.now() + 20;
  const woken = new Promise<Instant>((resolve) => (puppet.onWake = resolve));
  puppet.wakeAt = due;
  driver.feed({ type: "say", text: "" });
  assert.ok((await woken) >= due);
  await driver.close();
});

test("a store that throws has failed: the machine is told, and the sockets are closed all the same", async () => {
  const port = new Port();
  const puppet = new Puppet();
  const faults: DriverFault[] = [];
  const broken = (): never => {
    throw new Error("no disk");
  };
  const driver = new Driver<In, Out>({
    machine: puppet,
    port,
    store: { broken: undefined, load: broken, write: broken, flush: broken, close: broken },
    onFault: (fault) => faults.push(fault),
  });
  puppet.out.push({ type: "store", ticket: 5, changes: [] });
  driver.feed({ type: "say", text: "x" });
  assert.deepEqual(puppet.seen, ["say", "stored 5 false"]);
  await driver.close();
  assert.ok(port.closed);
  assert.deepEqual(
    faults.map(({ during, error }) => `${during}: ${(error as Error).message}`),
    ["store: no disk", "store: no disk", "store: no disk"],
  );
});
