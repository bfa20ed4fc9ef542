// What can happen to real processes. Each step gets the world and numbers that chance drew.
import { cpSync, existsSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { STRATEGIES } from "./world.mjs";

const at = (world, n) => world.devices.get(STRATEGIES[n % STRATEGIES.length]);

async function restart(world, signal, change) {
  await world.end(signal);
  await change?.();
  await world.serve();
}

export const REAL_STEPS = {
  "server killed": (world) => restart(world, "SIGKILL"),
  "server stopped": (world) => restart(world, "SIGTERM"),
  "NoSec switched": (world) =>
    restart(world, "SIGTERM", () => {
      world.nosec = !world.nosec;
      for (const device of world.devices.values()) device.review();
    }),
  "device killed": async (world, { a }) => {
    const device = at(world, a);
    await device.end("SIGKILL");
    device.start();
  },
  "device rebooted": async (world, { a }) => {
    const device = at(world, a);
    await device.end("SIGTERM");
    device.start();
  },
  "device reset": async (world, { a }) => {
    const device = at(world, a);
    await device.end("SIGKILL");
    device.forget();
    device.start();
  },
  "device put back": async (world, { a }) => {
    const device = at(world, a);
    await device.end("SIGKILL");
    if (existsSync(`${device.state}.copy`)) device.putBack();
    else if (existsSync(device.state)) device.copy();
    device.start();
  },
  "NAT moved": (world) => {
    for (const { relay } of world.devices.values()) relay.move();
  },
  "NAT silent": (world) => {
    for (const { relay } of world.devices.values()) relay.silent = !relay.silent;
  },
  "link cut or healed": (world, { a }) => {
    const { relay } = at(world, a);
    relay.cut = !relay.cut;
  },
  observe: async (world, { a }) => {
    const device = at(world, a);
    const { status } = await world.call(
      "POST",
      `/devices/${device.strategy}/3303/0/5700?observe&wait=3`,
    );
    if (status === 200) device.observed = true;
  },
  operation: async (world, { a, b }) => {
    const { strategy } = at(world, a);
    const [method, path, body] = b % 2 === 0 ? ["GET", "3/0/0"] : ["POST", "3303/0/5605"];
    const { body: task } = await world.call(
      method,
      `/devices/${strategy}/${path}?wait=0&expires=60`,
      body,
    );
    if (task?.id !== undefined) world.tasks.push(task.id);
  },
  "operation cancelled": async (world) => {
    const id = world.tasks.at(-1);
    if (id !== undefined) await world.call("DELETE", `/tasks/${id}`);
  },
  "credential revoked": async (world, { a }) => {
    const device = at(world, a);
    if (device.isOpen) return;
    const { status } = await world.call("DELETE", `/credentials/${device.credentialId}`);
    if (status === 204) device.serverVersion = undefined;
    device.review();
  },
  "credential added": async (world, { a }) => {
    const device = at(world, a);
    if (device.isOpen) return;
    const { status } = await world.call("POST", "/credentials", device.credential());
    if (status === 201 || status === 200) device.serverVersion = device.version;
    device.review();
  },
  "credential replaced": async (world, { a }) => {
    const device = at(world, a);
    if (device.isOpen) return;
    const version = (world.lastVersion += 1);
    const { status } = await world.call("POST", "/credentials", device.credential(version));
    if (status !== 201 && status !== 200) return;
    device.serverVersion = version;
    device.review();
    await device.end("SIGTERM");
    device.version = version;
    device.start();
    device.review();
  },
  "data copied": (world) =>
    restart(world, "SIGTERM", () => {
      rmSync(`${world.data}.copy`, { recursive: true, force: true });
      cpSync(world.data, `${world.data}.copy`, { recursive: true, preserveTimestamps: true });
      world.copied = [...world.devices.values()].map(({ strategy, serverVersion, observed }) => ({
        strategy,
        serverVersion,
        observed,
      }));
    }),
  "data put back": async (world) => {
    if (world.copied === undefined) return;
    await restart(world, "SIGTERM", () => {
      rmSync(world.data, { recursive: true, force: true });
      cpSync(`${world.data}.copy`, world.data, { recursive: true, preserveTimestamps: true });
      for (const { strategy, serverVersion, observed } of world.copied) {
        const device = world.devices.get(strategy);
        device.serverVersion = serverVersion;
        device.observed = observed;
        device.review();
      }
      world.tasks.length = 0;
    });
  },
  nothing: () => sleep(5_000),
};
