// What the benchmark of DTLS runs in processes of their own, so that the processor time of each is known apart.

import { unreachable } from "@godwit/base";
import { openUdp } from "@godwit/io";
import type { DtlsAsk } from "./asks.ts";
import { idleMemory } from "./idle-memory.ts";
import { SecuredLoad } from "./load.ts";
import { securedServer } from "./secured-node.ts";

const load = new SecuredLoad();

async function answer(ask: DtlsAsk): Promise<unknown> {
  switch (ask.type) {
    case "serve": {
      const port = await openUdp({ host: "127.0.0.1", port: 0 });
      if (ask.echo) port.listen((event) => port.send(event));
      else securedServer(port);
      return { port: port.port };
    }
    case "open":
      return { sessions: await load.open(ask) };
    case "meet":
      return { sessions: await load.meet(ask) };
    case "prepare":
      return { refused: await load.prepare(ask.port) };
    case "pairs":
      return await load.pairs(ask);
    case "handshakes":
      return await load.handshakes(ask);
    case "idle":
      return await idleMemory(ask.sessions);
    default:
      return unreachable(ask);
  }
}

process.on("message", (ask: DtlsAsk) => {
  answer(ask).then(
    (result) => process.send?.({ result }),
    (fault: unknown) =>
      process.send?.({ fault: fault instanceof Error ? fault.message : String(fault) }),
  );
});
process.on("disconnect", () => process.exit());
