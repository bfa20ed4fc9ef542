import assert from "node:assert/strict";
import { test } from "node:test";
import { runProgram } from "./program.test-kit.ts";

test("H5: a second start is refused and leaves the first untouched; a start after a stop that still runs waits for it", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = thermometer(server);
    const there = once(device, "registered");
    report(await Promise.all([outcome(device.start()), outcome(device.start())]));
    await there;
    report([await outcome(device.start()), await sockets(), server.deviceCount]);
    const stopping = device.stop();
    const again = once(device, "registered");
    report(await Promise.all([outcome(stopping), outcome(device.start())]));
    await again;
    report([await sockets(), server.deviceCount]);
    await Promise.all([device.stop(), device.stop()]);
    report([await sockets(), server.deviceCount]);
    await device.stop();
    await server.close();
  `);
  const [both, third, restarted, running, stopped] = reports as [
    Fault[],
    [Fault, number, number],
    unknown,
    unknown,
    unknown,
  ];
  assert.deepEqual([both[0], both[1]?.code], [{ value: null }, "ALREADY_STARTED"]);
  assert.deepEqual([third[0].code, third[1], third[2]], ["ALREADY_STARTED", 2, 1]);
  assert.deepEqual(restarted, [{ value: null }, { value: null }]);
  assert.deepEqual(running, [2, 1]);
  assert.deepEqual(stopped, [1, 0]);
  assert.equal(exit, 0, stderr);
});

test("H5: stop right after start waits for what that registers and takes leave of it, within patience", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = thermometer(server);
    let registrations = 0;
    server.on("registered", () => { registrations += 1; });
    const starting = outcome(device.start());
    await device.stop();
    report([await starting, registrations, server.deviceCount, await sockets()]);
    // Nobody answers: given up after patience.
    const silent = new Device({ endpoint: "silent", server: "coap://127.0.0.1:9" });
    await silent.start();
    const before = performance.now();
    await silent.stop({ patience: 200 });
    const took = performance.now() - before;
    report([took > 150 && took < 1_500, await sockets()]);
    // Without leave there is nothing to wait for.
    const fast = new Device({ endpoint: "fast", server: "coap://127.0.0.1:9" });
    const started = outcome(fast.start());
    await fast.stop({ deregister: false });
    report([(await started).code, await sockets()]);
    const aborted = new AbortController();
    const given = outcome(fast.start({ signal: aborted.signal }));
    aborted.abort(new Error("no longer wanted"));
    report([(await given).message, await sockets()]);
    await server.close();
  `);
  assert.deepEqual(reports, [
    [{ value: null }, 1, 0, 1],
    [true, 1],
    ["STOPPED", 1],
    ["no longer wanted", 1],
  ]);
  assert.equal(exit, 0, stderr);
});

test("H5: five quick starts and stops leave neither a socket nor a registration behind", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = thermometer(server);
    for (let i = 0; i < 5; i++) { await device.start(); await device.stop(); }
    report([server.deviceCount, await sockets()]);
    const ends = [];
    for (let i = 0; i < 5; i++) ends.push(outcome(device.start(), 5_000), outcome(device.stop(), 5_000));
    report((await Promise.all(ends)).filter((end) => end === "pending"));
    report([server.deviceCount, await sockets()]); // the last word was stop
    await server.close();
  `);
  assert.deepEqual(reports, [[0, 1], [], [0, 1]]);
  assert.equal(exit, 0, stderr);
});

test("H5: a start that fails leaves nothing behind and can be tried again", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const lost = new Device({ endpoint: "lost", server: "coap://no-such-host.invalid" });
    report((await outcome(lost.start(), 20_000)).code);
    let broken = true;
    const store = { load: () => { if (broken) throw new Error("no disk"); }, save: async () => undefined, records: () => { throw new Error("none"); } };
    const server = await openServer();
    const device = thermometer(server, { store });
    report([await outcome(device.start()), await sockets()]);
    broken = false;
    await registered(device);
    await device.stop();
    const odd = thermometer(server, { store: { ...store, load: async () => undefined } });
    report([(await outcome(odd.start())).code, await sockets()]);
    await server.close();
  `);
  const [lost, [unread, open], [odd, left]] = reports as [
    string,
    [Fault, number],
    [string, number],
  ];
  assert.equal(lost, "SERVER_NOT_FOUND");
  assert.deepEqual([unread.name, unread.code, open], ["StoreError", "STORE_IO", 1]);
  assert.match(unread.message ?? "", /the device's store cannot be read: no disk/);
  assert.deepEqual([odd, left], ["USAGE", 1]);
  assert.equal(exit, 0, stderr);
});

test("H6: what a listener of the device throws, or rejects with, goes to fault; a write that took place is 2.04", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = thermometer(server);
    device.add(3, { 0: "Example", 4: () => undefined, 11: { values: { 0: 0 } }, 14: "+01:00", 16: "U" });
    const faults = [];
    device.on("written", () => { throw new Error("at once"); });
    device.on("performed", async () => { await pause(1); throw new Error("later"); });
    device.on("registered", () => new Promise(() => undefined));
    device.on("fault", ({ source, fault }) => faults.push(source + ": " + fault.message));
    await registered(device);
    const remote = server.device("thermometer");
    report(await outcome(remote.write("/3/0/14", "+02:00")));
    report(await remote.read("/3/0/14"));
    await pause(20);
    report([...new Set(faults)].toSorted());
    device.on("fault", () => { throw new Error("the last one"); });
    report(await outcome(remote.write("/3/0/14", "+03:00")));
    await device.stop();
    await server.close();
  `);
  assert.deepEqual(reports, [
    { value: null },
    "+02:00",
    ["listener of performed: later", "listener of written: at once"],
    { value: null },
  ]);
  assert.equal(exit, 0, stderr);
  assert.match(
    stderr,
    /Warning: a listener of the device's fault event failed: Error: the last one/,
  );
});

test("H6: functions of resources that throw, reject or never end: the others are read, the path is named, the process goes on", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const never = () => new Promise(() => undefined);
    const device = thermometer(server, { limits: { readTimeout: 100, actTimeout: 100 } }, {
      5601: () => { throw new Error("no sensor"); },
      5602: async () => { throw new Error("no answer"); },
      5603: never,
      5604: () => "warm",
      5605: async () => { throw new Error("not reset"); },
    });
    device.add(3, { 0: "Example", 4: () => { throw new Error("not now"); }, 5: never, 11: { values: { 0: never, 1: () => 2 } },
      14: { read: () => "+01:00", write: async () => { throw new Error("read-only"); } },
      15: { write: never }, 16: "U" });
    const faults = [];
    device.on("fault", ({ source, path, fault }) => faults.push([source, path, fault.name, fault.message]));
    await registered(device);
    const remote = server.device("thermometer");
    report((await remote.readAll("/3303/0")).map(({ path, value }) => [path, value]));
    report((await remote.readAll("/3/0/11")).map(({ path, value }) => [path, value]));
    const coap = async (promise) => { try { await promise; return "done"; } catch (fault) { return fault.coapCode; } };
    report(await Promise.all([
      ...[5601, 5602, 5603, 5604].map((id) => coap(remote.read("/3303/0/" + id))),
      coap(remote.execute("/3303/0/5605")), coap(remote.execute("/3/0/4")), coap(remote.execute("/3/0/5")),
      coap(remote.write("/3/0/14", "+02:00")), coap(remote.write("/3/0/15", "Europe/Berlin")),
    ]));
    report([...new Set(faults.map((one) => one.join(" ")))].toSorted());
    report(await remote.read("/3303/0/5700"));
    await device.stop();
    await server.close();
  `);
  const [instance, several, codes, faults, value] = reports;
  assert.deepEqual(instance, [
    ["/3303/0/5700", 21.5],
    ["/3303/0/5701", "Cel"],
  ]);
  assert.deepEqual(several, [["/3/0/11/1", 2]]);
  assert.deepEqual(codes, ["5.00", "5.00", "5.04", "5.00", "5.00", "5.00", "5.04", "5.00", "5.04"]);
  assert.deepEqual(faults, [
    "execute /3/0/4 Error not now",
    "execute /3/0/5 TimeoutError execute of /3/0/5 did not end within 0.1 s",
    "execute /3303/0/5605 Error not reset",
    "read /3/0/11/0 TimeoutError what measures /3/0/11/0 did not end within 0.1 s",
    "read /3303/0/5601 Error no sensor",
    "read /3303/0/5602 Error no answer",
    "read /3303/0/5603 TimeoutError what measures /3303/0/5603 did not end within 0.1 s",
    "read /3303/0/5604 UsageError string warm is no float",
    "write /3/0/14 Error read-only",
    "write /3/0/15 TimeoutError write of /3/0/15 did not end within 0.1 s",
  ]);
  assert.equal(value, 21.5);
  assert.equal(exit, 0, stderr);
});

test("H6: a device's store that throws, rejects or never answers: what must be durable first is refused, the rest goes on, stop ends", async () => {
  const { reports, exit, stderr } = await runProgram(`
    for (const save of [
      () => { throw new Error("no disk"); },
      async () => { throw new Error("no disk"); },
      () => new Promise(() => undefined),
    ]) {
      const server = await openServer();
      const store = { load: () => undefined, save, records: () => { throw new Error("not asked for"); } };
      const device = thermometer(server, { store, limits: { storeTimeout: 100 } });
      const sources = new Set();
      device.on("fault", ({ source }) => sources.add(source));
      await registered(device);
      const remote = server.device("thermometer");
      report(await remote.read("/3303/0/5700"));
      const executing = outcome(remote.execute("/3303/0/5605", "", { expires: 400 }));
      report((await executing).code ?? null);
      await device.stop({ patience: 500 });
      await server.close();
      report([[...sources], await sockets()]);
    }
  `);
  for (let at = 0; at < 9; at += 3) {
    assert.equal(reports[at], 21.5);
    assert.equal(reports[at + 1], "OPERATION_EXPIRED"); // 5.03: the server waits and tries again
    assert.deepEqual(reports[at + 2], [["store"], 0]);
  }
  assert.equal(exit, 0, stderr);
});

type Fault = { readonly name?: string; readonly code?: string; readonly message?: string };
