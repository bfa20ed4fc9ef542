import { isIP } from "node:net";
import { UsageError } from "@godwit/base";
import type { Certificate } from "@godwit/dtls";
import {
  describeUdpNote,
  openUdp,
  systemClock,
  systemRng,
  type Clock,
  type Driver,
  type Store,
  type UdpPort,
} from "@godwit/io";
import { ServerStack, type ServerStackInput, type ServerStackOutput } from "@godwit/lwm2m";
import type { ClockWatch } from "./clock-watch.ts";
import { parseAddress, type ServerOptions } from "./options.ts";
import { oscoreProtection } from "./oscore.ts";
import { ownCertificates } from "./server-key.ts";

/** A server that takes datagrams. */
export type Running = {
  readonly stack: ServerStack;
  readonly sockets: Sockets;
  readonly certificates: readonly Certificate[];
  readonly driver: Driver<ServerStackInput, ServerStackOutput> | undefined;
  readonly clock: Clock;
  readonly watch: ClockWatch;
};

export type Sockets = { readonly plain: UdpPort | undefined; readonly secure: UdpPort | undefined };

/** Opens what the options name, or nothing. */
export async function bind(
  { coap, coaps }: ServerOptions,
  onNote: (text: string) => void,
): Promise<Sockets> {
  const plain = coap === undefined ? undefined : await open(coap, onNote);
  try {
    return { plain, secure: coaps === undefined ? undefined : await open(coaps, onNote) };
  } catch (fault) {
    await plain?.close(); // or it would keep the process from ending
    throw fault;
  }
}

export async function release({ plain, secure }: Sockets): Promise<void> {
  await plain?.close();
  await secure?.close();
}

async function open(address: string, onNote: (text: string) => void): Promise<UdpPort> {
  return await openUdp({
    ...parseAddress(address),
    onNote: (note) => onNote(describeUdpNote(note)),
  });
}

/** What is shown to devices. A key of our own that cannot be read must not keep those with other credentials out. */
export async function certificatesOf(
  { coaps, sealer, dtls }: ServerOptions,
  store: Store,
  onFault: (fault: unknown) => void,
): Promise<readonly Certificate[]> {
  if (dtls?.certificates !== undefined) return dtls.certificates;
  if (coaps === undefined || sealer === undefined) return [];
  try {
    return await ownCertificates(store, sealer, systemRng());
  } catch (fault) {
    onFault(fault);
    return [];
  }
}

/** The machine that the driver of a server runs. */
export function stackOf(
  options: ServerOptions,
  store: Store,
  {
    sockets,
    certificates,
  }: { readonly sockets: Sockets; readonly certificates: readonly Certificate[] },
): { readonly stack: ServerStack; readonly clock: Clock } {
  const { nosec = false, tuning = {}, coapTuning = {}, sealer, dtls, rolledBack } = options;
  const clock = options.clock ?? systemClock();
  const rng = systemRng();
  const { secure } = sockets;
  const stack = new ServerStack({
    rng,
    protection: oscoreProtection(rng),
    now: clock.now(),
    server: { ...tuning, nosec },
    coap: coapTuning,
    load: (table) => store.load(table),
    ...(sealer === undefined ? {} : { sealer }),
    ...(rolledBack === undefined ? {} : { rolledBack }),
    ...(secure === undefined
      ? {}
      : {
          dtls: {
            wall: (at: number) => clock.toWall(at),
            ...dtls,
            certificates,
            port: secure.port,
          },
        }),
  });
  return { stack, clock };
}

/** @throws UsageError for options that name no way in */
export function checkAddresses({ coap, coaps }: ServerOptions): void {
  if (coap === undefined && coaps === undefined) {
    throw new UsageError("a server needs coap or coaps, where it listens", "INVALID_OPTION");
  }
  for (const [name, address] of Object.entries({ coap, coaps })) {
    if (address === undefined) continue;
    const { host } = parseAddress(address, name);
    if (isIP(host.replace(/%.*$/, "")) === 0) {
      const words = `${name}: ${JSON.stringify(host)} is no IP address of this machine`;
      throw new UsageError(words, "INVALID_OPTION");
    }
  }
}
