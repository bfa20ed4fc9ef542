import { DTLS_TABLES } from "@godwit/lwm2m";
import type { Story } from "../story.ts";
import { WRITTEN } from "./bounds.ts";
import { isDtls, isOpen, isOscore } from "../strategies.ts";

/** One association a device, and no row that nobody owns. */
export function rowsHaveOwners(story: Story): string | undefined {
  const { server, model } = story;
  const { disk } = server;
  if (!server.isOn || model.diskFull || disk.pending > 0) return undefined;
  if (server.host.now < story.fullUntil + WRITTEN) return undefined;
  // The disk may have been too full to take them out of their tables: the next start does.
  const aside = new Set(server.stack.setAside.map(({ table, key }) => `${table} ${key}`));
  const isOwned = (place: string): boolean => !story.damagedRows.has(place) && !aside.has(place);
  const count = (table: string): number =>
    [...disk.rows(table).keys()].filter((key) => isOwned(`${table} ${key}`)).length;
  const holders = model.devices.filter(({ serverKey }) => serverKey !== undefined);
  const dtls = holders.filter(({ strategy }) => isDtls(strategy)).length;
  const oscore = holders.filter(({ strategy }) => isOscore(strategy)).length;
  const open = model.devices.filter(({ strategy }) => isOpen(strategy)).length;
  const credentials = holders.length;
  const limits: readonly (readonly [table: string, most: number])[] = [
    [DTLS_TABLES.association, dtls],
    [DTLS_TABLES.session, dtls * SESSIONS_PER_DEVICE],
    ["protected", oscore],
    ["oscore", oscore],
    ["session", oscore + open],
    ["registration", model.devices.length],
    ["touch", disk.rows("registration").size],
    ["credential", credentials],
  ];
  for (const [table, most] of limits)
    if (count(table) > most) return `${count(table)} rows of ${table}, and ${most} have an owner`;
  return strayRow(story);
}

function strayRow(story: Story): string | undefined {
  const rows = (table: string): ReadonlyMap<string, Uint8Array> => story.server.disk.rows(table);
  const machine = story.server.stack.server;
  const now = Math.floor(story.server.host.now);
  for (const key of rows("operation").keys()) {
    if (story.damagedRows.has(`operation ${key}`)) continue;
    if (machine.operation(Number.parseInt(key, 16)) === undefined)
      return `the row operation ${key} is no operation of the server's`;
  }
  for (const key of rows("observation").keys()) {
    const [endpoint = "", path = ""] = key.split(" ");
    if (story.damagedRows.has(`observation ${key}`) || isEnding(story, endpoint, path)) continue;
    if (!machine.observationsOf(endpoint, now).some((one) => one.path === path))
      return `the row observation ${key} is no observation of the server's`;
  }
  for (const key of rows("touch").keys())
    if (!rows("registration").has(key) && !story.damagedRows.has(`touch ${key}`))
      return `the row touch ${key} belongs to no registration`;
  return undefined;
}

/** Nobody wants it, and the device may not have heard of that yet. */
function isEnding(story: Story, endpoint: string, path: string): boolean {
  return story.operations.all.some(
    (one) => one.kind === "cancelObserve" && one.strategy === endpoint && one.path === path,
  );
}

/** Each handshake leaves one that can be resumed. */
const SESSIONS_PER_DEVICE = 16;
