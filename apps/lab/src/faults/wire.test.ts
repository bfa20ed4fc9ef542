import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRng } from "@godwit/base";
import { CON, Code, OptionNumber, encodeMessage, opaqueOption } from "@godwit/coap";
import type { LinkOptions } from "@godwit/netsim";
import { COLUMNS, performed, story, type Stage, type Stranger } from "./stage.test.ts";

// What a network and those on it do to datagrams (F9 to F14, F29 to F32).

const LOSSES: readonly (readonly [string, LinkOptions])[] = [
  ["30 % of all", { loss: 0.3 }],
  ["30 % in bursts", { burst: { enter: 0.1, leave: 0.2, loss: 0.9 } }],
  ["50 % on the way up", { up: { loss: 0.5 } }],
  ["50 % on the way down", { down: { loss: 0.5 } }],
];
const PERFECT: LinkOptions = { loss: 0, burst: null, up: { loss: 0 }, down: { loss: 0 } };
for (const column of COLUMNS) {
  for (const [what, link] of LOSSES) {
    test(`F9: with ${what} datagrams lost, devices register, and what is asked is answered once [${column}]`, () => {
      for (let seed = 1; seed <= 5; seed++) {
        performed(column, { seed, link, idle: true, lifetime: 86_400 }, (stage) => {
          const { device, world } = stage;
          device.start();
          const registered = (): boolean => device.count("registered") === 1;
          assert.ok(world.runUntil(registered, "20 minutes"), `seed ${seed}`);
          const words = ["a", "b", "c"];
          const orders = words.map((word) => {
            const order = stage.execute(word);
            stage.run("4 minutes");
            device.update();
            stage.run("4 minutes");
            return order;
          });
          device.device.host.link.set(PERFECT);
          device.update();
          stage.run("10 minutes");
          assert.deepEqual(device.obeyed, words, `seed ${seed}`);
          for (const order of orders) assert.equal(order.answer, "2.04", `seed ${seed}`);
        });
      }
    });
  }
}

story(
  "F10, F11: datagrams that overtake each other and come twice change nothing: orders are obeyed once, in order",
  COLUMNS,
  {
    lifetime: 600,
    link: {
      jitter: 200,
      reorder: { probability: 0.3, delay: 2_000, jitter: 5_000 },
      duplicate: 0.5,
      duplicateDelay: 60_000,
    },
  },
  (stage) => {
    stage.run("1 minute");
    const words = Array.from({ length: 20 }, (_, i) => `n${i}`);
    const orders = words.map((word) => {
      stage.run("20 s");
      return stage.execute(word);
    });
    stage.run("1 h");
    assert.deepEqual(stage.device.obeyed, words);
    assert.deepEqual(
      orders.map(({ answer }) => answer),
      words.map(() => "2.04"),
    );
    assert.equal(stage.device.count("registered"), 1);
  },
);

story(
  "F10: a message that comes late from the old address is taken for what it says, and does not move the session back",
  ["dtls12-cid", "oscore"],
  { lifetime: 86_400 },
  (stage) => {
    stage.observe();
    stage.run("5 s");
    const before = stage.whereIs() ?? "";
    const held: Uint8Array[] = [];
    const tap = stage.device.device.host.link.up.tap(({ bytes }) => {
      held.push(bytes.slice());
      return "drop";
    });
    stage.device.device.set("/3303/0/5700", 22);
    stage.run("1 s");
    tap.remove();
    assert.equal(held.length, 1, "a notification is under way");
    stage.nat.clear();
    stage.device.update();
    stage.run("5 s");
    const now = stage.whereIs();
    assert.notEqual(now, before);
    const [host = "", port] = before.split(" ");
    const network = stage.world.host("network");
    for (const bytes of held)
      network.inject({ from: { host, port: Number(port) }, to: stage.address, bytes });
    stage.run("1 s");
    assert.equal(stage.whereIs(), now);
    assert.deepEqual(stage.notified(), ["22"]);
  },
);

story(
  "F11: a thousand copies of every datagram, from either side, are obeyed and answered as one",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  (stage) => {
    const seen: { up: boolean; bytes: Uint8Array }[] = [];
    stage.device.device.host.link.watch(({ direction, bytes }) => {
      seen.push({ up: direction === "up", bytes: bytes.slice() });
    });
    stage.device.update();
    stage.run("5 s");
    const order = stage.execute("once");
    stage.run("5 s");
    assert.equal(order.answer, "2.04");
    const updates = stage.count("updated");
    const [host = "", port] = (stage.whereIs() ?? "").split(" ");
    const device = { host, port: Number(port) };
    const network = stage.world.host("network");
    const { sent } = stage.server.host;
    let copied = 0;
    for (const { up, bytes } of seen.slice())
      for (let copy = 0; copy < 1_000; copy++) {
        network.inject({
          from: up ? device : stage.address,
          to: up ? stage.address : device,
          bytes,
        });
        if (up) copied += bytes.length;
      }
    stage.run("1 minute");
    assert.equal(stage.count("updated"), updates);
    assert.deepEqual(stage.device.obeyed, ["once"]);
    assert.ok(stage.server.host.sent.bytes - sent.bytes <= copied);
    if (stage.secured) {
      assert.ok(stage.drops(/^replayed$/) >= 2_000);
      assert.equal(stage.server.host.sent.datagrams, sent.datagrams, "dropped in silence");
    }
  },
);

story(
  "F12: bits that flip, ends that are missing and bytes too many change nothing; one good record in a datagram is taken",
  COLUMNS,
  { lifetime: 86_400 },
  (stage) => {
    const [sent] = [stage.tapped()];
    stage.device.update();
    stage.run("5 s");
    const original = sent[0];
    assert.ok(original);
    const bent = [
      ...Array.from(original, (_, at) =>
        original.map((byte, i) => (i === at ? byte ^ 0x10 : byte)),
      ),
      ...Array.from(original, (_, at) => original.subarray(0, at)),
      Uint8Array.from([...original, 0]),
      Uint8Array.from([...original, ...original]),
    ];
    const updates = stage.count("updated");
    const session = stage.registration()?.session;
    const [host = "", port] = (stage.whereIs() ?? "").split(" ");
    const stranger = stage.stranger();
    const network = stage.world.host("network");
    const before = stage.server.host.sent.datagrams;
    for (const bytes of bent) {
      stranger.send(bytes);
      network.inject({ from: { host, port: Number(port) }, to: stage.address, bytes });
    }
    stage.run("5 s");
    assert.equal(stage.count("updated"), updates);
    assert.equal(stage.registration()?.session, session);
    if (stage.secured) assert.equal(stage.server.host.sent.datagrams, before, "silence");
    assert.ok(stage.drops(/./) >= bent.length, "counted");
    const tap = stage.device.device.host.link.up.tap(({ bytes }) => {
      tap.remove();
      return { bytes: Uint8Array.from([...bytes, ...original]) };
    });
    const needed = stage.during(() => {
      stage.device.update();
      stage.run("10 s");
    });
    assert.equal(stage.count("updated"), updates + 1);
    if (stage.secured) assert.equal(needed, 2, "the record in front is a good one");
  },
);

story(
  "F13: a round trip of 5 s, longer than ACK_TIMEOUT, costs retransmissions and nothing else",
  COLUMNS,
  { lifetime: 1_200, link: { delay: 2_500 }, idle: true },
  (stage) => {
    stage.device.start();
    stage.run("2 minutes");
    const words = Array.from({ length: 10 }, (_, i) => `n${i}`);
    const orders = words.map((word) => {
      const order = stage.execute(word);
      stage.run("30 s");
      return order;
    });
    stage.run("30 minutes");
    assert.deepEqual(stage.device.obeyed, words);
    assert.ok(orders.every(({ answer }) => answer === "2.04"));
    assert.equal(stage.device.count("registered"), 1);
  },
);

story(
  "F13: an answer that comes after EXCHANGE_LIFETIME answers nobody, though its token and message id are in use again",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  (stage) => {
    const { up } = stage.device.device.host.link;
    let holding = true;
    const late = up.tap(() => (holding ? "hold" : "pass"));
    const first = stage.read("/3/0/9", stage.device, "2 minutes");
    stage.run("150 s");
    assert.deepEqual(first.ends, ["expired"]);
    assert.ok(late.held > 0);
    holding = false;
    stage.device.update();
    stage.run("5 s");
    // 1-byte tokens come round after 256.
    for (let i = 0; i < 270; i++) {
      const [path, answer] = i % 2 === 0 ? ["/3/0/13", "2.05 1000"] : ["/3303/0/5701", "2.05 CCC"];
      const read = stage.read(path);
      if (i === 250) late.release();
      stage.run("1 s");
      assert.equal(read.answer, answer, `read ${i}`);
    }
    assert.deepEqual(first.ends, ["expired"]);
  },
);

for (const mtu of [1_280, 576, 160])
  story(
    `F14: over a path that swallows packets above ${mtu} bytes a device registers and a large resource is read`,
    COLUMNS,
    { lifetime: 86_400, link: { mtu }, text: 3_000, idle: true },
    (stage) => {
      stage.device.start();
      const registered = (): boolean => stage.device.count("registered") === 1;
      assert.ok(stage.world.runUntil(registered, "5 minutes"));
      stage.device.update();
      const read = stage.read("/3303/0/5701");
      stage.run("10 minutes");
      assert.equal(read.answer, `2.05 ${"C".repeat(3_000)}`);
    },
  );

story(
  "F29: random bytes and bent copies of real datagrams into every state, on both sides, leave all as it was",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787", idle: true },
  (stage) => {
    const rng = seededRng(29);
    const seen: Uint8Array[] = [];
    const { link } = stage.device.device.host;
    link.watch(({ bytes }) => void (seen.length < 60 && seen.push(bytes.slice())));
    const stranger = stage.stranger();
    const network = stage.world.host("network");
    const fuzz = (count: number): void => {
      const [host, port] = (stage.whereIs() ?? `${stage.nat.address} 56830`).split(" ");
      const device = { host: host ?? "", port: Number(port) };
      for (let i = 0; i < count; i++) {
        const bytes = bentOrRandom(rng, seen);
        stranger.send(bytes, 7_000 + (i % 50));
        network.inject({ from: device, to: stage.address, bytes });
        network.inject({ from: stage.address, to: device, bytes });
        network.inject({
          from: device,
          to: stage.secured ? stage.server.address : stage.server.secureAddress,
          bytes,
        });
      }
    };
    fuzz(200);
    stage.device.start();
    for (let moment = 0; moment < 20; moment++) {
      fuzz(20);
      stage.run("15 ms");
    }
    stage.run("10 minutes");
    assert.equal(stage.server.stack.server.registrationCount, 1);
    fuzz(500);
    stage.device.update();
    stage.run("1 minute");
    const order = stage.execute("once");
    fuzz(100);
    stage.run("10 minutes");
    assert.equal(order.answer, "2.04");
    assert.deepEqual(stage.device.obeyed, ["once"]);
    assert.ok(stage.drops(/./) > 500, "counted");
  },
);

story(
  "F30: a recorded life is refused from another address, after a restart of the server, too, and the address stays",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787", idle: true },
  (stage) => {
    const recorded = stage.tapped();
    stage.device.start();
    stage.run("5 s");
    stage.execute("once");
    for (let i = 0; i < 3; i++) {
      stage.device.update();
      stage.run("5 s");
    }
    const was = [stage.count("registered"), stage.count("updated"), stage.whereIs()];
    const stranger = stage.stranger();
    for (const restarted of [false, true]) {
      if (restarted) stage.server.restart();
      for (const bytes of recorded.slice()) {
        stranger.send(bytes);
        stage.run("1 s");
      }
      stage.run("1 minute");
      assert.deepEqual([stage.count("registered"), stage.count("updated"), stage.whereIs()], was);
    }
    assert.deepEqual(stage.device.obeyed, ["once"]);
    assert.ok(stranger.received() <= 3 * stranger.sent());
  },
);

const FLOOD = 20_000;
story(
  "F31: 20 000 unknown and guessed connection ids are dropped in silence, counted, and end nothing",
  ["dtls12-cid"],
  { lifetime: 86_400 },
  (stage) => {
    const [sent] = [stage.tapped()];
    stage.device.update();
    stage.run("5 s");
    const record = sent[0];
    assert.ok(record);
    flood(stage, (stranger, rng, n) => {
      const bytes = record.slice();
      bytes.set(rng.bytes(n % 10 === 0 ? 0 : 4), 11); // every tenth has the right one
      bytes.set(rng.bytes(bytes.length - 17), 17);
      stranger.send(bytes);
    });
    assert.ok(stage.drops(/^unknownCid$/) >= 0.9 * FLOOD);
    assert.equal(stage.drops(/^forged$/) + stage.drops(/^replayed$/), 0.1 * FLOOD);
    const datagrams = stage.during(() => {
      stage.device.update();
      stage.run("5 s");
    });
    assert.equal(datagrams, 2);
  },
);

story(
  "F31: 20 000 requests of unknown kids cost nothing but a count, and a device is served meanwhile",
  ["oscore"],
  { lifetime: 86_400 },
  (stage) => {
    flood(stage, (stranger, rng, n) => stranger.send(strangeRequest(rng, n)));
    assert.ok(stage.drops(/./) >= FLOOD);
  },
);

story(
  "F32: who copies messages and is faster does not keep the session",
  COLUMNS,
  { lifetime: 86_400, preset: "rfc4787" },
  raced,
);
for (const routabilityCheck of ["basic", "enhanced"] as const)
  story(
    `F32: nor with the ${routabilityCheck} return routability check of RFC 9853`,
    ["dtls12-cid"],
    {
      lifetime: 86_400,
      preset: "rfc4787",
      deviceDtls: { connectionId: Uint8Array.of(1, 2, 3, 4), tuning: { routabilityCheck } },
      serverDtls: { tuning: { routabilityCheck } },
    },
    raced,
  );

function raced(stage: Stage): void {
  stage.read(); // its ACK proves the path
  stage.run("5 s");
  const thief = stage.stranger("thief");
  const tap = stage.device.device.host.link.up.tap(({ bytes }) => {
    thief.send(bytes.slice());
    return "pass";
  });
  const path = stage.whereIs();
  for (let i = 0; i < 5; i++) {
    stage.device.update();
    stage.run("30 s");
    assert.equal(stage.whereIs(), path);
  }
  tap.remove();
  const read = stage.read();
  stage.run("5 s");
  assert.equal(read.answer, "2.05 87");
  assert.ok(thief.received() <= 3 * thief.sent());
}

test("F9: a routability check whose datagrams are lost leaves the address as it was, and the next data asks again", () => {
  for (let seed = 1; seed <= 10; seed++)
    performed(
      "dtls12-cid",
      {
        seed,
        lifetime: 86_400,
        deviceDtls: { connectionId: Uint8Array.of(1, 2, 3, 4), tuning: {} },
      },
      (stage) => {
        const lossy: LinkOptions = { loss: 0.4 };
        stage.device.device.host.link.set(lossy);
        for (let move = 0; move < 5; move++) {
          stage.nat.clear();
          stage.device.update();
          stage.run("3 minutes");
        }
        stage.device.device.host.link.set({ loss: 0 });
        stage.device.update();
        stage.run("10 s");
        const read = stage.read();
        stage.run("5 s");
        assert.equal(read.answer, "2.05 87", `seed ${seed}`);
        assert.equal(stage.device.count("registered"), 1);
      },
    );
});

function flood(
  stage: Stage,
  send: (stranger: Stranger, rng: ReturnType<typeof seededRng>, n: number) => void,
): void {
  const rng = seededRng(31);
  const strangers = Array.from({ length: 20 }, () => stage.stranger());
  const before = stage.device.count("updated");
  for (let n = 0; n < FLOOD; n++) {
    const stranger = strangers[n % strangers.length];
    assert.ok(stranger);
    send(stranger, rng, n);
    if (n % 1_000 === 0) {
      stage.device.update();
      stage.run("100 ms");
    }
  }
  stage.run("1 s");
  assert.equal(stage.device.count("updated") - before, FLOOD / 1_000);
  if (stage.secured)
    for (const stranger of strangers) assert.equal(stranger.received(), 0, "silence");
}

/** A request that names a kid of nobody. */
function strangeRequest(rng: ReturnType<typeof seededRng>, n: number): Uint8Array {
  const option = Uint8Array.of(0x09, n & 0xff, 0x7f, ...rng.bytes(2));
  return encodeMessage({
    type: CON,
    code: Code.POST,
    mid: n & 0xffff,
    token: rng.bytes(1),
    options: [opaqueOption(OptionNumber.Oscore, option)],
    payload: rng.bytes(20),
  });
}

function bentOrRandom(rng: ReturnType<typeof seededRng>, seen: readonly Uint8Array[]): Uint8Array {
  const one = seen[Math.floor(rng.float() * seen.length)];
  if (one === undefined || rng.float() < 0.3) return rng.bytes(Math.floor(rng.float() * 120));
  const bent = one.slice(0, rng.float() < 0.3 ? Math.floor(rng.float() * one.length) : undefined);
  const at = Math.floor(rng.float() * bent.length);
  if (bent.length > 0) bent[at] = (bent[at] ?? 0) ^ (1 << Math.floor(rng.float() * 8));
  return bent;
}
