import { InnerPort, source } from "./inner-port.ts";
import { messageOf } from "./messages.ts";
import { plainServer } from "./plain-server.ts";

export type Retained = {
  readonly sessions: number;
  readonly exchanges: number;
  /** Of the exchanges, those a duplicate would be recognised of at the end. */
  readonly remembered: number;
  readonly bytesPerSession: number;
  readonly bytesPerExchange: number;
};

/**
 * What the server keeps of exchanges that are over, measured on the heap: growth after a collection, divided by their
 * number. Needs `--expose-gc`.
 */
export async function retained(sessions: number, exchanges: number): Promise<Retained> {
  const port = new InnerPort();
  const node = plainServer(port);
  const get = messageOf({ kind: "get", path: "/hello" });
  const ask = (session: number, round: number): void => {
    const bytes = get.slice();
    new DataView(bytes.buffer).setUint16(2, round);
    new DataView(bytes.buffer).setUint32(4, round);
    port.arrive(source(session), bytes);
  };
  ask(0, 0);
  const empty = await memory();
  for (let session = 1; session <= sessions; session++) ask(session, 0);
  const idle = await memory();
  const before = node.endpoint.remembered;
  for (let n = 0; n < exchanges; n++) ask(1 + (n % sessions), 1 + Math.floor(n / sessions));
  const full = await memory();
  return {
    sessions,
    exchanges,
    remembered: node.endpoint.remembered - before,
    bytesPerSession: (idle - empty) / sessions,
    bytesPerExchange: (full - idle) / exchanges,
  };
}

/** Bytes of live objects and of the buffers they hold. */
export async function memory(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    await new Promise(setImmediate);
    globalThis.gc?.();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
