import { credentialId } from "@godwit/lwm2m";
import { META, ROLLED_BACK } from "../server.ts";
import { inWords, pick, type Command } from "../step.ts";
import type { Story } from "../story.ts";
import { credentialOf } from "../strategies.ts";
import { restart } from "./server.ts";

/** What happens to the server's data directory and its clock. */
export const DATA_COMMANDS: readonly Command[] = [
  {
    name: "data copied",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story) {
      story.stopServer();
      story.copy = story.server.disk.copy();
      story.model.copied = story.model.copy();
      story.startServer();
      story.model.disturbed(story.world.now);
      return "the server is stopped, its directory copied, and started again";
    },
  },
  {
    name: "data put back",
    about: "world",
    weight: 10,
    can: (model) => model.serverOn && model.copied !== undefined,
    act(story, choice) {
      const { copied } = story.model;
      if (story.copy === undefined || copied === undefined) throw new Error("there is no copy");
      restart(story, choice);
      story.server.disk.putBack(story.copy);
      story.server.disk.set(META, ROLLED_BACK, new Uint8Array(0)); // the directory is known not to be the one that was left
      story.model.putBack(copied);
      story.operations.excuse();
      for (const { strategy } of story.model.devices) story.rule(strategy).serverForgets();
      story.startServer();
      story.model.disturbed(story.world.now);
      return "the copy of the directory is put back";
    },
  },
  {
    name: "disk full",
    about: "world",
    weight: 3,
    can: (model) => !model.diskFull,
    act(story) {
      story.server.disk.full = true;
      story.model.diskFull = true;
      story.model.review(story.world.now);
      return "the server's disk is full";
    },
  },
  {
    name: "disk free",
    about: "world",
    weight: 14,
    can: (model) => model.diskFull,
    act(story) {
      freeDisk(story);
      return "the server's disk has room again";
    },
  },
  {
    name: "record damaged",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story, choice) {
      const { server, model, world } = story;
      restart(story, choice);
      const rows = [...server.disk.tables].flatMap(([table, all]) =>
        [...all].map(([key, value]) => ({ table, key, value })),
      );
      const kind = pick(DAMAGES, choice.b);
      const row = rows[(choice.a * 7 + choice.b) % rows.length];
      if (row !== undefined) {
        server.disk.set(row.table, row.key, kind.of(row.value, choice.a));
        story.damagedRows.add(`${row.table} ${row.key}`);
        loses(story, row.table, row.key);
      }
      story.startServer();
      for (const device of model.devices) device.excused = true;
      model.disturbed(world.now);
      const which =
        row === undefined ? "no record, for there is none," : `the record ${row.table} ${row.key}`;
      return `${which} ${kind.words}, and the server is started anew`;
    },
  },
  {
    name: "clock stepped",
    about: "world",
    weight: 2,
    can: (model) => model.serverOn,
    act(story, choice) {
      const { server, world, model } = story;
      const step = pick(CLOCK_STEPS, choice.a);
      restart(story, choice);
      // The server's clock never falls behind what it showed before: back means that it stood still.
      server.host.setClock({ offset: server.host.now - world.now + step });
      story.startServer();
      model.disturbed(world.now);
      return `the server is started anew with a clock that is ${inWords(step)} further`;
    },
  },
];

export function freeDisk(story: Story): void {
  story.server.disk.full = false;
  story.fullUntil = story.server.host.now;
  // No new keys could be made meanwhile.
  for (const { strategy } of story.model.devices) story.rule(strategy).serverForgets();
  story.model.diskFull = false;
  story.model.review(story.world.now);
}

/** What is lost with a record is lost for users too. */
function loses(story: Story, table: string, key: string): void {
  const { model, operations } = story;
  for (const device of model.devices) {
    if (table === "credential" && key === credentialId(credentialOf(device.strategy, 1)))
      device.serverKey = "unreadable";
    if (table === "observation" && key.startsWith(`${device.strategy} `))
      device.wants.delete(key.slice(device.strategy.length + 1));
  }
  if (table !== "operation") return;
  const operation = operations.byId(Number.parseInt(key, 16));
  if (operation === undefined) return;
  operation.excused = true;
  operation.mayRepeat = true;
  model.device(operation.strategy).open.delete(operation.id);
}

const DAMAGES = [
  { words: "loses its last byte", of: (value: Uint8Array) => value.slice(0, -1) },
  { words: "is emptied", of: () => new Uint8Array(0) },
  {
    words: "has one bit changed",
    of: (value: Uint8Array, a: number) =>
      value.map((byte, at) => (at === (a * 5) % value.length ? byte ^ (1 << (a % 8)) : byte)),
  },
] as const;
/** ms */
const CLOCK_STEPS: readonly number[] = [3_600_000, 172_800_000];
