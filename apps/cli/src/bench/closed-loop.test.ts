import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { test } from "node:test";
import { ClosedLoop } from "./closed-loop.ts";
import { messageOf } from "./messages.ts";

/** A server that answers as `answer` says; undefined is silence. */
async function peer(
  answer: (asked: Buffer, port: number) => Uint8Array | undefined,
): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.on("message", (asked, { port, address }) => {
    const bytes = answer(asked, port);
    if (bytes !== undefined) socket.send(bytes, port, address);
  });
  await new Promise<void>((resolve) => socket.bind({ port: 0, address: "127.0.0.1" }, resolve));
  return socket;
}

/** An ACK to `asked` without payload. */
function acknowledged(asked: Buffer, code: number): Uint8Array {
  const bytes = Uint8Array.prototype.slice.call(asked, 0, 8);
  bytes[0] = 0x64;
  bytes[1] = code;
  return bytes;
}

test("every client asks from a port of its own and is answered once", async () => {
  const ports = new Set<number>();
  const server = await peer((asked, port) => {
    ports.add(port);
    return acknowledged(asked, 0x45);
  });
  const loop = new ClosedLoop(5);
  assert.equal(await loop.open(5), 5);
  const messages = Array.from({ length: 5 }, () => messageOf({ kind: "get", path: "/x" }));
  const { port } = server.address();
  const result = await loop.go({ port, clients: 5, turns: 2, messages, until: "once" });
  assert.deepEqual([result.completed, result.refused, ports.size], [5, 0, 5]);
  assert.equal(result.latencies.length, 5);
  loop.close();
  server.close();
});

test("what was lost is asked again, refusals are counted, strangers' answers are not", async () => {
  const seen: number[] = [];
  const server = await peer((asked) => {
    seen.push(asked.readUInt32BE(4));
    if (seen.length === 1) return undefined;
    if (seen.length === 2) {
      const other = acknowledged(asked, 0x45);
      other[7]! ^= 1;
      return other; // another token
    }
    return acknowledged(asked, 0x84);
  });
  const loop = new ClosedLoop(1);
  await loop.open(1);
  const messages = [messageOf({ kind: "get", path: "/x" })];
  const { port } = server.address();
  const result = await loop.go({ port, clients: 1, turns: 1, messages, until: "once" });
  assert.deepEqual([result.completed, result.refused, result.retransmitted], [1, 1, 2]);
  assert.equal(new Set(seen).size, 1);
  loop.close();
  server.close();
});

test("what a protection seals is sent, and what it does not open ends the run", async () => {
  const sent = new Set<string>();
  const server = await peer((asked) => {
    sent.add(asked.subarray(8).toString("latin1"));
    return acknowledged(asked, 0x45);
  });
  const loop = new ClosedLoop(1);
  await loop.open(1);
  const messages = [messageOf({ kind: "get", path: "/x" })];
  const { port } = server.address();
  let sealed = 0;
  const protection = {
    seal: (_client: number, message: Uint8Array) =>
      Uint8Array.of(...message.subarray(0, 8), 0xff, 0x30 + sealed++),
    open: (_client: number, answer: Uint8Array) => {
      if (sealed > 1) throw new Error("not the key");
      return answer;
    },
  };
  const go = { port, clients: 1, turns: 1, messages, until: "once", protection } as const;
  assert.equal((await loop.go(go)).completed, 1);
  await assert.rejects(loop.go(go), /not the key/);
  assert.deepEqual([...sent], ["\xff0", "\xff1"]);
  loop.close();
  server.close();
});
