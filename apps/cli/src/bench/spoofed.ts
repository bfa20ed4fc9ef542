import { Driver, openData, systemRng } from "@godwit/io";
import { ServerStack } from "@godwit/lwm2m";
import { InnerPort, source } from "./inner-port.ts";
import { messageOf } from "./messages.ts";

export type Flood = {
  /** Register requests, each from an address of its own and for a name of its own. */
  readonly sent: number;
  readonly answered: number;
  /** Registrations at the end. */
  readonly kept: number;
  /** Whether a device that had registered and updated before is still there. */
  readonly honestKept: boolean;
  /** Resident memory before, and after each tenth of the flood; bytes. */
  readonly rss: readonly number[];
  /** What lives after it: heap and buffers, collected; bytes. */
  readonly live: number;
  /** s of processor time. */
  readonly cpu: number;
};

/** Registers devices that do not exist, from addresses that are not the sender's, at a server with a store on disk. */
export async function flood(registrations: number, directory: string): Promise<Flood> {
  const data = await openData(directory);
  const port = new InnerPort();
  const stack = new ServerStack({
    rng: systemRng(),
    now: data.clock.now(),
    server: { nosec: true },
    load: (table) => data.store.load(table),
  });
  const driver = new Driver({
    machine: stack,
    port,
    store: data.store,
    clock: data.clock,
    onFault: ({ error }) => {
      throw error;
    },
  });
  port.arrive(HONEST, messageOf({ kind: "register", endpoint: "honest" }));
  await data.store.flush();
  const registration = stack.server.registration("honest", data.clock.now());
  const location = ["rd", registration?.id ?? ""];
  port.arrive(HONEST, numbered(messageOf({ kind: "update", location }), 1));
  await data.store.flush();

  globalThis.gc?.();
  const rss = [process.memoryUsage.rss()];
  const before = process.cpuUsage();
  const sentBefore = port.sent;
  for (let n = 1; n <= registrations; n++) {
    port.arrive(source(n), numbered(messageOf({ kind: "register", endpoint: `spoofed-${n}` }), n));
    if (n % BATCH === 0) await data.store.flush();
    if (n % Math.ceil(registrations / 10) === 0) rss.push(process.memoryUsage.rss());
  }
  await data.store.flush();
  const { user, system } = process.cpuUsage(before);
  const resident = process.memoryUsage.rss();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  const result = {
    sent: registrations,
    answered: port.sent - sentBefore,
    kept: stack.server.registrationCount,
    honestKept: stack.server.registration("honest", data.clock.now()) !== undefined,
    rss: [...rss, resident],
    live: heapUsed + external,
    cpu: (user + system) / 1e6,
  };
  await driver.close();
  await data.close();
  return result;
}

function numbered(bytes: Uint8Array, n: number): Uint8Array {
  const view = new DataView(bytes.buffer);
  view.setUint16(2, n & 0xffff);
  view.setUint32(4, n);
  return bytes;
}

const HONEST = { host: "192.0.2.77", port: 5_683 };
/** Registrations under way at once. */
const BATCH = 256;
