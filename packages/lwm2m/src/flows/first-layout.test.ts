// A1: stores of releases that cut the numbers of sessions to 48 bits. Real ones are in fixtures/releases; here their rows are
// made from today's, so that what follows takes place in virtual time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Reader, Writer, concat, openRow } from "@godwit/base";
import { World } from "@godwit/netsim";
import { SEALER, TestDevice, TestServer, pair } from "./kit.test.ts";

/** Numbers of that release: 2^42 + 256 times the ms of its start, and as its rows have them. */
const NUMBERS = [465_198_046_511_104, 465_198_046_599_999] as const;
const CUT = 2 ** 48;

for (const strategy of ["cid", "resume"] as const) {
  test(`A1: ${strategy}: the only association of its identity is carried over, with its registration, observation and orders`, () => {
    const { world, server, device } = story(strategy);
    asFirstLayout(server, [NUMBERS[0]]);
    device.host.off();
    server.read(device, "/3/0/14");
    server.restartWith();
    world.run("1 s");
    device.host.on();
    assert.deepEqual(server.stack.setAside, []);
    device.set("/3303/0/5700", { type: "float", value: 4 });
    const read = server.read(device, "/3/0/9");
    world.run("10 min");
    assert.equal(read.answer, "2.05 87");
    assert.equal(server.notifications().at(-1), "/3303/0/5700 4");
    assert.deepEqual(handshakes(device), ["full"]);
    const [key] = [...(server.tables.get("dtls.association") ?? new Map()).keys()];
    assert.ok(Number(key) < 2 ** 45);
    assert.equal(server.tables.get("dtls.association")?.size, 1);
    for (let life = 0; life < 2; life++) {
      server.restartWith();
      assert.deepEqual(server.stack.setAside, []);
      const again = server.read(device, "/3/0/9");
      world.run("10 min");
      assert.equal(again.answer, "2.05 87");
    }
    assert.deepEqual(handshakes(device), ["full"]);
  });

  test(`A1: ${strategy}: where two rows claim one identity both are set aside, and the device resumes after its first unanswered exchange`, () => {
    const { world, server, device } = story(strategy);
    asFirstLayout(server, NUMBERS);
    server.restartWith();
    const reasons = server.stack.setAside.map(({ table, reason }) => `${table}: ${reason}`);
    assert.equal(reasons.length, 2, reasons.join("\n"));
    for (const reason of reasons) assert.match(reason, /^dtls.association: two associations/);
    assert.notEqual(server.registration(device), undefined);
    const read = server.read(device, "/3/0/9");
    device.update();
    world.run("5 min");
    assert.equal(read.answer, "2.05 87");
    assert.deepEqual(handshakes(device), ["full", "resumed"]);
    assert.equal(server.tables.get("dtls.association")?.size, 1);
  });

  test(`A2: ${strategy}: an association whose session to resume is gone may have been revoked: it is set aside`, () => {
    const { world, server, device } = story(strategy);
    asFirstLayout(server, [NUMBERS[0]]);
    server.tables.get("dtls.session")?.clear();
    server.restartWith();
    assert.match(server.stack.setAside[0]?.reason ?? "", /the session it began with is gone/);
    const read = server.read(device, "/3/0/9");
    device.update();
    world.run("10 min");
    assert.equal(read.answer, "2.05 87");
    assert.deepEqual(handshakes(device), ["full", "full"]);
  });
}

function story(strategy: "cid" | "resume"): {
  readonly world: World;
  readonly server: TestServer;
  readonly device: TestDevice;
} {
  const world = new World({ seed: 31 });
  const { server, device } = pair(world, {
    endpoint: "lamp",
    security: { identity: "dev01", strategy },
    lifetime: 3_600,
  });
  server.observe(device, "/3303/0/5700");
  world.run("10 s");
  return { world, server, device };
}

function handshakes(device: TestDevice): readonly string[] {
  return device.events.flatMap((event) => (event.type === "secured" ? [event.how] : []));
}

/** The store as that release would have left it: the association under these numbers, cut in its rows. */
function asFirstLayout(server: TestServer, numbers: readonly number[]): void {
  const { tables } = server;
  const cut = numbers[0]! % CUT; // there is one at least
  const [association] = [
    ...(tables.get("dtls.association") ?? new Map<string, Uint8Array>()).values(),
  ];
  const plain = SEALER.open(association!, "dtls"); // the device is registered
  tables.set("dtls.association", new Map());
  for (const number of numbers) {
    const head = new Writer()
      .u8(1)
      .u8(plain[1]!)
      .u48(number % CUT); // flags stay
    const row = SEALER.seal(concat(head.bytes(), plain.subarray(16)), "dtls");
    tables.get("dtls.association")?.set(String(number), row);
  }
  for (const [key, value] of tables.get("dtls.session") ?? []) {
    const session = SEALER.open(value, "dtls");
    const first = concat(Uint8Array.of(1), session.subarray(1, 10), session.subarray(17));
    tables.get("dtls.session")?.set(key, SEALER.seal(first, "dtls"));
  }
  for (const [key, value] of tables.get("credential") ?? []) {
    const context = `credential/${key}`;
    const credential = SEALER.open(value, context).subarray(8);
    tables.get("credential")?.set(key, SEALER.seal(credential, context));
  }
  for (const [key, value] of tables.get("touch") ?? []) {
    const r = new Reader(openRow(key, value).subarray(1));
    const first = new Writer().u8(1).u48(r.u48()).u48(r.u48()).u48(cut);
    tables.get("touch")?.set(key, first.bytes().slice());
  }
  for (const table of ["counter", "secured"]) tables.delete(table);
}
