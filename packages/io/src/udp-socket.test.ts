import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { endianness } from "node:os";
import { test } from "node:test";
import { UsageError, utf8, type DatagramEvent, type Machine } from "@godwit/base";
import { Driver } from "./driver.ts";
import { procAddress, sumDrops } from "./kernel-drops.ts";
import { localAddresses } from "./local-addresses.ts";
import { describeUdpNote, openUdp, type UdpNote, type UdpPort } from "./udp-socket.ts";

function next(port: UdpPort): Promise<DatagramEvent> {
  return new Promise((resolve) => port.listen(resolve));
}

/** Sends every datagram back. */
class Echo implements Machine<DatagramEvent, DatagramEvent> {
  readonly wakeAt = undefined;
  #out: DatagramEvent[] = [];

  handle(event: DatagramEvent): void {
    this.#out.push(event);
  }

  wake(): void {}

  poll(): DatagramEvent | undefined {
    return this.#out.shift();
  }
}

const hosts = ["127.0.0.1", ...(localAddresses("::").includes("::1") ? ["::1"] : [])];

for (const host of hosts) {
  test(`${host}: a datagram arrives with both ends of its path, and its answer returns`, async () => {
    const server = await openUdp({ host, port: 0 });
    const client = await openUdp({ host, port: 0 });
    const driver = new Driver({ machine: new Echo(), port: server });
    const answer = next(client);
    const [local, remote] = [client.local[0]!, server.local[0]!];
    assert.equal(remote.host, host);
    client.send({ type: "datagram", path: { local, remote }, bytes: utf8("xhix").subarray(1, 3) });
    const { path, bytes } = await answer;
    assert.deepEqual({ ...path }, { local, remote });
    assert.equal(Object.getPrototypeOf(bytes), Uint8Array.prototype);
    assert.deepEqual(bytes, utf8("hi"));
    assert.deepEqual([driver.counters.datagramsIn, driver.counters.datagramsOut], [1, 1]);
    assert.deepEqual([server.counters.received, server.counters.sent], [1, 1]);
    await Promise.all([client.close(), driver.close()]);
  });
}

test("a wildcard binds each local address, and the answer leaves from the one that was asked", async () => {
  const server = await openUdp({ host: "0.0.0.0", port: 0 });
  const { port } = server.local[0]!;
  const expected = localAddresses("0.0.0.0").map((host) => ({ host, port }));
  assert.deepEqual(server.local, expected);
  const driver = new Driver({ machine: new Echo(), port: server });
  for (const { host } of expected) {
    const client = createSocket("udp4");
    client.send("hello", port, host);
    const [, from] = (await once(client, "message")) as [Buffer, { address: string; port: number }];
    assert.deepEqual([from.address, from.port], [host, port]);
    client.close();
  }
  await driver.close();
});

test(":: stands for both families, each address with its own socket", async () => {
  const server = await openUdp({ host: "::", port: 0 });
  assert.ok(server.local.some(({ host }) => host === "127.0.0.1"));
  assert.equal(new Set(server.local.map(({ port }) => port)).size, 1);
  assert.equal(
    server.local.length + server.notes.filter(({ kind }) => kind === "left-out").length,
    localAddresses("::").length,
  );
  await server.rescan();
  assert.ok(!server.notes.some(({ kind }) => kind === "gone"));
  await server.close();
});

test("a client's wildcard is one socket", async () => {
  const client = await openUdp({ host: "0.0.0.0", port: 0, perAddress: false });
  assert.deepEqual(
    client.local.map(({ host }) => host),
    ["0.0.0.0"],
  );
  await client.close();
});

test("a path whose local address is gone is served by another socket of its family", async () => {
  const server = await openUdp({ host: "127.0.0.1", port: 0 });
  const client = await openUdp({ host: "127.0.0.1", port: 0 });
  const arrived = next(client);
  const remote = client.local[0]!;
  const bytes = utf8("still there");
  const from = (host: string): DatagramEvent => ({
    type: "datagram",
    path: { local: { host, port: 5683 }, remote },
    bytes,
  });
  server.send(from("192.0.2.1"));
  assert.deepEqual((await arrived).bytes, bytes);
  assert.equal(server.counters.otherSocket, 1);
  server.send(from("2001:db8::1"));
  assert.deepEqual([server.counters.noSocket, server.counters.sent], [1, 1]);
  await Promise.all([server.close(), client.close()]);
});

test("what cannot be sent is counted and ends nothing", async () => {
  const port = await openUdp({ host: "127.0.0.1", port: 0 });
  const local = port.local[0]!;
  const send = (host: string, to: number, size: number): void =>
    port.send({
      type: "datagram",
      path: { local, remote: { host, port: to } },
      bytes: new Uint8Array(size),
    });
  send("127.0.0.1", 9, 70_000); // EMSGSIZE
  send("127.0.0.1", 70_000, 1);
  send("not an address", 9, 1);
  send("127.0.0.1", 9, 0);
  send("127.0.0.1", local.port, 3);
  const { bytes } = await next(port);
  assert.equal(bytes.length, 3);
  await new Promise(setImmediate);
  assert.equal(port.counters.sendErrors, 3);
  await port.close();
  send("127.0.0.1", 9, 1);
  assert.equal(port.counters.noSocket, 1);
});

test("nobody listens at the other end: no error comes back, the port lives", async () => {
  const port = await openUdp({ host: "127.0.0.1", port: 0 });
  const closed = await openUdp({ host: "127.0.0.1", port: 0 });
  const [local, remote] = [port.local[0]!, closed.local[0]!];
  await closed.close();
  const bytes = utf8("x");
  for (let n = 0; n < 3; n++) port.send({ type: "datagram", path: { local, remote }, bytes });
  port.send({ type: "datagram", path: { local, remote: local }, bytes });
  await next(port);
  assert.equal(port.counters.sendErrors, 0);
  await port.close();
});

test("an address that cannot be bound says what to do", async () => {
  const first = await openUdp({ host: "127.0.0.1", port: 0 });
  const { port } = first.local[0]!;
  const cases: [string, number, RegExp][] = [
    ["127.0.0.1", port, new RegExp(`127.0.0.1:${port}: another program has this port`)],
    ["192.0.2.77", 0, /192.0.2.77:0: this host has no such address/],
  ];
  for (const [host, wanted, message] of cases) {
    await assert.rejects(openUdp({ host, port: wanted }), { message });
  }
  await assert.rejects(openUdp({ host: "0.0.0.0", port }), /another program/);
  await assert.rejects(openUdp({ host: "localhost", port: 0 }), UsageError);
  await assert.rejects(openUdp({ host: "127.0.0.1", port: 65_536 }), UsageError);
  await first.close();
});

test("a receive buffer smaller than asked is noted", async () => {
  const notes: UdpNote[] = [];
  const onNote = (note: UdpNote): number => notes.push(note);
  const wanted = 2 ** 30 - 1;
  const port = await openUdp({ host: "127.0.0.1", port: 0, receiveBuffer: wanted, onNote });
  const [note] = notes;
  assert.ok(note?.kind === "receive-buffer" && note.granted < wanted);
  assert.match(describeUdpNote(note), /rmem_max=1073741823/);
  await port.close();
  const small = await openUdp({ host: "127.0.0.1", port: 0, receiveBuffer: 65_536 });
  assert.deepEqual(small.notes, []);
  await small.close();
});

test(
  "what the kernel drops is counted where it tells",
  { skip: process.platform !== "linux" },
  async () => {
    const port = await openUdp({ host: "127.0.0.1", port: 0, receiveBuffer: 4_096 });
    const sender = await openUdp({ host: "127.0.0.1", port: 0 });
    assert.equal(port.kernelDrops, 0);
    const path = { local: sender.local[0]!, remote: port.local[0]! };
    // Nobody reads while this loop holds the event loop.
    for (let n = 0; n < 100; n++)
      sender.send({ type: "datagram", path, bytes: new Uint8Array(1_000) });
    assert.ok(port.kernelDrops! > 50, `${port.kernelDrops}`);
    await Promise.all([port.close(), sender.close()]);
  },
);

test("addresses are found as /proc/net/udp prints them", { skip: endianness() !== "LE" }, () => {
  const cases: [string, number, string][] = [
    ["127.0.0.1", 5_683, "0100007F:1633"],
    ["0.0.0.0", 53, "00000000:0035"],
    ["::1", 5_684, "00000000000000000000000001000000:1634"],
    ["2001:db8::a:1%eth0", 80, "B80D012000000000000000000100" + "0A00:0050"],
    ["::ffff:127.0.0.1", 80, "0000000000000000FFFF00000100007F:0050"],
  ];
  for (const [host, port, expected] of cases) assert.equal(procAddress({ host, port }), expected);
  const table =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n" +
    " 1: 0100007F:1633 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0000 12\n" +
    " 2: 0100007F:1634 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0000 30\n";
  assert.equal(sumDrops(table, new Set(["0100007F:1633"])), 12);
});
