import assert from "node:assert/strict";
import { test } from "node:test";
import { DTLS_TABLES } from "@godwit/lwm2m";
import type { Disk } from "../simulation/server.ts";
import {
  COLUMNS,
  namesContext,
  performed,
  story,
  type Column,
  type Order,
  type Stage,
  type StagedDevice,
} from "./stage.test.ts";

// Who goes away and comes back, with what it knew, with less or with nothing (F15 to F24).

const FLEET = 100;
story(
  `F15: after a black-out of an hour ${FLEET} devices come back by themselves, not all at once, and no key is made anew`,
  COLUMNS,
  {
    devices: FLEET,
    apart: 300,
    lifetime: 86_400,
    preset: "rfc4787",
    client: { keepAlive: 120 },
  },
  (stage) => {
    stage.run("30 minutes");
    const { server, world } = stage;
    const before = stage.devices.map((device) => stage.handshakes(device));
    server.host.link.set({ cut: true });
    world.run("1 h");
    server.host.link.set({ cut: false });
    const perSecond = new Map<number, number>();
    let renegotiated = 0;
    server.host.link.down.watch(({ at, bytes }) => {
      const second = Math.floor(at / 1_000);
      perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      if (stage.column === "oscore" && namesContext(bytes)) renegotiated += 1;
    });
    const since = stage.heard.length;
    // The longest pause of a device that found nobody: 15 minutes and a quarter.
    world.run(1_140_000);
    assert.equal(spokenSince(stage, since).size, FLEET);
    const peak = Math.max(...perSecond.values());
    assert.ok(peak <= FLEET / 5, `${peak} datagrams in one second`);
    let resumed = 0;
    stage.devices.forEach((device, n) => {
      const now = stage.handshakes(device);
      assert.equal(now.full, before[n]?.full, device.endpoint);
      assert.equal(device.count("registered"), 1, device.endpoint);
      resumed += now.resumed - (before[n]?.resumed ?? 0);
    });
    // With a connection id only those that were trying when the network came back.
    if (stage.column === "dtls12-cid") assert.ok(resumed <= FLEET / 20, `${resumed} resumed`);
    assert.equal(renegotiated, 0);
  },
);

/** Endpoints that the server heard an Update of. */
function spokenSince(stage: Stage, since: number): ReadonlySet<string> {
  const spoken = stage.heard
    .slice(since)
    .flatMap((output) => (output.type === "updated" ? [output.registration.endpoint] : []));
  return new Set(spoken);
}

story(
  "F16: a clean stop and a start keep registrations, observations, orders and sessions; an Update takes two datagrams",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  (stage) => {
    stage.observe();
    stage.run("5 s");
    const handshakes = stage.handshakes();
    const { session } = stage.registration() ?? {};
    for (let version = 0; version < 3; version++) {
      stage.server.feed({ type: "park" });
      stage.run("100 ms");
      stage.server.restart();
      const datagrams = stage.during(() => {
        stage.device.update();
        stage.run("5 s");
      });
      // What binds notifications to their request (RFC 8613 7.4.1) is not kept: the server observes anew.
      assert.equal(datagrams, stage.column === "oscore" ? 4 : 2);
      const told = stage.notified().length;
      stage.device.device.set("/3303/0/5700", 30 + version);
      stage.run("5 s");
      assert.equal(stage.notified().length, told + 1);
    }
    assert.equal(stage.registration()?.session, session);
    assert.deepEqual(stage.handshakes(), handshakes);
    assert.equal(stage.device.count("registered"), 1);
  },
);

for (const column of COLUMNS)
  test(`F17: wherever the server dies, what was acknowledged is there after it, and nothing is obeyed twice [${column}]`, () => {
    const { writes } = dying(column, undefined);
    assert.ok(writes > 15, String(writes));
    for (let write = 1; write <= writes; write++)
      for (const when of ["before", "after"] as const) {
        const where = `${when} write ${write}`;
        const { stage, orders } = dying(column, { write, when });
        // Who resumes into a server that dies has used up what is left of its lifetime, and may register anew.
        const most = column === "dtls12-resume" ? 2 : 1;
        for (const device of stage.devices) assert.ok(device.count("registered") <= most, where);
        for (const { device, word, order } of orders) {
          const times = device.obeyed.filter((obeyed) => obeyed === word).length;
          assert.ok(times <= 1, `${where}: ${word} ${times} times`);
          if (!order.accepted) continue; // its user was told nothing
          assert.equal(order.state, "done", `${where}: ${word}`);
          assert.equal(times, 1, `${where}: ${word}`);
        }
        assert.deepEqual(stage.server.stack.setAside, [], where);
      }
  });

type Given = { readonly device: StagedDevice; readonly word: string; readonly order: Order };

/** Two devices register, one sleeps; both get orders, in reach and out of it; the server dies at a write. */
function dying(
  column: Column,
  crashAt: { readonly write: number; readonly when: "before" | "after" } | undefined,
): { readonly stage: Stage; readonly orders: readonly Given[]; readonly writes: number } {
  let writes = 0;
  let ending = false;
  let playing: Stage | undefined;
  const orders: Given[] = [];
  const disk: Disk = ({ keep, done }) => {
    if (playing?.server.host.isOn === false) return;
    if (!ending) writes += 1;
    if (!ending && writes === crashAt?.write && playing !== undefined) {
      if (crashAt.when === "after") keep();
      playing.crash();
      return;
    }
    keep();
    done(true);
  };
  const stage = performed(column, { disk, idle: true, lifetime: 600, devices: 0 }, (theStage) => {
    playing = theStage;
    const add = (name: string, n: number, queueMode: boolean): StagedDevice => {
      const device = theStage.add(name, n, { lifetime: 600, client: { queueMode } });
      theStage.run("3 s");
      // It may have died with the server before it was durable: the operator, who was told nothing, adds it again.
      theStage.server.addCredential(theStage.credential(name, n));
      theStage.run("3 s");
      device.start();
      theStage.run("5 s");
      return device;
    };
    const give = (device: StagedDevice, word: string): void => {
      if (theStage.server.host.isOn)
        orders.push({ device, word, order: theStage.execute(word, device) });
    };
    const awake = add("awake", 0, false);
    give(awake, "a");
    theStage.run("3 s");
    const sleeper = add("sleeper", 1, true);
    give(sleeper, "b");
    give(sleeper, "c");
    theStage.run("4 minutes");
    give(awake, "d"); // its mapping is forgotten
    give(sleeper, "e"); // it sleeps
    theStage.run("1 s");
    give(sleeper, "f");
    theStage.run("30 minutes");
    ending = true;
  });
  return { stage, orders, writes };
}

for (const column of COLUMNS)
  test(`F18: while the store takes nothing, nothing new is acknowledged and no number beyond those reserved is used; after it all goes on [${column}]`, () => {
    let broken = false;
    let refused = 0;
    const disk: Disk = ({ keep, done }) => {
      if (broken) refused += 1;
      else keep();
      done(!broken);
    };
    const tuning = { stride: 4 };
    performed(
      column,
      { disk, lifetime: 86_400, preset: "rfc4787", serverDtls: { tuning } },
      (stage) => {
        const newcomer = stage.add("newcomer", 9, { lifetime: 86_400 });
        stage.run("1 s");
        broken = true;
        const order = stage.execute("lost");
        stage.run("1 s");
        assert.deepEqual(order.ends, ["failed"]);
        newcomer.start();
        for (let i = 0; i < 20; i++) {
          stage.device.update();
          stage.run("3 s");
        }
        assert.equal(newcomer.count("registered"), 0);
        assert.equal(stage.registration(newcomer), undefined);
        assert.ok(refused > 0);
        broken = false;
        assert.ok(stage.world.runUntil(() => newcomer.count("registered") === 1, "20 minutes"));
        stage.device.update();
        stage.run("2 minutes");
        const kept = stage.execute("kept");
        stage.run("2 minutes");
        assert.equal(kept.answer, "2.04");
        assert.deepEqual(stage.device.obeyed, ["kept"]);
      },
    );
  });

story(
  "F19: who slept for an hour, with a clock that stood still, ends nothing: no registration expires at once, no key is made anew",
  COLUMNS,
  { lifetime: 900, devices: 5, preset: "rfc4787" },
  (stage) => {
    const sleeps = (host: Stage["server"]["host"]): void => {
      host.off();
      stage.run("1 h");
      host.setClock({ offset: host.now - stage.world.now - 3_600_000 });
      host.on();
    };
    sleeps(stage.server.host);
    assert.equal(stage.server.stack.server.registrationCount, 5);
    stage.run("30 minutes");
    const full = stage.handshakes().full;
    assert.equal(full, stage.secured ? 1 : 0);
    sleeps(stage.device.device.host);
    stage.run("30 minutes");
    assert.ok(stage.registration(), "it registers again");
    if (stage.column === "dtls12-cid") assert.equal(stage.handshakes().full, full);
  },
);

story(
  "F20: a server that stands still for ten seconds reads what has come before it believes that nothing came",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  (stage) => {
    const { host } = stage.server;
    const order = stage.execute("once");
    const tap = host.link.down.tap(() => "hold");
    stage.run("30 ms");
    host.off();
    stage.run("10 s");
    const waiting = tap.held;
    assert.ok(waiting > 0, "its answer waits in the socket");
    tap.release(); // first in the queue, then what fell due
    host.on();
    stage.run("1 s");
    assert.equal(order.answer, "2.04");
    tap.remove();
    assert.deepEqual(stage.device.obeyed, ["once"]);
  },
);

for (const kept of [true, false])
  story(
    `F21: a device that restarts ${kept ? "with its state goes on where it was" : "without its state registers anew, is observed again, and leaves nothing of its old session"}`,
    COLUMNS,
    { lifetime: 86_400, preset: "rfc4787" },
    (stage) => {
      stage.run("5 s");
      const { id } = stage.registration() ?? {};
      if (!kept) {
        stage.observe();
        stage.run("5 s");
      }
      const datagrams = stage.during(() => {
        stage.device.device.reboot({ kept });
        stage.run("20 s");
      });
      const row = `${stage.column} ${kept}`;
      const expected: Record<string, number> = {
        "dtls12-resume true": 7, // five of the resumption, Update and answer
        "dtls12-cid true": 2,
        "oscore true": 2,
      };
      if (kept) assert.equal(datagrams, expected[row], row);
      assert.equal(stage.registration()?.id === id, kept);
      const { full, resumed } = stage.handshakes();
      const made = {
        "dtls12-resume": [kept ? 0 : 1, kept ? 1 : 0],
        "dtls12-cid": [kept ? 0 : 1, 0],
      };
      assert.deepEqual([full, resumed], made[stage.column as "dtls12-cid"] ?? [0, 0]);
      if (stage.secured)
        assert.equal(stage.server.store.get(DTLS_TABLES.association)?.size, 1, "one association");
      if (kept) return;
      stage.device.update();
      stage.run("5 s");
      stage.device.device.set("/3303/0/5700", 23.5);
      stage.run("10 s");
      assert.deepEqual(stage.notified(), ["23.5"]);
    },
  );

story(
  "F22: a device put back to an earlier state is taken for a replay, is not obeyed, and recovers with new keys",
  COLUMNS,
  {
    lifetime: 86_400,
    preset: "rfc4787",
    deviceDtls: { tuning: { stride: 8 } },
    unaudited: true,
  },
  (stage) => {
    const { device } = stage.device;
    const old = device.records;
    for (let i = 0; i < 300; i++) {
      device.update();
      stage.run("1 s");
    }
    const updates = stage.count("updated");
    device.reboot({ kept: true, records: old });
    stage.run("500 ms");
    if (stage.column === "dtls12-cid") assert.equal(stage.count("updated"), updates);
    stage.run("4 minutes");
    if (stage.column === "dtls12-cid") {
      assert.ok(stage.handshakes().full + stage.handshakes().resumed > 0);
    }
    const read = stage.read();
    stage.run("5 s");
    assert.equal(read.answer, "2.05 87");
  },
);

story(
  "F22: a device put back to a state that is a few messages old goes on under none of its old keys once it was answered",
  ["dtls12-cid"],
  {
    lifetime: 86_400,
    preset: "rfc4787",
    deviceDtls: { tuning: { stride: 8 } },
    unaudited: true,
  },
  (stage) => {
    const { device } = stage.device;
    const update = (): void => {
      device.update();
      stage.run("1 s");
    };
    device.reboot({ kept: true });
    stage.run("5 s");
    const old = device.records;
    device.reboot({ kept: true });
    stage.run("5 s");
    update();
    const updates = stage.count("updated");
    const { full, resumed } = stage.handshakes();
    assert.equal(full + resumed, 0, "the session was kept so far");
    device.reboot({ kept: true, records: old });
    stage.run("1 minute");
    assert.equal(stage.count("updated"), updates + 1, "it was heard");
    const made = stage.handshakes();
    assert.equal(made.full + made.resumed, 1, "under new keys");
  },
);

story(
  "F23: a server put back to an old backup uses no number again: keys are made anew, who came later comes again",
  COLUMNS,
  {
    lifetime: 1_200,
    preset: "rfc4787",
    serverDtls: { tuning: { stride: 8 } },
  },
  (stage) => {
    const backup = stage.server.backup();
    const later = stage.add("later", 9, { lifetime: 1_200 });
    stage.run("1 s");
    later.start();
    for (let i = 0; i < 200; i++) {
      stage.device.update();
      stage.run("1 s");
    }
    stage.server.restart({ rolledBack: true, backup });
    stage.server.addCredential(stage.credential("later", 9)); // by its operator: the backup does not have it
    stage.run("1 h");
    for (const device of stage.devices) assert.ok(stage.registration(device), device.endpoint);
    stage.server.restart();
    stage.run("10 minutes");
  },
);

story(
  "F24: a credential that is revoked ends session and registration within a second, and lets nobody in again",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787", ends: "gone" },
  (stage) => {
    stage.server.removeCredential(stage.credentialId(0));
    stage.run("1 s");
    assert.equal(stage.registration(), undefined);
    assert.equal(stage.server.store.get(DTLS_TABLES.association)?.size ?? 0, 0);
    assert.equal(stage.server.store.get(DTLS_TABLES.session)?.size ?? 0, 0);
    const updates = stage.count("updated");
    stage.device.update();
    stage.run("30 minutes");
    stage.device.device.reboot({ kept: true });
    stage.run("30 minutes");
    stage.device.device.reboot({ kept: false });
    stage.run("30 minutes");
    assert.equal(stage.registration(), undefined);
    assert.equal(stage.count("updated"), updates);
  },
);

story(
  "F24: a credential that is replaced: orders wait until the device has a good one",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  (stage) => {
    const good = stage.credential("device-0", 0);
    const other =
      good.kind === "psk"
        ? { ...good, key: new Uint8Array(16).fill(1) }
        : { ...stage.credential("device-0", 0), masterSecret: new Uint8Array(16).fill(1) };
    stage.server.addCredential(other as typeof good);
    stage.run("1 s");
    const order = stage.execute("once");
    stage.device.update();
    stage.run("5 minutes");
    assert.deepEqual(stage.device.obeyed, []);
    stage.server.addCredential(good);
    stage.run("1 s");
    stage.device.update();
    stage.run("2 h");
    assert.equal(order.answer, "2.04");
    assert.deepEqual(stage.device.obeyed, ["once"]);
  },
);
