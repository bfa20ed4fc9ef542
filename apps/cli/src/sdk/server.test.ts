import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runProgram } from "./program.test-kit.ts";

test("A6, H2: close ends what waits: reads reject with SERVER_CLOSED, loops end, and so does the program", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const read = server.device("nobody").read("/3303/0/5700");
    const observing = server.device("nobody").observe("/3303/0/5700").next();
    const ended = server.order("nobody", "read", "/3/0/0", { code: 1, options: [], payload: new Uint8Array() })
      .then(({ id }) => server.ended(id));
    await pause(50);
    const credential = server.addCredential({ kind: "rpk", endpoint: "a", spki: new Uint8Array(1) });
    const all = [read, observing, ended].map((one) => outcome(one));
    credential.catch(() => undefined);
    await server.close();
    report(await Promise.all(all));
    report(await outcome(server.device("nobody").read("/3303/0/5700")));
  `);
  const closed = { name: "ServerError", code: "SERVER_CLOSED" };
  const [all, after] = reports as [Record<string, unknown>[], Record<string, unknown>];
  assert.deepEqual(pick(all[0]), closed);
  assert.deepEqual(all[1], { value: { done: true } });
  assert.deepEqual(pick(all[2]), closed);
  assert.deepEqual(pick(after), closed);
  assert.equal(exit, 0, stderr);
});

test("H2: an idle loop can be left, an AbortSignal ends every call that waits, and a read that was aborted is cancelled", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = await registered(thermometer(server));
    const remote = server.device("thermometer");
    const loop = remote.observe("/3303/0/5700");
    report((await loop.next()).value.value);
    const waiting = loop.next();
    report(await outcome(loop.return()));
    report(await outcome(waiting));
    const signal = AbortSignal.timeout(50);
    const away = server.device("away");
    const calls = [
      away.read("/3/0/0", { signal }), away.readAll("/3/0", { signal }), away.discover("/3", { signal }),
      away.write("/3/0/14", "+01:00", { signal }), away.execute("/3/0/4", "", { signal }),
      away.create(3303, 1, { 5700: 1 }, { signal }), away.delete("/3303/1", { signal }),
      away.writeAttributes("/3/0", { pmin: 1 }, { signal }), away.cancelObserve("/3/0/0", { signal }),
      away.observe("/3/0/1", { signal }).next(),
      server.start({ signal }),
    ];
    report((await Promise.all(calls.map((one) => outcome(one)))).map(({ name }) => name));
    await pause(50);
    report([...new Set(server.tasksOf("away").map(({ state }) => state))]);
    report((await outcome(away.read("/3/0/0", { signal }))).name);
    await device.stop();
    await server.close();
  `);
  const [first, left, waited, names, states, late] = reports;
  assert.equal(first, 21.5);
  assert.deepEqual(left, { value: { done: true } });
  assert.deepEqual(waited, { value: { done: true } });
  assert.deepEqual(names, [...Array<string>(10).fill("TimeoutError"), "UsageError"]);
  assert.deepEqual(states, ["cancelled"]);
  assert.equal(late, "TimeoutError");
  assert.equal(exit, 0, stderr);
  assert.equal(stderr, "");
});

test("H1: loops on one path share one observation: each gets every reading, and who leaves leaves it to the others", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = await registered(thermometer(server));
    const at = "/3303/0/5700";
    const states = [];
    server.on("observation", ({ state }) => states.push(state));
    const remote = server.device("thermometer");
    const [a, b] = [remote.observe(at), remote.observe(at)];
    report((await Promise.all([a.next(), b.next()])).map(({ value }) => value.value));
    const next = async (value, ...loops) => {
      const all = loops.map((loop) => loop.next());
      await pause(20);
      device.set(at, value);
      return (await Promise.all(all)).map(({ value: reading }) => reading.value);
    };
    report(await next(22, a, b));
    await a.return();
    report(await next(23, b));
    const c = remote.observe(at);
    report((await c.next()).value.value);
    report(await next(24, b, c));
    report(states);
    await b.return();
    await c.return();
    await pause(100);
    report([states, observed(server)]);
    await device.stop();
    await server.close();
  `);
  assert.deepEqual(reports, [
    [21.5, 21.5],
    [22, 22],
    [23],
    23,
    [24, 24],
    ["active"],
    [["active", "ended"], []],
  ]);
  assert.equal(exit, 0, stderr);
});

test("H1: who observes by the REST API's order is an owner beside the loops, and its goodbye leaves them theirs", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = await registered(thermometer(server));
    const at = "/3303/0/5700";
    const observe = { code: 1, options: [{ number: 6, value: new Uint8Array() },
      ...at.slice(1).split("/").map((id) => ({ number: 11, value: Buffer.from(id) }))], payload: new Uint8Array() };
    const order = async (kind) => server.ended((await server.order("thermometer", kind, at, observe)).id);
    
    const remote = server.device("thermometer");
    // A loop joins what was ordered, and leaves it there.
    report((await order("observe")).state);
    const joined = remote.observe(at);
    report((await joined.next()).value.value);
    await joined.return();
    await pause(50);
    report(observed(server));
    // Somebody orders what a loop observes, and says goodbye.
    report((await order("cancelObserve")).state);
    const loop = remote.observe(at);
    await loop.next();
    report((await order("observe")).state);
    const { id, state, answer } = await order("cancelObserve");
    report([state, answer.code, server.task(id).state, observed(server)]);
    const next = loop.next();
    device.set(at, 22);
    report((await next).value.value);
    await loop.return();
    await pause(50);
    report(observed(server));
    await device.stop();
    await server.close();
  `);
  assert.deepEqual(reports, [
    "done",
    21.5,
    ["/3303/0/5700"],
    "done",
    "done",
    ["done", "2.05", "done", ["/3303/0/5700"]],
    22,
    [],
  ]);
  assert.equal(exit, 0, stderr);
});

test("H1: attributes are one set per path: other ones than a loop has named are refused, the same or none are not", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = await registered(thermometer(server));
    const remote = server.device("thermometer");
    const at = "/3303/0/5700";
    const first = remote.observe(at, { pmin: 1, pmax: 60 });
    await first.next();
    report(await outcome(remote.observe(at, { pmin: 2 }).next()));
    const [same, none] = [remote.observe(at, { pmax: 60, pmin: 1 }), remote.observe(at)];
    report([(await same.next()).value.value, (await none.next()).value.value]);
    for (const loop of [first, same, none]) await loop.return();
    await pause(50);
    const other = remote.observe(at, { pmin: 2 });
    report((await other.next()).value.value);
    await other.return();
    await device.stop();
    await server.close();
  `);
  const [conflict, ...rest] = reports as [Record<string, string>, ...unknown[]];
  assert.equal(conflict["code"], "OBSERVE_CONFLICT");
  assert.match(
    conflict["message"]!,
    /\/3303\/0\/5700 of thermometer is observed with pmax=60&pmin=1/,
  );
  assert.deepEqual(rest, [[21.5, 21.5], 21.5]);
  assert.equal(exit, 0, stderr);
});

test("H1: a device that refuses to observe, answers without observing, or notifies an error, ends each loop with its code", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const device = await registered(thermometer(server, { tuning: { maxObservations: 1 } }));
    const remote = server.device("thermometer");
    report(await outcome(remote.observe("/3303/9/5700").next()));
    const loop = remote.observe("/3303/0/5700");
    await loop.next();
    report(await outcome(remote.observe("/3303/0/5701").next()));
    const next = outcome(loop.next());
    device.remove(3303, 0);
    device.changed("/3303/0/5700");
    report(await next);
    report(await outcome(loop.next()));
    await device.stop();
    await server.close();
  `);
  const [refused, unobserved, gone, after] = reports as Record<string, string>[];
  assert.equal(refused?.["code"], "DEVICE_REFUSED");
  assert.match(refused?.["message"] ?? "", /4\.04/);
  assert.equal(unobserved?.["code"], "NOT_OBSERVED");
  assert.equal(gone?.["code"], "DEVICE_REFUSED");
  assert.match(gone?.["message"] ?? "", /4\.04/);
  assert.deepEqual(after, { value: { done: true } });
  assert.equal(exit, 0, stderr);
});

test("H3: one read more than may wait for a device is a DeviceError that names the limit, with a code", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const calls = Array.from({ length: 101 }, () => outcome(server.device("away").read("/3/0/0", { expires: 60_000 })));
    const ends = await Promise.all(calls);
    report(ends.filter((one) => one !== "pending"));
    await server.close();
  `);
  const [[refused, ...others]] = reports as [Record<string, string>[]];
  assert.deepEqual(others, []);
  assert.deepEqual(pick(refused), { name: "DeviceError", code: "OPERATION_LIMIT" });
  assert.match(refused?.["message"] ?? "", /100 operations already wait for this device/);
  assert.equal(exit, 0, stderr);
});

test("H4: a second start leaves the first untouched, one after close is refused in words, and no socket is left over", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = new Server({ coap: "127.0.0.1:0", nosec: true });
    report(await outcome((async () => server.addresses)()));
    const both = await Promise.all([outcome(server.start()), outcome(server.start())]);
    report([both, await sockets()]);
    report([await outcome(server.start()), await sockets()]);
    const device = await registered(thermometer(server));
    report(await server.device("thermometer").read("/3303/0/5701"));
    await device.stop();
    const taken = new Server({ coap: server.addresses[0], nosec: true });
    report([await outcome(taken.start()), await sockets()]);
    await server.close();
    report([await outcome(taken.start()), await sockets()]);
    await taken.close();
    report([await outcome(server.start()), await sockets()]);
    const hurried = new Server({ coap: "127.0.0.1:0", coaps: "127.0.0.1:0" });
    const starting = outcome(hurried.start());
    await Promise.all([hurried.close(), hurried.close()]);
    report([await starting, await sockets()]);
    await new Server({ coap: "127.0.0.1:0" }).close();
  `);
  const [before, started, again, value, taken, freed, closed, hurried] = reports as unknown[];
  assert.equal((before as Record<string, string>)["code"], "NOT_STARTED");
  const [both, one] = started as [Record<string, string>[], number];
  assert.deepEqual([both[0], both[1]?.["code"], one], [{ value: null }, "ALREADY_STARTED", 1]);
  assert.deepEqual(codes(again), ["ALREADY_STARTED", 1]);
  assert.equal(value, "Cel");
  assert.deepEqual(codes(taken), ["SOCKET_EADDRINUSE", 1]);
  assert.deepEqual(codes(freed), [undefined, 1]); // a start that failed can be tried again
  assert.deepEqual(codes(closed), ["SERVER_CLOSED", 0]);
  assert.deepEqual(codes(hurried), ["SERVER_CLOSED", 0]);
  assert.equal(exit, 0, stderr);
});

test("H6: what a listener of the server throws, or rejects with, goes to fault and ends nothing", async () => {
  const { reports, exit, stderr } = await runProgram(`
    const server = await openServer();
    const faults = [];
    server.on("registered", () => { throw new Error("at once"); });
    server.on("task", async () => { await pause(1); throw new Error("later"); });
    server.on("notification", () => new Promise(() => undefined));
    server.on("fault", ({ fault, source }) => faults.push(source + ": " + fault.message));
    const device = await registered(thermometer(server));
    const remote = server.device("thermometer");
    report(await remote.read("/3303/0/5701"));
    for await (const { value } of remote.observe("/3303/0/5700")) { report(value); break; }
    await device.stop();
    await pause(20);
    report([...new Set(faults)].toSorted());
    server.on("fault", () => { throw new Error("the last one"); });
    await registered(thermometer(server, { endpoint: "other" })).then((other) => other.stop());
    await server.close();
  `);
  assert.deepEqual(reports, [
    "Cel",
    21.5,
    ["listener of registered: at once", "listener of task: later"],
  ]);
  assert.equal(exit, 0, stderr);
  assert.match(
    stderr,
    /Warning: a listener of the server's fault event failed: Error: the last one/,
  );
});

test("H6: a store of the program's own that throws, rejects or never answers costs what it struck, and close ends", async () => {
  const { reports, exit, stderr } = await runProgram(`
    for (const write of [
      () => { throw new Error("no disk"); },
      (changes, done) => done(new Error("no disk")),
    ]) {
      const store = { broken: undefined, load: () => [], write,
        flush: async () => { throw new Error("no flush"); }, close: () => { throw new Error("no close"); } };
      const server = await openServer({ store });
      const faults = [];
      server.on("fault", ({ source, fault }) => faults.push(source + ": " + fault.message));
      const device = thermometer(server);
      const refused = once(device, "refused");
      await device.start();
      report((await refused).code);
      report(await outcome(server.device("thermometer").read("/3303/0/5701")));
      await device.stop();
      await server.close();
      report([...new Set(faults)].every((one) => one.startsWith("store: ")));
    }
    const unread = new Server({ coap: "127.0.0.1:0", store: {
      broken: undefined, load: () => { throw new Error("no read"); }, write: () => undefined, flush: async () => undefined, close: async () => undefined } });
    const fault = await outcome(unread.start());
    report([fault.name, fault.message, await sockets()]);
  `);
  const [thrown, read, stores, passed, readToo, storesToo, left] = reports;
  assert.deepEqual(
    [thrown, stores, passed, storesToo, left],
    [163, true, 163, true, ["StoreError", "the store cannot be read: no read", 0]],
  );
  for (const one of [read, readToo]) {
    assert.deepEqual(pick(one), { name: "DeviceError", code: "STORE_REFUSED" });
  }
  assert.equal(exit, 0, stderr);
});

test("H1: after a restart a loop owns what loops had asked for, and what was ordered stays with whoever ordered it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "godwit-owners-"));
  const { reports, exit, stderr } = await runProgram(`
    const { sqliteStore } = await import("@godwit/io");
    const { observeRequest, parseNodePath } = await import("@godwit/lwm2m");
    const file = ${JSON.stringify(join(directory, "godwit.db"))};
    let server = await openServer({ store: sqliteStore(file) });
    const coap = server.addresses[0];
    const device = await registered(thermometer(server));
    const [looped, ordered] = ["/3303/0/5700", "/3303/0/5701"];
    const { id } = await server.order("thermometer", "observe", ordered, observeRequest(parseNodePath(ordered)));
    await server.ended(id);
    const observe = async (path) => {
      const loop = server.device("thermometer").observe(path);
      report((await loop.next()).value.value);
      return loop;
    };
    await observe(looped);
    await observe(ordered);
    await server.close(); // ends the loops; the observations stay
    server = await openServer({ store: sqliteStore(file), coap });
    device.update();
    await once(server, "updated");
    report(observed(server));
    const loops = [await observe(looped), await observe(ordered)];
    const next = loops[0].next();
    device.set(looped, 22);
    report((await next).value.value);
    for (const loop of loops) await loop.return();
    await pause(100);
    report(observed(server));
    await device.stop();
    await server.close();
  `);
  rmSync(directory, { recursive: true });
  const [looped, ordered] = ["/3303/0/5700", "/3303/0/5701"];
  assert.deepEqual(reports, [21.5, "Cel", [ordered, looped], 21.5, "Cel", 22, [ordered]]);
  assert.equal(exit, 0, stderr);
});

function pick(fault: unknown): unknown {
  const { name, code } = fault as Record<string, unknown>;
  return { name, code };
}

function codes(report: unknown): [string | undefined, number] {
  const [fault, open] = report as [Record<string, string>, number];
  return [fault["code"], open];
}
