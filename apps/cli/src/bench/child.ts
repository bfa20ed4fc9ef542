// What the benchmark runs in processes of their own, so that the processor time of each is known apart.

import { unreachable } from "@godwit/base";
import { openUdp } from "@godwit/io";
import { flood } from "./spoofed.ts";
import { idle } from "./idle.ts";
import { loopProcess, type LoopAsk } from "./loop-process.ts";
import { plainServer } from "./plain-server.ts";
import { retained } from "./retained.ts";

export type ChildAsk =
  | LoopAsk
  | { readonly type: "serve" }
  | { readonly type: "retain"; readonly sessions: number; readonly exchanges: number }
  | { readonly type: "idle"; readonly devices: number }
  | { readonly type: "flood"; readonly registrations: number; readonly directory: string };

const loop = loopProcess();

async function answer(ask: ChildAsk): Promise<unknown> {
  switch (ask.type) {
    case "open":
    case "once":
    case "go":
      return await loop(ask);
    case "serve": {
      const port = await openUdp({ host: "127.0.0.1", port: 0 });
      plainServer(port);
      return { type: "serving", port: port.local[0]?.port };
    }
    case "retain":
      return await retained(ask.sessions, ask.exchanges);
    case "idle":
      return idle(ask.devices);
    case "flood":
      return await flood(ask.registrations, ask.directory);
    default:
      return unreachable(ask);
  }
}

process.on("message", (ask: ChildAsk) => {
  answer(ask).then(
    (result) => process.send?.({ result }),
    (fault: unknown) =>
      process.send?.({ fault: fault instanceof Error ? fault.message : String(fault) }),
  );
});
process.on("disconnect", () => process.exit());
