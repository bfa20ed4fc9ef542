import type { StoreHealth } from "@godwit/io";
import type { Server } from "@godwit/server";
import { Option } from "commander";
import type { Logger } from "pino";

/** What to do when the store can no longer be trusted until it is opened again. */
export type OnStoreFailure = "exit" | "serve-read-only";

export function storeFailureOption(): Option {
  return new Option(
    "--on-store-failure <how>",
    "when the store fails for good: exit, for a supervisor to start the server again; or serve-read-only: go on showing what is known, refuse what must be kept",
  )
    .choices(["exit", "serve-read-only"])
    .default("exit")
    .env("GODWIT_ON_STORE_FAILURE");
}

/** Logs what becomes of the store, once a minute while it fails. Resolves when the server is to end because of it. */
export async function untilStoreFails(
  server: Server,
  log: Logger,
  how: OnStoreFailure,
): Promise<"store failed"> {
  return await new Promise((resolve) => {
    let reminder: NodeJS.Timeout | undefined;
    let told = 0;
    const tell = (health: StoreHealth): void => {
      if (health.state === "working") return;
      const refused = health.refused - told;
      told = health.refused;
      const since = new Date(health.since).toISOString();
      log.error({ fault: health.error.fault, refused, since }, words(health, how));
    };
    const look = (health: StoreHealth): void => {
      clearInterval(reminder);
      told = health.state === "working" ? 0 : told;
      if (health.state === "working") return log.info("the store takes writes again");
      tell(health);
      reminder = setInterval(() => tell(server.storeHealth), MINUTE);
      reminder.unref();
      if (health.state === "broken" && how === "exit") resolve("store failed");
    };
    server.on("store", ({ health }) => look(health));
    if (server.storeHealth.state !== "working") look(server.storeHealth);
  });
}

function words(health: Exclude<StoreHealth, { state: "working" }>, how: OnStoreFailure): string {
  const { message } = health.error;
  if (health.state === "failing")
    return `the store refuses writes, devices get 5.03, and it is tried again every second: ${message}`;
  if (how === "exit")
    return `the store failed, and the server ends to be started again: ${message}`;
  return `the store failed, and nothing is kept until the server is started again: ${message}`;
}

/** EX_IOERR of sysexits.h: a supervisor can tell it from a mistake in the options. */
export const STORE_FAILURE_EXIT = 74;
const MINUTE = 60_000;
