import assert from "node:assert/strict";
import { DTLS_TABLES } from "@godwit/lwm2m";
import { COLUMNS, story, type Stage } from "./stage.test.ts";

// What a NAT and the ways through it do to a session (F1 to F8, F36).

/** Its mapping has expired; the device does not know. */
const FORGOTTEN = "3 minutes";

/** The device speaks; the session goes on at once, or after silence showed that it must be resumed. */
function speaks(stage: Stage): void {
  const { device, world } = stage;
  const updates = device.count("updated");
  const { resumed } = stage.handshakes();
  const datagrams = stage.during(() => {
    device.update();
    assert.ok(world.runUntil(() => device.count("updated") > updates, "1 minute"));
  });
  assert.equal(device.count("registered"), 1, "the registration is kept");
  if (stage.column === "dtls12-resume")
    assert.deepEqual(stage.handshakes(), { full: 1, resumed: resumed + 1 }, "abbreviated");
  else assert.equal(datagrams, 2, "0 extra");
}

story(
  "F1, F4: after the mapping expired, or under another address, registration and observation go on and a push works at once",
  COLUMNS,
  { lifetime: 86_400 },
  (stage) => {
    stage.observe();
    stage.run("5 s");
    for (const happens of ["expires", "renumber"] as const) {
      const { id, session } = stage.registration() ?? {};
      if (happens === "expires") stage.run(FORGOTTEN);
      else stage.nat.renumber();
      assert.equal(stage.nat.mappings.length, 0);
      speaks(stage);
      const after = stage.registration();
      assert.equal(after?.id, id);
      if (stage.column !== "dtls12-resume") assert.equal(after?.session, session);
      const pushed = stage.execute(happens);
      stage.run("1 s");
      assert.equal(pushed.answer, "2.04", happens);
      const told = stage.notified().length;
      stage.device.device.set("/3303/0/5700", happens === "expires" ? 22 : 23);
      stage.run("5 s");
      assert.equal(stage.notified().length, told + 1, happens);
    }
  },
);

story(
  "F2: an order that meets a forgotten mapping waits for the device's next word; the server begins no handshake",
  COLUMNS,
  { lifetime: 86_400 },
  (stage) => {
    stage.run(FORGOTTEN);
    const begun: number[] = [];
    stage.server.host.link.up.watch(({ bytes }) => void begun.push(bytes[0] ?? 0));
    const order = stage.execute("once");
    const read = stage.read();
    stage.run("10 minutes");
    assert.deepEqual([order.state, read.state], ["waiting", "waiting"]);
    assert.deepEqual(stage.device.obeyed, []);
    if (stage.secured) assert.ok(begun.every((type) => type === 23));
    speaks(stage);
    stage.run("10 s");
    assert.deepEqual([order.answer, read.answer], ["2.04", "2.05 87"]);
  },
);

for (const restarts of ["nobody", "server"] as const) {
  story(
    `F3: a NAT that forgets between an Execute and its answer leads to one execution, ${restarts} restarts meanwhile`,
    COLUMNS,
    { lifetime: 200 },
    (stage) => {
      stage.device.device.host.link.up.dropNext(1);
      const order = stage.execute("once");
      stage.run("500 ms");
      assert.deepEqual(stage.device.obeyed, ["once"]);
      stage.nat.clear();
      if (restarts === "server") stage.server.restart();
      stage.run("10 minutes");
      assert.deepEqual(stage.device.obeyed, ["once"]);
      assert.equal(order.answer, "2.04");
    },
  );
}

story(
  "F5: an expiry after which the same port comes back changes nothing",
  COLUMNS,
  { preset: "linux-home", lifetime: 86_400 },
  (stage) => {
    const before = stage.whereIs();
    stage.run(FORGOTTEN);
    assert.equal(stage.nat.mappings.length, 0);
    const datagrams = stage.during(() => {
      stage.device.update();
      stage.run("5 s");
    });
    assert.equal(datagrams, 2);
    assert.equal(stage.whereIs(), before);
    const session = stage.registration()?.session ?? 0;
    assert.equal(stage.server.stack.ledgerOf(session).addressChanges, 0);
  },
);

story(
  "F6: an old address that another device has now: both stay registered, and each is sent its own",
  COLUMNS,
  {
    // One public port: whoever speaks has it, and the one before has lost it.
    preset: "port-overload",
    nat: { oneWay: 30_000, twoWay: 30_000, portRange: [56_830, 56_830] },
    lifetime: 1_200,
    devices: 2,
    apart: 60_000,
  },
  (stage) => {
    const [first, second] = stage.devices;
    assert.ok(first && second);
    assert.ok(stage.registration(first) && stage.registration(second));
    const forFirst = stage.execute("for-first", first);
    stage.run("1 minute");
    assert.deepEqual(second.obeyed, []); // it stands where the first one stood
    const forSecond = stage.execute("for-second", second);
    stage.run("1 h");
    assert.deepEqual([first.obeyed, second.obeyed], [["for-first"], ["for-second"]]);
    assert.deepEqual([forFirst.answer, forSecond.answer], ["2.04", "2.04"]);
    assert.deepEqual([first.count("registered"), second.count("registered")], [1, 1]);
    if (stage.column === "dtls12-cid")
      assert.equal(stage.server.store.get(DTLS_TABLES.association)?.size, 2, "both live");
  },
);

story(
  "F7: where nothing from outside holds a mapping, the keep-alive of the device does, and nothing else",
  COLUMNS,
  { preset: "no-inbound-refresh", lifetime: 86_400, client: { keepAlive: 25 } },
  (stage) => {
    for (let push = 0; push < 20; push++) {
      const read = stage.read();
      stage.run("20 s");
      assert.equal(read.answer, "2.05 87", `push ${push}`);
    }
    assert.equal(stage.count("registered"), 1);
    if (stage.secured) assert.deepEqual(stage.handshakes(), { full: 1, resumed: 0 });
  },
);

story(
  "F8: a carrier NAT without a free port keeps its devices waiting without a storm, and all come back",
  COLUMNS,
  { preset: "cgn-block", nat: { maxEntries: 2 }, lifetime: 900, devices: 6, idle: true },
  (stage) => {
    for (const device of stage.devices) device.start();
    stage.run("20 minutes");
    const sent = stage.devices.map(({ device }) => device.host.sent.datagrams);
    assert.ok(Math.max(...sent) <= 40, sent.join(" "));
    assert.ok(stage.nat.counts.exhausted > 0);
    stage.nat.set({ maxEntries: 100 });
    stage.run("1 h");
    for (const device of stage.devices) assert.ok(stage.registration(device));
  },
);

story(
  "F36: a device that goes from IPv4 to IPv6 and back keeps its session, and is answered from the address it asked",
  COLUMNS,
  { addresses: ["198.51.100.9", "2001:db8::9"], lifetime: 86_400 },
  (stage) => {
    const { device } = stage.device;
    const { host } = device;
    const session = stage.registration()?.session;
    const { port } = stage.address;
    const answers = new Set<string>();
    host.link.down.watch(({ from }) => void answers.add(from.host));
    const full = stage.handshakes().full;
    for (const [server, to] of [
      ["2001:db8::9", { address: "2001:db8::77" }],
      ["198.51.100.9", { behind: stage.nat }],
    ] as const) {
      host.move(to);
      answers.clear();
      device.start({ host: server, port });
      stage.run("30 s");
      assert.deepEqual([...answers], [server]);
      const read = stage.read();
      stage.run("2 s");
      assert.equal(read.answer, "2.05 87", server);
      assert.deepEqual([...answers], [server]);
    }
    assert.equal(stage.device.count("registered"), 1);
    assert.equal(stage.handshakes().full, full);
    if (stage.column !== "dtls12-resume") assert.equal(stage.registration()?.session, session);
  },
);
