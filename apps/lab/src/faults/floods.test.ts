import assert from "node:assert/strict";
import { seededRng } from "@godwit/base";
import { CON, Code, OptionNumber, encodeMessage, opaqueOption } from "@godwit/coap";
import { DtlsClient, type DtlsClientInput, type DtlsOutput } from "@godwit/dtls";
import { COLUMNS, DTLS, story, type Stage } from "./stage.test.ts";

// Too much of everything, and counters that come to their end (F25 to F28, F35).

/** How many devices keep on speaking during a flood, and how often. */
const ESTABLISHED = { devices: 10, apart: 200, lifetime: 86_400, client: { keepAlive: 30 } };
const ROUNDS = 20;

/** Lets `each` send what it wants before every round, and counts how many Updates came through in the first attempt. */
function goodput(stage: Stage, each: (round: number) => void): number {
  let through = 0;
  for (let round = 0; round < ROUNDS; round++) {
    each(round);
    for (const device of stage.devices) {
      const updates = device.count("updated");
      device.update();
      stage.run("100 ms");
      if (device.count("updated") > updates) through += 1;
    }
    stage.run("5 s");
  }
  return through / (ROUNDS * stage.devices.length);
}

story(
  "F25: a flood of hellos, spoofed and from real addresses, leaves those who are established alone, and nothing behind",
  DTLS,
  { ...ESTABLISHED, idle: true, serverDtls: { tuning: { maxHandshakes: 20 } } },
  (stage) => {
    const [first] = stage.devices;
    assert.ok(first);
    const hellos = stage.tapped(first);
    for (const device of stage.devices) device.start();
    stage.run("20 s");
    const hello = hellos[0];
    assert.ok(hello);
    const rng = seededRng(25);
    const strangers = Array.from({ length: 40 }, () => stage.stranger());
    const share = goodput(stage, (round) => {
      strangers.forEach((stranger, n) => {
        for (let port = 0; port < 10; port++) {
          const spoofed = hello.slice();
          spoofed.set(rng.bytes(32), 27); // its random
          stranger.send(spoofed, 1_000 + port + n * 10);
        }
      });
      for (let n = 0; n < 5; n++) halfOpen(stage, `half-${round}-${n}`);
    });
    assert.ok(share >= 0.95, `${share}`);
    assert.ok(stage.drops(/^(handshakesFull|halfOpenGaveWay)$/) > 0, "the limit was reached");
    assert.equal(stage.server.stack.server.registrationCount, stage.devices.length);
    stage.run("10 minutes");
    const newcomer = stage.add("newcomer", 99);
    stage.run("1 s");
    newcomer.start();
    stage.run("5 s");
    assert.equal(newcomer.count("registered"), 1, "all room is free again");
  },
);

/** A real address that begins a handshake, shows its cookie, and says nothing more. */
function halfOpen(stage: Stage, name: string): void {
  const host = stage.world.host(name);
  let sent = 0;
  host.link.up.tap(() => (++sent <= 2 ? "pass" : "drop"));
  const machine = new DtlsClient({
    rng: stage.world.rng(name),
    credentials: { kind: "psk", identity: name, key: new Uint8Array(16) },
  });
  const node = host.attach<DtlsClientInput, DtlsOutput>(7_000, machine);
  const path = node.path(stage.address);
  node.feed({ type: "connect", session: 1, path, how: "full" });
}

story(
  "F25: a flood of first requests of B.2 and of unknown kids leaves those who are established alone, and costs no context",
  ["oscore"],
  { ...ESTABLISHED, idle: true },
  (stage) => {
    const [first] = stage.devices;
    assert.ok(first);
    const sent = stage.tapped(first);
    for (const device of stage.devices) device.start();
    stage.run("20 s");
    const request1 = sent[0];
    assert.ok(request1);
    const rng = seededRng(25);
    const strangers = Array.from({ length: 40 }, () => stage.stranger());
    const contexts = stage.server.store.get("oscore")?.size;
    const share = goodput(stage, (round) => {
      strangers.forEach((stranger, n) => {
        for (let i = 0; i < 10; i++) {
          stranger.send(i % 2 === 0 ? request1 : strangeRequest(rng, round * 100 + n), 1_000 + i);
        }
      });
    });
    assert.ok(share >= 0.95, `${share}`);
    assert.equal(stage.server.store.get("oscore")?.size, contexts);
  },
);

/** A request that names a kid of nobody. */
function strangeRequest(rng: ReturnType<typeof seededRng>, n: number): Uint8Array {
  const option = Uint8Array.of(0x09, n & 0xff, 0x7f, ...rng.bytes(2));
  const options = [opaqueOption(OptionNumber.Oscore, option)];
  const [token, payload] = [rng.bytes(1), rng.bytes(20)];
  return encodeMessage({ type: CON, code: Code.POST, mid: n & 0xffff, token, options, payload });
}

story(
  "F26: thirty devices with good credentials that claim another's name are refused, and its owner stays where it is",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  (stage) => {
    const before = stage.registration();
    const impostors = Array.from({ length: 30 }, (_, n) =>
      stage.add("device-0", 100 + n, { owner: `impostor-${n}`, aside: true }),
    );
    stage.run("1 s");
    for (const impostor of impostors) impostor.start();
    stage.run("2 minutes");
    for (const impostor of impostors) {
      assert.equal(impostor.count("registered"), 0);
      assert.ok(impostor.count("refused") > 0);
    }
    assert.ok(stage.count("refused") >= 30, "told with its reason");
    assert.equal(stage.server.stack.server.registrationCount, 1);
    assert.equal(stage.registration()?.id, before?.id);
    assert.equal(stage.registration()?.session, before?.session);
    const order = stage.execute("for-the-owner");
    stage.run("1 s");
    assert.equal(order.answer, "2.04");
    for (const impostor of impostors) assert.deepEqual(impostor.obeyed, []);
  },
);

story(
  "F26: at the limit of registrations newcomers are refused and those who are registered stay",
  COLUMNS,
  { lifetime: 86_400, devices: 5, apart: 200, serverTuning: { maxRegistrations: 5 } },
  (stage) => {
    const late = Array.from({ length: 5 }, (_, n) =>
      stage.add(`late-${n}`, 50 + n, { aside: true }),
    );
    stage.run("1 s");
    for (const device of late) device.start();
    stage.run("1 minute");
    for (const device of late) assert.equal(device.count("registered"), 0);
    for (const device of stage.devices) assert.ok(stage.registration(device));
  },
);

story(
  "F27: in a storm of changes few notifications go out, in order, and the newest state arrives",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787", link: { jitter: 100, loss: 0.1 } },
  (stage) => {
    stage.observe();
    stage.run("1 minute");
    const before = stage.device.device.host.sent.datagrams;
    for (let n = 1; n <= 3_000; n++) {
      stage.device.device.set("/3303/0/5700", n);
      stage.run("20 ms");
    }
    stage.run("1 minute");
    const values = stage.notified().map(Number);
    assert.equal(values.at(-1), 3_000);
    assert.deepEqual(
      values,
      values.toSorted((a, b) => a - b),
    );
    const datagrams = stage.device.device.host.sent.datagrams - before;
    assert.ok(datagrams < 150, `${datagrams} datagrams in two minutes`);
  },
);

story(
  "F28: a large answer whose device goes away in the middle is fetched when it is back; two at once stay apart",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787", text: 5_000 },
  (stage) => {
    const { host } = stage.device.device;
    const reads = [stage.read("/3303/0/5701"), stage.read("/3/0/13"), stage.read("/3303/0/5701")];
    stage.run("90 ms"); // two blocks of five
    host.off();
    stage.run("10 minutes");
    assert.deepEqual(
      reads.map(({ answer }) => answer),
      [undefined, undefined, undefined],
    );
    host.on();
    stage.device.update();
    stage.run("2 minutes");
    const long = `2.05 ${"C".repeat(5_000)}`;
    assert.deepEqual(
      reads.map(({ answer }) => answer),
      [long, "2.05 1000", long],
    );
  },
);

story(
  "F28: an answer beyond the limit ends its order with a reason, and the session goes on",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787", text: 5_000, serverCoap: { maxResponseBody: 2_048 } },
  (stage) => {
    const read = stage.read("/3303/0/5701");
    stage.run("1 minute");
    assert.deepEqual(read.ends, ["failed"]);
    const next = stage.read();
    stage.run("1 s");
    assert.equal(next.answer, "2.05 87");
  },
);

story(
  "F35: before sequence numbers or what a key may encrypt come to their end there are new keys, and all goes on",
  COLUMNS,
  {
    lifetime: 86_400,
    preset: "rfc4787",
    serverDtls: { tuning: { sequenceLimit: 60, stride: 8 } },
    deviceDtls: { tuning: { sequenceLimit: 60, stride: 8 } },
    oscore: { renewAt: 40 / 2 ** 23 },
  },
  (stage) => {
    const named = stage.negotiations();
    for (let n = 0; n < 300; n++) {
      stage.device.update();
      stage.run("5 s");
    }
    stage.run("2 minutes");
    const { full, resumed } = stage.handshakes();
    const times = stage.secured ? full + resumed : named() / 2;
    assert.ok(times >= 4, `${times} times new keys`);
    assert.ok(stage.device.count("updated") >= 270, `${stage.device.count("updated")}`);
    assert.equal(stage.device.count("registered"), 1);
    const order = stage.execute("once");
    stage.run("10 s");
    assert.equal(order.answer, "2.04");
  },
);

story(
  "F35: a lifetime of 40 days, longer than 31 bits of milliseconds, ends when it ends",
  COLUMNS,
  { lifetime: 40 * 86_400 },
  (stage) => {
    stage.run("39 days");
    assert.equal(stage.device.count("updated"), 0);
    assert.ok(stage.registration());
    stage.run("2 days");
    assert.equal(stage.device.count("updated"), 1);
    assert.equal(stage.device.count("registered"), 1);
    stage.device.device.host.off();
    stage.run("41 days");
    assert.equal(stage.registration(), undefined);
    stage.device.device.host.on();
    stage.run("1 h");
  },
);
