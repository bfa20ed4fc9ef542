import { EMPTY, type Path } from "@godwit/base";
import { DtlsClient, DtlsServer, type DtlsOutput } from "@godwit/dtls";
import { systemRng } from "@godwit/io";
import { source } from "../inner-port.ts";
import { KEY, type IdleMemory } from "./asks.ts";
import { serverOptions } from "./secured-node.ts";

/**
 * What a server keeps of associations that have done a handshake and one exchange, measured on the heap: growth after a
 * collection, divided by their number. Needs `--expose-gc`.
 */
export async function idleMemory(sessions: number): Promise<IdleMemory> {
  const { heap, buffers } = await measure(sessions, true);
  const without = await measure(sessions, false);
  return { sessions, heap, buffers, withoutResumption: without.heap + without.buffers };
}

async function measure(sessions: number, resumable: boolean): Promise<Memory> {
  const server = new DtlsServer({
    ...serverOptions(),
    ...(resumable ? {} : { tuning: { sessionIdLength: 0 } }),
  });
  const first = Math.min(WARM_UP, sessions);
  for (let n = 0; n < first; n++) converse(server, n);
  const before = await memory();
  for (let n = first; n < first + sessions; n++) converse(server, n);
  const after = await memory();
  if (server.size !== first + sessions) throw new Error("sessions were lost");
  return {
    heap: (after.heap - before.heap) / sessions,
    buffers: (after.buffers - before.buffers) / sessions,
  };
}

/** A device comes, says one thing, hears one thing, and falls silent. */
function converse(server: DtlsServer, n: number): void {
  const client = new DtlsClient({
    rng,
    credentials: { kind: "psk", identity: `device-${n}`, key: KEY },
    connectionId: EMPTY,
  });
  client.handle({ type: "connect", session: 1, path: pathOf(n).theirs, how: "full" }, 0);
  let talked = false;
  for (let moved = true; moved;) {
    moved = false;
    for (let output = client.poll(); output; output = client.poll()) {
      moved = true;
      if (output.type === "datagram") {
        server.handle({ type: "datagram", path: pathOf(n).ours, bytes: output.bytes }, 0);
      } else if (output.type === "opened") {
        client.handle({ type: "send", session: 1, bytes: SAID }, 0);
      }
    }
    for (let output = server.poll(); output; output = server.poll()) {
      moved = true;
      answer(server, output);
      if (output.type === "datagram") {
        client.handle({ type: "datagram", path: pathOf(n).theirs, bytes: output.bytes }, 0);
      } else if (output.type === "received") talked = true;
    }
  }
  if (!talked) throw new Error("a handshake came to nothing");
}

function answer(server: DtlsServer, output: DtlsOutput): void {
  if (output.type === "lookup") server.handle({ type: "psk", id: output.id, key: KEY }, 0);
  else if (output.type === "received") {
    server.handle({ type: "send", session: output.session, bytes: SAID }, 0);
  }
}

/** As sockets make it: new objects for every datagram. */
function pathOf(n: number): { readonly ours: Path; readonly theirs: Path } {
  const remote = source(n);
  return { ours: { local: LOCAL, remote }, theirs: { local: remote, remote: LOCAL } };
}

type Memory = { readonly heap: number; readonly buffers: number };

async function memory(): Promise<Memory> {
  for (let round = 0; round < 3; round++) {
    await new Promise(setImmediate);
    globalThis.gc?.();
  }
  const { heapUsed, external } = process.memoryUsage();
  return { heap: heapUsed, buffers: external }; // array buffers are part of what is external
}

const rng = systemRng();
const LOCAL = { host: "192.0.2.1", port: 5_684 };
const SAID = new Uint8Array(20);
/** Sessions before the measurement: code is compiled, and pools have been made. */
const WARM_UP = 200;
