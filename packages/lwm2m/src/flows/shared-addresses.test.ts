import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, seededRng, utf8 } from "@godwit/base";
import { CON, Code, OptionNumber, decodeMessage, encodeMessage, formatCode } from "@godwit/coap";
import { World } from "@godwit/netsim";
import { TestDevice, TestServer, type Order } from "./kit.test.ts";

// A carrier's NAT has few ports for many devices: after a silence a device stands where another one stood. On plain UDP
// nobody proves who he is but by what he knows: the Location of his registration.

const TEMPERATURE = "/3303/0/5700";
/** Linux with a block of ports that is hardly larger than what stands behind it. */
const FEW_PORTS = { oneWay: 10_000, twoWay: 15_000, portRange: [50_000, 50_005] } as const;

for (const [name, options] of [
  ["plain", {}],
  ["queue mode", { queueMode: true }],
  ["keep-alive", { keepAlive: "auto" }],
] as const)
  for (const restarts of [false, true])
    test(`F6: devices that change their addresses among each other lose no reading and no order, and register once [${name}${restarts ? ", the server dies now and then" : ""}]`, () => {
      for (let seed = 1; seed <= 10; seed++) exchange(seed, options, restarts);
    });

function exchange(
  seed: number,
  options: { readonly queueMode?: boolean; readonly keepAlive?: "auto" },
  restarts: boolean,
): void {
  const world = new World({ seed });
  const nat = world.nat("linux-random", FEW_PORTS);
  const server = new TestServer(world);
  const devices = Array.from({ length: 5 }, (_, i) => {
    const endpoint = `device-${i}`;
    const device = new TestDevice(world, server, {
      endpoint,
      behind: nat,
      lifetime: 86_400,
      ...options,
    });
    device.start();
    world.run("1 s");
    server.observe(device, TEMPERATURE);
    return device;
  });
  world.run("5 s");
  const rng = seededRng(seed);
  const orders: Order[] = [];
  for (let value = 1; value <= 12; value++) {
    world.run(22_000 + Math.floor(rng.float() * 15_000));
    if (restarts && value % 3 === 0) server.crash();
    world.run("5 s");
    const before = server.notifications().length;
    for (const device of devices) device.set(TEMPERATURE, { type: "float", value });
    // An order to a device that is not where it was goes to whoever is there now: here they have spoken before it.
    world.run("1 s");
    for (const device of devices) orders.push(server.execute(device, `${value}`));
    world.run("6 s");
    assert.deepEqual(
      server.notifications().slice(before),
      devices.map(() => `${TEMPERATURE} ${value}`),
      `seed ${seed}, reading ${value}`,
    );
  }
  for (let i = 0; i < 3; i++) {
    world.run("30 s"); // the answer to an old question may be under way before an order
    for (const device of devices) device.update();
  }
  world.run("5 s");
  const words = Array.from({ length: 12 }, (_, i) => `${i + 1}`);
  for (const device of devices) {
    // What waits behind an old question goes out later, to whoever is there then.
    if (options.keepAlive === undefined) assert.deepEqual(device.obeyed, words, `seed ${seed}`);
    assert.equal(device.count("registered"), 1, `seed ${seed}`);
  }
  assert.deepEqual(
    orders.map(({ answer }) => answer),
    orders.map(() => "2.04"),
    `seed ${seed}`,
  );
}

test("F6: after a restart two devices share one address by turns: each is served in its own registration", () => {
  const world = new World({ seed: 6 });
  const nat = world.nat("port-overload", { ...FEW_PORTS, portRange: [50_000, 50_000] });
  const server = new TestServer(world);
  const devices = ["first", "second"].map((endpoint) => {
    const device = new TestDevice(world, server, { endpoint, behind: nat, lifetime: 86_400 });
    device.start();
    world.run("30 s");
    return device;
  });
  for (let turn = 0; turn < 4; turn++) {
    server.crash(); // who had the address before has no session after it
    world.run("30 s");
    for (const device of devices) {
      device.update();
      world.run("1 s");
      const order = server.execute(device, `${turn}`);
      world.run("20 s");
      assert.equal(order.answer, "2.04");
    }
  }
  for (const device of devices) {
    assert.deepEqual(device.obeyed, ["0", "1", "2", "3"]);
    assert.equal(device.count("registered"), 1);
  }
  const sessions = devices.map((device) => server.registration(device)?.session);
  assert.notEqual(sessions[0], sessions[1]);
});

test("whoever waits for a name and turns out to have another at once is told to try again, and nothing is left of it", () => {
  const world = new World({ seed: 5 });
  const server = new TestServer(world);
  const [victim, mallory] = ["victim", "mallory"].map((endpoint) => {
    const device = new TestDevice(world, server, { endpoint, lifetime: 3_600 });
    device.start();
    world.run("2 s");
    return device;
  });
  assert.ok(victim && mallory);
  victim.host.off(); // the server asks it in vain
  const location = server.registration(mallory)?.id;
  assert.ok(location !== undefined);
  const answers: string[] = [];
  mallory.host.link.down.watch(({ to, bytes }) => {
    if (to.port === 7_777) answers.push(formatCode(decodeMessage(new Uint8Array(bytes), 8).code));
  });
  const say = (mid: number, path: readonly string[], query: readonly string[]): void => {
    const options = [
      ...path.map((segment) => ({ number: OptionNumber.UriPath, value: utf8(segment) })),
      { number: OptionNumber.ContentFormat, value: Uint8Array.of(40) },
      ...query.map((one) => ({ number: OptionNumber.UriQuery, value: utf8(one) })),
    ].filter(({ number }) => number !== OptionNumber.ContentFormat || path.length === 1);
    const payload = path.length === 1 ? utf8("</3/0>") : EMPTY;
    const token = Uint8Array.of(mid & 0xff);
    const bytes = encodeMessage({ type: CON, code: Code.POST, mid, token, options, payload });
    mallory.host.inject({
      from: { host: mallory.host.address, port: 7_777 },
      to: server.address,
      bytes,
    });
  };
  say(40_001, ["rd"], ["ep=victim", "lt=60", "lwm2m=1.1", "b=U"]);
  world.run("1 s");
  say(40_002, ["rd", location], []);
  world.run("2 minutes");
  assert.deepEqual(answers.toSorted(), ["0.00", "2.04", "5.03"]);
  assert.equal(server.registration(victim)?.lifetime, 3_600);
  assert.equal(server.addressOf(mallory), `${mallory.host.address}:7777`);
  server.crash();
  world.run("1 minute");
  assert.deepEqual(server.stack.setAside, []);
});
