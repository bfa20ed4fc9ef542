// What runs in a farm's process: devices with their stores, told what to do and telling what happens by messages.
//
// What a device does by order is in the journal before the server hears of it: a file, so that it outlives kill -9.

import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Device, fileStore, oscore, type DeviceEvents } from "@godwit/client";
import type { AuditedCredential } from "./nonce-audit.test-kit.ts";

/** To a farm. The first says who can be in it. */
export type FarmOrder =
  | {
      readonly type: "set up";
      readonly devices: readonly FarmDevice[];
      readonly server: string;
      readonly directory: string;
      readonly journal: string;
    }
  | { readonly type: "start" | "update"; readonly endpoint: string }
  | {
      readonly type: "stop";
      readonly endpoint: string;
      readonly deregister: boolean;
      readonly patience: number;
    };

export type FarmDevice = {
  readonly endpoint: string;
  readonly credential: AuditedCredential;
  readonly lifetime: number;
  readonly queueMode: boolean;
  /** s */
  readonly awake: number;
};

/** From a farm. */
export type FarmReport =
  | { readonly type: "ready" }
  | { readonly type: "started" | "stopped"; readonly endpoint: string }
  | {
      readonly type: "event";
      readonly endpoint: string;
      readonly name: ForwardedEvent;
      readonly event: unknown;
    };

/** A line of the journal. */
export type Deed =
  | { readonly kind: "executed"; readonly order: string }
  | { readonly kind: "written"; readonly value: unknown };

export type ForwardedEvent = (typeof FORWARDED)[number];

/** Serves its parent until it is killed. */
export function runFarm(): void {
  const report = (what: FarmReport): void => void process.send?.(what);
  const devices = new Map<string, FarmDevice>();
  const running = new Map<string, Device>();
  /** A device opens its store when its last life has closed it. */
  const closing = new Map<string, Promise<void>>();
  let [server, directory, journal] = ["", "", -1];
  const note = (deed: Deed): void => void writeSync(journal, `${JSON.stringify(deed)}\n`);

  const start = async (endpoint: string): Promise<void> => {
    await closing.get(endpoint);
    const { credential, lifetime, queueMode, awake } = devices.get(endpoint)!; // set up
    const { senderId, recipientId, masterSecret } = credential;
    const device = new Device({
      endpoint,
      server,
      lifetime,
      queueMode,
      tuning: { awakeWindow: awake * 1_000 },
      security: oscore({ senderId, recipientId, masterSecret }),
      store: fileStore(join(directory, endpoint)),
    });
    running.set(endpoint, device);
    device.add(3303, {
      5700: () => 21,
      5605: (args: ReadonlyMap<number, string>) =>
        note({ kind: "executed", order: args.get(0) ?? "" }),
      5750: { read: () => endpoint, write: (value) => note({ kind: "written", value }) },
    });
    for (const name of FORWARDED) {
      device.on(name, (event: DeviceEvents[ForwardedEvent]) => {
        const plain = "fault" in event ? { fault: { message: event.fault.message } } : event;
        report({ type: "event", endpoint, name, event: plain });
      });
    }
    await device.start();
    report({ type: "started", endpoint });
  };

  process.on("message", (order: FarmOrder) => {
    switch (order.type) {
      case "set up":
        for (const device of order.devices) devices.set(device.endpoint, device);
        ({ server, directory } = order);
        journal = openSync(order.journal, "a", 0o600);
        report({ type: "ready" });
        break;
      case "start":
        void start(order.endpoint);
        break;
      case "update":
        running.get(order.endpoint)?.update();
        break;
      case "stop": {
        const { endpoint, deregister, patience } = order;
        const device = running.get(endpoint);
        running.delete(endpoint);
        const ends = device?.stop({ deregister, patience }) ?? Promise.resolve();
        closing.set(endpoint, ends);
        void ends.then(() => report({ type: "stopped", endpoint }));
        break;
      }
    }
  });
  process.on("disconnect", () => process.exit());
}

const FORWARDED = [
  "registered",
  "updated",
  "deregistered",
  "refused",
  "unreachable",
  "fault",
] as const;
