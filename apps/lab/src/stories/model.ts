// What should be, as far as a user can know it: plain data, without any of the machines.

import type { Instant } from "@godwit/base";
import { isDtls, isOpen, type KeyVersion, type Strategy } from "./strategies.ts";

export type ModelDevice = {
  readonly strategy: Strategy;
  on: boolean;
  /** Its own link is cut. */
  cut: boolean;
  keyVersion: KeyVersion;
  /** The secret of its credential at the server. `unreadable`: the record was damaged. */
  serverKey: KeyVersion | undefined | "unreadable";
  /** Paths whose Observe was answered and that nobody cancelled. */
  wants: Set<string>;
  /** Observed paths that an old copy of the device's state does not have: it cannot know of them until it registers anew. */
  readonly unknown: Set<string>;
  /** The secret that a directory which was put back has for it: it may hold sessions of that. */
  revived: KeyVersion | undefined;
  /** Numbers of operations that were accepted and have not ended. */
  readonly open: Set<number>;
  /** Since when it may not be spoken to. */
  shutSince: Instant | undefined;
  /** When the last thing that could keep it from its server was over; Infinity while it lasts. */
  quietSince: Instant;
  /** A record of it was damaged: what must hold step by step is not known until all has been well for a while. */
  excused: boolean;
};

/** The world as its users and operators know it. */
export class Model {
  readonly devices: readonly ModelDevice[];
  serverOn = true;
  nosec = true;
  diskFull = false;
  natSilent = false;
  /** What the operator's copy of the data directory holds, if there is one. */
  copied: ModelCopy | undefined;
  /** Steps that may still be taken. */
  stepsLeft: number;
  /** The highest version of any secret. */
  lastKey: KeyVersion = 1;

  constructor(cast: readonly Strategy[], now: Instant, steps: number) {
    this.stepsLeft = steps;
    this.devices = cast.map((strategy) => ({
      strategy,
      on: true,
      cut: false,
      keyVersion: 1,
      serverKey: isOpen(strategy) ? undefined : 1,
      wants: new Set(),
      unknown: new Set(),
      revived: undefined,
      open: new Set(),
      shutSince: undefined,
      quietSince: now,
      excused: false,
    }));
  }

  device(strategy: Strategy): ModelDevice {
    const found = this.devices.find((one) => one.strategy === strategy);
    if (found === undefined) throw new Error(`${strategy} is not in this story`);
    return found;
  }

  /** The device at this place of the cast, counted round and round. */
  at(n: number): ModelDevice {
    return this.devices[n % this.devices.length]!; // a story has at least one
  }

  /** Whether the server may speak to the device: it can prove who it is, or need not. */
  isWelcome({ strategy, keyVersion, serverKey }: ModelDevice): boolean {
    return isOpen(strategy) ? this.nosec && serverKey === undefined : serverKey === keyVersion;
  }

  /** Something changed: looks who is shut out, and who has what it needs. */
  review(now: Instant): void {
    for (const device of this.devices) {
      const welcome = this.isWelcome(device);
      if (welcome || resumes(device)) device.shutSince = undefined;
      else device.shutSince ??= now;
      const well =
        welcome && device.on && !device.cut && this.serverOn && !this.diskFull && !this.natSilent;
      if (!well) device.quietSince = Infinity;
      else if (device.quietSince === Infinity) device.quietSince = now;
    }
  }

  /** Something happened to these devices that is over already. */
  disturbed(now: Instant, devices: readonly ModelDevice[] = this.devices): void {
    for (const device of devices) if (device.quietSince !== Infinity) device.quietSince = now;
  }

  /** What a copy of the data directory would bring back. */
  copy(): ModelCopy {
    return this.devices.map(({ strategy, serverKey, wants }) => ({
      strategy,
      serverKey,
      wants: [...wants],
    }));
  }

  putBack(copy: ModelCopy): void {
    for (const { strategy, serverKey, wants } of copy) {
      const device = this.device(strategy);
      device.serverKey = serverKey;
      device.revived = typeof serverKey === "number" ? serverKey : undefined;
      device.wants = new Set(wants);
    }
  }
}

/** It has other keys by now, but may hold a session that was made by those which its server has again. */
function resumes({ strategy, serverKey, revived }: ModelDevice): boolean {
  return isDtls(strategy) && serverKey !== undefined && serverKey === revived;
}

export type ModelCopy = readonly {
  readonly strategy: Strategy;
  readonly serverKey: ModelDevice["serverKey"];
  readonly wants: readonly string[];
}[];
