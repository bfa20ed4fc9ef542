import assert from "node:assert/strict";
import { test } from "node:test";
import { Server } from "@godwit/server";
import { Fleet } from "./fleet.ts";
import { openFilesLimit, socketsFault } from "./open-files.ts";

test("a fleet registers, serves what the server asks, leaves, and counts all of it", async () => {
  const server = new Server({ coap: "127.0.0.1:0", nosec: true });
  await server.start();
  const fleet = new Fleet({
    server: `coap://${server.addresses[0]}`,
    count: 12,
    prefix: "herd-",
    lifetime: 300,
    keepAlive: "off",
    queueMode: false,
    ramp: 50,
  });
  try {
    await fleet.start();
    while (fleet.figures().registered < 12) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(await server.device("herd-07").read("/3303/0/5701"), "Cel");
    const addresses = new Set([...server.devices()].map(({ address }) => address));
    assert.equal(addresses.size, 12); // each its own session
    await fleet.stop();
    const figures = fleet.figures();
    assert.equal(server.deviceCount, 0);
    const { devices, registered, registrations, refused, operations } = figures;
    assert.deepEqual(
      { devices, registered, registrations, refused, operations },
      { devices: 12, registered: 0, registrations: 12, refused: 0, operations: 1 },
    );
    assert.ok(figures.bytes.out > 12 * 60 && figures.bytes.in > 12 * 10);
    assert.equal(figures.bytes.total, figures.bytes.in + figures.bytes.out);
  } finally {
    await fleet.stop();
    await server.close();
  }
});

test("a fleet that a server refuses says by which code", async () => {
  const server = new Server({ coap: "127.0.0.1:0" });
  await server.start();
  const fleet = new Fleet({
    server: `coap://${server.addresses[0]}`,
    count: 2,
    prefix: "herd-",
    lifetime: 300,
    keepAlive: "off",
    queueMode: true,
    ramp: 0,
  });
  try {
    await fleet.start();
    while (fleet.figures().refused < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(fleet.figures().refusals, { "4.03": 2 });
    assert.equal(fleet.figures().registered, 0);
  } finally {
    await fleet.stop();
    await server.close();
  }
});

test("more devices than open files are named before the first one starts", () => {
  const limits =
    (text: string): (() => string) =>
    () =>
      `Limit  Soft\nMax open files   ${text}`;
  assert.equal(openFilesLimit(limits("1024     4096    files")), 1_024);
  assert.equal(openFilesLimit(limits("unlimited unlimited files")), undefined);
  assert.equal(
    openFilesLimit(() => {
      throw new Error("no /proc here");
    }),
    undefined,
  );
  assert.equal(socketsFault(900, 1_024), undefined);
  assert.equal(socketsFault(5_000, undefined), undefined);
  assert.match(socketsFault(1_000, 1_024) ?? "", /1000 devices need 1050 .*run "ulimit -n 1050"/);
});
