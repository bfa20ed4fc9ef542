// A2, A4: what is revoked, replaced or switched off is gone at once, from memory and store, whenever the server dies.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hex } from "@godwit/base";
import { World } from "@godwit/netsim";
import { KEY, TestDevice, TestServer, pair } from "./kit.test.ts";

const OTHER_KEY = hex("ff0102030405060708090a0b0c0d0eff");
const STRATEGIES = ["cid", "resume"] as const;
const SECURED = { identity: "dev01" };

for (const strategy of STRATEGIES) {
  for (const how of ["revoked", "replaced"] as const) {
    const story = (
      seed: number,
      tickets = false,
    ): { world: World; server: TestServer; device: TestDevice } => {
      const world = new World({ seed });
      const { server, device } = pair(world, {
        endpoint: "lamp",
        security: { ...SECURED, strategy, ...(tickets && { tickets }) },
        lifetime: 600,
        keepAlive: 60,
        ...(tickets && { serverDtls: { tickets } }),
      });
      server.observe(device, "/3303/0/5700");
      world.run("10 s");
      return { world, server, device };
    };
    const act = (server: TestServer): void => {
      if (how === "revoked") server.removeCredential("psk:dev01");
      else
        server.addCredential({ kind: "psk", endpoint: "lamp", identity: "dev01", key: OTHER_KEY });
    };

    test(`A2: ${strategy}, ${how}: whenever the server dies it is done as a whole or not at all, and stays so`, () => {
      for (let after = 0; after < 4; after++) {
        for (const when of ["before", "after"] as const) {
          const { world, server, device } = story(5);
          const where = `${when} write ${after + 1}`;
          device.host.off();
          const read = server.read(device, "/3/0/9");
          world.run("1 s");
          server.crashAt = { write: server.writes + 1 + after, when };
          act(server);
          world.run("1 s");
          if (server.crashes === 0) server.crash();
          world.run("5 s");
          const done = after > 0 || when === "after";
          const left = leftovers(server);
          if (done) assert.deepEqual(left, how === "revoked" ? [] : KEPT_FOR_THE_NEW_KEY, where);
          else assert.ok(left.includes("dtls.association") && left.includes("registration"), where);
          if (done && how === "revoked") {
            const { state } = read.view ?? {};
            assert.equal(state?.name === "failed" && /revoked/.test(state.reason), true, where);
          }
          device.host.on();
          world.run("30 min");
          assert.equal(server.registration(device) === undefined, done, where);
        }
      }
    });

    test(`A2: ${strategy}, ${how}: over restarts, and with its name given to another key, the old key opens nothing`, () => {
      for (const tickets of strategy === "resume" ? [false, true] : [false]) {
        const { world, server, device } = story(6, tickets);
        act(server);
        world.run("1 s");
        assert.equal(server.registration(device), undefined);
        const said = server.events.filter(({ type }) => type === "deregistered");
        assert.deepEqual(
          said.map((one) => "why" in one && one.why),
          ["revoked"],
        );
        server.restartWith();
        const key = hex("1111111111111111111111111111111111");
        if (how === "revoked")
          server.addCredential({ kind: "psk", endpoint: "lamp", identity: "dev01", key });
        world.run("2 h");
        server.restartWith();
        world.run("2 h");
        assert.equal(server.registration(device), undefined);
        assert.deepEqual(server.stack.setAside, []);
        assert.deepEqual(leftovers(server), how === "revoked" ? [] : ["observation"]);
      }
    });

    test(`A2: ${strategy}, ${how} in the middle of a handshake, at any moment: nobody is in`, () => {
      for (const resumes of [false, true]) {
        for (let ms = 0; ms <= 160; ms += 5) {
          const world = new World({ seed: 7 });
          const server = new TestServer(world);
          const device = new TestDevice(world, server, {
            endpoint: "lamp",
            security: { ...SECURED, strategy: resumes ? "resume" : strategy },
          });
          world.run("1 s");
          if (resumes) {
            device.start();
            world.run("10 s");
            device.reboot({ kept: true });
          } else device.start();
          world.run(`${ms} ms`);
          act(server);
          world.run("20 min");
          assert.equal(server.registration(device), undefined, `after ${ms} ms`);
          server.restartWith();
          world.run("20 min");
          assert.equal(server.registration(device), undefined, `after ${ms} ms`);
          assert.deepEqual(leftovers(server), [], `after ${ms} ms`);
        }
      }
    });
  }

  for (const how of ["revoked", "replaced"] as const)
    test(`${strategy}: a credential that a full disk does not let be ${how}: nothing has changed, in memory or store`, () => {
      const world = new World({ seed: 13 });
      const { server, device } = pair(world, {
        endpoint: "lamp",
        security: { ...SECURED, strategy },
        lifetime: 600,
        keepAlive: 60,
      });
      server.observe(device, "/3303/0/5700");
      world.run("10 s");
      const before = server.registration(device);
      const rows = structuredClone(server.tables);
      const associations = (): unknown => server.tables.get("dtls.association");
      server.full = true;
      if (how === "revoked") server.removeCredential("psk:dev01");
      else
        server.addCredential({ kind: "psk", endpoint: "lamp", identity: "dev01", key: OTHER_KEY });
      world.run("100 ms");
      const { ok } = server.events.findLast(({ type }) => type === "credential") as { ok: boolean };
      assert.equal(ok, false);
      assert.deepEqual(server.registration(device), before);
      assert.deepEqual(server.observed(device), ["/3303/0/5700 active"]);
      assert.deepEqual(associations(), rows.get("dtls.association"));
      server.full = false;
      device.set("/3303/0/5700", { type: "float", value: 7 });
      world.run("30 s");
      assert.equal(server.notifications().at(-1), "/3303/0/5700 7", "in the same session");
      assert.equal(server.registration(device)?.session, before?.session);
      server.restartWith();
      world.run("1 h");
      assert.equal(server.registration(device)?.id, before?.id);
      assert.equal(server.observed(device).length, 1);
    });

  test(`${strategy}: a revocation is finished once the disk, full since its commit, has room, or by the next start`, () => {
    for (const restarts of [false, true]) {
      const world = new World({ seed: 14 });
      const { server, device } = pair(world, {
        endpoint: "lamp",
        security: { ...SECURED, strategy },
        lifetime: 600,
      });
      server.observe(device, "/3303/0/5700");
      world.run("10 s");
      server.removeCredential("psk:dev01");
      world.run("6 ms");
      server.full = true;
      world.run("10 s");
      assert.equal(server.registration(device), undefined);
      assert.ok(leftovers(server).includes("credentialChange"));
      server.full = false;
      if (restarts) server.restartWith();
      world.run("10 s");
      assert.deepEqual(leftovers(server), []);
      assert.equal(server.registration(device), undefined);
    }
  });

  test(`A1: ${strategy}: three restarts, each with a new handshake, leave one row of each sort, and it is read and observed`, () => {
    const world = new World({ seed: 8 });
    const { server, device } = pair(world, {
      endpoint: "lamp",
      security: { ...SECURED, strategy },
      lifetime: 600,
    });
    server.observe(device, "/3303/0/5700");
    world.run("10 s");
    const sessions = new Set<number>();
    for (let life = 1; life <= 3; life++) {
      sessions.add(server.registration(device)!.session); // it is registered
      server.restartWith();
      assert.deepEqual(server.stack.setAside, []);
      device.reboot({ kept: false });
      world.run("20 s");
      for (const table of ["dtls.association", "registration", "touch", "observation"])
        assert.equal(server.tables.get(table)?.size, 1, `${table}, life ${life}`);
      device.set("/3303/0/5700", { type: "float", value: life });
      world.run("10 s");
      assert.equal(server.notifications().at(-1), `/3303/0/5700 ${life}`);
      const read = server.read(device, "/3/0/9");
      world.run("10 s");
      assert.equal(read.answer, "2.05 87");
    }
    assert.equal(sessions.size, 3, "no number twice");
    for (const session of sessions) assert.ok(session < 2 ** 45);
  });
}

test("A3: two rows of one identity at a start: the newer goes on, and orders to a device that only listens go out", () => {
  const world = new World({ seed: 9 });
  const { server, device } = pair(world, {
    endpoint: "lamp",
    security: { ...SECURED, strategy: "cid" },
    lifetime: 86_400,
  });
  const [older] = [...(server.tables.get("dtls.association") ?? [])];
  device.reboot({ kept: false });
  world.run("20 s");
  server.tables.get("dtls.association")?.set(...older!); // it was registered
  server.restartWith();
  assert.deepEqual(
    server.stack.setAside.map(({ table, key }) => `${table} ${key}`),
    [`dtls.association ${older?.[0]}`],
  );
  const read = server.read(device, "/3/0/9");
  world.run("10 s");
  assert.equal(read.answer, "2.05 87");
  assert.equal(server.tables.get("dtls.association")?.size, 1);
});

test("A4: NoSec switched off at a restart: registrations end with a reason, and their devices are refused from the first message on", () => {
  const world = new World({ seed: 10 });
  const { server, device } = pair(world, { endpoint: "open", lifetime: 120 });
  server.observe(device, "/3303/0/5700");
  world.run("10 s");
  server.restartWith(server.tables, { nosec: false });
  const read = server.read(device, "/3/0/9");
  world.run("1 s");
  const reads = device.reads.length;
  world.run("2 h");
  assert.equal(server.registration(device), undefined);
  const [ended] = server.events.filter(({ type }) => type === "deregistered");
  assert.equal(ended?.type === "deregistered" && ended.why, "refused");
  assert.equal(read.state, "waiting");
  assert.equal(device.reads.length, reads);
  assert.ok(device.count("refused") > 0);
  for (const table of ["registration", "touch", "session"])
    assert.equal(server.tables.get(table)?.size, 0, table);
});

test("A4: an endpoint that is given a credential is not spoken to without it any more", () => {
  const world = new World({ seed: 11 });
  const { server, device } = pair(world, { endpoint: "open", lifetime: 120 });
  server.addCredential({ kind: "psk", endpoint: "open", identity: "open", key: KEY });
  world.run("1 h");
  assert.equal(server.registration(device), undefined);
  const [ended] = server.events.filter(({ type }) => type === "deregistered");
  assert.equal(ended?.type === "deregistered" && ended.why, "refused");
  assert.ok(device.count("refused") > 0);
});

test("an endpoint with two credentials: the one that is revoked takes nothing from who registered by the other", () => {
  const world = new World({ seed: 16 });
  const { server, device } = pair(world, {
    endpoint: "lamp",
    security: { ...SECURED, strategy: "cid" },
  });
  const before = server.registration(device);
  server.addCredential({ kind: "psk", endpoint: "lamp", identity: "dev02", key: OTHER_KEY });
  world.run("1 s");
  server.removeCredential("psk:dev02");
  world.run("1 s");
  assert.deepEqual(
    server.stack.credentials().map(({ id }) => id),
    ["psk:dev01"],
  );
  assert.equal(server.registration(device)?.id, before?.id);
  const read = server.read(device, "/3/0/9");
  world.run("10 s");
  assert.equal(read.answer, "2.05 87");
});

test("a server without OSCORE keeps an OSCORE credential, and its endpoint is not registered without it", () => {
  const world = new World({ seed: 17 });
  const server = new TestServer(world);
  server.addCredential({
    kind: "oscore",
    endpoint: "lamp",
    senderId: hex("53"),
    recipientId: hex("43"),
    masterSecret: KEY,
    masterSalt: undefined,
    idContext: undefined,
    aead: undefined,
    hkdf: undefined,
    derivation: "both",
  });
  world.run("1 s");
  assert.deepEqual(server.events, [{ type: "credential", ref: 0, ok: true }]);
  server.restartWith();
  assert.deepEqual(
    server.stack.credentials().map(({ id }) => id),
    ["oscore:43"],
  );
  const device = new TestDevice(world, server, { endpoint: "lamp" });
  device.start();
  world.run("10 s");
  assert.ok(device.count("refused") > 0);
});

test("commands for one credential are carried out one after the other, each once the one before is durable", () => {
  const world = new World({ seed: 15 });
  const server = new TestServer(world);
  const psk = { kind: "psk", endpoint: "lamp", identity: "dev01" } as const;
  server.addCredential({ ...psk, key: KEY });
  server.removeCredential("psk:dev01");
  server.addCredential({ ...psk, endpoint: "other", key: OTHER_KEY });
  server.addCredential({ ...psk, key: KEY });
  world.run("1 s");
  const told = server.events.flatMap((one) => (one.type === "credential" ? [one] : []));
  assert.deepEqual(
    told.map(({ ok, why }) => [ok, why]),
    [
      [true, undefined],
      [true, undefined],
      [true, undefined],
      [false, "psk:dev01 belongs to the endpoint other already"],
    ],
  );
  assert.deepEqual(
    server.stack.credentials().map(({ endpoint }) => endpoint),
    ["other"],
  );
});

test("a path that registers nobody costs no write, and no number that a row has is given out again", () => {
  const world = new World({ seed: 12 });
  const { server, device } = pair(world, { endpoint: "open" });
  const { session } = server.registration(device)!; // it is registered
  server.addCredential({ kind: "psk", endpoint: "lamp", identity: "dev01", key: KEY });
  world.run("1 s");
  const before = server.writes;
  const strangers = Array.from({ length: 50 }, (_, n) => {
    return new TestDevice(world, server, { endpoint: "lamp", host: `stranger ${n}` });
  });
  for (const stranger of strangers) stranger.start();
  world.run("1 min");
  for (const stranger of strangers) assert.ok(stranger.count("refused") > 0);
  assert.equal(server.writes, before);
  server.restartWith();
  const other = new TestDevice(world, server, { endpoint: "other" });
  other.start();
  world.run("10 s");
  assert.ok(server.registration(other)!.session > session); // so is it
});

/** Tables that still hold something of a device; operations that ended are history. */
function leftovers(server: TestServer): readonly string[] {
  const held = [...server.tables].filter(([, rows]) => rows.size > 0).map(([table]) => table);
  const waiting = server.stack.server
    .operationsOf("lamp")
    .some(({ state }) => state.name === "waiting" || state.name === "sent");
  return held
    .filter(
      (table) =>
        !["counter", "operation", "credential", "secured", "dtls.ticketKeys"].includes(table),
    )
    .concat(waiting ? ["operation"] : [])
    .toSorted();
}

/** What is wanted of the endpoint waits for the device with the new key. */
const KEPT_FOR_THE_NEW_KEY = ["observation", "operation"];
