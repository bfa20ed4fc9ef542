import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAddress, type DatagramEvent, type SocketAddress } from "@godwit/base";
import { openUdp, type UdpPort } from "@godwit/io";
import { PublicPorts } from "./public-ports.ts";

const A: SocketAddress = { host: "203.0.113.1", port: 1_111 };
const B: SocketAddress = { host: "203.0.113.1", port: 2_222 };
const C: SocketAddress = { host: "203.0.113.1", port: 3_333 };

/** A real server that notes what comes, and what comes back to public addresses. */
async function setUp(limit?: number): Promise<{
  readonly server: UdpPort;
  readonly came: DatagramEvent[];
  readonly back: string[];
  readonly ports: PublicPorts;
}> {
  const server = await openUdp({ host: "127.0.0.1", port: 0 });
  const came: DatagramEvent[] = [];
  const back: string[] = [];
  server.listen((event) => came.push({ ...event, bytes: event.bytes.slice() }));
  const ports = new PublicPorts(
    server.local[0]!, // it is bound
    (at, bytes) => back.push(`${formatAddress(at)} ${bytes.join()}`),
    limit,
  );
  return { server, came, back, ports };
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    assert.ok(turn < 1_000, "it never came");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("each public address is a port of its own, and what comes back finds the address it was sent to", async () => {
  const { server, came, back, ports } = await setUp();
  await ports.send(A, Uint8Array.of(1));
  await ports.send(B, Uint8Array.of(2));
  await ports.send(A, Uint8Array.of(3));
  await until(() => came.length === 3);
  const from = (byte: number): DatagramEvent["path"] =>
    came.find(({ bytes }) => bytes[0] === byte)!.path; // all three came
  assert.deepEqual(from(1).remote, from(3).remote);
  assert.notEqual(from(1).remote.port, from(2).remote.port);
  server.send({ type: "datagram", path: from(2), bytes: Uint8Array.of(20) });
  server.send({ type: "datagram", path: from(1), bytes: Uint8Array.of(10) });
  await until(() => back.length === 2);
  assert.deepEqual(back.toSorted(), ["203.0.113.1:1111 10", "203.0.113.1:2222 20"]);
  await ports.close();
  await server.close();
});

test("only the server is let in", async () => {
  const { server, came, back, ports } = await setUp();
  const stranger = await openUdp({ host: "127.0.0.1", port: 0 });
  await ports.send(A, Uint8Array.of(1));
  await until(() => came.length === 1);
  const { remote, local } = came[0]!.path; // one came
  stranger.send({
    type: "datagram",
    path: { local: stranger.local[0]!, remote },
    bytes: Uint8Array.of(66),
  });
  server.send({ type: "datagram", path: { local, remote }, bytes: Uint8Array.of(7) });
  await until(() => back.length === 1);
  assert.deepEqual(back, ["203.0.113.1:1111 7"]);
  await Promise.all([ports.close(), stranger.close(), server.close()]);
});

test("above the limit the port goes that was silent longest", async () => {
  const { server, came, ports } = await setUp(2);
  for (const from of [A, B, A, C, A]) await ports.send(from, Uint8Array.of(from.port & 0xff));
  assert.equal(ports.size, 2);
  await until(() => came.length === 5);
  const ofA = came.filter(({ bytes }) => bytes[0] === (A.port & 0xff));
  assert.equal(new Set(ofA.map(({ path }) => path.remote.port)).size, 1);
  await ports.close();
  assert.equal(ports.size, 0);
  await ports.send(A, Uint8Array.of(1)); // into the void
  await server.close();
});
