import type { Instant } from "@godwit/base";
import { systemRng } from "@godwit/io";
import { ServerStack, type ServerStackInput } from "@godwit/lwm2m";
import { oscoreProtection } from "@godwit/server";
import { ContextPeers, endpointName, inputOf } from "./context-peers.ts";
import { source } from "./inner-port.ts";
import { messageOf, type Ask } from "./messages.ts";
import { memory } from "./retained.ts";

export type Idle = {
  readonly devices: number;
  /** Registrations at the end; all of them, or the bytes mean nothing. */
  readonly registered: number;
  readonly registeredSecured: number;
  /** A device that registered and updated without protection: registration and session. */
  readonly bytesPerDevice: number;
  /** A credential nobody has used yet, its context derived. */
  readonly bytesPerContext: number;
  /** A device that registered and updated over OSCORE: credential, context, its session and carrier, registration. */
  readonly bytesPerSecuredDevice: number;
};

/** What the LwM2M server keeps in memory of devices that are silent, measured on the heap. Needs `--expose-gc`. */
export async function idle(devices: number): Promise<Idle> {
  const empty = await memory();
  const plain = new Subject();
  for (let n = 0; n < devices; n++) plain.visit(n, undefined);
  plain.forget();
  const withPlain = await memory();
  const secured = new Subject();
  for (let n = 0; n < devices; n++) secured.know(n);
  const withContexts = await memory();
  secured.visitAll(devices);
  secured.forget();
  const full = await memory();
  return {
    devices,
    registered: plain.registered,
    registeredSecured: secured.registered,
    bytesPerDevice: (withPlain - empty) / devices,
    bytesPerContext: (withContexts - withPlain) / devices,
    bytesPerSecuredDevice: (full - withPlain) / devices,
  };
}

/** A server whose clock and store are in our hands; the store keeps nothing, it only says yes. */
class Subject {
  readonly #stack: ServerStack;
  #now: Instant = 1;
  #number = 0;

  constructor() {
    const rng = systemRng();
    this.#stack = new ServerStack({
      rng,
      now: this.#now,
      server: { nosec: true },
      protection: oscoreProtection(rng),
      sealer: { seal: (bytes) => bytes, open: (bytes) => bytes },
    });
  }

  get registered(): number {
    return this.#stack.server.registrationCount;
  }

  know(device: number): void {
    const { senderId, recipientId, masterSecret } = inputOf(device);
    this.#feed({
      type: "addCredential",
      ref: device,
      credential: {
        kind: "oscore",
        endpoint: endpointName(device),
        senderId: recipientId,
        recipientId: senderId,
        masterSecret,
        masterSalt: undefined,
        idContext: undefined,
        aead: undefined,
        hkdf: undefined,
        derivation: "fixed",
      },
    });
  }

  /** Registers it and updates it once. */
  visit(device: number, peers: ContextPeers | undefined): void {
    const endpoint = endpointName(device);
    this.#arrive(device, { kind: "register", endpoint }, peers);
    const id = this.#stack.server.registration(endpoint, this.#now)?.id;
    if (id === undefined) throw new Error(`${endpoint} could not register`);
    this.#arrive(device, { kind: "update", location: ["rd", id] }, peers);
  }

  /** Each over OSCORE. The devices' own side ends with this call, or it would be counted. */
  visitAll(devices: number): void {
    const peers = new ContextPeers();
    for (let n = 0; n < devices; n++) this.visit(n, peers);
  }

  /** Lets everything that is kept for a while, such as answers for duplicates, expire. */
  forget(): void {
    this.#now += LONG;
    for (let at = this.#stack.wakeAt; at !== undefined && at <= this.#now;) {
      this.#stack.wake(this.#now);
      this.#drain();
      at = this.#stack.wakeAt;
    }
  }

  #arrive(device: number, ask: Ask, peers: ContextPeers | undefined): void {
    const message = messageOf(ask);
    const view = new DataView(message.buffer, message.byteOffset);
    this.#number += 1;
    view.setUint16(2, this.#number & 0xffff);
    view.setUint32(4, this.#number);
    const bytes = peers?.seal(device, message) ?? message;
    this.#feed({ type: "datagram", path: { local: LOCAL, remote: source(device) }, bytes });
  }

  #feed(input: ServerStackInput): void {
    this.#stack.handle(input, this.#now);
    this.#drain();
  }

  #drain(): void {
    for (let output = this.#stack.poll(); output !== undefined; output = this.#stack.poll()) {
      if (output.type !== "store") continue;
      this.#stack.handle({ type: "stored", ticket: output.ticket, ok: true }, this.#now);
    }
  }
}

const LOCAL = { host: "192.0.2.1", port: 5_683 };
/** ms; past every lifetime of exchanges, far from that of registrations. */
const LONG = 15 * 60_000;
