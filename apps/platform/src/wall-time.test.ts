import assert from "node:assert/strict";
import { test } from "node:test";
import { Device } from "@godwit/client";
import { systemClock } from "@godwit/io";
import { Server } from "@godwit/server";

const DAY = 24 * 3_600_000;

test("F19: all times that people are shown are the wall clock's, however wrong that was at the first start", async () => {
  for (const wrong of [-2 * DAY, 50 * 365 * DAY]) {
    const clock = systemClock(wrong); // as an earlier run with a wrong clock leaves it
    assert.ok(Math.abs(clock.now() - Date.now()) > DAY);
    const server = new Server({ coap: "127.0.0.1:0", nosec: true, clock });
    await server.start();
    const device = new Device({
      endpoint: "thermo",
      server: `coap://${server.addresses[0]}`,
      lifetime: 300,
    });
    device.add(3303, { 5700: 21.5 });
    const notified = new Promise<number>((done) => server.on("notification", ({ at }) => done(at)));
    const registered = new Promise((done) => server.on("registered", done));
    try {
      await device.start();
      await registered;
      const view = server.deviceView("thermo");
      const remote = server.device("thermo");
      assert.equal(await remote.read("/3303/0/5700"), 21.5);
      const loop = remote.observe("/3303/0/5700", { pmin: 0 });
      await loop.next();
      device.set("/3303/0/5700", 22);
      const [task] = server.tasksOf("thermo");
      const near = {
        registeredAt: view?.registeredAt,
        updatedAt: view?.updatedAt,
        seenAt: view?.seenAt,
        expiresAt: (view?.expiresAt ?? 0) - 300_000,
        createdAt: task?.createdAt,
        endedAt: task?.endedAt,
        taskExpiresAt: (task?.expiresAt ?? 0) - DAY,
        notifiedAt: await notified,
      };
      for (const [name, at] of Object.entries(near)) {
        assert.ok(Math.abs((at ?? 0) - Date.now()) < 20_000, `${name}: ${at}`);
      }
      await loop.return();
    } finally {
      await device.stop();
      await server.close();
    }
  }
});
