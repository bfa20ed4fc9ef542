import { ClosedLoop } from "./closed-loop.ts";
import { ContextPeers } from "./context-peers.ts";
import { locationIn, messageOf, type Ask } from "./messages.ts";
import { percentiles } from "./statistics.ts";

/** What the process with the clients is asked. */
export type LoopAsk =
  | { readonly type: "open"; readonly sockets: number }
  /** One answer each, in order; their Location-Paths. */
  | {
      readonly type: "once";
      readonly port: number;
      readonly turns: number;
      readonly asks: readonly Ask[];
      /** Each client has the OSCORE context of its number. */
      readonly secured: boolean;
    }
  | {
      readonly type: "go";
      readonly port: number;
      readonly turns: number;
      readonly seconds: number;
      readonly asks: readonly Ask[];
      readonly secured: boolean;
    };

export type LoopAnswer =
  | { readonly type: "opened"; readonly sockets: number }
  | {
      readonly type: "done";
      readonly refused: number;
      readonly locations: readonly (readonly string[])[];
    }
  | ({ readonly type: "ran" } & RunFigures);

export type RunFigures = {
  readonly completed: number;
  readonly refused: number;
  readonly retransmitted: number;
  /** s */
  readonly elapsed: number;
  /** ms */
  readonly p50: number;
  readonly p99: number;
};

/** The process with the clients: answers one ask after the other. */
export function loopProcess(): (ask: LoopAsk) => Promise<LoopAnswer> {
  const loop = new ClosedLoop(MOST_CLIENTS);
  /** By the port of their server: their sequence numbers go on from one ask to the next. */
  const peers = new Map<number, ContextPeers>();
  const protection = ({ secured, port }: { secured: boolean; port: number }): Secured => {
    if (!secured) return {};
    const known = peers.get(port) ?? new ContextPeers();
    peers.set(port, known);
    return { protection: known };
  };
  return async (ask) => {
    switch (ask.type) {
      case "open":
        return { type: "opened", sockets: await loop.open(ask.sockets) };
      case "once": {
        const { port, turns, asks } = ask;
        const locations: (readonly string[])[] = [];
        const { refused } = await loop.go({
          port,
          turns,
          clients: asks.length,
          messages: asks.map(messageOf),
          until: "once",
          ...protection(ask),
          onAnswer: (client, answer) => (locations[client] = locationIn(answer)),
        });
        return { type: "done", refused, locations };
      }
      case "go": {
        const { port, turns, seconds, asks } = ask;
        const { latencies, ...counts } = await loop.go({
          port,
          turns,
          clients: asks.length,
          messages: asks.map(messageOf),
          until: seconds,
          ...protection(ask),
        });
        const [p50 = 0, p99 = 0] = percentiles(latencies, [50, 99]);
        return { type: "ran", ...counts, p50, p99 };
      }
    }
  };
}

type Secured = { readonly protection?: ContextPeers };

/** One address has no more ports. */
const MOST_CLIENTS = 65_535;
