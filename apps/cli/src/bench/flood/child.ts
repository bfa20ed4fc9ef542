// The devices and the strangers of `bench flood`, each in a process of its own, so that the processor time of each is known apart.

import { unreachable } from "@godwit/base";
import type { FloodAsk } from "./asks.ts";
import { Devices } from "./devices.ts";
import { Strangers } from "./strangers.ts";

const devices = new Devices();
const strangers = new Strangers();

async function answer(ask: FloodAsk): Promise<unknown> {
  switch (ask.type) {
    case "come":
      return await devices.come(ask);
    case "update":
      return await devices.update(ask);
    case "exchange":
      return await devices.exchange(ask);
    case "newcomer":
      return await devices.newcomer(ask);
    case "gather":
      return await strangers.gather(ask);
    case "flood":
      return await strangers.flood(ask);
    default:
      return unreachable(ask);
  }
}

process.on("message", ({ id, ask }: { readonly id: number; readonly ask: FloodAsk }) => {
  answer(ask).then(
    (result) => process.send?.({ id, result }),
    (fault: unknown) =>
      process.send?.({ id, fault: fault instanceof Error ? fault.message : String(fault) }),
  );
});
process.on("disconnect", () => process.exit());
