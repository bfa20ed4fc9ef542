import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { MovingPort } from "./moving-port.ts";

async function sockets(): Promise<number> {
  await pause(20); // a handle that was closed is gone a turn of the loop later
  return process.getActiveResourcesInfo().filter((name) => /^udpwrap$/i.test(name)).length;
}

test("a port that is closed while it takes another socket leaves neither behind", async () => {
  const before = await sockets();
  const port = await MovingPort.open("127.0.0.1");
  assert.equal(await sockets(), before + 1);
  await Promise.all([port.renew(), port.renew(), port.close()]);
  assert.equal(await sockets(), before);
});

test("a port that takes another socket has another number, and one socket", async () => {
  const before = await sockets();
  const port = await MovingPort.open("127.0.0.1");
  const first = port.local.port;
  await port.renew();
  assert.notEqual(port.local.port, first);
  assert.equal(await sockets(), before + 1);
  await port.close();
  assert.equal(await sockets(), before);
});
